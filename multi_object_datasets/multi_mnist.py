"""Reads Multi-MNIST: up to two handwritten digits on black, in three variants; generated.

`dataset` gives dicts of image [S, S, 1] and mask [3, S, S, 1] uint8 (a mask is 0 or 255), S being
50, 64 of variant "small", or 32 of "textured", which has one digit, of stripes on other stripes;
label (0 to 9), scale (side of the digit's image by MNIST's 28 pixels), x and y (its centre, from
0 at the left and the top to 1) and visibility [3] float32. The background comes first; what the
scene does not have is zero, so that the digits are as many as the sum of visibility less one.
"""

import numpy as np

from multi_object_datasets import scene_format as scenes

COMPRESSION_TYPE = "GZIP"
IMAGE_SIZE = {"standard": [50, 50], "small": [64, 64], "textured": [32, 32]}
VARIANTS = tuple(IMAGE_SIZE)
MAX_NUM_DIGITS = 2
MAX_NUM_ENTITIES = 1 + MAX_NUM_DIGITS
BYTE_FEATURES = ["mask", "image"]
FLOAT_FEATURES = ("label", "scale", "x", "y", "visibility")

SCENE_FORMATS = {
    variant: scenes.SceneFormat(
        f"multi_mnist ({variant})",
        {
            "image": scenes.Feature((*size, 1), np.uint8),
            "mask": scenes.Feature((MAX_NUM_ENTITIES, *size, 1), np.uint8),
            **{name: scenes.Feature((MAX_NUM_ENTITIES,)) for name in FLOAT_FEATURES},
        },
    )
    for variant, size in IMAGE_SIZE.items()
}


def feature_descriptions(dataset_variant="standard"):
    """Returns what `tf.io.parse_single_example` takes, see `SceneFormat.feature_descriptions`."""
    return _scene_format(dataset_variant).feature_descriptions()


def dataset(
    tfrecords_path, dataset_variant="standard", read_buffer_size=None, map_parallel_calls=None
):
    """Reads a Multi-MNIST file.

    Args:
      dataset_variant: "standard" (50x50), "small" (64x64, digits of 9 to 18 pixels) or "textured"
        (32x32).
      tfrecords_path, read_buffer_size, map_parallel_calls: as for `SceneFormat.dataset`.

    Returns:
      Unbatched `tf.data.Dataset` of dicts, see above.

    Raises:
      DatasetError: unknown variant.
    """
    scene_format = _scene_format(dataset_variant)
    return scene_format.dataset(tfrecords_path, read_buffer_size, map_parallel_calls)


def _scene_format(variant):
    return scenes.variant_format("multi_mnist", variant, SCENE_FORMATS)
