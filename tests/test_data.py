"""Batches: the reference's figures, what each data set gives, and what is refused."""

import functools
import itertools
import json
import math
import os
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from iodine.data import datasets
from iodine.data.batches import expand
from iodine.errors import UserError
from iodine.main import build, get_config
from multi_object_datasets import (
    balls,
    clevr_with_masks,
    multi_dsprites,
    objects_room,
    pack,
    shapes,
    tetrominoes,
)
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.scene_file import SceneFile
from tests.helpers import scene_files


@pytest.mark.parametrize(
    "case", ["clevr6_small", "multi_dsprites_small", "tetrominoes_small", "tetrominoes_variant"]
)
def test_batches_are_the_references(tmp_path, case):
    plan = json.loads((scene_files.PARITY / case / "case.json").read_text())
    updates = {k: v for k, v in plan["config_updates"].items() if re.match("data|batch_size", k)}
    updates["data.path"] = scene_files.parity_file(case)
    updates["data.cache"] = str(tmp_path)
    dataset = build(get_config(plan["named_config"], updates)["data"])
    with np.load(scene_files.PARITY / case / "golden.npz") as golden:
        golden = {k[5:]: golden[k] for k in golden.files if k.startswith("data/")}
    (batch,) = dataset("summary").take(1).as_numpy_iterator()
    factors = batch.pop("factors")
    batch.update({f"factors/{name}": value for name, value in factors.items()})
    if case == "clevr6_small":
        # The reference fills the size from the color, the port from the size.
        np.testing.assert_array_equal(golden["factors/size"], golden["factors/color"])
        (scene,) = clevr_with_masks.dataset(updates["data.path"])
        golden["factors/size"] = scene["size"].numpy()[None, :, None]
    assert batch.keys() == golden.keys()
    for name, value in batch.items():
        assert value.shape == golden[name].shape, name
        assert value.dtype == (np.float32 if name == "mask" else golden[name].dtype), name
        atol = 1e-6 if name == "image" else 0
        np.testing.assert_allclose(value, golden[name], rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize(
    ("constructor", "image_dim", "crop_region"),
    [
        (datasets.CLEVR, (128, 128), ((29, 221), (64, 256))),
        (datasets.MultiDSprites, (64, 64), None),
        (datasets.Tetrominoes, (35, 35), None),
    ],
)
def test_sizes_and_crops_have_the_references_defaults(constructor, image_dim, crop_region):
    for dataset in (constructor("path", 2), constructor("path", 2, image_dim)):
        assert dataset.image_dim == image_dim and dataset.crop_region == crop_region
    assert constructor("path", 2, crop_region=None).crop_region is None


def assert_close(x, y, atol=0):
    np.testing.assert_allclose(x, y, rtol=0, atol=atol)


@pytest.mark.parametrize(("soft", "kind"), [(False, "labels"), (True, "mask")])
def test_compact_batches_expand_to_the_same(tmp_path, soft, kind):
    fmt, rng = multi_dsprites.SCENE_FORMATS["colored_on_grayscale"], np.random.default_rng(0)
    scenes = [scene_files.random_scene(fmt, rng) for _ in range(3)]
    scenes[2]["mask"][1, :9, :9] = 100 if soft else scenes[2]["mask"][1, :9, :9]
    path = scene_files.write(tmp_path / "f", [scene_files.serialise(s, fmt) for s in scenes])
    for options in ({}, {"grayscale": True}):
        dataset = datasets.MultiDSprites(path, 2, held_out=2, **options)
        for subset in ("train", "test"):
            (full,) = dataset(subset).take(1)
            (compact,) = dataset(subset, compact=True).take(1)
            assert compact[kind].dtype == np.uint8
            if not options:
                assert compact["image"].dtype == np.uint8
            expanded = tf.function(expand, jit_compile=True)(compact)
            assert expanded.keys() == full.keys()
            tf.nest.map_structure(functools.partial(assert_close, atol=1e-7), expanded, full)
            tf.nest.map_structure(assert_close, expand(full), full)


def test_compact_batches_of_resized_scenes_expand_to_the_same(tmp_path):
    path = scene_files.parity_file("clevr6_small")
    dataset = datasets.CLEVR(path, 1, cache=str(tmp_path))
    (full,), (compact,) = dataset().take(1), dataset(compact=True).take(1)
    assert compact["image"].dtype == np.uint16  # Quarters of grey values lie between pixels.
    expanded = tf.function(expand, jit_compile=True)(compact)
    tf.nest.map_structure(functools.partial(assert_close, atol=1e-7), expanded, full)


def test_masks_that_overlap_or_are_soft_are_kept_as_they_are(tmp_path, capfd):
    fmt, rng = tetrominoes.SCENE_FORMAT, np.random.default_rng(0)
    scenes = [scene_files.random_scene(fmt, rng) for _ in range(3)]
    scenes[1]["mask"][:2, 10, 10] = 255
    scenes[2]["mask"][3, :5] = 7
    path = scene_files.write(tmp_path / "f", [scene_files.serialise(s, fmt) for s in scenes])
    for _ in range(2):
        dataset = datasets.Tetrominoes(path, 3)
        (batch,) = dataset("summary").take(1).as_numpy_iterator()
        expected = np.stack([scene["mask"] for scene in scenes])[:, None] / np.float32(255)
        np.testing.assert_allclose(batch["mask"], expected, rtol=1e-6)
    said = f"{path}: record 1: the masks of two entities overlap: keeping masks as they are"
    assert capfd.readouterr().err.count(said) == 1


@pytest.mark.parametrize(
    ("constructor", "fmt", "options", "factors", "image_shape"),
    [
        (
            datasets.CLEVR,
            clevr_with_masks.SCENE_FORMAT,
            {"image_dim": [16, 16]},
            {"color": 1, "shape": 1, "size": 1, "position": 3, "rotation": 1},
            (1, 16, 16, 3),
        ),
        (
            datasets.CLEVR,
            clevr_with_masks.SCENE_FORMAT,
            {"image_dim": [16, 16], "grayscale": True},
            {"color": 1, "shape": 1, "size": 1, "position": 3, "rotation": 1},
            (1, 16, 16, 1),
        ),
        (
            datasets.MultiDSprites,
            multi_dsprites.SCENE_FORMATS["binarized"],
            {"image_dim": [64, 64], "dataset_variant": "binarized"},
            {"color": 1, "shape": 1, "scale": 1, "x": 1, "y": 1, "orientation": 1},
            (1, 64, 64, 1),
        ),
        (
            datasets.Tetrominoes,
            tetrominoes.SCENE_FORMAT,
            {"image_dim": [35, 35]},
            {"color": 3, "shape": 1, "position": 2},
            (1, 35, 35, 3),
        ),
        (
            datasets.ObjectsRoom,
            objects_room.SCENE_FORMATS["train"],
            {"image_dim": [64, 64]},
            {},
            (1, 64, 64, 3),
        ),
        (
            datasets.ObjectsRoom,
            objects_room.SCENE_FORMATS["sequences"],
            {"image_dim": [32, 32], "dataset_variant": "sequences", "num_frames": 6},
            {},
            (6, 32, 32, 3),
        ),
        (
            datasets.Shapes,
            shapes.SCENE_FORMAT,
            {"image_dim": [28, 28]},
            {"shape": 1, "x": 1, "y": 1},
            (1, 28, 28, 1),
        ),
        (
            datasets.Balls,
            balls.SCENE_FORMAT,
            {"image_dim": [14, 14]},
            {"color": 3, "position": 2},
            (1, 14, 14, 3),
        ),
        (
            datasets.Balls,
            balls.SCENE_FORMATS["sequences"],
            {"image_dim": [14, 14], "dataset_variant": "sequences"},
            {},
            (16, 14, 14, 3),
        ),
    ],
    ids=[
        "clevr",
        "clevr gray",
        "multi_dsprites",
        "tetrominoes",
        "room",
        "sequences",
        "shapes",
        "balls",
        "moving balls",
    ],
)
def test_every_data_set_gives_what_the_model_takes(
    tmp_path, constructor, fmt, options, factors, image_shape
):
    path, scenes = scene_files.write_scenes(tmp_path / "file", fmt, 2)
    dataset = constructor(path=path, batch_size=2, **options)
    (batch,) = dataset("summary").take(1).as_numpy_iterator()
    num_entities = scenes[0]["mask"].shape[-4]
    frames, height, width, _ = image_shape
    assert batch["image"].shape == (2, *image_shape)
    assert batch["mask"].shape == (2, frames, num_entities, height, width, 1)
    assert batch["visibility"].shape == (2, num_entities)
    assert {k: v.shape for k, v in batch["factors"].items()} == {
        name: (2, num_entities, size) for name, size in factors.items()
    }
    for value in (batch["image"], batch["mask"], batch["visibility"]):
        assert value.dtype == np.float32 and 0 <= value.min() and value.max() <= 1
    np.testing.assert_array_equal(batch["mask"].sum(axis=2), 1)
    if (height, width) == scenes[0]["image"].shape[-3:-1]:
        image = np.stack([scene["image"] for scene in scenes]).reshape(batch["image"].shape)
        np.testing.assert_allclose(batch["image"], image / 255, rtol=0, atol=1e-7)


def test_grayscale_averages_the_channels(tmp_path):
    path = scene_files.write_numbered_tetrominoes(tmp_path, 2)
    color, gray = (
        next(datasets.Tetrominoes(path, 2, [35, 35], grayscale=g)("summary").as_numpy_iterator())
        for g in (False, True)
    )
    average = color["image"].mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(gray["image"], average, atol=1e-6)


def test_saturation_moves_colours_to_and_from_their_average(tmp_path):
    path = scene_files.write_numbered_tetrominoes(tmp_path, 2)
    full, faded, gray, strong = (
        next(datasets.Tetrominoes(path, 2, [35, 35], saturation=s)("train").as_numpy_iterator())
        for s in (1.0, 0.25, 0, 3)
    )
    average = full["image"].mean(axis=-1, keepdims=True)
    assert (full["image"] != average).any()
    np.testing.assert_allclose(gray["image"], average + 0 * full["image"], atol=1e-6)
    np.testing.assert_allclose(faded["image"], 0.25 * full["image"] + 0.75 * average, atol=1e-6)
    np.testing.assert_allclose(strong["image"], 3 * full["image"] - 2 * average, atol=1e-6)
    np.testing.assert_array_equal(gray["mask"], full["mask"])


def test_random_light_multiplies_the_channels_of_training_scenes_alone(tmp_path):
    path = scene_files.write_numbered_tetrominoes(tmp_path, 6)
    plain = datasets.Tetrominoes(path, 2, [35, 35], held_out=2)
    lit = datasets.Tetrominoes(path, 2, [35, 35], held_out=2, random_light=0.25)
    factors = []
    for before, after in itertools.islice(zip(plain(), lit()), 20):
        for scene, channel in np.ndindex(2, 3):
            own, seen = (b["image"].numpy()[scene, ..., channel] for b in (before, after))
            shares = seen[own > 0] / own[own > 0]
            np.testing.assert_allclose(shares, shares[0], atol=1e-5)
            factors.append(shares[0])
        np.testing.assert_array_equal(after["mask"], before["mask"])
    assert 0.25 <= min(factors) < 0.3 and 0.95 < max(factors) <= 1 + 1e-6
    later = next(iter(lit(start_step=7)))
    again = next(itertools.islice(lit(), 7, None))
    np.testing.assert_array_equal(later["image"], again["image"])
    np.testing.assert_array_equal(
        next(iter(lit("test")))["image"], next(iter(plain("test")))["image"]
    )


@pytest.mark.parametrize("soft", [False, True])
def test_background_darkens_what_no_object_covers(tmp_path, soft):
    fmt, rng = tetrominoes.SCENE_FORMAT, np.random.default_rng(0)
    scene = scene_files.random_scene(fmt, rng)
    if soft:
        scene["mask"][:, :5] = np.array([51, 204, 0, 0]).reshape(4, 1, 1, 1)  # a fifth shows
    path = scene_files.write(tmp_path / "f", [scene_files.serialise(scene, fmt)])
    full, dark, black = (
        next(datasets.Tetrominoes(path, 1, [35, 35], background=b)().as_numpy_iterator())
        for b in (1.0, 0.25, 0.0)
    )
    behind = full["mask"][:, :, 0]  # [B, T, H, W, 1]
    assert 0 < behind.mean() < 1
    np.testing.assert_allclose(black["image"], full["image"] * (1 - behind), atol=1e-6)
    np.testing.assert_allclose(dark["image"], full["image"] * (1 - 0.75 * behind), atol=1e-6)
    np.testing.assert_array_equal(dark["mask"], full["mask"])


def test_background_of_images_without_masks_is_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="data.background: without masks"):
        datasets.ImageFolder(tmp_path, 1, [8, 8], background=0.5)("summary")


@pytest.mark.parametrize(
    ("constructor", "options", "message"),
    [
        (
            datasets.CLEVR,
            {"min_num_objects": 6, "max_num_objects": 3},
            "data.min_num_objects=6 is abo",
        ),
        (datasets.CLEVR, {"crop_region": [29, 221, 64, 256]}, "data.crop_region must be"),
        (datasets.CLEVR, {"batch_size": 0}, "batch_size must be at least 1"),
        (datasets.CLEVR, {"batch_size": [1]}, "batch_size must be at least 1, not .1."),
        (datasets.CLEVR, {"shuffle_buffer": "all"}, "shuffle_buffer must be at least 1, or None"),
        (datasets.CLEVR, {"random_light": 2}, "data.random_light must be from 0 to 1, not 2"),
        (datasets.CLEVR, {"saturation": None}, "data.saturation must be at least 0, not None"),
        (datasets.CLEVR, {"background": "x"}, "data.background must be from 0 to 1, not 'x'"),
        (datasets.CLEVR, {"max_num_objects": "inf"}, "max_num_objects must be a number of objects"),
        (datasets.CLEVR, {"min_num_objects": [1]}, "min_num_objects must be a number of objects"),
        (datasets.CLEVR, {"leave_out": {"color": 5}}, "leave_out must be .feature: .lowest, high"),
        (datasets.CLEVR, {"leave_out": ["color"]}, "leave_out must be .feature: .lowest, highest"),
        (datasets.CLEVR, {"shuffle_buffer": 0}, "shuffle_buffer must be at least 1, or None"),
        (datasets.CLEVR, {"image_dim": [64]}, "data.image_dim must be .height, width."),
        (datasets.CLEVR, {"image_dim": 64}, "data.image_dim must be .height, width., not 64"),
        (datasets.CLEVR, {"image_dim": ["a", 0]}, "data.image_dim must be .height, width."),
        (datasets.CLEVR, {"image_dim": [64, 0]}, "data.image_dim must be .height, width."),
        (datasets.CLEVR, {"saturation": -1}, "data.saturation must be at least 0, not -1"),
        (datasets.CLEVR, {"saturation": math.nan}, "data.saturation must be at least 0, not nan"),
        (datasets.CLEVR, {"background": -1}, "data.background must be from 0 to 1, not -1"),
        (datasets.CLEVR, {"cache": False}, "data.cache must be a directory or None, not False"),
        (datasets.CLEVR, {"held_out": 0.25}, "data.held_out must be a number of scenes, not 0.25"),
        (datasets.ImageFolder, {"held_out": 1.5}, "data.held_out must be a number of scenes"),
        (
            datasets.MultiDSprites,
            {"dataset_variant": "grey"},
            "no data.dataset_variant 'grey', only",
        ),
        (datasets.ObjectsRoom, {"num_frames": 2}, "num_frames=2, but .* scenes of 1 frame$"),
        (
            datasets.Balls,
            {"dataset_variant": "sequences", "num_frames": 17},
            "num_frames=17, but .* 16 f",
        ),
        (datasets.ImageFolder, {"on_error": "ignore"}, "on_error must be raise or skip"),
        (datasets.ImageFolder, {"framing": "pad"}, "framing must be crop or squeeze"),
    ],
)
def test_senseless_arguments_are_refused_at_once(constructor, options, message):
    plan = {"path": "none", "batch_size": 1, "image_dim": [8, 8], **options}
    with pytest.raises(UserError, match=message):
        constructor(**plan)


def test_a_missing_file_is_named_with_the_ways_to_get_it(tmp_path):
    dataset = datasets.CLEVR(tmp_path / "none", 1, [8, 8])
    with pytest.raises(UserError) as error:
        dataset("train")
    assert str(error.value) == (
        f"{tmp_path / 'none'} does not exist: generate it (python -m multi_object_datasets.generate"
        " clevr_with_masks --num-scenes N --out FILE), download it from gs://multi-object-datasets"
        "/clevr_with_masks, or set data.path"
    )


def test_wrong_requests_and_files_are_one_clear_error(tmp_path):
    path = scene_files.write_numbered_tetrominoes(tmp_path, 2)
    with pytest.raises(UserError, match="no subset 'valid', only train, summary, test"):
        datasets.Tetrominoes(path, 1, [35, 35])("valid")
    with pytest.raises(UserError, match="set data.held_out"):
        datasets.Tetrominoes(path, 1, [35, 35], held_out=0)("test")
    with pytest.raises(DatasetError, match="record 0: crop_region rows 0:40, .* of 35x35"):
        datasets.Tetrominoes(path, 1, [35, 35], crop_region=[[0, 40], [0, 40]])("train")
    with pytest.raises(DatasetError, match="record 0: not a scene of shapes .it is a scene"):
        datasets.Shapes(path, 1, [28, 28])("train")


@pytest.mark.parametrize(
    "config, constructor, name, entities, always",
    [
        ("tetrominoes", datasets.Tetrominoes, "tetrominoes_train", 4, 4),
        ("demo", datasets.Balls, "balls_train", 4, 4),
        ("shapes", datasets.Shapes, "shapes_train", 4, 4),
        ("multi_dsprites", datasets.MultiDSprites, "multi_dsprites_colored_on_grayscale", 6, 3),
        ("multi_dsprites_binarized", datasets.MultiDSprites, "multi_dsprites_binarized", 4, 3),
    ],
)
def test_the_default_file_is_generated_once(
    tmp_path, monkeypatch, capfd, config, constructor, name, entities, always
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constructor, "num_scenes", 6)
    plan = {**get_config(config, {"batch_size": 3})["data"]}
    (batch,) = build(plan)("summary").take(1).as_numpy_iterator()
    assert batch["visibility"].shape == (3, entities)
    assert batch["visibility"][:, :always].tolist() == np.ones([3, always]).tolist()
    line = f"no multi_object_datasets/{name}.tfrecords yet: generating 6 scenes"
    assert line in capfd.readouterr().err
    build(plan)("train")
    assert line not in capfd.readouterr().err


def test_packed_scenes_go_where_the_config_says(tmp_path):
    path = scene_files.write_numbered_tetrominoes(tmp_path, 2)
    datasets.Tetrominoes(path, 1, [35, 35], cache=str(tmp_path / "cache"))("train")
    cache = f"{os.path.basename(path)}.35x35.packed"
    assert sorted(os.listdir(tmp_path / "cache")) == [f".{cache}.lock", cache]
    assert (
        len(
            pack.open_scenes(
                SceneFile(path, tetrominoes.SCENE_FORMAT, (35, 35)), tmp_path / "cache"
            )
        )
        == 2
    )
