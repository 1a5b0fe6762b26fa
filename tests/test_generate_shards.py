"""Several machines draw one data set: the same scenes, in the same bytes, as one machine would."""

import subprocess

import pytest

from multi_object_datasets import formats, generators
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.generate import generate
from multi_object_datasets.generators import shapes
from tests.helpers.generator_process import ROOT, assert_refused, command


def test_shards_that_processes_draw_at_a_time_are_the_file_of_one(tmp_path):
    # Six chunks of 2500 scenes for four machines.
    words = "tetrominoes", "--num-scenes", 13000, "--seed", 3, "--workers", 1
    processes = [
        subprocess.Popen(
            command(*words, "--out", tmp_path / "scenes", "--shard", f"{index}/4"),
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        for index in range(4)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    shards = sorted(tmp_path.glob("scenes-*"))
    assert [shard.name for shard in shards] == [f"scenes-0000{i}-of-00004" for i in range(4)]
    generate("tetrominoes", 13000, 3, tmp_path / "whole")
    joined = b"".join(shard.read_bytes() for shard in shards)
    assert joined == (tmp_path / "whole").read_bytes()


def test_a_glob_reads_the_scenes_of_all_shards_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "CHUNK_SIZE", 2)  # The workers get chunks, and know no size.
    for index in (2, 0, 1):
        generate("shapes", 7, 0, tmp_path / "scenes", workers=1, shard=(index, 3))
    generate("shapes", 7, 0, tmp_path / "whole", workers=1)
    scenes, whole = (
        [scene["image"].tobytes() for scene in formats.read_scenes(tmp_path / name)]
        for name in ("scenes-*", "whole")
    )
    assert scenes == whole and len(set(scenes)) == 7


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ((3, 3), "shard 3/3: I/N needs .* I from 0 to N - 1"),
        ((-1, 3), "shard -1/3: "),
        ((0, 0), "--shard 0/0: I/N needs"),
        ((0, 2), "shard 0/2: these scenes make 1 parts at most"),
    ],
)
def test_shards_that_make_no_sense_are_named(tmp_path, shard, message):
    assert generators.load("shapes")[0].CHUNK_SIZE > 7
    with pytest.raises(DatasetError, match=message):
        generate("shapes", 7, 0, tmp_path / "scenes", shard=shard)
    assert not list(tmp_path.iterdir())


def test_a_shard_is_written_as_two_numbers(tmp_path):
    words = ["shapes", "--num-scenes", 7, "--out", tmp_path / "scenes", "--shard"]
    for text in ("1", "a/2", "1/2/3"):
        assert_refused([*words, text], "--shard: I/N is wanted", text)
