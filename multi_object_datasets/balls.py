"""Reads Balls: three coloured balls on black, 14x14; generated, made for quick experiments."""

import numpy as np

from multi_object_datasets import scene_format as scenes

COMPRESSION_TYPE = "GZIP"
IMAGE_SIZE = [14, 14]
MAX_NUM_ENTITIES = 4  # The background, then three balls.
BYTE_FEATURES = ["mask", "image"]


def scene_format():
    """Returns the SceneFormat of the data set."""
    return scenes.SceneFormat(
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


def dataset(path, read_buffer_size=None, map_parallel_calls=None):
    """Reads a Balls file.

    Args:
      path: TFRecord file.
      read_buffer_size: bytes to read at a time, default 1 MiB.
      map_parallel_calls: number of scenes to parse at a time, default 1.

    Returns:
      Unbatched `tf.data.Dataset` of dicts: image [14, 14, 3] and mask [4, 14, 14, 1] uint8 (0 or
      255); color [4, 3], x (left column), y (top row) and visibility [4] float32.
    """
    return scenes.dataset(path, scene_format(), read_buffer_size, map_parallel_calls)
