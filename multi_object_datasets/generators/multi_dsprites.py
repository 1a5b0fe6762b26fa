"""Multi-dSprites: hard-edged squares, ellipses and hearts in front of one another, 64x64 pixels."""

import colorsys

import numpy as np

from multi_object_datasets.generators.masks import one_hot
from multi_object_datasets.multi_dsprites import IMAGE_SIZE, NUM_SPRITES

CHUNK_SIZE = 1000

SIDE = IMAGE_SIZE[0]
SQUARE, ELLIPSE, HEART = 1, 2, 3

# Pixels at scale 1. The square is the largest that turns freely within 28 pixels, which agrees with
# the largest published one seen.
SQUARE_SIDE = 28 / np.sqrt(2)
ELLIPSE_AXES = (12.5, 7.5)  # Semi-axes.
HEART_UNIT = 10.5  # The heart is 2 units wide and about as high.


def sprite_pixels(shape, x, y, scale, orientation, square_side=SQUARE_SIDE):
    """Returns the pixels whose centre lies in a sprite.

    Args:
      shape: 1 square, 2 ellipse, 3 heart.
      x, y: centre in [0, 1]: from a quarter to three quarters of the image, across and down.
      scale: in [0.5, 1].
      orientation: in radians, anticlockwise.
      square_side: of a square, in pixels at scale 1.

    Returns:
      bool [64, 64].
    """
    centers = np.arange(SIDE) + 0.5
    right = centers[None, :] - SIDE * (0.25 + 0.5 * x)
    up = SIDE * (0.25 + 0.5 * y) - centers[:, None]
    cos, sin = np.cos(orientation), np.sin(orientation)
    u = (cos * right + sin * up) / scale  # In the sprite's own axes.
    v = (cos * up - sin * right) / scale
    if shape == SQUARE:
        return np.maximum(np.abs(u), np.abs(v)) <= square_side / 2
    if shape == ELLIPSE:
        return (u / ELLIPSE_AXES[0]) ** 2 + (v / ELLIPSE_AXES[1]) ** 2 <= 1
    u, v = u / HEART_UNIT, v / HEART_UNIT
    return u**2 + (1.2 * (v + 0.3) - np.sqrt(np.abs(u))) ** 2 <= 1


def render(factors, square_side=SQUARE_SIDE):
    """Draws a scene from its factors.

    Args:
      factors: dict of arrays [L, ...] with the background first: `shape`, `x`, `y`, `scale`,
        `orientation`, `visibility`, and `color` [L, 3 or 1] in [0, 1]. Later sprites lie in
        front.
      square_side: as for `sprite_pixels`.

    Returns:
      (image uint8 [64, 64, 3 or 1], labels uint8 [64, 64], the entity that each pixel shows).
    """
    labels = np.zeros(IMAGE_SIZE, np.uint8)
    for entity in range(1, int(factors["visibility"].sum())):
        pose = (factors[name][entity] for name in ("shape", "x", "y", "scale", "orientation"))
        labels[sprite_pixels(*pose, square_side)] = entity
    colors = np.round(factors["color"] * 255).astype(np.uint8)
    return colors[labels], labels


def _colors(rng, variant, count):
    """Returns the colours of the background and `count` sprites, [count + 1, 3 or 1]."""
    if variant.startswith("binarized"):
        return np.array([[0.0]] + [[1.0]] * count)
    if variant == "colored_on_colored":
        return rng.random((count + 1, 3))
    background = np.full((1, 3), rng.random())
    if variant == "colored_on_black":
        background[:] = 0.0
    # No paper says what hues, saturations and values are drawn from. All 25 published sprites that
    # could be measured have saturations and values of about a half and more.
    hues, saturations, values = rng.uniform([0.0, 0.5, 0.5], 1.0, (count, 3)).T
    sprites = [colorsys.hsv_to_rgb(*hsv) for hsv in zip(hues, saturations, values)]
    return np.concatenate([background, sprites])


def sample(rng, variant):
    """Draws the factors of a scene: count, shapes, poses and colours uniform and independent.

    Args:
      rng: a `numpy.random.Generator`.
      variant: one of `VARIANTS`.

    Returns:
      dict of float32 arrays, see `render`; entities that the scene does not have are zero.
    """
    fewest, most = NUM_SPRITES[variant]
    count = rng.integers(fewest, most + 1)
    sprites = {
        "shape": rng.integers(1, 4, size=count),
        "x": rng.random(count),
        "y": rng.random(count),
        "scale": rng.uniform(0.5, 1, count),
        "orientation": rng.uniform(0, 2 * np.pi, count),
    }
    factors = {name: np.zeros(most + 1, np.float32) for name in (*sprites, "visibility")}
    for name, values in sprites.items():
        factors[name][1 : count + 1] = values
    factors["visibility"][: count + 1] = 1
    colors = _colors(rng, variant, count)
    factors["color"] = np.zeros((most + 1, colors.shape[1]), np.float32)
    factors["color"][: count + 1] = colors
    return factors


def scene(rng, variant):
    """Draws one scene in which every sprite shows: the features of the published file."""
    while True:
        factors = sample(rng, variant)
        image, labels = render(factors)
        if len(np.unique(labels)) == factors["visibility"].sum():
            break
    mask = one_hot(labels, len(factors["visibility"]))
    # Stored with the entities behind the pixels: [64, 64, L, 1].
    return {"image": image, "mask": mask.transpose(1, 2, 0, 3), **factors}
