"""Reads Shapes: three white shapes on black, 28x28; generated, as no such file was published.

`dataset` gives dicts of image [28, 28, 1] and mask [4, 28, 28, 1] uint8 (0 or 255); shape (1
triangle up, 2 triangle down, 3 square), x, y and visibility [4] float32.
"""

import numpy as np

from multi_object_datasets import scene_format as scenes

COMPRESSION_TYPE = "GZIP"
IMAGE_SIZE = [28, 28]
NUM_SHAPES = 3
MAX_NUM_ENTITIES = 1 + NUM_SHAPES
VARIANTS = ()
BYTE_FEATURES = ["mask", "image"]

SCENE_FORMAT = scenes.SceneFormat(
    "shapes",
    {
        "image": scenes.Feature((*IMAGE_SIZE, 1), np.uint8),
        "mask": scenes.Feature((MAX_NUM_ENTITIES, *IMAGE_SIZE, 1), np.uint8),
        "x": scenes.Feature((MAX_NUM_ENTITIES,)),
        "y": scenes.Feature((MAX_NUM_ENTITIES,)),
        "shape": scenes.Feature((MAX_NUM_ENTITIES,)),
        "visibility": scenes.Feature((MAX_NUM_ENTITIES,)),
    },
)

dataset = SCENE_FORMAT.dataset
feature_descriptions = SCENE_FORMAT.feature_descriptions
