"""Reads Objects Room: objects in a room with coloured walls, 64x64."""

import numpy as np

from multi_object_datasets import scene_format as scenes

COMPRESSION_TYPE = "GZIP"
IMAGE_SIZE = [64, 64]
NUM_OBJECTS = {  # (fewest, most)
    "train": (3, 3),
    "six_objects": (6, 6),
    "empty_room": (0, 0),
    "identical_color": (4, 6),
    # No published variant: scenes of "train" in SEQUENCE_LENGTH frames of a moving camera.
    "sequences": (3, 3),
}
VARIANTS = tuple(NUM_OBJECTS)
NUM_BACKGROUND_ENTITIES = 4  # Sky, floor and two halves of the walls.
MAX_NUM_ENTITIES = {
    variant: NUM_BACKGROUND_ENTITIES + most for variant, (_, most) in NUM_OBJECTS.items()
}
SEQUENCE_LENGTH = 16
BYTE_FEATURES = ["mask", "image"]


def _scene_format(name, entities, frames=()):
    """Returns the format of files with so many entities, and frames in a leading axis."""
    return scenes.SceneFormat(
        name,
        {
            "image": scenes.Feature((*frames, *IMAGE_SIZE, 3), np.uint8),
            "mask": scenes.Feature((*frames, entities, *IMAGE_SIZE, 1), np.uint8),
        },
    )


SCENE_FORMATS = {
    variant: _scene_format(
        f"objects_room ({variant})", entities, (SEQUENCE_LENGTH,) if variant == "sequences" else ()
    )
    for variant, entities in MAX_NUM_ENTITIES.items()
}


def feature_descriptions(max_num_entities):
    """Returns what `tf.io.parse_single_example` takes, see `SceneFormat.feature_descriptions`."""
    return _scene_format("", max_num_entities).feature_descriptions()


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
