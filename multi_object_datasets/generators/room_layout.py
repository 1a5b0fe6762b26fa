"""Objects Room's sampling: the room, the objects on its floor, and the camera's path."""

import colorsys

import numpy as np

from multi_object_datasets.objects_room import NUM_OBJECTS, SEQUENCE_LENGTH

SKY, FLOOR, WALL_1, WALL_2, FIRST_OBJECT = range(5)

SHAPES = ("sphere", "cube", "cylinder", "capsule")
HALF_ROOM = 3.5  # Half the length of a wall.
WALL_HEIGHT = 2.2
CAMERA_RADIUS, CAMERA_HEIGHT = 3.0, 1.3  # The ring that the camera moves on.
PITCH = (-25.0, 22.0)  # Degrees, up is positive.
PLACE_RADIUS = 1.9  # Objects stand within this distance of the centre.
RADII = (0.35, 0.6)  # Of the circle that an object fills on the floor.


def _color(rng):
    """Returns a bright RGB colour of random hue, [3] in [0, 1]."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.7, 1), rng.uniform(0.8, 1)))


def _place(rng, radii):
    """Returns floor positions [n, 2] of circles that do not touch."""
    while True:
        angle = rng.uniform(0, 2 * np.pi, len(radii))
        distance = PLACE_RADIUS * np.sqrt(rng.random(len(radii)))
        positions = distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        gaps = np.linalg.norm(positions[:, None] - positions, axis=-1) - (radii[:, None] + radii)
        np.fill_diagonal(gaps, 1)
        if (gaps > 0).all():
            return positions


def sample(rng, variant):
    """Draws a scene.

    Args:
      rng: a `numpy.random.Generator`.
      variant: one of `objects_room.VARIANTS`.

    Returns:
      dict: `floor` and `wall`, RGB colours [3] in [0, 1]; `objects`, a list of dicts of `shape`,
      `position` [2] and `radius` in metres, `turn` in degrees and `color` [3]; `cameras`
      [frames, 2], angle on the ring and pitch in degrees.
    """
    fewest, most = NUM_OBJECTS[variant]
    count = int(rng.integers(fewest, most + 1))
    radii = rng.uniform(*RADII, count)
    colors = [_color(rng) for _ in range(count)]
    if variant == "identical_color":
        colors = colors[:1] * count
    objects = [
        {
            "shape": SHAPES[rng.integers(len(SHAPES))],
            "position": position.tolist(),
            "radius": float(radius),
            "turn": rng.uniform(0, 360),
            "color": color,
        }
        for position, radius, color in zip(_place(rng, radii), radii, colors)
    ]
    start = np.array([rng.uniform(0, 360), rng.uniform(*PITCH)])
    if variant == "sequences":
        stop = np.array([start[0] + rng.uniform(-90, 90), rng.uniform(*PITCH)])
        cameras = np.linspace(start, stop, SEQUENCE_LENGTH)
    else:
        cameras = start[None]
    return {"floor": _color(rng), "wall": _color(rng), "objects": objects, "cameras": cameras}
