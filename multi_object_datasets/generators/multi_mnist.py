"""Multi-MNIST: no, one or two handwritten digits on black, 50x50 or 64x64 pixels.

As Eslami et al. 2016 describe it; sizes are those of the re-implementations that report figures.
The variant `textured`, 32x32 pixels, has one digit of MNIST's size, filled with one texture on
another one, so that brightness does not tell them apart (Greff et al. 2019, figure 11; the textures
are our own choice: stripes of random direction, width and phase).
"""

import numpy as np
from PIL import Image

from multi_object_datasets import digits
from multi_object_datasets.generators.masks import one_hot
from multi_object_datasets.multi_mnist import (
    FLOAT_FEATURES,
    IMAGE_SIZE,
    MAX_NUM_DIGITS,
    MAX_NUM_ENTITIES,
)

CHUNK_SIZE = 2500

DIGIT_SIDE = 20  # Pixels that the longer side of each digit has in its image of 28.
SHOWN = 64  # Brightness from which on a pixel counts as the digit's, a quarter of the full one.


def load_sources(split, path=None):
    """Returns the arguments of `scene` that come from a file, see `digits.load`."""
    return {"source": digits.load(split, path)}


STRIPES = (3.0, 8.0)  # Width of a texture's period in pixels.


def _draw_scale(rng, variant):
    """Draws the size of a digit, as a factor of MNIST's."""
    if variant == "textured":
        return 1.0
    if variant == "standard":
        return 1.0 / rng.normal(1.3, 0.1)
    return rng.uniform(9, 18) / DIGIT_SIDE


def sample(rng, variant, source, count):
    """Draws so many digits, their sizes, and their places, uniform within the image.

    Args:
      rng: a `numpy.random.Generator`.
      variant: one of `VARIANTS`.
      source: (images [N, 28, 28] uint8, labels [N]).
      count: number of digits.

    Returns:
      (factors, layers): dict of float32 arrays [3], the background first and zero where there is
      no digit, see `multi_object_datasets.multi_mnist`; the digits' images in their places, int
      [count, S, S].
    """
    images, labels = source
    size = IMAGE_SIZE[variant][0]
    factors = {name: np.zeros(MAX_NUM_ENTITIES, np.float32) for name in FLOAT_FEATURES}
    factors["visibility"][: count + 1] = 1
    layers = np.zeros((count, size, size), int)
    for i in range(count):
        index = rng.integers(len(images))
        side = round(digits.SIZE * _draw_scale(rng, variant))
        left, top = rng.integers(size - side + 1, size=2)
        resized = Image.fromarray(images[index]).resize((side, side), Image.Resampling.BILINEAR)
        layers[i, top : top + side, left : left + side] = np.asarray(resized)
        factors["label"][i + 1] = labels[index]
        factors["scale"][i + 1] = side / digits.SIZE
        factors["x"][i + 1] = (left + side / 2) / size
        factors["y"][i + 1] = (top + side / 2) / size
    return factors, layers


def texture(rng, size):
    """Draws stripes, uint8 [size, size], a sine of grey of random direction, width and phase."""
    angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    across = np.cos(angle) * np.arange(size) + np.sin(angle) * np.arange(size)[:, None]
    return np.uint8(127.5 + 127.5 * np.sin(2 * np.pi * across / rng.uniform(*STRIPES) + phase))


def textured_scene(rng, source):
    """Draws one scene of the variant `textured`."""
    factors, layers = sample(rng, "textured", source, count=1)
    shown = layers[0] >= SHOWN
    background, filling = (texture(rng, len(shown)) for _ in range(2))
    return {
        "image": np.where(shown, filling, background)[..., None],
        "mask": one_hot(shown.astype(np.uint8), MAX_NUM_ENTITIES),
        **factors,
    }


def scene(rng, variant, source=None):
    """Draws one scene, in which digits may touch but nowhere add up to more than white.

    Args:
      rng: a `numpy.random.Generator`.
      variant: one of `VARIANTS`.
      source: as for `sample`; the shipped training digits if None.
    """
    source = source or digits.load("train")
    if variant == "textured":
        return textured_scene(rng, source)
    # Before any place is refused: scenes of each count are equally many.
    count = rng.integers(MAX_NUM_DIGITS + 1)
    while True:
        factors, layers = sample(rng, variant, source, count)
        image = layers.sum(axis=0)
        if image.max() <= 255:
            break
    labels = np.zeros(image.shape, np.uint8)
    if count:
        labels[image >= SHOWN] = 1 + layers.argmax(axis=0)[image >= SHOWN]
    return {
        "image": image.astype(np.uint8)[..., None],
        "mask": one_hot(labels, MAX_NUM_ENTITIES),
        **factors,
    }
