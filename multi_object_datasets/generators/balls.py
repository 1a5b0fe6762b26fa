"""Balls: three coloured balls without overlap on black, 14x14 pixels."""

import numpy as np

from multi_object_datasets.generators.masks import one_hot
from multi_object_datasets.generators.tetrominoes import COLORS

VARIANTS = ()
CHUNK_SIZE = 5000

IMAGE_SIZE = 14
NUM_BALLS = 3

BALL = np.array(
    [
        [0, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1],
        [0, 1, 1, 1, 0],
    ],
    bool,
)
DIAMETER = len(BALL)


def render(factors):
    """Draws a scene from its factors.

    Args:
      factors: dict of arrays with the background first: `x` and `y` [4] (left column and top row
        of the bounding box), `color` [4, 3] (RGB, 0 or 1). Later balls are drawn over earlier
        ones.

    Returns:
      (image uint8 [14, 14, 3], labels uint8 [14, 14], the entity that each pixel shows).
    """
    labels = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for entity in range(1, NUM_BALLS + 1):
        left, top = int(factors["x"][entity]), int(factors["y"][entity])
        labels[top : top + DIAMETER, left : left + DIAMETER][BALL] = entity
    return factors["color"].astype(np.uint8)[labels] * 255, labels


def sample(rng):
    """Draws the factors of a scene: colours and places uniform and independent."""
    x, y = rng.integers(IMAGE_SIZE - DIAMETER + 1, size=(2, NUM_BALLS))
    color = COLORS[rng.integers(len(COLORS), size=NUM_BALLS)]
    return {
        "x": np.concatenate([[0], x]).astype(np.float32),
        "y": np.concatenate([[0], y]).astype(np.float32),
        "color": np.concatenate([np.zeros((1, 3)), color]).astype(np.float32),
        "visibility": np.ones(NUM_BALLS + 1, np.float32),
    }


def scene(rng, variant=None):
    """Draws one scene without overlap."""
    del variant
    while True:
        factors = sample(rng)
        image, labels = render(factors)
        if np.count_nonzero(labels) == NUM_BALLS * np.count_nonzero(BALL):
            return {"image": image, "mask": one_hot(labels, NUM_BALLS + 1), **factors}
