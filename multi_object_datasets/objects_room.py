"""Reads Objects Room: objects in a room with coloured walls, 64x64."""

import numpy as np

from multi_object_datasets import scene_format as scenes

COMPRESSION_TYPE = "GZIP"
IMAGE_SIZE = [64, 64]
# Sky, floor and two halves of the walls, then the objects. "sequences" is no published variant: it
# holds scenes of "train" in SEQUENCE_LENGTH frames of a moving camera.
MAX_NUM_ENTITIES = {
    "train": 7,
    "six_objects": 10,
    "empty_room": 4,
    "identical_color": 10,
    "sequences": 7,
}
NUM_BACKGROUND_ENTITIES = 4
SEQUENCE_LENGTH = 16
BYTE_FEATURES = ["mask", "image"]


def scene_format(dataset_variant):
    """Returns the SceneFormat of a variant."""
    scenes.check_variant("objects_room", dataset_variant, MAX_NUM_ENTITIES)
    entities = MAX_NUM_ENTITIES[dataset_variant]
    frames = (SEQUENCE_LENGTH,) if dataset_variant == "sequences" else ()
    return scenes.SceneFormat(
        f"objects_room ({dataset_variant})",
        {
            "image": scenes.Feature((*frames, *IMAGE_SIZE, 3), np.uint8),
            "mask": scenes.Feature((*frames, entities, *IMAGE_SIZE, 1), np.uint8),
        },
    )


def dataset(path, dataset_variant, read_buffer_size=None, map_parallel_calls=None):
    """Reads an Objects Room file.

    Args:
      path: TFRecord file.
      dataset_variant: "train" (7 entities), "six_objects" (10), "empty_room" (4),
        "identical_color" (10), or "sequences" (7, in 16 frames).
      read_buffer_size: bytes to read at a time, default 1 MiB.
      map_parallel_calls: number of scenes to parse at a time, default 1.

    Returns:
      Unbatched `tf.data.Dataset` of dicts of uint8: image [64, 64, 3] and mask
      [entities, 64, 64, 1] (0 or 255), both with a leading axis of 16 frames in "sequences".

    Raises:
      DatasetError: unknown variant.
    """
    fmt = scene_format(dataset_variant)
    return scenes.dataset(path, fmt, read_buffer_size, map_parallel_calls)
