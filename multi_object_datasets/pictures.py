"""A folder of anyone's own pictures, with label maps beside them if there are masks."""

import hashlib
import pathlib
import sys
from typing import NamedTuple

import numpy as np
import tqdm
from PIL import Image, ImageOps

from multi_object_datasets import image_ops
from multi_object_datasets.errors import DatasetError

_SUFFIXES = (".png", ".jpg", ".jpeg")
_MASK_ENDING = "_mask.png"


class PictureFolder(NamedTuple):
    """A folder of PNG and JPEG files of any size, read in the order of their names.

    The masks of NAME.png or NAME.jpg are in NAME_mask.png: the label of each pixel, 0 being the
    background, as grey values or palette indices. Either all pictures have masks or none.

    Attributes:
      path: the folder.
      image_dim: (height, width) that all pictures are resized to, averaging where they shrink.
      crop_region: ((top, bottom), (left, right)) to keep before resizing; None keeps all.
      on_error: what to do with a file that cannot be used, "raise" an error or "skip" it with a
        line on stderr.
    """

    path: str
    image_dim: tuple
    crop_region: tuple = None
    on_error: str = "raise"

    def content(self):
        """Returns a string that changes with the names and sizes of the files."""
        return _hash([(file.name, file.stat().st_size) for file in self._files()])

    def fingerprint(self):
        """Returns a string that changes with the names, sizes and times of the files."""
        return self.content() + _hash([file.stat().st_mtime_ns for file in self._files()])

    def settings(self):
        """Returns a string of what packed scenes depend on, other than the files."""
        return f"pictures, {self.image_dim}, {self.crop_region}, {self.on_error}"

    def scenes(self, progress=None):
        """Yields packed scenes: dicts of image, with masks also of labels [H, W] and visibility.

        Raises:
          DatasetError: names the file that cannot be used; or there is none.
        """
        num_entities = self._num_entities()
        number = 0
        # disable=None: a bar on a terminal only.
        for file in tqdm.tqdm(self._pictures(), progress, disable=None if progress else True):
            try:
                yield self._scene(file, num_entities)
                number += 1
            # What Pillow raises for files of all kinds of wrong content.
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                message = f"{file}: {error}"
                if self.on_error == "raise":
                    raise DatasetError(f"{message} (data.on_error=skip leaves it out)") from None
                print(f"skipped {message}", file=sys.stderr)
        if number == 0:
            raise DatasetError(f"{self.path}: none of its pictures can be used")

    def _scene(self, file, num_entities):
        picture = self._cut(ImageOps.exif_transpose(Image.open(file)).convert("RGB"))
        scene = {"image": np.asarray(picture.resize(self.image_dim[::-1], Image.BILINEAR))}
        if num_entities:
            mask = _label_picture(_mask_of(file))
            with Image.open(file) as whole:
                if ImageOps.exif_transpose(whole).size != mask.size:
                    raise ValueError(f"its mask {_mask_of(file).name} has another size")
            labels = np.asarray(self._cut(mask).resize(self.image_dim[::-1], Image.NEAREST))
            scene["labels"] = labels
            scene["visibility"] = np.isin(np.arange(num_entities), labels).astype(np.float32)
        return scene

    def _cut(self, picture):
        """Crops a picture."""
        if self.crop_region is None:
            return picture
        (top, bottom), (left, right) = self.crop_region
        if bottom > picture.height or right > picture.width:
            raise ValueError(
                f"crop_region rows {top}:{bottom}, columns {left}:{right} does not lie inside the "
                f"picture of {picture.height}x{picture.width}"
            )
        return picture.crop((left, top, right, bottom))

    def _pictures(self):
        """Returns the paths of the pictures, in order."""
        try:
            files = sorted(pathlib.Path(self.path).iterdir())
        except OSError as error:
            raise DatasetError(
                f"{self.path}: cannot read the folder of pictures ({error.strerror})"
            ) from None
        files = [
            file
            for file in files
            if file.suffix.lower() in _SUFFIXES and not file.name.endswith(_MASK_ENDING)
        ]
        if not files:
            raise DatasetError(f"{self.path}: there are no PNG or JPEG files in this folder")
        return files

    def _masks(self):
        """Returns the paths of the masks that there are."""
        return [mask for mask in map(_mask_of, self._pictures()) if mask.exists()]

    def _files(self):
        """Returns the paths of pictures and masks."""
        return [*self._pictures(), *self._masks()]

    def _num_entities(self):
        """Returns the number of labels up to the largest one in any mask, 0 without masks."""
        num_entities = 0
        for mask in self._masks():
            try:
                num_entities = max(num_entities, 1 + int(np.max(_label_picture(mask))))
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
                num_entities = max(num_entities, 1)  # `scenes` meets it again and deals with it.
        return num_entities


def _hash(values):
    """Returns a short string that changes with a list of values."""
    return hashlib.blake2b(repr(values).encode(), digest_size=16).hexdigest()


def _mask_of(file):
    """Returns the path of the mask of a picture."""
    return file.with_name(file.stem + _MASK_ENDING)


def _label_picture(file):
    """Opens a mask as a picture of uint8 labels."""
    labels = np.asarray(Image.open(file))
    if labels.ndim != 2:
        raise ValueError(f"its mask {file.name} has colours instead of one label for each pixel")
    if labels.max() >= image_ops.NO_ENTITY:
        raise ValueError(f"its mask {file.name} has labels above {image_ops.NO_ENTITY - 1}")
    return Image.fromarray(labels.astype(np.uint8))
