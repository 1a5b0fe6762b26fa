"""Anyone's own images, read one by one and framed for a model."""

import sys

import numpy as np
from tqdm import tqdm

from multi_object_datasets import image_files
from multi_object_datasets.errors import DatasetError


def read_images(paths, dataset):
    """Reads images as the data set that a model was trained on frames them.

    Args:
      paths: of the files.
      dataset: `SceneDataset`; its file is not read. `data.crop_region`, `data.framing` and
        `data.on_error` say what to do with images of one's own.

    Yields:
      (number of the image among the paths, float32 [1, H, W, C] in [0, 1]).

    Raises:
      DatasetError: if a file cannot be used and `data.on_error` is "raise"; with "skip" it
        is left out with a line on stderr, and it is an error if no image is left.
    """
    usable = 0
    for number, path in enumerate(paths):
        try:
            pixels = image_files.read_image(
                path, dataset.image_shape, dataset.crop_region, dataset.framing
            )
        except DatasetError as error:
            if dataset.on_error == "raise":
                raise DatasetError(f"{error} (data.on_error=skip leaves it out)") from None
            tqdm.write(f"skipped {error}", file=sys.stderr)
            continue
        usable += 1
        yield number, pixels[None].astype(np.float32) / 255.0
    if not usable:
        raise DatasetError(f"none of the {len(paths)} images can be used")


def batches(paths, dataset):
    """Reads images in batches of the data set's `batch_size`, the last one smaller.

    Args:
      paths, dataset: as for `read_images`.

    Yields:
      ({"image": float32 [n, 1, H, W, C]}, numbers of the images among the paths int32 [n]).
    """
    numbers, images = [], []
    for number, image in read_images(paths, dataset):
        numbers.append(number)
        images.append(image)
        if len(images) == dataset.batch_size:
            yield {"image": np.stack(images)}, np.int32(numbers)
            numbers, images = [], []
    if images:
        yield {"image": np.stack(images)}, np.int32(numbers)
