"""Reads Balls: three coloured balls on black, 14x14; generated, made for quick experiments.

`dataset` gives dicts of image [14, 14, 3] and mask [4, 14, 14, 1] uint8 (0 or 255); color [4, 3],
x (left column), y (top row) and visibility [4] float32. The variants `crowded`, with five
balls, and `single`, with one, are read by `SCENE_FORMATS[variant].dataset`.
"""

import numpy as np

from multi_object_datasets import scene_format as scenes

COMPRESSION_TYPE = "GZIP"
IMAGE_SIZE = [14, 14]
MAX_NUM_ENTITIES = {"standard": 4, "crowded": 6, "single": 2}  # The background, then the balls.
BYTE_FEATURES = ["mask", "image"]


def _scene_format(name, entities):
    """Returns the format of files with so many entities."""
    return scenes.SceneFormat(
        name,
        {
            "image": scenes.Feature((*IMAGE_SIZE, 3), np.uint8),
            "mask": scenes.Feature((entities, *IMAGE_SIZE, 1), np.uint8),
            "x": scenes.Feature((entities,)),
            "y": scenes.Feature((entities,)),
            "color": scenes.Feature((entities, 3)),
            "visibility": scenes.Feature((entities,)),
        },
    )


SCENE_FORMATS = {
    variant: _scene_format("balls" if variant == "standard" else f"balls ({variant})", entities)
    for variant, entities in MAX_NUM_ENTITIES.items()
}
SCENE_FORMAT = SCENE_FORMATS["standard"]

dataset = SCENE_FORMAT.dataset
feature_descriptions = SCENE_FORMAT.feature_descriptions
