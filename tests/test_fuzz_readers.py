"""Damaged and foreign files give the right scenes or one clear error, never wrong scenes.

Every case is drawn from its number, and is a test of its own: `pytest tests/test_fuzz_readers.py`
tells how many there are.
"""

import functools
import gzip
import re

import numpy as np
import pytest

from multi_object_datasets import (
    balls,
    clevr_with_masks,
    multi_dsprites,
    objects_room,
    pack,
    records,
    shapes,
    tetrominoes,
)
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.scene_file import SceneFile
from tests.helpers import scene_files

CASES_PER_DAMAGE = 60
FORMATS = [
    tetrominoes.SCENE_FORMAT,
    shapes.SCENE_FORMAT,
    balls.SCENE_FORMAT,
    multi_dsprites.SCENE_FORMATS["binarized"],
    multi_dsprites.SCENE_FORMATS["colored_on_grayscale"],
    multi_dsprites.SCENE_FORMATS["colored_on_colored"],
    objects_room.SCENE_FORMATS["train"],
    objects_room.SCENE_FORMATS["empty_room"],
    clevr_with_masks.SCENE_FORMAT,
]


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory):
    """Returns a function from a format to (the bytes of a file of it, its scenes)."""

    @functools.cache
    def make(index):
        fmt = FORMATS[index]
        number = 1 if fmt.features["image"].shape == (240, 320, 3) else 3
        path, scenes = scene_files.write_scenes(
            tmp_path_factory.mktemp("whole") / "file", fmt, number, index
        )
        with open(path, "rb") as file:
            return file.read(), scenes

    return make


def cut(data, rng):
    return data[: rng.integers(len(data))]


def flip(data, rng):
    data = bytearray(data)
    for place in rng.integers(len(data), size=rng.choice([1, 1, 2, 10])):
        data[place] ^= rng.integers(1, 256)
    return bytes(data)


def flip_ends(data, rng):
    """Flips a byte of the GZIP header or of its trailer."""
    data = bytearray(data)
    data[rng.integers(-10, 10)] ^= rng.integers(1, 256)
    return bytes(data)


def drop(data, rng):
    start, length = rng.integers(len(data)), rng.choice([1, 4, 100, 5000])
    return data[:start] + data[start + length :]


def insert(data, rng):
    start = rng.integers(len(data) + 1)
    return data[:start] + rng.bytes(rng.choice([1, 4, 100])) + data[start:]


def blank(data, rng):
    start, length = rng.integers(len(data)), rng.choice([16, 512])
    return data[:start] + bytes(len(data[start : start + length])) + data[start + length :]


def noise(data, rng):
    return rng.bytes(rng.integers(1, 2000))


def flip_inside(data, rng):
    """Damages the records and compresses them again, so that only their checksums can tell."""
    return gzip.compress(flip(gzip.decompress(data), rng), 1)


def cut_inside(data, rng):
    return gzip.compress(cut(gzip.decompress(data), rng), 1)


DAMAGES = [cut, flip, flip_ends, drop, insert, blank, noise, flip_inside, cut_inside]


def assert_right_or_refused(read, scenes, path):
    """Asserts that `read()` gives the scenes, or an error with the path and a record number."""
    try:
        result = list(read())
    except DatasetError as error:
        assert re.match(rf"{re.escape(str(path))}: record \d+: [^\n]+$", str(error)), error
        return False
    assert len(result) == len(scenes)
    for record, scene in zip(result, scenes):
        assert record.keys() == scene.keys()
        assert all(np.array_equal(record[name], scene[name]) for name in scene)
    return True


@pytest.mark.parametrize("case", range(CASES_PER_DAMAGE))
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_read_right_or_refused(tmp_path, whole_file, damage, case):
    rng = np.random.default_rng([DAMAGES.index(damage), case])
    index = case % len(FORMATS)
    data, scenes = whole_file(index)
    path = tmp_path / "file"
    path.write_bytes(damage(data, rng))
    assert_right_or_refused(lambda: scene_files.read(path, FORMATS[index]), scenes, path)


@pytest.mark.parametrize("wanted", range(len(FORMATS)))
@pytest.mark.parametrize("index", range(len(FORMATS)))
def test_a_file_of_another_data_set_is_refused(tmp_path, whole_file, index, wanted):
    data, scenes = whole_file(index)
    path = tmp_path / "file"
    path.write_bytes(data)
    right = assert_right_or_refused(lambda: scene_files.read(path, FORMATS[wanted]), scenes, path)
    assert right == (index == wanted)


@pytest.mark.parametrize("case", range(CASES_PER_DAMAGE))
def test_any_bytes_are_an_example_or_refused(case):
    rng = np.random.default_rng(case)
    fmt = FORMATS[0]
    record = scene_files.serialise(scene_files.random_scene(fmt, rng), fmt)
    damage = [flip, cut, drop, insert, blank, noise][case % 6]
    # Mostly in the first bytes, where the structure is.
    head = rng.choice([20, 200, len(record)])
    try:
        values = records.parse_example(damage(record[:head], rng) + record[head:])
        assert all(isinstance(value, np.ndarray) for value in values.values())
    except ValueError as error:
        assert str(error) == "not a tf.Example"


@pytest.mark.parametrize("case", range(CASES_PER_DAMAGE))
def test_a_damaged_cache_is_made_again_or_refused(tmp_path, whole_file, case, capfd):
    rng = np.random.default_rng(case)
    data, scenes = whole_file(0)
    path = tmp_path / "file"
    path.write_bytes(data)
    source = SceneFile(str(path), FORMATS[0], (35, 35))
    cache = pack.open_scenes(source).path
    whole = cache.read_bytes()
    damage = [cut, flip, drop, insert, blank, noise][case % 6]
    # Half of the damages hit the header.
    cache.write_bytes(
        damage(whole, rng) if case % 12 < 6 else damage(whole[:400], rng) + whole[400:]
    )
    capfd.readouterr()
    damaged = cache.read_bytes() != whole
    everything = np.arange(len(scenes))
    try:
        packed = pack.open_scenes(source)
        read = packed.read(everything)
        assert (str(cache) in capfd.readouterr().err) == damaged
    except DatasetError as error:
        assert damaged and str(cache) in str(error)
        packed = pack.open_scenes(source, verify=True)
        read = packed.read(everything)
    for name in ("image", "x", "y", "shape", "color", "visibility"):
        np.testing.assert_array_equal(read[name], [scene[name] for scene in scenes])
