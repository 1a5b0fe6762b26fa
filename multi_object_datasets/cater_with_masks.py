"""Reads CATER with masks: videos of moving solids, 33 frames of 64x64."""

import numpy as np

from multi_object_datasets import scene_format as scenes

COMPRESSION_TYPE = "ZLIB"
IMAGE_SIZE = [64, 64]
SEQUENCE_LENGTH = 33
MAX_NUM_ENTITIES = 11  # The background, then up to ten objects.
BYTE_FEATURES = ["image", "mask"]


def scene_format():
    """Returns the SceneFormat of the data set."""
    frames, entities = SEQUENCE_LENGTH, MAX_NUM_ENTITIES
    return scenes.SceneFormat(
        "cater_with_masks",
        {
            "image": scenes.Feature((frames, *IMAGE_SIZE, 3), np.uint8),
            "mask": scenes.Feature((frames, entities, *IMAGE_SIZE, 1), np.uint8),
            "camera_matrix": scenes.Feature((frames, 4, 4)),
            "object_positions": scenes.Feature((entities, frames, 3)),
        },
    )


def dataset(path, read_buffer_size=None, map_parallel_calls=None):
    """Reads a CATER file.

    Args:
      path: TFRecord file (ZLIB, with whole byte strings).
      read_buffer_size: bytes to read at a time, default 1 MiB.
      map_parallel_calls: number of scenes to parse at a time, default 1.

    Returns:
      Unbatched `tf.data.Dataset` of dicts: image [33, 64, 64, 3] and mask [33, 11, 64, 64, 1]
      uint8 (a mask is 0 or 255); camera_matrix [33, 4, 4] and object_positions [11, 33, 3]
      float32.
    """
    return scenes.dataset(path, scene_format(), read_buffer_size, map_parallel_calls)
