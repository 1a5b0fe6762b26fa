"""Draws a contact sheet of generated scenes: two rows of images, each above their label maps.

python -m multi_object_datasets.generators.contact_sheet NAME FILE.png [--variant V]
"""

import colorsys
import sys

import numpy as np
from PIL import Image

from multi_object_datasets import generators
from multi_object_datasets.arguments import Parser, open_closed_streams
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.generators.worker import scene_rng

COLUMNS = 8
BORDER = 2
CELL = 128  # Pixels that a scene is brought to, as nearly as whole factors allow.


def _fit(image):
    """Enlarges or reduces [H, W, C] by a whole factor, to about CELL pixels high."""
    height, width, channels = image.shape
    if height <= CELL:
        return image.repeat(CELL // height, axis=0).repeat(CELL // height, axis=1)
    step = height // CELL + 1
    blocks = image.reshape(height // step, step, width // step, step, channels)
    return blocks.mean(axis=(1, 3))


def _bordered(image):
    """Adds a grey border on the right and below."""
    return np.pad(image, ((0, BORDER), (0, BORDER), (0, 0)), constant_values=0.5)


def _cells(scene, name):
    """Returns (image, coloured label map), [H, W, 3] in [0, 1], for each frame of a scene."""
    image, mask = scene["image"], scene["mask"]
    if name == "multi_dsprites":
        mask = mask.transpose(2, 0, 1, 3)  # [L, 64, 64, 1]
    frames = zip(image, mask) if image.ndim == 4 else [(image, mask)]
    objects = mask.shape[-4] - 1
    colors = np.array(
        [(0, 0, 0), *(colorsys.hsv_to_rgb(i / objects, 0.8, 1) for i in range(objects))]
    )
    return [
        (np.broadcast_to(image / 255, (*image.shape[:2], 3)), colors[mask[..., 0].argmax(axis=0)])
        for image, mask in frames
    ]


def contact_sheet(name, path, variant=None):
    """Writes the contact sheet of seed 0's first scenes; a sequence fills a row of its own.

    Args:
      name, variant: as for `generators.load`.
      path: PNG file to write.

    Raises:
      DatasetError: if the path does not end in .png, or cannot be written to.
    """
    if not path.endswith(".png"):
        raise DatasetError(f"'{path}' does not end in .png")
    module, variant = generators.load(name, variant)
    rows, index = [], 0
    while len(rows) < 4:
        cells = []
        while len(cells) < COLUMNS:
            cells += _cells(module.scene(scene_rng(0, "train", index), variant), name)
            index += 1
        cells = cells[:: len(cells) // COLUMNS]
        rows += [
            np.concatenate([_bordered(_fit(cell)) for cell in row], axis=1) for row in zip(*cells)
        ]
    try:
        sheet = np.round(255 * np.concatenate(rows)).astype(np.uint8)
        Image.fromarray(sheet).save(path, optimize=True)
    except OSError as error:
        raise DatasetError(f"cannot write '{path}': {error.strerror}") from error


def main():
    open_closed_streams()
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("name", metavar="NAME", help=", ".join(generators.NAMES))
    parser.add_argument("path", metavar="FILE.png")
    parser.add_argument("--variant", metavar="V")
    try:
        contact_sheet(**vars(parser.parse_args()))
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
