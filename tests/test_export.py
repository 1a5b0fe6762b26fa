"""Scenes for other frameworks: HDF5 and npz files, read back as they were; no TensorFlow needed."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from iodine.data import datasets
from iodine.errors import UserError
from multi_object_datasets import (
    balls,
    export,
    formats,
    hdf5,
    multi_dsprites,
    objects_room,
    pack,
    tetrominoes,
)
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.scene_file import SceneFile
from tests.helpers import scene_files
from tests.helpers.generator_process import ROOT, assert_refused, run

FORMATS = {
    "tetrominoes": tetrominoes.SCENE_FORMAT,
    "sprites": multi_dsprites.SCENE_FORMATS["colored_on_grayscale"],
    "room": objects_room.SCENE_FORMATS["train"],
    "moving balls": balls.SCENE_FORMATS["sequences"],
}


def scene(entities=5):
    """What a file of one blank scene holds."""
    masks = np.zeros([1, entities, 4, 4, 1], np.uint8)
    return {"train/imgs": np.zeros([1, 4, 4, 3], np.uint8), "train/masks": masks}


@pytest.mark.parametrize("kind", export.KINDS)
@pytest.mark.parametrize("name", FORMATS)
def test_files_hold_the_scenes_the_held_out_ones_in_test(tmp_path, name, kind):
    # More than are written at a time, of either split.
    path, scenes = scene_files.write_scenes(tmp_path / "scenes", FORMATS[name], 150)
    export.export(path, kind, tmp_path / "out", held_out=70)
    if kind == "npz":
        arrays = dict(np.load(tmp_path / "out"))
    else:
        arrays = {}
        with h5py.File(tmp_path / "out") as file:
            file.visititems(
                lambda key, node: arrays.update({key: node[()]} if hasattr(node, "shape") else {})
            )
    for split, chosen in (("test", scenes[:70]), ("train", scenes[70:])):
        expected = {
            {"image": "imgs", "mask": "masks"}.get(feature, f"factors/{feature}"): np.stack(
                [scene[feature] for scene in chosen]
            )
            for feature in scenes[0]
        }
        found = {
            key.removeprefix(f"{split}/"): a for key, a in arrays.items() if key.startswith(split)
        }
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert found[key].dtype == value.dtype
            np.testing.assert_array_equal(found[key], value, err_msg=key)
    assert sorted(os.listdir(tmp_path)) == ["out", "scenes"]


@pytest.mark.parametrize("name", FORMATS)
def test_an_hdf5_file_packs_to_the_bytes_of_the_file_that_it_was_made_of(tmp_path, name):
    fmt = FORMATS[name]
    path, _ = scene_files.write_scenes(tmp_path / "scenes", fmt, 5)
    export.export(path, "hdf5", tmp_path / "scenes.h5", held_out=2)
    size = fmt.features["image"].shape[-3:-1]
    packed = {
        file: pack.open_scenes(SceneFile(file, formats.recognise(file), size))
        for file in (path, str(tmp_path / "scenes.h5"))
    }
    first, second = packed.values()
    assert len(first) == len(second) == 5
    names = set(first.dtype.names)
    assert names == set(second.dtype.names)
    numbers = np.arange(5)
    for feature in names:
        value, other = first.read(numbers)[feature], second.read(numbers)[feature]
        assert value.dtype == other.dtype and value.tobytes() == other.tobytes()
    np.testing.assert_array_equal(first.visibility, second.visibility)


def test_training_and_test_batches_of_an_hdf5_file_are_those_of_the_file_it_was_made_of(tmp_path):
    path, _ = scene_files.write_scenes(tmp_path / "a", FORMATS["sprites"], 9)
    export.export(path, "hdf5", tmp_path / "a.h5", held_out=3)
    for subset in ("train", "test", "summary"):
        batches = [
            next(datasets.MultiDSprites(p, 4, held_out=3)(subset).as_numpy_iterator())
            for p in (path, tmp_path / "a.h5")
        ]
        for name in ("image", "mask", "visibility"):
            assert batches[0][name].tobytes() == batches[1][name].tobytes()
        assert batches[0]["factors"].keys() == batches[1]["factors"].keys()
        for name, value in batches[0]["factors"].items():
            assert value.tobytes() == batches[1]["factors"][name].tobytes()
    # The command packs what training reads.
    made = (tmp_path / "a.h5.64x64.packed").stat().st_mtime_ns
    assert pack.main([str(tmp_path / "a.h5")]) == 0
    assert (tmp_path / "a.h5.64x64.packed").stat().st_mtime_ns == made


def test_a_file_of_other_projects_without_visibility_and_with_masks_of_0_and_1_is_read(tmp_path):
    fmt, rng = FORMATS["sprites"], np.random.default_rng(0)
    scenes = [scene_files.random_scene(fmt, rng) for _ in range(6)]
    for scene in scenes:
        scene["mask"][0] += scene["mask"][5]
        scene["mask"][5] = 0  # The last entity is nowhere.
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        for split, part in (("train", scenes[2:]), ("test", scenes[:2])):
            file[f"{split}/imgs"] = np.stack([scene["image"] for scene in part])
            file[f"{split}/masks"] = np.stack([scene["mask"] // 255 for scene in part])
            file[f"{split}/factors/x"] = np.stack([scene["x"] for scene in part]).astype(float)
    dataset = datasets.MultiDSprites(str(tmp_path / "theirs.h5"), 6, held_out=2)
    (batch,) = dataset("summary").take(1).as_numpy_iterator()
    np.testing.assert_array_equal(batch["visibility"], [[1, 1, 1, 1, 1, 0]] * 6)
    masks = np.stack([scene["mask"] for scene in scenes])[:, None] / 255
    np.testing.assert_array_equal(batch["mask"], masks)
    assert batch["factors"].keys() == {"x"}
    np.testing.assert_array_equal(batch["factors"]["x"][..., 0], [s["x"] for s in scenes])
    (test,) = dataset("test").as_numpy_iterator()
    np.testing.assert_array_equal(test["image"], batch["image"][:2])


def test_scenes_of_another_size_and_depth_are_resized(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["train/imgs"] = np.full([3, 128, 128, 3], 9, np.uint8)
        masks = np.zeros([3, 7, 128, 128, 1], np.uint8)
        masks[:, 0] = 255
        file["train/masks"] = masks
    dataset = datasets.CLEVR(tmp_path / "f.h5", 3, [64, 64], crop_region=None)
    (batch,) = dataset("train").take(1).as_numpy_iterator()
    assert batch["image"].shape == (3, 1, 64, 64, 3) and batch["mask"].shape[2] == 7
    assert batch["factors"] == {}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda file: None, "has no group test or train"),
        (lambda file: file.create_group("train"), "group train has no imgs and masks"),
        (
            lambda file: file.update({"train/imgs": np.zeros([1, 2, 2, 3]), "train/masks": [0]}),
            "train/imgs are not uint8",
        ),
        (
            lambda file: file.update(
                {
                    "train/imgs": np.zeros([1, 4, 4, 3], np.uint8),
                    "train/masks": np.zeros([1, 5, 4, 4], np.uint8),
                }
            ),
            "not a file of scenes: imgs .4, 4, 3. and masks .5, 4, 4.",
        ),
        (
            lambda file: file.update(
                {
                    "train/imgs": np.zeros([1, 4, 4, 1], np.uint8),
                    "train/masks": np.zeros([1, 5, 4, 4, 1], np.uint8),
                }
            ),
            "not scenes of tetrominoes: imgs are 4x4x1, wanted 35x35x3 but for the size",
        ),
        (
            lambda file: file.update(
                {
                    "train/imgs": np.zeros([2, 4, 4, 3], np.uint8),
                    "train/masks": np.zeros([1, 5, 4, 4, 1], np.uint8),
                }
            ),
            "group train: 'mask' is .1, 5, 4, 4, 1., wanted .2, 5, 4, 4, 1.",
        ),
        (
            lambda file: file.update({"train/imgs/x": 1, "train/masks": 1}),
            "train/imgs are not uint8",
        ),
        (lambda file: file.update({**scene(), "train/factors": 1}), "train/factors is no group"),
        (lambda file: file.update(scene(entities=0)), "not a file of scenes"),
        (lambda file: file.update(scene(entities=257)), "not a file of scenes"),
    ],
)
def test_hdf5_files_of_another_layout_are_named(tmp_path, make, message):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        make(file)
    with pytest.raises(DatasetError, match=f"{tmp_path}/f.h5: {message}"):
        datasets.Tetrominoes(str(tmp_path / "f.h5"), 1)("train")


def test_groups_and_dangling_links_among_the_factors_are_none(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.update({**scene(), "train/factors/group/x": 1, "train/factors/x": np.ones([1, 5])})
        file["train/factors/nowhere"] = h5py.SoftLink("/nowhere")
    assert set(hdf5.scene_format(tmp_path / "f.h5").features) == {"image", "mask", "x"}


def test_a_second_export_to_the_same_file_loses_neither(tmp_path, monkeypatch):
    path, _ = scene_files.write_scenes(tmp_path / "a", FORMATS["tetrominoes"], 3)

    def scenes(*arguments, **options):
        monkeypatch.undo()
        export.export(path, "npz", tmp_path / "a.npz", held_out=1)  # by another process
        return formats.read_numbered_scenes(*arguments, **options)

    monkeypatch.setattr(export.formats, "read_numbered_scenes", scenes)
    with pytest.raises(DatasetError, match="a.npz exists"):
        export.export(path, "npz", tmp_path / "a.npz", held_out=2)
    assert len(np.load(tmp_path / "a.npz")["test/imgs"]) == 1
    assert sorted(os.listdir(tmp_path)) == ["a", "a.npz"]


def test_a_truncated_hdf5_file_is_one_error(tmp_path):
    path, _ = scene_files.write_scenes(tmp_path / "a", FORMATS["tetrominoes"], 30)
    export.export(path, "hdf5", tmp_path / "a.h5", held_out=5)
    data = (tmp_path / "a.h5").read_bytes()
    for share in (0.1, 0.5, 0.9):
        (tmp_path / "a.h5").write_bytes(data[: int(share * len(data))])
        with pytest.raises((DatasetError, UserError), match=f"{tmp_path}/a.h5: "):
            datasets.Tetrominoes(str(tmp_path / "a.h5"), 1)("train")


def test_the_command_exports_and_refuses_in_one_line(tmp_path):
    path, _ = scene_files.write_scenes(tmp_path / "scenes", FORMATS["tetrominoes"], 5)
    words = path, "--to", "hdf5", "--out", tmp_path / "new" / "a.h5"
    done = run(*words, "--held-out", 2, module="export")
    assert done.returncode == 0 and done.stdout == f"wrote {tmp_path}/new/a.h5\n"
    with h5py.File(tmp_path / "new" / "a.h5") as file:
        assert len(file["test/imgs"]) == 2 and len(file["train/imgs"]) == 3
    for arguments, message in (
        (words, "exists"),
        ((path, "--to", "csv", "--out", tmp_path / "b"), "'csv'"),
        ((path, "--to", "npz", "--out", tmp_path / "b"), "has 5 scenes, no more than are held out"),
        ((path, "--to", "npz", "--out", tmp_path / "b", "--held-out", -1), "at least 0, not -1"),
        ((tmp_path / "none", "--to", "npz", "--out", tmp_path / "b"), "No such file"),
        ((path, "--to", "npz", "--out", tmp_path / "scenes" / "b"), "cannot write"),
    ):
        assert_refused(arguments, message, module="export")
    assert sorted(os.listdir(tmp_path)) == ["new", "scenes"]


def test_generating_reading_and_exporting_need_neither_tensorflow_nor_scipy(tmp_path):
    program = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "sonnet", "scipy", "matplotlib"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Block())
from multi_object_datasets import export, formats, generate, generators, pack
from multi_object_datasets.generators import contact_sheet, worker

for name in ("tetrominoes", "multi_dsprites", "shapes", "balls", "multi_mnist"):
    path = f"{sys.argv[1]}/{name}"
    generate.generate(name, num_scenes=6, seed=0, path=path, workers=1)
    scenes = list(formats.read_scenes(path))
    module, variant = generators.load(name)
    drawn = module.scene(worker.scene_rng(0, "train", 5), variant)
    assert len(scenes) == 6 and (scenes[5]["image"] == drawn["image"]).all()
    for kind in export.KINDS:
        export.export(path, kind, f"{path}.{kind}", held_out=2)
    assert len(list(formats.read_scenes(f"{path}.hdf5"))) == 6
    assert pack.main([path]) == 0
contact_sheet.contact_sheet("balls", f"{sys.argv[1]}/sheet.png")
"""
    subprocess.run([sys.executable, "-c", program, tmp_path], cwd=ROOT, check=True)
