"""Shapes: three white triangles, upright or upside down, or squares on black, 28x28 pixels."""

import numpy as np

from multi_object_datasets.generators.masks import one_hot
from multi_object_datasets.shapes import IMAGE_SIZE, NUM_SHAPES

CHUNK_SIZE = 5000

SIDE = IMAGE_SIZE[0]

_ROWS, _COLUMNS = np.mgrid[:11, :11]
_TRIANGLE = abs(_COLUMNS - 5) <= _ROWS // 2  # One pixel wide at the top, 11 at the bottom.

# Shape code: pixels.
PIXELS = {1: _TRIANGLE, 2: _TRIANGLE[::-1], 3: np.ones((9, 9), bool)}


def render(factors):
    """Draws a scene from its factors.

    Args:
      factors: dict of arrays [4] with the background first: `shape` (codes of `PIXELS`), `x` and
        `y`, the centre across and down, as fractions of the image. Later shapes lie in front.

    Returns:
      (image uint8 [28, 28, 1] of 0 and 255, labels uint8 [28, 28], the entity that each pixel
      shows).
    """
    labels = np.zeros(IMAGE_SIZE, np.uint8)
    for entity in range(1, NUM_SHAPES + 1):
        pixels = PIXELS[int(factors["shape"][entity])]
        size = len(pixels)
        left = round(float(factors["x"][entity]) * SIDE - size / 2)
        top = round(float(factors["y"][entity]) * SIDE - size / 2)
        labels[top : top + size, left : left + size][pixels] = entity
    return np.where(labels > 0, np.uint8(255), np.uint8(0))[..., None], labels


def sample(rng):
    """Draws the factors of a scene: shapes and places uniform, wholly inside the image."""
    shape = rng.integers(1, len(PIXELS) + 1, size=NUM_SHAPES)
    size = np.array([len(PIXELS[code]) for code in shape])
    x, y = (rng.integers(SIDE - size + 1, size=(2, NUM_SHAPES)) + size / 2) / SIDE
    factors = {"shape": shape, "x": x, "y": y}
    factors = {
        name: np.concatenate([[0], values]).astype(np.float32) for name, values in factors.items()
    }
    return {**factors, "visibility": np.ones(NUM_SHAPES + 1, np.float32)}


def scene(rng, variant=None):
    """Draws one scene in which every shape shows."""
    del variant
    while True:
        factors = sample(rng)
        image, labels = render(factors)
        if len(np.unique(labels)) == NUM_SHAPES + 1:
            return {"image": image, "mask": one_hot(labels, NUM_SHAPES + 1), **factors}
