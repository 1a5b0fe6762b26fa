"""Renders rooms with Mitsuba, on the CPU and without a display."""

import math

import numpy as np

from multi_object_datasets.errors import DatasetError
from multi_object_datasets.generators import room_layout as layout
from multi_object_datasets.objects_room import IMAGE_SIZE

try:
    import drjit
    import mitsuba
except ImportError as error:
    raise DatasetError(
        f"rendering Objects Room needs Mitsuba ({error}); install it with `pip install mitsuba`"
    ) from error

mitsuba.set_variant("scalar_rgb")
drjit.set_thread_count(1)  # The other cores have workers of their own.
_Transform = mitsuba.ScalarTransform4f

SAMPLES = 16  # Rays per pixel for each lamp.
# Rays per pixel along each axis for the labels, the middle one's, and for sky and ambient light.
GRID = 3
FIELD_OF_VIEW = 60  # Degrees.

# Linear RGB from the horizon to the zenith.
SKY = np.array([[0.80, 0.88, 1.0], [0.25, 0.47, 0.90]])
# (direction, irradiance) of the lamps, and light from all around as a share of each surface's
# colour.
LAMPS = (([0.4, 0.55, -2.0], 2.4), ([-0.7, -0.4, -1.6], 1.2))
AMBIENT = 0.25


def _linear(color):
    """Returns an sRGB colour as linear light."""
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def _matte(color):
    """Returns a matte surface, seen from both sides, of an sRGB colour."""
    reflectance = {"type": "rgb", "value": _linear(color).tolist()}
    return {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": reflectance}}


def _room(room):
    """Returns {(entity, part): shape} of the floor and walls."""
    half, height = layout.HALF_ROOM, layout.WALL_HEIGHT
    floor = {
        "type": "rectangle",
        "to_world": _Transform().scale([half, half, 1]),
        "bsdf": _matte(room["floor"]),
    }
    parts = {(layout.FLOOR, 0): floor}
    for side in range(4):
        pose = (
            _Transform()
            .rotate([0, 0, 1], 90 * side)
            .translate([half, 0, height / 2])
            .rotate([0, 1, 0], -90)
            .scale([height / 2, half, 1])
        )
        entity = layout.WALL_1 if side < 2 else layout.WALL_2
        parts[entity, side] = {"type": "rectangle", "to_world": pose, "bsdf": _matte(room["wall"])}
    return parts


def _object(thing):
    """Returns the shapes that make up an object standing on the floor."""
    radius, surface = thing["radius"], _matte(thing["color"])
    pose = _Transform().translate([*thing["position"], 0]).rotate([0, 0, 1], thing["turn"])

    def sphere(height):
        return {
            "type": "sphere",
            "to_world": pose.translate([0, 0, height]).scale(radius),
            "bsdf": surface,
        }

    def tube(bottom, top):
        ends = {"p0": [0, 0, bottom], "p1": [0, 0, top], "radius": radius}
        return {"type": "cylinder", **ends, "to_world": pose, "bsdf": surface}

    if thing["shape"] == "sphere":
        return [sphere(radius)]
    if thing["shape"] == "cube":
        half = radius / math.sqrt(2)
        return [
            {"type": "cube", "to_world": pose.translate([0, 0, half]).scale(half), "bsdf": surface}
        ]
    if thing["shape"] == "cylinder":
        lid = pose.translate([0, 0, 2 * radius]).scale(radius)
        return [tube(0, 2 * radius), {"type": "disk", "to_world": lid, "bsdf": surface}]
    radius = radius * 0.7  # Of a capsule, which is 3 radii high.
    return [sphere(radius), tube(radius, 2 * radius), sphere(2 * radius)]


def _sensor(angle, pitch):
    """Returns a camera on the ring, turned to the centre and then up by the pitch."""
    angle, pitch = np.radians(angle), np.radians(pitch)
    outward = np.array([np.cos(angle), np.sin(angle), 0])
    origin = layout.CAMERA_RADIUS * outward + [0, 0, layout.CAMERA_HEIGHT]
    target = origin - np.cos(pitch) * outward + [0, 0, np.sin(pitch)]
    size = IMAGE_SIZE[0]
    return mitsuba.load_dict(
        {
            "type": "perspective",
            "fov": FIELD_OF_VIEW,
            "to_world": _Transform().look_at(origin.tolist(), target.tolist(), [0, 0, 1]),
            "film": {
                "type": "hdrfilm",
                "width": size,
                "height": size,
                "pixel_format": "rgb",
                "rfilter": {"type": "box"},
            },
            "sampler": {"type": "multijitter", "sample_count": SAMPLES},
        }
    )


def _scenes(parts):
    """Returns one scene for each lamp: lit by one alone, matte surfaces are without noise."""
    return [
        mitsuba.load_dict(
            {
                "type": "scene",
                "lamp": {
                    "type": "directional",
                    "direction": direction,
                    "irradiance": {"type": "rgb", "value": irradiance},
                },
                **{f"entity_{entity}_{part}": shape for (entity, part), shape in parts.items()},
            },
            optimize=False,  # Which would merge shapes, and so lose their names.
        )
        for direction, irradiance in LAMPS
    ]


def _look(scene, sensor):
    """Follows a regular grid of rays to what they meet.

    Returns:
      (entities int [64 * GRID, 64 * GRID], heights [64 * GRID, 64 * GRID], the rays' upward
      part).
    """
    count = IMAGE_SIZE[0] * GRID
    entities = np.zeros((count, count), np.uint8)
    heights = np.zeros((count, count))
    for row, column in np.ndindex(count, count):
        ray, _ = sensor.sample_ray(0, 0, [(column + 0.5) / count, (row + 0.5) / count], [0, 0])
        hit = scene.ray_intersect_preliminary(ray)
        if hit.is_valid():
            entities[row, column] = int(hit.shape.id().split("_")[1])
        else:
            heights[row, column] = ray.d.z
    return entities, heights


def render(room, seed):
    """Renders every frame of a room.

    Args:
      room: as `layout.sample` returns it.
      seed: int, of the rays.

    Returns:
      (images uint8 [frames, 64, 64, 3], labels uint8 [frames, 64, 64], the entity that each
      pixel's centre shows).
    """
    parts = _room(room)
    for entity, thing in enumerate(room["objects"], start=layout.FIRST_OBJECT):
        for part, shape in enumerate(_object(thing)):
            parts[entity, part] = shape
    scenes = _scenes(parts)
    direct = mitsuba.load_dict({"type": "direct"})
    objects = [thing["color"] for thing in room["objects"]]
    ambient = AMBIENT * _linear(
        np.stack([np.zeros(3), room["floor"], room["wall"], room["wall"], *objects])
    )
    size = IMAGE_SIZE[0]
    images, labels = [], []
    for angle, pitch in room["cameras"]:
        sensor = _sensor(angle, pitch)
        entities, heights = _look(scenes[0], sensor)
        sky = SKY[0] + np.clip(heights, 0, 1)[..., None] * (SKY[1] - SKY[0])
        light = np.where((entities == layout.SKY)[..., None], sky, ambient[entities])
        light = light.reshape(size, GRID, size, GRID, 3).mean(axis=(1, 3))  # [64, 64, 3]
        for scene in scenes:
            light += np.array(mitsuba.render(scene, sensor=sensor, integrator=direct, seed=seed))
        image = mitsuba.Bitmap(light.astype(np.float32)).convert(
            mitsuba.Bitmap.PixelFormat.RGB, mitsuba.Struct.Type.UInt8, srgb_gamma=True
        )
        images.append(np.array(image))
        labels.append(entities[GRID // 2 :: GRID, GRID // 2 :: GRID])
    return np.stack(images), np.stack(labels)
