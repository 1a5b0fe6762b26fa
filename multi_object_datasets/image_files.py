"""Anyone's own image files: finding them, reading one, and framing it as a model wants it."""

import os
import pathlib

import numpy as np
from PIL import Image, ImageOps

from multi_object_datasets import files
from multi_object_datasets.errors import DatasetError

SUFFIXES = (".png", ".jpg", ".jpeg")  # In any case.
FRAMINGS = ("crop", "squeeze")
_MASK_ENDING = "_mask"


def is_mask(path):
    """Returns whether a file is the mask of an image by its name, NAME_mask.SUFFIX."""
    return pathlib.Path(path).stem.lower().endswith(_MASK_ENDING)


def image_of_mask(path):
    """Returns the name without suffix of the image that a mask belongs to."""
    return pathlib.Path(path).stem[: -len(_MASK_ENDING)]


def image_paths(images):
    """Returns the image files that a value such as that of `image=` names.

    Args:
      images: a file, a folder (its PNG and JPEG files), a glob, or a list of these; `~` is the
        user's home. Masks count only where they are named one by one.

    Returns:
      List of paths as strings, those of a folder or a glob in the order of their names.

    Raises:
      DatasetError: a file does not exist, or a folder or a glob has no images.
    """
    if isinstance(images, (list, tuple)):
        if not images:
            raise DatasetError("no image to read: the list of paths is empty")
        return [path for entry in images for path in image_paths(entry)]
    path = files.expand_home(images)
    if os.path.isdir(path):
        found = [str(file) for file in folder_files(path) if not is_mask(file)]
        if not found:
            raise DatasetError(f"{path}: there are no PNG or JPEG files in this folder")
        return found
    if os.path.exists(path):
        return [path]
    found = files.expand(path)
    if found == [path]:
        raise DatasetError(f"{path}: there is no such image")
    found = [file for file in found if not is_mask(file)]
    if not found:
        raise DatasetError(f"{path}: only masks have such names")
    return found


def folder_files(path):
    """Returns the PNG and JPEG files of a folder, masks included, in the order of their names."""
    try:
        entries = sorted(pathlib.Path(path).iterdir())
    except OSError as error:
        raise DatasetError(f"{path}: cannot read the folder of images ({error.strerror})") from None
    return [file for file in entries if file.suffix.lower() in SUFFIXES]


def read_image(path, image_shape, crop_region=None, framing="crop"):
    """Reads an image file as an image for a model.

    Transparent parts show black. 16-bit grey becomes 8-bit. An image that the camera's EXIF data
    calls turned is turned. With one channel that is the mean of red, green and blue, as in a data
    set with `grayscale`.

    Args:
      path: any file that Pillow reads.
      image_shape: (H, W, C), C being 1 or 3.
      crop_region, framing: see `frame`.

    Returns:
      uint8 [H, W, C].

    Raises:
      DatasetError: the file cannot be read, or lies partly outside the crop region.
    """
    *image_dim, channels = image_shape
    image = frame(open_image(path), path, image_dim, crop_region, framing, Image.BILINEAR)
    image = np.asarray(image)  # [H, W, 3]
    if channels == 1:
        image = np.round(image.mean(axis=-1, keepdims=True)).astype(np.uint8)
    return image


def open_image(path):
    """Returns a file's image, whole, as Pillow's RGB image; raises as `read_image`."""
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            image.load()
    except Exception as error:  # Pillow raises errors of all kinds for damaged files.
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"{path}: cannot read the image ({reason})") from None
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise DatasetError(f"{path}: has more than 16 bits a pixel; save it with 8")
        image = Image.fromarray(np.round(values / 257).astype(np.uint8))
    if image.mode == "F":
        raise DatasetError(f"{path}: has floating-point pixels; save it with 8 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return image.convert("RGB")


def frame(image, path, image_dim, crop_region, framing, resample):
    """Brings an image to a size.

    Args:
      image: Pillow's image.
      path: of its file, for messages.
      image_dim: (height, width) wanted.
      crop_region: ((top, bottom), (left, right)) to keep first; None keeps all.
      framing: "crop" then keeps the middle, as large as the wanted ratio of sides allows;
        "squeeze" keeps all, and so distorts an image of another ratio.
      resample: Pillow's filter to resize with.

    Returns:
      Pillow's image.

    Raises:
      DatasetError: the crop region does not lie inside the image.
    """
    height, width = image_dim
    left, top, right, bottom = 0, 0, image.width, image.height
    if crop_region is not None:
        (top, bottom), (left, right) = crop_region
        if bottom > image.height or right > image.width:
            raise DatasetError(
                f"{path}: crop_region rows {top}:{bottom}, columns {left}:{right} does not lie "
                f"inside the image of {image.height}x{image.width} (data.crop_region=None "
                "uses all of it)"
            )
    if framing == "crop":
        scale = min((bottom - top) / height, (right - left) / width)
        rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
        top, left = top + (bottom - top - rows) // 2, left + (right - left - columns) // 2
        bottom, right = top + rows, left + columns
    return image.crop((left, top, right, bottom)).resize((width, height), resample)
