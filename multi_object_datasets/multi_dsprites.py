"""Reads Multi-dSprites: overlapping sprites, 64x64, in three variants."""

import numpy as np

from multi_object_datasets import scene_format as scenes

COMPRESSION_TYPE = "GZIP"
IMAGE_SIZE = [64, 64]
# The background, then the sprites.
MAX_NUM_ENTITIES = {"binarized": 4, "colored_on_grayscale": 6, "colored_on_colored": 5}
BYTE_FEATURES = ["mask", "image"]


def scene_format(dataset_variant):
    """Returns the SceneFormat of a variant."""
    scenes.check_variant("multi_dsprites", dataset_variant, MAX_NUM_ENTITIES)
    entities = MAX_NUM_ENTITIES[dataset_variant]
    channels = 1 if dataset_variant == "binarized" else 3
    return scenes.SceneFormat(
        f"multi_dsprites ({dataset_variant})",
        {
            "image": scenes.Feature((*IMAGE_SIZE, channels), np.uint8),
            # Stored as [64, 64, entities, 1].
            "mask": scenes.Feature((entities, *IMAGE_SIZE, 1), np.uint8, (2, 0, 1, 3)),
            "x": scenes.Feature((entities,)),
            "y": scenes.Feature((entities,)),
            "shape": scenes.Feature((entities,)),
            "color": scenes.Feature((entities, channels)),
            "visibility": scenes.Feature((entities,)),
            "orientation": scenes.Feature((entities,)),
            "scale": scenes.Feature((entities,)),
        },
    )


def dataset(path, dataset_variant, read_buffer_size=None, map_parallel_calls=None):
    """Reads a Multi-dSprites file.

    Args:
      path: TFRecord file.
      dataset_variant: "binarized" (4 entities, image and color of one channel),
        "colored_on_grayscale" (6) or "colored_on_colored" (5).
      read_buffer_size: bytes to read at a time, default 1 MiB.
      map_parallel_calls: number of scenes to parse at a time, default 1.

    Returns:
      Unbatched `tf.data.Dataset` of dicts: image [64, 64, C] and mask [entities, 64, 64, 1] uint8
      (a mask is 0 or 255); color [entities, C], shape, x, y (both in [0, 1]), visibility,
      orientation (radians) and scale [entities] float32.

    Raises:
      DatasetError: unknown variant.
    """
    fmt = scene_format(dataset_variant)
    return scenes.dataset(path, fmt, read_buffer_size, map_parallel_calls)
