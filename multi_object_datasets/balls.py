"""Reads Balls: three coloured balls on black, 14x14; generated, made for quick experiments.

`dataset` gives dicts of image [14, 14, 3] and mask [4, 14, 14, 1] uint8 (0 or 255); color [4, 3],
x (left column), y (top row) and visibility [4] float32. The variants `crowded`, with five
balls, and `single`, with one, are read by `SCENE_FORMATS[variant].dataset`. So is `sequences`, of
image [16, 14, 14, 3] and mask [16, 4, 14, 14, 1] alone: the frames of three balls that move.
"""

import numpy as np

from multi_object_datasets import scene_format as scenes

COMPRESSION_TYPE = "GZIP"
IMAGE_SIZE = [14, 14]
NUM_BALLS = {"standard": 3, "crowded": 5, "single": 1, "sequences": 3}
VARIANTS = tuple(NUM_BALLS)
MAX_NUM_ENTITIES = {variant: 1 + balls for variant, balls in NUM_BALLS.items()}
SEQUENCE_LENGTH = 16
BYTE_FEATURES = ["mask", "image"]


def _scene_format(variant, entities):
    """Returns the format of a variant's files, with so many entities."""
    frames = (SEQUENCE_LENGTH,) if variant == "sequences" else ()
    features = {
        "image": scenes.Feature((*frames, *IMAGE_SIZE, 3), np.uint8),
        "mask": scenes.Feature((*frames, entities, *IMAGE_SIZE, 1), np.uint8),
    }
    if not frames:
        features["color"] = scenes.Feature((entities, 3))
        features.update({name: scenes.Feature((entities,)) for name in ("x", "y", "visibility")})
    return scenes.SceneFormat("balls" if variant == "standard" else f"balls ({variant})", features)


SCENE_FORMATS = {
    variant: _scene_format(variant, entities) for variant, entities in MAX_NUM_ENTITIES.items()
}
SCENE_FORMAT = SCENE_FORMATS["standard"]

dataset = SCENE_FORMAT.dataset
feature_descriptions = SCENE_FORMAT.feature_descriptions
