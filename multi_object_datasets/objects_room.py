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


def _scene_format(variant):
    """Returns the format of a variant."""
    entities = MAX_NUM_ENTITIES[variant]
    frames = (SEQUENCE_LENGTH,) if variant == "sequences" else ()
    return scenes.SceneFormat(
        f"objects_room ({variant})",
        {
            "image": scenes.Feature((*frames, *IMAGE_SIZE, 3), np.uint8),
            "mask": scenes.Feature((*frames, entities, *IMAGE_SIZE, 1), np.uint8),
        },
    )


SCENE_FORMATS = {variant: _scene_format(variant) for variant in MAX_NUM_ENTITIES}


def dataset(tfrecords_path, dataset_variant, read_buffer_size=None, map_parallel_calls=None):
    """Reads an Objects Room file.

    Args:
      dataset_variant: "train" (7 entities), "six_objects" (10), "empty_room" (4),
        "identical_color" (10), or "sequences" (7, in 16 frames).
      tfrecords_path, read_buffer_size, map_parallel_calls: as for `SceneFormat.dataset`.

    Returns:
      Unbatched `tf.data.Dataset` of dicts of uint8: image [64, 64, 3] and mask
      [entities, 64, 64, 1] (0 or 255), both with a leading axis of 16 frames in "sequences".

    Raises:
      DatasetError: unknown variant.
    """
    scene_format = scenes.variant_format("objects_room", dataset_variant, SCENE_FORMATS)
    return scene_format.dataset(tfrecords_path, read_buffer_size, map_parallel_calls)
