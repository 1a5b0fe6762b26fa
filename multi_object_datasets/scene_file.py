"""Files of scenes as something to pack: images cut to size, masks as label maps."""

import hashlib
import os
from typing import NamedTuple

import numpy as np

from multi_object_datasets import files, formats, image_ops, stale
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.scene_format import SceneFormat

_END = 1 << 20  # Bytes at each end of a file that tell it from others.


class SceneFile(NamedTuple):
    """TFRecord or HDF5 files of scenes, and how their images are cut out.

    Attributes:
      path: the file, a glob, or a list of these, see `files.expand`.
      scene_format: their SceneFormat.
      image_dim: (height, width) after resizing.
      crop_region: ((top, bottom), (left, right)) to keep before resizing; None keeps all.
      whole_masks: whether scenes have their masks as the file does, where they may overlap and be
        soft, instead of label maps.
    """

    path: str
    scene_format: SceneFormat
    image_dim: tuple
    crop_region: tuple = None
    whole_masks: bool = False

    def content(self):
        """Returns a string that changes with what the files hold, but not with names or times.

        It depends on the files' sizes and on both of their ends: the end of a GZIP file holds the
        checksum of its content.
        """
        digest, total = hashlib.blake2b(digest_size=16), 0
        for path in files.expand(self.path):
            try:
                with open(path, "rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    digest.update(b"%d" % size + file.read(_END))
                    file.seek(max(0, size - _END))
                    digest.update(file.read())
            except OSError as error:
                raise DatasetError(f"{path}: cannot read it ({error.strerror})") from None
            total += size
        return f"{total} bytes, {digest.hexdigest()}"

    def fingerprint(self):
        """Returns a string that changes with the files, their times included."""
        content = self.content()
        times = [os.stat(path).st_mtime_ns for path in files.expand(self.path)]
        return f"{content}, {hashlib.blake2b(repr(times).encode(), digest_size=8).hexdigest()}"

    def settings(self):
        """Returns a string of what packed scenes depend on, other than the files."""
        features = {name: f.shape for name, f in sorted(self.scene_format.features.items())}
        return f"{features}, {self.image_dim}, {self.crop_region}"

    def scenes(self, progress=None):
        """Yields packed scenes, dicts of arrays.

        image: [(T,) H, W, C], to be divided by its type's `image_ops.FULL_BRIGHTNESS`.
        labels: [(T,) H, W] uint8; with `whole_masks`, mask: [(T,) L, H, W] uint8 instead.
        visibility: [L] float32.
        All other features as in the file.

        Raises:
          DatasetError: names the file and the record that cannot be read, or a file that is out of
            date.
          NoLabelMap: likewise, for masks that need `whole_masks`.
        """
        stale.refuse_stale(self.path, self.scene_format)
        stream = formats.read_numbered_scenes(self.path, self.scene_format, progress)
        for path, number, scene in stream:
            try:
                yield self._packed(scene)
            except image_ops.NoLabelMap as error:
                raise image_ops.NoLabelMap(f"{path}: record {number}: {error}") from None
            except ValueError as error:
                raise DatasetError(f"{path}: record {number}: {error}") from None

    def _packed(self, scene):
        """Cuts and resizes a scene of the file."""
        image = image_ops.crop(scene.pop("image"), self.crop_region)
        mask = image_ops.crop(scene.pop("mask"), self.crop_region)  # [(T,) L, H, W, 1]
        packed = {"image": image_ops.resize_bilinear(image, self.image_dim)}
        if self.whole_masks:
            resized = image_ops.resize_nearest(mask, self.image_dim)
            packed["mask"] = np.ascontiguousarray(resized[..., 0])  # [(T,) L, H, W]
        else:
            labels = image_ops.label_map(mask)[..., None]
            packed["labels"] = image_ops.resize_nearest(labels, self.image_dim)[..., 0]
        packed |= scene
        if "visibility" not in packed:
            # Of the entities that have a pixel, in any frame.
            seen = mask.any(axis=(-3, -2, -1))  # [(T,) L]
            packed["visibility"] = seen.reshape(-1, seen.shape[-1]).any(axis=0).astype(np.float32)
        return packed
