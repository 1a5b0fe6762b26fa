"""Where generated data files go, what is said before, and what where they cannot go anywhere."""

import re
import subprocess
import sys

import pytest

from iodine.data import datasets, default_files
from iodine.errors import UserError
from multi_object_datasets import formats
from tests.helpers.generator_process import ROOT, command

BALLS = "multi_object_datasets/balls_train.tfrecords"


@pytest.fixture(autouse=True)
def few_scenes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.Balls, "num_scenes", 6)
    monkeypatch.setattr(datasets.MultiMNIST, "num_scenes", {"test": 3, "train": 5})


def test_iodine_data_names_the_folder_of_generated_files(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("IODINE_DATA", "~/data [1]/scenes")
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "data [1]" / "scenes"
    assert next(iter(datasets.Balls(BALLS, 2)()))["image"].shape[0] == 2
    line = rf"no {re.escape(str(folder))}/balls_train.tfrecords yet: generating 6 scenes, about a s"
    assert re.search(line, capfd.readouterr().err)
    assert len(list(formats.read_scenes(folder / "balls_train.tfrecords"))) == 6
    digits = [
        f"multi_object_datasets/multi_mnist_small_{split}.tfrecords" for split in ("test", "train")
    ]
    options = {"image_dim": [64, 64], "dataset_variant": "small", "held_out": 3}
    assert next(iter(datasets.MultiMNIST(digits, 2, **options)()))["image"].shape[0] == 2
    assert not (tmp_path / "multi_object_datasets").exists()


def test_paths_of_ones_own_stay_as_they_are(tmp_path, monkeypatch):
    paths = ["mine.tfrecords", "/multi_object_datasets/a", "multi_object_datasets", tmp_path]
    for path in [*paths, paths]:
        assert default_files.resolve(path) == path
        monkeypatch.setenv("IODINE_DATA", "elsewhere")
        assert default_files.resolve(path) == path
    assert default_files.resolve([BALLS]) == ["elsewhere/balls_train.tfrecords"]


@pytest.mark.parametrize("folder", ["/proc/none", "file", "file/data", "/dev/null"])
def test_where_nothing_can_be_written_one_line_names_data_path(tmp_path, monkeypatch, folder):
    (tmp_path / "file").touch()
    monkeypatch.setenv("IODINE_DATA", folder)
    with pytest.raises(UserError) as error:
        datasets.Balls(BALLS, 2)("train")
    line = str(error.value)
    assert line.startswith(f"{folder}/balls_train.tfrecords does not exist, and scenes cannot be ")
    assert "set data.path to a file" in line and "IODINE_DATA" in line and "\n" not in line


def test_commands_work_where_a_daemon_has_closed_stderr_and_stdout(tmp_path):
    for words, module in (
        (("balls", "--num-scenes", 9, "--out", tmp_path / "a", "--workers", 1), "generate"),
        ((tmp_path / "a",), "pack"),
        ((tmp_path / "a", "--to", "npz", "--held-out", 2, "--out", tmp_path / "a.npz"), "export"),
    ):
        shell = ["bash", "-c", '"$@" >&- 2>&- <&-', "-"]
        assert subprocess.run([*shell, *command(*words, module=module)], cwd=ROOT).returncode == 0
    assert len(list(formats.read_scenes(tmp_path / "a"))) == 9
    assert (tmp_path / "a.14x14.packed").exists() and (tmp_path / "a.npz").exists()


def test_packing_shows_no_bar_where_there_is_no_stderr(tmp_path):
    program = (
        "import sys; sys.stderr = None\n"
        "from multi_object_datasets import generate, pack, scene_file, formats\n"
        "generate.generate('balls', 5, 0, sys.argv[1], workers=1)\n"
        "source = scene_file.SceneFile(sys.argv[1], formats.recognise(sys.argv[1]), (14, 14))\n"
        "assert len(pack.open_scenes(source)) == 5"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "a"], cwd=ROOT, check=True)
