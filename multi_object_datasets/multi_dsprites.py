"""Reads Multi-dSprites: overlapping sprites, 64x64, in the published variants and two of ours."""

import numpy as np

from multi_object_datasets import scene_format as scenes

COMPRESSION_TYPE = "GZIP"
IMAGE_SIZE = [64, 64]
NUM_SPRITES = {  # (fewest, most)
    "colored_on_grayscale": (2, 5),
    "colored_on_black": (2, 5),  # The sprites of colored_on_grayscale in front of black.
    "colored_on_colored": (1, 4),
    "binarized": (2, 3),
    "binarized_few": (0, 2),  # As binarized, but of other counts: to learn to count.
}
VARIANTS = tuple(NUM_SPRITES)
MAX_NUM_ENTITIES = {variant: 1 + most for variant, (_, most) in NUM_SPRITES.items()}
BYTE_FEATURES = ["mask", "image"]


def _scene_format(name, entities, channels):
    """Returns the format of files with so many entities and channels."""
    scalars = ("x", "y", "shape", "visibility", "orientation", "scale")
    return scenes.SceneFormat(
        name,
        {
            "image": scenes.Feature((*IMAGE_SIZE, channels), np.uint8),
            # Stored as [64, 64, entities, 1].
            "mask": scenes.Feature((entities, *IMAGE_SIZE, 1), np.uint8, (2, 0, 1, 3)),
            "color": scenes.Feature((entities, channels)),
            **{name: scenes.Feature((entities,)) for name in scalars},
        },
    )


SCENE_FORMATS = {
    variant: _scene_format(
        f"multi_dsprites ({variant})", entities, 1 if variant.startswith("binarized") else 3
    )
    for variant, entities in MAX_NUM_ENTITIES.items()
}


def feature_descriptions(max_num_entities, is_grayscale=False):
    """Returns what `tf.io.parse_single_example` takes, see `SceneFormat.feature_descriptions`."""
    channels = 1 if is_grayscale else 3
    return _scene_format("", max_num_entities, channels).feature_descriptions()


def dataset(tfrecords_path, dataset_variant, read_buffer_size=None, map_parallel_calls=None):
    """Reads a Multi-dSprites file.

    Args:
      dataset_variant: "binarized" (4 entities, image and color of one channel),
        "colored_on_grayscale" (6), "colored_on_black" (6), "colored_on_colored" (5) or
        "binarized_few" (3, one channel).
      tfrecords_path, read_buffer_size, map_parallel_calls: as for `SceneFormat.dataset`.

    Returns:
      Unbatched `tf.data.Dataset` of dicts: image [64, 64, C] and mask [entities, 64, 64, 1] uint8
      (a mask is 0 or 255); color [entities, C], shape, x, y (both in [0, 1]), visibility,
      orientation (radians) and scale [entities] float32.

    Raises:
      DatasetError: unknown variant.
    """
    scene_format = scenes.variant_format("multi_dsprites", dataset_variant, SCENE_FORMATS)
    return scene_format.dataset(tfrecords_path, read_buffer_size, map_parallel_calls)
