"""Packs a file of scenes into a cache that is read at any position, at memory speed.

    python -m multi_object_datasets.pack FILE ... [--image-dim H W] [--crop-region T B L R]

The cache, FILE.HxW.packed, is a header of 4096 bytes (JSON) and then one record of fixed size per
scene, to be read through `np.memmap`. A record holds the image after crop and resize, the masks as
a uint8 label map, and all other features: 5.0 kB a scene for Tetrominoes, 17 kB for Multi-dSprites,
115 kB for CLEVR at 128x128.

The header binds the cache to the size, the modification time and a hash of both ends of FILE (the
end of a GZIP file holds the checksum of its content), and holds a checksum of the whole cache,
verified on opening. A cache that no longer fits its file, or is damaged, is made anew.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import sys
from typing import NamedTuple

import google_crc32c
import numpy as np

from multi_object_datasets import clevr_with_masks, formats, image_ops
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.scene_format import SceneFormat

CLEVR_CROP_REGION = ((29, 221), (64, 256))
CLEVR_IMAGE_DIM = (128, 128)
_VERSION = 1
_HEADER_SIZE = 4096
_BLOCK = 1 << 22  # Bytes to checksum at a time.


class SceneFile(NamedTuple):
    """A TFRecord file of scenes and how its images are cut out.

    Attributes:
      path: the file.
      scene_format: its SceneFormat.
      image_dim: (height, width) after resizing.
      crop_region: ((top, bottom), (left, right)) to keep before resizing; None keeps all.
    """

    path: str
    scene_format: SceneFormat
    image_dim: tuple
    crop_region: tuple = None

    def fingerprint(self):
        """Returns a string that changes with the file."""
        try:
            with open(self.path, "rb") as file:
                stat = os.fstat(file.fileno())
                digest = hashlib.blake2b(file.read(1 << 20), digest_size=16)
                file.seek(max(0, stat.st_size - (1 << 20)))
                digest.update(file.read())
        except OSError as error:
            raise DatasetError(f"{self.path}: cannot read it ({error.strerror})") from None
        return f"{stat.st_size} bytes, {stat.st_mtime_ns} ns, {digest.hexdigest()}"

    def settings(self):
        """Returns a string of what packed scenes depend on, other than the file."""
        return f"{self.scene_format.name}, {self.image_dim}, {self.crop_region}"

    def scenes(self, progress=None):
        """Yields packed scenes: dicts of image, labels [H, W], visibility and other features.

        Raises:
          DatasetError: names the file and the record that cannot be read.
        """
        stream = formats.read_scenes(self.path, self.scene_format, progress)
        for number, scene in enumerate(stream):
            try:
                yield self._packed(scene)
            except ValueError as error:
                raise DatasetError(f"{self.path}: record {number}: {error}") from None

    def _packed(self, scene):
        image = image_ops.crop(scene.pop("image"), self.crop_region)
        mask = scene.pop("mask")
        labels = image_ops.label_map(image_ops.crop(mask, self.crop_region))[..., None]
        packed = {
            "image": image_ops.resize_bilinear(image, self.image_dim),
            "labels": image_ops.resize_nearest(labels, self.image_dim)[..., 0],
            **scene,
        }
        if "visibility" not in packed:
            packed["visibility"] = image_ops.visible_entities(packed["labels"], mask.shape[-4])
        return packed


def open_scenes(source, directory=None):
    """Opens the packed scenes of a source, packing it first where that is needed.

    One line on stderr says when and why it is packed.

    Args:
      source: a `SceneFile`, or anything with its `path`, `image_dim` and methods.
      directory: where the cache is, default beside the source.

    Returns:
      np.memmap [num_scenes] of a structured type with the fields of the packed scenes.

    Raises:
      DatasetError: the source cannot be read, or the cache cannot be written.
    """
    cache = _cache_path(source, directory)
    identity = {"version": _VERSION, "source": source.fingerprint(), "settings": source.settings()}
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        packed, _ = _open(cache, identity)
        if packed is None:
            with only_one_process(cache):
                # Another process may just have packed it.
                packed, reason = _open(cache, identity)
                if packed is None:
                    print(f"{reason}: packing {source.path} into {cache}", file=sys.stderr)
                    _write(cache, identity, source.scenes(progress="packing"))
                    packed, reason = _open(cache, identity)
                    if packed is None:
                        raise DatasetError(f"{cache}: {reason} right after it was written")
    except OSError as error:
        raise DatasetError(
            f"{cache}: cannot keep the packed scenes there ({error.strerror}); "
            "give another directory (data.cache=DIR) or do without (data.cache=False)"
        ) from None
    return packed


def _cache_path(source, directory):
    """Returns the path of the cache of a source."""
    path = pathlib.Path(os.path.abspath(source.path))
    directory = path.parent if directory is None else pathlib.Path(directory)
    return directory / f"{path.name}.{'x'.join(map(str, source.image_dim))}.packed"


@contextlib.contextmanager
def only_one_process(path):
    """Keeps other processes that make the same file waiting until the `with` block is left."""
    lock = path.with_name(path.name + ".lock")
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _open(cache, identity):
    """Returns (the memory-mapped scenes, None), or (None, why they cannot be used)."""
    try:
        with open(cache, "rb") as file:
            header = json.loads(file.read(_HEADER_SIZE))
            checksum = header.pop("checksum")
            if {key: header[key] for key in identity} != identity:
                return None, (
                    f"{cache} was packed from another version of the file, or with another crop"
                )
            dtype = np.dtype([(name, kind, tuple(shape)) for name, kind, shape in header["dtype"]])
            if file.seek(0, os.SEEK_END) != _HEADER_SIZE + header["num_scenes"] * dtype.itemsize:
                return None, f"{cache} is damaged (wrong size)"
            if checksum != _checksum(header, file):
                return None, f"{cache} is damaged (wrong checksum)"
    except FileNotFoundError:
        return None, "first use"
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, f"{cache} is damaged (no header)"
    shape = (header["num_scenes"],)
    return np.memmap(cache, dtype, "r", offset=_HEADER_SIZE, shape=shape), None


def _checksum(header, file):
    """Returns the CRC-32C of the header and of all records in the file."""
    crc = google_crc32c.value(json.dumps(header).encode())
    file.seek(_HEADER_SIZE)
    while block := file.read(_BLOCK):
        crc = google_crc32c.extend(crc, block)
    return crc


def _write(cache, identity, packed_scenes):
    """Writes scenes under a temporary name, which becomes `cache` when it is whole."""
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}")
    try:
        with open(temporary, "wb+") as file:
            file.write(b"\0" * _HEADER_SIZE)
            dtype, num_scenes = None, 0
            for scene in packed_scenes:
                if dtype is None:
                    dtype = np.dtype([(k, v.dtype.str, v.shape) for k, v in scene.items()])
                    record = np.empty([], dtype)
                for name, value in scene.items():
                    record[name] = value
                file.write(record.tobytes())
                num_scenes += 1
            fields = [(name, dtype[name].base.str, dtype[name].shape) for name in dtype.names]
            header = {**identity, "num_scenes": num_scenes, "dtype": fields}
            header = {**header, "checksum": _checksum(header, file)}
            file.seek(0)
            file.write(json.dumps(header).encode().ljust(_HEADER_SIZE - 1) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, cache)
    finally:
        temporary.unlink(missing_ok=True)


def main(arguments=None):
    """Packs the files named on the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m multi_object_datasets.pack",
        description="Pack files of scenes for fast reading. Training does so on first use.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="TFRecord file of any data set")
    parser.add_argument(
        "--image-dim",
        nargs=2,
        type=int,
        metavar=("HEIGHT", "WIDTH"),
        help="size after resizing (default: 128 128 for CLEVR, else as in the file)",
    )
    parser.add_argument(
        "--crop-region",
        nargs=4,
        type=int,
        metavar=("TOP", "BOTTOM", "LEFT", "RIGHT"),
        help="rows and columns to keep (default: 29 221 64 256 for CLEVR, else all)",
    )
    parser.add_argument("--cache", metavar="DIR", help="where to put the caches (default: beside)")
    options = parser.parse_args(arguments)
    for file in options.files:
        try:
            packed = open_scenes(_scene_file(file, options), options.cache)
        except DatasetError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        print(f"{packed.filename}: {len(packed)} scenes, {packed.nbytes / 1e6:.1f} MB")
    return 0


def _scene_file(path, options):
    """Returns the SceneFile that the options ask for, with its data set's usual crop and size."""
    scene_format = formats.recognise(path)
    image_dim, crop_region = scene_format.features["image"].shape[-3:-1], None
    if scene_format == clevr_with_masks.SCENE_FORMAT:
        image_dim, crop_region = CLEVR_IMAGE_DIM, CLEVR_CROP_REGION
    if options.crop_region:
        top, bottom, left, right = options.crop_region
        crop_region = ((top, bottom), (left, right))
    return SceneFile(path, scene_format, tuple(options.image_dim or image_dim), crop_region)


if __name__ == "__main__":
    sys.exit(main())
