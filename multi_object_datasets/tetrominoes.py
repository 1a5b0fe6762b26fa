"""Reads Tetrominoes: three pieces on a black background, 35x35.

`dataset` gives dicts of image [35, 35, 3] and mask [4, 35, 35, 1] uint8 (a mask is 0 or 255);
color [4, 3], shape, x (top row), y (left column) and visibility [4] float32.
"""

import numpy as np

from multi_object_datasets import scene_format as scenes

COMPRESSION_TYPE = "GZIP"
IMAGE_SIZE = [35, 35]
NUM_PIECES = 3
# Background first; every scene has all four.
MAX_NUM_ENTITIES = NUM_ENTITIES = 1 + NUM_PIECES
VARIANTS = ("standard", "ambiguous")  # The latter, of several decompositions, is ours.
BYTE_FEATURES = ["mask", "image"]

SCENE_FORMAT = scenes.SceneFormat(
    "tetrominoes",
    {
        "image": scenes.Feature((*IMAGE_SIZE, 3), np.uint8),
        "mask": scenes.Feature((MAX_NUM_ENTITIES, *IMAGE_SIZE, 1), np.uint8),
        "x": scenes.Feature((MAX_NUM_ENTITIES,)),
        "y": scenes.Feature((MAX_NUM_ENTITIES,)),
        "shape": scenes.Feature((MAX_NUM_ENTITIES,)),
        "color": scenes.Feature((MAX_NUM_ENTITIES, 3)),
        "visibility": scenes.Feature((MAX_NUM_ENTITIES,)),
    },
)

dataset = SCENE_FORMAT.dataset
feature_descriptions = SCENE_FORMAT.feature_descriptions
