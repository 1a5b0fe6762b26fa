"""Reads CLEVR with masks: rendered solids on a grey floor, 240x320.

`dataset` gives dicts of image [240, 320, 3] and mask [11, 240, 320, 1] uint8 (a mask is 0 or 255);
x, y, z, rotation (0 to 360) and visibility [11] float32; pixel_coords [11, 3] float32: column, row,
depth along the camera axis; size, material, shape and color [11] uint8 codes, 0 for the background
and for entities that are not there.
size: 1 large, 2 small. material: 1 rubber, 2 metal. shape: 1 sphere, 2 cylinder, 3 cube.
color: 1 red, 2 cyan, 3 green, 4 blue, 5 brown, 6 gray, 7 purple, 8 yellow.
"""

import numpy as np

from multi_object_datasets import scene_format as scenes

COMPRESSION_TYPE = "GZIP"
IMAGE_SIZE = [240, 320]
# (fewest, most). The paper trains on scenes such as clevr6; clevr6_coarse is rendered coarsely.
NUM_OBJECTS = {"clevr": (3, 10), "clevr6": (3, 6), "clevr6_coarse": (3, 6)}
VARIANTS = tuple(NUM_OBJECTS)
MAX_NUM_ENTITIES = 11  # The background, then up to ten objects, in all variants' files.
# What the paper cuts out and resizes.
USUAL_CROP_REGION = ((29, 221), (64, 256))
USUAL_IMAGE_DIM = (128, 128)
BYTE_FEATURES = ["mask", "image", "size", "material", "shape", "color"]

_FLOATS = ("x", "y", "z", "rotation", "visibility")
_CODES = ("size", "material", "shape", "color")
SCENE_FORMAT = scenes.SceneFormat(
    "clevr_with_masks",
    {
        "image": scenes.Feature((*IMAGE_SIZE, 3), np.uint8),
        "mask": scenes.Feature((MAX_NUM_ENTITIES, *IMAGE_SIZE, 1), np.uint8),
        "pixel_coords": scenes.Feature((MAX_NUM_ENTITIES, 3)),
        **{name: scenes.Feature((MAX_NUM_ENTITIES,)) for name in _FLOATS},
        **{name: scenes.Feature((MAX_NUM_ENTITIES,), np.uint8) for name in _CODES},
    },
)

dataset = SCENE_FORMAT.dataset
feature_descriptions = SCENE_FORMAT.feature_descriptions
