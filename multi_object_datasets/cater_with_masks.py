"""Reads CATER with masks: videos of moving solids, 33 frames of 64x64.

`dataset` gives dicts of image [33, 64, 64, 3] and mask [33, 11, 64, 64, 1] uint8 (a mask is 0 or
255); camera_matrix [33, 4, 4] and object_positions [11, 33, 3] float32. The files are ZLIB
TFRecords with whole byte strings.
"""

import numpy as np

from multi_object_datasets import scene_format as scenes

COMPRESSION_TYPE = "ZLIB"
IMAGE_SIZE = [64, 64]
SEQUENCE_LENGTH = 33
MAX_NUM_ENTITIES = 11  # The background, then up to ten objects.
BYTE_FEATURES = ["image", "mask"]

SCENE_FORMAT = scenes.SceneFormat(
    "cater_with_masks",
    {
        "image": scenes.Feature((SEQUENCE_LENGTH, *IMAGE_SIZE, 3), np.uint8),
        "mask": scenes.Feature((SEQUENCE_LENGTH, MAX_NUM_ENTITIES, *IMAGE_SIZE, 1), np.uint8),
        "camera_matrix": scenes.Feature((SEQUENCE_LENGTH, 4, 4)),
        "object_positions": scenes.Feature((MAX_NUM_ENTITIES, SEQUENCE_LENGTH, 3)),
    },
    whole_strings=True,
)

dataset = SCENE_FORMAT.dataset
feature_descriptions = SCENE_FORMAT.feature_descriptions
