"""Digits come from the shipped file, Keras's or MNIST's own; anything else gives one clear line."""

import gzip
import pathlib
import struct

import numpy as np
import pytest

from multi_object_datasets import digits
from multi_object_datasets.errors import DatasetError

RNG = np.random.default_rng(0)
PICTURES = {
    split: RNG.integers(0, 256, [n, 28, 28], np.uint8) for split, n in (("train", 5), ("test", 3))
}
LABELS = {split: RNG.integers(0, 10, len(x)).astype(np.uint8) for split, x in PICTURES.items()}


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def write_idx(folder, compress=lambda data: data, suffix=""):
    for split, name in (("train", "train"), ("test", "t10k")):
        for what, array in (("images-idx3", PICTURES[split]), ("labels-idx1", LABELS[split])):
            (folder / f"{name}-{what}-ubyte{suffix}").write_bytes(compress(idx(array)))


def assert_digits(path):
    for split in ("train", "test"):
        images, labels = digits.load(split, path)
        np.testing.assert_array_equal(images, PICTURES[split])
        np.testing.assert_array_equal(labels, LABELS[split])


def test_the_shipped_digits_are_mnists_first_ones_and_small():
    images, labels = digits.load("train")
    assert images.shape == (8000, 28, 28) and images.dtype == np.uint8
    np.testing.assert_array_equal(labels[:10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4])
    np.testing.assert_array_equal(digits.load("test")[1][:10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9])
    assert len(digits.load("test")[0]) == 2000
    assert digits.SHIPPED.stat().st_size < 2_000_000


def test_keras_file(tmp_path):
    arrays = {f"{a}_{s}": v[s] for a, v in (("x", PICTURES), ("y", LABELS)) for s in PICTURES}
    np.savez(tmp_path / "mnist.npz", **arrays)
    assert_digits(str(tmp_path / "mnist.npz"))


def test_idx_files_by_their_folder_or_by_one_of_them_compressed_or_not(tmp_path):
    write_idx(tmp_path)
    assert_digits(str(tmp_path))
    assert_digits(str(tmp_path / "t10k-labels-idx1-ubyte"))
    packed = tmp_path / "packed"
    packed.mkdir()
    write_idx(packed, gzip.compress, ".gz")
    assert_digits(str(packed))


def spoil(path, content):
    pathlib.Path(path).write_bytes(content)
    return str(path)


def assert_refused(path, *words):
    with pytest.raises(DatasetError) as error:
        digits.load("train", path)
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_a_missing_file_is_refused(tmp_path):
    assert_refused(str(tmp_path / "nowhere.npz"), "nowhere.npz", "No such file", "mnist.npz")
    assert_refused(str(tmp_path), "train-images-idx3-ubyte", "No such file")


def test_a_file_that_is_none_is_refused(tmp_path):
    assert_refused(spoil(tmp_path / "a", b"hello, world"), "neither an npz nor an IDX file")
    assert_refused(spoil(tmp_path / "b", b""), "neither an npz nor an IDX file")


@pytest.mark.parametrize("length", [3, 10, 100, -1])
def test_an_idx_file_that_is_cut_short_is_refused(tmp_path, length):
    write_idx(tmp_path)
    file = tmp_path / "train-images-idx3-ubyte"
    spoil(file, file.read_bytes()[:length])
    assert_refused(str(tmp_path), str(file))
    assert_refused(str(file), str(file))


def test_a_gzip_file_that_is_cut_short_is_refused(tmp_path):
    write_idx(tmp_path, gzip.compress, ".gz")
    file = tmp_path / "train-labels-idx1-ubyte.gz"
    spoil(file, file.read_bytes()[:-9])
    assert_refused(str(tmp_path), str(file), "damaged gzip file")


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_an_npz_file_that_is_cut_short_is_refused(tmp_path, part):
    whole = digits.SHIPPED.read_bytes()
    assert_refused(spoil(tmp_path / "cut.npz", whole[: int(part * len(whole))]), "cut.npz")


def test_an_npz_file_with_a_spoiled_byte_is_refused(tmp_path):
    content = bytearray(digits.SHIPPED.read_bytes())
    content[100_000] ^= 255
    assert_refused(spoil(tmp_path / "spoiled.npz", bytes(content)), "spoiled.npz", "damaged")


def test_arrays_of_other_shapes_are_refused(tmp_path):
    def file(name, **arrays):
        np.savez(tmp_path / name, **arrays)
        return str(tmp_path / name)

    images, labels = PICTURES["train"], LABELS["train"]
    assert_refused(file("1.npz", x=images), "no arrays x_train and y_train")
    assert_refused(file("2.npz", x_train=images[:4], y_train=labels), "[4, 28, 28] uint8", "[5]")
    assert_refused(file("3.npz", x_train=images[:, :20], y_train=labels), "[5, 20, 28] uint8")
    assert_refused(file("4.npz", x_train=images / 256, y_train=labels), "float64")
    assert_refused(file("5.npz", x_train=images, y_train=labels + 10), "labels from")
    assert_refused(file("6.npz", x_train=images[:0], y_train=labels[:0]), "[0, 28, 28]")
