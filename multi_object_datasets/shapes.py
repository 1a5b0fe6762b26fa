"""Reads Shapes: three white shapes on black, 28x28; generated, as no such file was published."""

import numpy as np

from multi_object_datasets import scene_format as scenes

COMPRESSION_TYPE = "GZIP"
IMAGE_SIZE = [28, 28]
MAX_NUM_ENTITIES = 4  # The background, then three shapes.
BYTE_FEATURES = ["mask", "image"]


def scene_format():
    """Returns the SceneFormat of the data set."""
    return scenes.SceneFormat(
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


def dataset(path, read_buffer_size=None, map_parallel_calls=None):
    """Reads a Shapes file.

    Args:
      path: TFRecord file.
      read_buffer_size: bytes to read at a time, default 1 MiB.
      map_parallel_calls: number of scenes to parse at a time, default 1.

    Returns:
      Unbatched `tf.data.Dataset` of dicts: image [28, 28, 1] and mask [4, 28, 28, 1] uint8 (0 or
      255); shape (1 triangle up, 2 triangle down, 3 square), x, y and visibility [4] float32.
    """
    return scenes.dataset(path, scene_format(), read_buffer_size, map_parallel_calls)
