"""A folder of anyone's own pictures as something to pack, with label maps as masks if there are."""

import hashlib
import sys
from typing import NamedTuple

import numpy as np
import tqdm
from PIL import Image

from multi_object_datasets import image_files, image_ops
from multi_object_datasets.errors import DatasetError


class PictureFolder(NamedTuple):
    """A folder of PNG and JPEG files of any size, read in the order of their names.

    The masks of NAME.png or NAME.jpg are in NAME_mask.png, as grey values or palette indices: 0 for
    the background, 1, 2, ... for the objects; 0 and 255 alone are the background and one object.
    Either all pictures have masks or none.

    Attributes:
      path: the folder.
      image_dim: (height, width) that all pictures are resized to, averaging where they shrink.
      crop_region: ((top, bottom), (left, right)) to keep before resizing; None keeps all.
      framing: how a picture of another ratio of sides is brought to it, see `image_files.frame`.
      on_error: what to do with a file that cannot be used, "raise" an error or "skip" it with a
        line on stderr.
    """

    path: str
    image_dim: tuple
    crop_region: tuple = None
    framing: str = "crop"
    on_error: str = "raise"

    def content(self):
        """Returns a string that changes with the names and sizes of the files."""
        return _hash([(file.name, file.stat().st_size) for file in self._files()])

    def fingerprint(self):
        """Returns a string that changes with the names, sizes and times of the files."""
        return self.content() + _hash([file.stat().st_mtime_ns for file in self._files()])

    def settings(self):
        """Returns a string of what packed scenes depend on, other than the files."""
        return f"pictures, {', '.join(map(str, self[1:]))}"

    def scenes(self, progress=None):
        """Yields packed scenes: dicts of image, with masks also of labels [H, W] and visibility.

        Raises:
          DatasetError: names the file that cannot be used; or there is none.
        """
        masks = self._masks()
        num_entities = max(map(self._num_labels, masks.values()), default=0)
        number = 0
        files = [file for file in self._files() if not image_files.is_mask(file)]
        # disable=None: a bar on a terminal only.
        disable = None if progress and sys.stderr is not None else True
        for file in tqdm.tqdm(files, progress, disable=disable):
            try:
                yield self._scene(file, masks, num_entities)
                number += 1
            except DatasetError as error:
                self._leave_out(error)
        if number == 0:
            raise DatasetError(f"{self.path}: none of its pictures can be used")

    def _scene(self, file, masks, num_entities):
        """Returns the packed scene of a picture."""
        framing = (file, self.image_dim, self.crop_region, self.framing)
        picture = image_files.open_picture(file)
        scene = {"image": np.asarray(image_files.frame(picture, *framing, Image.BILINEAR))}
        if masks:
            if file.stem not in masks:
                raise DatasetError(f"{file}: there is no mask {file.stem}_mask.png")
            mask = Image.fromarray(_labels(masks[file.stem]))
            if mask.size != picture.size:
                raise DatasetError(f"{file}: its mask {masks[file.stem].name} has another size")
            scene["labels"] = np.asarray(image_files.frame(mask, *framing, Image.NEAREST))
            seen = np.isin(np.arange(num_entities), scene["labels"])
            scene["visibility"] = seen.astype(np.float32)
        return scene

    def _files(self):
        """Returns the paths of pictures and masks, in order."""
        image_files.picture_paths(self.path)  # For its errors.
        return image_files.folder_files(self.path)

    def _masks(self):
        """Returns {picture's name without suffix: path of its mask}."""
        files = self._files()
        stems = {file.stem for file in files if not image_files.is_mask(file)}
        masks = {}
        for mask in filter(image_files.is_mask, files):
            stem = image_files.picture_of_mask(mask)
            if mask.suffix.lower() != ".png":
                self._leave_out(f"{mask}: a mask has to be a PNG file, others blur its labels")
            elif stem not in stems:
                self._leave_out(f"{mask}: there is no picture {stem}.png or .jpg to this mask")
            else:
                masks[stem] = mask
        return masks

    def _num_labels(self, mask):
        """Returns the number of labels up to the largest one in a mask."""
        try:
            return 1 + int(_labels(mask).max())
        except DatasetError:
            return 1  # Its scene meets it again, and deals with it.

    def _leave_out(self, error):
        """Raises a DatasetError for a file that cannot be used, or says that it is skipped."""
        if self.on_error == "raise":
            raise DatasetError(f"{error} (data.on_error=skip leaves it out)") from None
        print(f"skipped {error}", file=sys.stderr)


def _labels(path):
    """Returns the labels of a mask, uint8 [H, W]; raises DatasetError."""
    try:
        with Image.open(path) as file:
            values = np.asarray(file).astype(int)
    except Exception as error:  # Pillow raises errors of all kinds for damaged files.
        raise DatasetError(f"{path}: cannot read the mask ({error})") from None
    if values.ndim != 2:
        raise DatasetError(f"{path}: the mask has colours instead of one label for each pixel")
    if np.isin(values, (0, 255)).all() or np.isin(values, (0, 0xFFFF)).all():
        values = np.minimum(values, 1)
    if values.max() >= image_ops.NO_ENTITY:
        raise DatasetError(
            f"{path}: the mask has values up to {values.max()}, but labels are 0 for the "
            f"background and 1, 2, 3, ... for the objects, up to {image_ops.NO_ENTITY - 1}"
        )
    return values.astype(np.uint8)


def _hash(values):
    """Returns a short string that changes with a list of values."""
    return hashlib.blake2b(repr(values).encode(), digest_size=16).hexdigest()
