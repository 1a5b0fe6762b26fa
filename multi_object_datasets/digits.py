"""Handwritten digits: MNIST's files, and the share of them that is shipped.

`digits.npz` beside this file holds the first 8000 training and the first 2000 test digits of MNIST
(Yann LeCun and Corinna Cortes, http://yann.lecun.com/exdb/mnist), in the form of Keras's
`mnist.npz`. MNIST derives from databases of NIST and is under the Creative Commons
Attribution-Share Alike 3.0 licence, and so is that file.
"""

import functools
import gzip
import pathlib
import zipfile
import zlib

import numpy as np

from multi_object_datasets import files
from multi_object_datasets.errors import DatasetError

SHIPPED = pathlib.Path(__file__).with_name("digits.npz")
SIZE = 28  # Pixels.
DOWNLOAD = "mnist"  # Instead of a file: what Keras downloads.

_IDX_NAMES = {"train": "train", "test": "t10k"}  # How the names of MNIST's own files begin.
_UNSIGNED_BYTE = 8  # IDX's code of the type.


@functools.lru_cache(maxsize=2)
def load(split, path=None):
    """Reads the digits of a split.

    Args:
      split: "train" or "test".
      path: Keras's `mnist.npz`; MNIST's own IDX files, as their folder or one of them, compressed
        with gzip or not; "mnist" for the file that Keras downloads; None for the shipped ones.

    Returns:
      (images [N, 28, 28] uint8, white on black; labels [N] uint8).

    Raises:
      DatasetError: there is no such file, it cannot be downloaded, it is neither of these, or it is
        damaged.
    """
    if path is None:
        arrays = _read_npz(SHIPPED, split)
    elif str(path) == DOWNLOAD:
        arrays = _download(split)
    else:
        path = pathlib.Path(files.expand_home(path))
        try:
            is_npz = path.is_file() and zipfile.is_zipfile(path)
            arrays = _read_npz(path, split) if is_npz else _read_idx(path, split)
        except OSError as error:
            reason = error.strerror or error
            raise DatasetError(
                f"{error.filename or path}: cannot read digits there ({reason}); give Keras's "
                f"mnist.npz, MNIST's IDX files, or the word {DOWNLOAD} to download them"
            ) from None
    return _checked(*arrays, SHIPPED if path is None else path)


def _checked(images, labels, path):
    """Returns images and labels; raises a DatasetError unless they are digits."""
    shapes_fit = images.shape == (len(labels), SIZE, SIZE) and labels.ndim == 1 and len(labels)
    if not shapes_fit or images.dtype != np.uint8 or labels.dtype.kind not in "iu":
        raise DatasetError(
            f"{path}: not digits: images {list(images.shape)} {images.dtype} and labels "
            f"{list(labels.shape)} {labels.dtype}, wanted [N, {SIZE}, {SIZE}] uint8 and [N] integer"
        )
    if labels.min() < 0 or labels.max() > 9:
        raise DatasetError(f"{path}: not digits: labels from {labels.min()} to {labels.max()}")
    return images, labels.astype(np.uint8)


def _read_npz(path, split):
    try:
        with np.load(path) as arrays:
            return arrays[f"x_{split}"], arrays[f"y_{split}"]
    except KeyError:
        raise DatasetError(f"{path}: no digits: it has no arrays x_{split} and y_{split}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"{path}: a damaged npz file ({error})") from None


def _read_idx(path, split):
    """Reads the two IDX files of a split."""
    folder = path if path.is_dir() else path.parent
    if not path.is_dir():
        _read_idx_array(path)  # Says what is wrong with the file that was named.
    begin = _IDX_NAMES[split]
    images, labels = f"{begin}-images-idx3-ubyte", f"{begin}-labels-idx1-ubyte"
    return tuple(_read_idx_array(_plain_or_gzip(folder / name)) for name in (images, labels))


def _plain_or_gzip(path):
    """Returns the path, or that with .gz if there is just the latter."""
    compressed = path.with_name(f"{path.name}.gz")
    return compressed if compressed.exists() and not path.exists() else path


def _read_idx_array(path):
    """Reads an IDX file: two zeros, type, number of axes, their sizes, the values."""
    content = path.read_bytes()
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetError(f"{path}: a damaged gzip file ({error})") from None
    num_axes = content[3] if len(content) > 3 else 0
    if content[:3] != bytes([0, 0, _UNSIGNED_BYTE]) or not 1 <= num_axes <= 3:
        raise DatasetError(f"{path}: neither an npz nor an IDX file of bytes")
    start = 4 + 4 * num_axes
    if len(content) < start:
        raise DatasetError(f"{path}: the file is truncated, in its head")
    shape = np.frombuffer(content[4:start], ">u4").astype(int)
    if len(content) - start != np.prod(shape):
        raise DatasetError(
            f"{path}: {len(content) - start} values, but its head says "
            f"{' x '.join(map(str, shape))}: copy or download it again"
        )
    return np.frombuffer(content[start:], np.uint8).reshape(shape)


def _download(split):
    """Returns the digits that Keras downloads, or has downloaded before."""
    import tensorflow as tf  # Needed only here; takes seconds.

    try:
        train, test = tf.keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception where it cannot download.
        reason = str(error).split("\n")[0]
        raise DatasetError(
            f"cannot download MNIST ({reason}): get mnist.npz, or MNIST's four IDX files, "
            "elsewhere and give its path instead"
        ) from None
    return train if split == "train" else test
