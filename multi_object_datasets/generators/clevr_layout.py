"""CLEVR's sampling: how many objects, of which kind, where, and from where they are seen."""

import numpy as np

from multi_object_datasets.clevr_with_masks import IMAGE_SIZE, MAX_NUM_ENTITIES, NUM_OBJECTS

HEIGHT, WIDTH = IMAGE_SIZE
MIN_GAP = 0.25  # Between the surfaces of two objects, seen from above.
MIN_MARGIN = 0.4  # Between two centres, along each of the two floor axes as the camera sees them.
MAX_TRIES = 50  # For one object, before all are placed anew.

# Codes of the published files are positions in these lists, from 1; 0 is the background and
# padding.
SHAPES = ("sphere", "cylinder", "cube")
SIZES = (0.7, 0.35)  # Large and small: radius of spheres and cylinders, half the edge of cubes.
MATERIALS = ("rubber", "metal")
COLORS = (
    (173, 35, 35),  # red
    (41, 208, 208),  # cyan
    (29, 105, 20),  # green
    (42, 75, 215),  # blue
    (129, 74, 25),  # brown
    (87, 87, 87),  # gray
    (129, 38, 192),  # purple
    (255, 238, 51),  # yellow
)

CAMERA = (7.4811, -6.5076, 5.3437)
CAMERA_JITTER = 0.5  # Per axis, either way.
LENS, SENSOR_WIDTH = 35.0, 32.0  # In millimetres.
LAMPS = {
    "key": (6.4467, -2.9052, 4.2584),
    "fill": (-4.6711, -4.0136, 3.0112),
    "back": (-1.1685, 2.646, 5.8157),
}
LAMP_JITTER = 1.0


def look_at_origin(position):
    """Returns the axes of a thing aimed at the origin; the rows are right, up and backwards."""
    backward = np.asarray(position) / np.linalg.norm(position)
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(backward, right), backward])  # [3, 3]


def project(points, camera):
    """Returns where a camera at position `camera`, aimed at the origin, sees points.

    Args:
      points: [n, 3].
      camera: [3].

    Returns:
      [n, 3]: column and row, in whole pixels as CLEVR stores them, and depth along the camera's
      axis.
    """
    right, up, backward = look_at_origin(camera) @ (points - camera).T  # each [n]
    depth = -backward
    pixels_per_slope = WIDTH * LENS / SENSOR_WIDTH
    column = np.round(WIDTH / 2 + pixels_per_slope * right / depth)
    row = np.round(HEIGHT / 2 - pixels_per_slope * up / depth)
    return np.stack([column, row, depth], axis=1)


def place(rng, count, camera):
    """Draws the sizes and floor positions of `count` objects.

    Args:
      rng: a `numpy.random.Generator`.
      count: number of objects.
      camera: [3], the camera's position.

    Returns:
      (size codes [count], positions [count, 2]); every pair keeps MIN_GAP and MIN_MARGIN.
    """
    right = look_at_origin(camera)[0, :2]
    axes = np.array([right, [-right[1], right[0]]])  # [2, 2] across and away from the camera.
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    while True:
        sizes, positions = np.zeros(0, int), np.zeros((0, 2))
        for _ in range(count):
            size = rng.integers(1, len(SIZES) + 1)
            radii = np.array(SIZES)[sizes - 1] + SIZES[size - 1]
            for _ in range(MAX_TRIES):
                position = rng.uniform(-3, 3, size=2)
                offsets = position - positions  # [n, 2]
                gaps = np.linalg.norm(offsets, axis=1) - radii
                margins = np.abs(offsets @ axes.T)
                if (gaps >= MIN_GAP).all() and (margins >= MIN_MARGIN).all():
                    break
            else:
                break
            sizes = np.append(sizes, size)
            positions = np.concatenate([positions, position[None]])
        if len(sizes) == count:
            return sizes, positions


def sample(rng, variant="clevr"):
    """Draws a scene.

    Args:
      rng: a `numpy.random.Generator`.
      variant: one of `clevr_with_masks.VARIANTS`.

    Returns:
      (factors, view). factors: the published features, [11, ...] with the background first and
      zeros after the last object: `size`, `shape`, `material`, `color` (uint8 codes), `x`, `y`,
      `z`, `rotation` (0 to 360), `visibility` and `pixel_coords` [11, 3]. view: jittered
      positions [3] of `camera` and of each of LAMPS.
    """
    fewest, most = NUM_OBJECTS[variant]
    count = rng.integers(fewest, most + 1)
    camera = CAMERA + rng.uniform(-CAMERA_JITTER, CAMERA_JITTER, size=3)
    lamps = {
        name: position + rng.uniform(-LAMP_JITTER, LAMP_JITTER, size=3)
        for name, position in LAMPS.items()
    }
    size, position = place(rng, count, camera)
    z = np.array(SIZES)[size - 1]
    codes = {
        "size": size,
        "shape": rng.integers(1, len(SHAPES) + 1, size=count),
        "material": rng.integers(1, len(MATERIALS) + 1, size=count),
        "color": rng.integers(1, len(COLORS) + 1, size=count),
    }
    scalars = {
        "x": position[:, 0],
        "y": position[:, 1],
        "z": z,
        "rotation": rng.uniform(0, 360, size=count),
        "pixel_coords": project(np.column_stack([position, z]), camera),
    }

    def padded(values, dtype):
        array = np.zeros((MAX_NUM_ENTITIES, *values.shape[1:]), dtype)
        array[1 : count + 1] = values
        return array

    factors = {name: padded(values, np.uint8) for name, values in codes.items()}
    factors |= {name: padded(values, np.float32) for name, values in scalars.items()}
    factors["visibility"] = (np.arange(MAX_NUM_ENTITIES) <= count).astype(np.float32)
    return factors, {"camera": camera, **lamps}
