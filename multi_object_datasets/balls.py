"""Reads Balls: three coloured balls on black, 14x14; generated, made for quick experiments.

`dataset` gives dicts of image [14, 14, 3] and mask [4, 14, 14, 1] uint8 (0 or 255); color [4, 3],
x (left column), y (top row) and visibility [4] float32.
"""

import numpy as np

from multi_object_datasets import scene_format as scenes

COMPRESSION_TYPE = "GZIP"
IMAGE_SIZE = [14, 14]
MAX_NUM_ENTITIES = 4  # The background, then three balls.
BYTE_FEATURES = ["mask", "image"]

SCENE_FORMAT = scenes.SceneFormat(
    "balls",
    {
        "image": scenes.Feature((*IMAGE_SIZE, 3), np.uint8),
        "mask": scenes.Feature((MAX_NUM_ENTITIES, *IMAGE_SIZE, 1), np.uint8),
        "x": scenes.Feature((MAX_NUM_ENTITIES,)),
        "y": scenes.Feature((MAX_NUM_ENTITIES,)),
        "color": scenes.Feature((MAX_NUM_ENTITIES, 3)),
        "visibility": scenes.Feature((MAX_NUM_ENTITIES,)),
    },
)

dataset = SCENE_FORMAT.dataset
feature_descriptions = SCENE_FORMAT.feature_descriptions
