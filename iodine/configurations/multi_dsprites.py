"""Configs for Multi-dSprites."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import (
    BINARY_PIXELS,
    data_plan,
    logistic_pixels,
    optimizer_plan,
    small_plan,
)

FACTORS = [
    ["color", 3, "scalar"],
    ["shape", 4, "categorical"],
    ["scale", 1, "scalar"],
    ["x", 1, "scalar"],
    ["y", 1, "scalar"],
    ["orientation", 2, "angle"],
]
ENTRIES = {
    "n_z": 16,
    "num_components": 6,
    "num_iters": 5,
    "batch_size": 16,
    "image_dim": [64, 64],
    "learn_rate": lambda batch_size: 0.0003 * (batch_size / 128) ** 0.5,
}


def _plans(variant, n_z, num_components, num_iters, batch_size, image_dim, learn_rate, **model):
    return {
        "data": data_plan(
            "MultiDSprites",
            f"multi_dsprites_{variant}.tfrecords",
            batch_size,
            image_dim,
            dataset_variant=variant,
        ),
        "model": small_plan(n_z, num_components, num_iters, hidden_sizes=[128], **model),
        "optimizer": optimizer_plan(learn_rate),
    }


@named_config(**ENTRIES, pixel_scale=0.03, reference_batch_size=16)
def multi_dsprites(pixel_scale, **entries):
    pixels = logistic_pixels(pixel_scale)
    return _plans("colored_on_grayscale", **entries, factors=FACTORS, pixel_dist=pixels)


@named_config(**{**ENTRIES, "num_components": 4})
def multi_dsprites_binarized(**entries):
    """White sprites on black, with Bernoulli pixels."""
    # All factors but the colour, which is the same for all.
    return _plans("binarized", **entries, factors=FACTORS[1:], pixel_dist=BINARY_PIXELS)
