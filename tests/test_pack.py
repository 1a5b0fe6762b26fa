"""Packing keeps every scene exactly, and notices a changed file and a damaged cache."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from iodine.data import datasets
from multi_object_datasets import (
    balls,
    clevr_with_masks,
    image_ops,
    multi_dsprites,
    objects_room,
    pack,
    shapes,
    tetrominoes,
)
from multi_object_datasets.errors import DatasetError, dataset_error_within
from multi_object_datasets.scene_file import SceneFile
from tests.helpers import scene_files


def tetrominoes_file(tmp_path, number=5, seed=0):
    """Writes random scenes; returns (the SceneFile, the scenes)."""
    fmt = tetrominoes.SCENE_FORMAT
    path, scenes = scene_files.write_scenes(tmp_path / "scenes.tfrecords", fmt, number, seed)
    return SceneFile(path, fmt, (35, 35)), scenes


def assert_holds(packed, scenes):
    """Asserts that packed scenes, of unchanged size, are these."""
    assert len(packed) == len(scenes)
    for record, scene in zip(packed.read(np.arange(len(packed))), scenes):
        entities = np.arange(scene["mask"].shape[-4])[:, None, None]
        mask = record["labels"][..., None, :, :] == entities
        np.testing.assert_array_equal(255 * mask[..., None], scene["mask"])
        for name in scene.keys() - {"mask"}:
            np.testing.assert_array_equal(record[name], scene[name], err_msg=name)


@pytest.mark.parametrize(
    "fmt",
    [
        tetrominoes.SCENE_FORMAT,
        shapes.SCENE_FORMAT,
        balls.SCENE_FORMAT,
        multi_dsprites.SCENE_FORMATS["binarized"],
        objects_room.SCENE_FORMATS["train"],
        objects_room.SCENE_FORMATS["sequences"],
    ],
    ids=lambda fmt: fmt.name,
)
def test_packed_scenes_are_those_of_the_file(tmp_path, fmt):
    path, scenes = scene_files.write_scenes(tmp_path / "file", fmt, 2)
    packed = pack.open_scenes(SceneFile(path, fmt, fmt.features["image"].shape[-3:-1]))
    assert_holds(packed, scenes)
    np.testing.assert_array_equal(
        packed.visibility, [scene.get("visibility", np.ones(7)) for scene in scenes]
    )


@pytest.mark.parametrize(
    ("image_dim", "dtype"), [((128, 128), "uint16"), ((48, 48), "uint8"), ((50, 60), "float32")]
)
def test_crop_and_resize_are_exactly_tensorflow_1s(image_dim, dtype):
    fmt, crop_region = clevr_with_masks.SCENE_FORMAT, ((29, 221), (64, 256))
    scene = scene_files.random_scene(fmt, np.random.default_rng(0))
    image = image_ops.crop(scene["image"], crop_region)
    packed = image_ops.resize_bilinear(image, image_dim)
    assert packed.dtype == dtype
    expected = tf.compat.v1.image.resize_bilinear(
        image[None] / np.float32(255), image_dim, align_corners=False, half_pixel_centers=False
    )[0]
    np.testing.assert_allclose(
        packed / image_ops.FULL_BRIGHTNESS[dtype], expected, rtol=0, atol=2e-7
    )
    mask = image_ops.crop(scene["mask"], crop_region)
    labels = image_ops.resize_nearest(image_ops.label_map(mask)[..., None], image_dim)
    expected = tf.compat.v1.image.resize_nearest_neighbor(mask, image_dim)
    np.testing.assert_array_equal(labels == np.arange(11)[:, None, None, None], expected == 255)


def test_pixels_without_an_entity_have_a_label_of_their_own():
    mask = np.zeros([3, 1, 4, 1], np.uint8)
    mask[0, 0, 1] = mask[2, 0, 3] = 255
    np.testing.assert_array_equal(image_ops.label_map(mask), [[255, 0, 255, 2]])


def test_a_cache_is_made_without_a_word_if_asked(tmp_path, capfd):
    source, scenes = tetrominoes_file(tmp_path)
    assert_holds(pack.open_scenes(source, quiet=True), scenes)
    assert capfd.readouterr() == ("", "")


def test_a_cache_is_made_once_and_used_from_then_on(tmp_path, capfd):
    source, scenes = tetrominoes_file(tmp_path)
    assert_holds(pack.open_scenes(source), scenes)
    cache = tmp_path / "scenes.tfrecords.35x35.packed"
    assert capfd.readouterr().err.startswith(f"first use: packing {source.path} into {cache}\n")
    made = cache.stat().st_mtime_ns
    assert_holds(pack.open_scenes(source), scenes)
    assert capfd.readouterr().err == "" and cache.stat().st_mtime_ns == made
    assert sorted(os.listdir(tmp_path)) == [
        f".{cache.name}.lock",
        "scenes.tfrecords",
        cache.name,
    ]


def test_a_file_that_changed_is_packed_again(tmp_path, capfd):
    source, _ = tetrominoes_file(tmp_path)
    pack.open_scenes(source)
    _, scenes = tetrominoes_file(tmp_path, seed=1)
    assert_holds(pack.open_scenes(source), scenes)
    assert "was packed from another version of the file, or with another crop: packing" in (
        capfd.readouterr().err
    )


def test_another_crop_is_packed_again(tmp_path):
    source, scenes = tetrominoes_file(tmp_path)
    pack.open_scenes(source)
    cropped = pack.open_scenes(source._replace(crop_region=((0, 35), (0, 7))))
    for record, scene in zip(cropped.read(np.arange(len(cropped))), scenes):
        # Every fifth column is one of the file's, the others lie between them.
        np.testing.assert_allclose(255 * record["image"][:, ::5], scene["image"][:, :7], rtol=1e-6)
    assert_holds(pack.open_scenes(source), scenes)


@pytest.mark.parametrize("where", [0, 40, 4095, -1, -40])
def test_a_cache_with_a_damaged_header_or_table_is_made_again(tmp_path, capfd, where):
    source, scenes = tetrominoes_file(tmp_path)
    cache = pack.open_scenes(source).path
    data = bytearray(cache.read_bytes())
    data[where] ^= 0x55
    cache.write_bytes(data)
    capfd.readouterr()
    assert_holds(pack.open_scenes(source), scenes)
    assert f"{cache} " in capfd.readouterr().err


def test_a_damaged_scene_is_refused_when_read_and_found_by_verifying(tmp_path, capfd):
    source, scenes = tetrominoes_file(tmp_path)
    packed = pack.open_scenes(source)
    cache, size = packed.path, packed.dtype.itemsize
    data = bytearray(cache.read_bytes())
    data[4096 + 3 * size + 17] ^= 1
    cache.write_bytes(data)
    packed = pack.open_scenes(source)
    packed.read(np.array([0, 4, 2]))
    with pytest.raises(DatasetError, match=f"{cache}: scene 3 is damaged; remove the file"):
        packed.read(np.array([0, 3]))
    with pytest.raises(DatasetError, match="scene 3 is damaged"):
        try:
            list(data_of(source)("summary").take(1))
        except tf.errors.OpError as error:
            raise dataset_error_within(error) from None
    capfd.readouterr()
    assert pack.main([str(source.path), "--verify"]) == 0
    assert f"{cache} is damaged (scene 3): packing" in capfd.readouterr().err
    assert_holds(pack.open_scenes(source), scenes)
    assert pack.main([str(source.path), "--verify"]) == 0
    assert "packing" not in capfd.readouterr().err


def data_of(source):
    """Returns a data set of a SceneFile of five Tetrominoes."""
    return datasets.Tetrominoes(source.path, 5)


def test_a_truncated_cache_is_made_again(tmp_path, capfd):
    source, scenes = tetrominoes_file(tmp_path)
    cache = pack.open_scenes(source).path
    for length in (0, 100, 4096, cache.stat().st_size - 1):
        with open(cache, "rb+") as file:
            file.truncate(length)
        assert_holds(pack.open_scenes(source), scenes)
        assert f"{cache} is damaged" in capfd.readouterr().err


def test_nothing_is_left_behind_if_the_file_cannot_be_packed(tmp_path):
    source, _ = tetrominoes_file(tmp_path, number=20)
    with open(source.path, "rb+") as file:
        file.truncate(os.path.getsize(source.path) - 20)
    with pytest.raises(DatasetError, match="scenes.tfrecords: record [0-9]+: the file is trunc"):
        pack.open_scenes(source)
    lock = ".scenes.tfrecords.35x35.packed.lock"
    assert sorted(os.listdir(tmp_path)) == [lock, "scenes.tfrecords"]


def test_what_a_killed_packing_leaves_is_taken_over_by_the_next(tmp_path):
    source, scenes = tetrominoes_file(tmp_path, number=1)
    record = scene_files.serialise(scenes[0], source.scene_format)
    scene_files.write(source.path, [record] * 3000)
    process = subprocess.Popen(
        [sys.executable, "-m", "multi_object_datasets.pack", source.path],
        cwd=scene_files.PARITY.parents[1],
    )
    partial = tmp_path / "scenes.tfrecords.35x35.packed.partial"
    while not (partial.exists() and partial.stat().st_size > 4096):
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    assert process.wait() == -signal.SIGTERM and partial.exists()
    assert_holds(pack.open_scenes(source), scenes * 3000)
    assert len(os.listdir(tmp_path)) == 3 and not partial.exists()


def test_packing_does_without_tensorflow(tmp_path):
    source, _ = tetrominoes_file(tmp_path, number=1)
    program = (
        "import sys; from multi_object_datasets import pack, generate;"
        "pack.main(sys.argv[1:]); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", program, source.path, "--image-dim", "20", "20"],
        cwd=scene_files.PARITY.parents[1],
        check=True,
    )


def test_a_cache_that_cannot_be_written_is_an_error_with_advice(tmp_path):
    source, _ = tetrominoes_file(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="cannot keep the packed scenes .*data.cache=DIR"):
        pack.open_scenes(source, tmp_path / "file")


def test_three_that_want_the_same_cache_pack_once(tmp_path):
    source, scenes = tetrominoes_file(tmp_path, number=300)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "multi_object_datasets.pack", source.path],
            cwd=scene_files.PARITY.parents[1],
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    errors = "".join(process.communicate()[1] for process in processes)
    assert errors.count("first use: packing") == 1
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert_holds(pack.open_scenes(source), scenes)
    assert len(os.listdir(tmp_path)) == 3


def test_the_command_packs_with_the_usual_crop_and_names_what_it_cannot(tmp_path):
    clevr = tmp_path / "clevr"
    clevr.write_bytes((scene_files.PARITY / "clevr6_small" / "scenes.tfrecords").read_bytes())
    (tmp_path / "text").write_text("no scenes")
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "multi_object_datasets.pack",
            clevr,
            tmp_path / "text",
            "--cache",
            tmp_path / "cache",
        ],
        capture_output=True,
        text=True,
        cwd=scene_files.PARITY.parents[1],
    )
    cache = tmp_path / "cache" / "clevr.128x128.packed"
    assert process.stdout == f"{cache}: 1 scenes, 0.1 MB\n"
    # The header, image, labels and factors, checksum and visibility.
    assert cache.stat().st_size == 4096 + 128 * 128 * (3 * 2 + 1) + 11 * (4 * 8 + 4) + 4 + 4 * 11
    errors = process.stderr
    assert errors.splitlines()[-1].startswith(f"error: {tmp_path / 'text'}: record 0: not a TFR")
    assert "Traceback" not in errors and process.returncode == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image-dim", "0", "5"], "--image-dim must be at least 1 1, not 0 5"),
        (["--crop-region", "0", "36", "0", "35"], "record 0: crop_region rows 0:36"),
        (["--cache", "/proc/none"], "cannot keep the packed scenes there"),
    ],
)
def test_the_command_refuses_senseless_options_in_one_line(tmp_path, capsys, options, message):
    source, _ = tetrominoes_file(tmp_path, number=1)
    assert pack.main([source.path, *options]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ") and message in line


def test_a_folder_of_images_is_packed_as_training_packs_it(tmp_path, capsys):
    folder = tmp_path / "mine"
    folder.mkdir()
    Image.fromarray(np.full([9, 12, 3], 51, np.uint8)).save(folder / "a.png")
    assert pack.main([str(folder)]) == 1
    message = f"error: {folder} is a folder of images: give their size by --image-dim H W\n"
    assert capsys.readouterr().err == message
    assert pack.main([str(folder), "--image-dim", "8", "8"]) == 0
    assert "mine.8x8.packed: 1 scenes" in capsys.readouterr().out
    (batch,) = datasets.ImageFolder(folder, 1, [8, 8])("summary").take(1)
    np.testing.assert_allclose(batch["image"], 0.2)
    assert "packing" not in capsys.readouterr().err
