"""Configs for Multi-dSprites."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import (
    BINARY_PIXELS,
    data_plan,
    logistic_pixels,
    optimizer_plan,
    small_plan,
    tiny_plans,
    upsampling_decoder,
)

SPRITE_FACTORS = [
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


def multi_dsprites_data(variant, batch_size, image_dim):
    """Plan of a variant of the data set."""
    file_name = f"multi_dsprites_{variant}.tfrecords"
    return data_plan("MultiDSprites", file_name, batch_size, image_dim, dataset_variant=variant)


def _plans(variant, n_z, num_components, num_iters, batch_size, image_dim, learn_rate, **model):
    return {
        "data": multi_dsprites_data(variant, batch_size, image_dim),
        "model": small_plan(n_z, num_components, num_iters, hidden_sizes=[128], **model),
        "optimizer": optimizer_plan(learn_rate),
    }


@named_config(**ENTRIES, pixel_scale=0.03, reference_batch_size=16)
def multi_dsprites(pixel_scale, **entries):
    pixels = logistic_pixels(pixel_scale)
    return _plans("colored_on_grayscale", **entries, factors=SPRITE_FACTORS, pixel_dist=pixels)


@named_config(**{**ENTRIES, "num_components": 4})
def multi_dsprites_binarized(**entries):
    """White sprites on black, with Bernoulli pixels."""
    # All factors but the colour, which is the same for all.
    return _plans("binarized", **entries, factors=SPRITE_FACTORS[1:], pixel_dist=BINARY_PIXELS)


# The KL divergence has the weight that the pixels of a stage have of 64×64.
BINARIZED_STAGES = [
    {"until": 4200, "num_iters": 4, "image_dim": [16, 16], "kl_weight": 0.0625},
    {"until": 6000, "num_iters": 4, "image_dim": [32, 32], "kl_weight": 0.25},
    {"until": 6500, "num_iters": 4},
]


@named_config(
    **{
        **ENTRIES,
        "num_components": 4,
        "num_iters": 8,
        "batch_size": 8,
        "learn_rate": 0.003,
        "stages": BINARIZED_STAGES,
        "save_summaries_steps": 100,
    }
)
def multi_dsprites_binarized_fast(batch_size, image_dim, **entries):
    """multi_dsprites_binarized with small networks, on scenes that grow."""
    data = multi_dsprites_data("binarized", batch_size, image_dim)
    factors = SPRITE_FACTORS[1:]
    return tiny_plans(data, **entries, decay_steps=4000, factors=factors, pixel_dist=BINARY_PIXELS)


# Places first, then colours, both in front of black, and only then the scenes as they are.
SMALL = {"num_iters": 4, "image_dim": [16, 16], "pixel_scale": 0.2, "kl_weight": 0.1}
BLACK = {"dataset_variant": "colored_on_black"}
STAGES = [
    {"until": 1000, **SMALL, **BLACK, "saturation": 0.0},
    {"until": 3000, **SMALL, **BLACK},
    {"until": 9000, **SMALL, "pixel_scale": 0.1},
    {"until": 20000, **SMALL, "image_dim": [32, 32], "pixel_scale": 0.1, "kl_weight": 0.3},
]


@named_config(
    **{
        **ENTRIES,
        "n_z": 32,
        "num_iters": 10,
        "batch_size": 8,
        "pixel_scale": 0.05,
        "kl_weight": 2.4,
        "learn_rate": 0.003,
        "saturation": 1.0,
        "dataset_variant": "colored_on_grayscale",
        "stages": STAGES,
        "save_summaries_steps": 100,
    }
)
def multi_dsprites_fast(batch_size, image_dim, pixel_scale, saturation, dataset_variant, **entries):
    """multi_dsprites with small networks, on scenes that grow and are grey on black at first."""
    data = multi_dsprites_data(dataset_variant, batch_size, image_dim)
    plans = tiny_plans(
        {**data, "saturation": saturation},
        **entries,
        decay_steps=7000,
        pixel_dist=logistic_pixels(pixel_scale),
    )
    plans["model"]["decoder"]["pixel_decoder"] = upsampling_decoder([64, 64, 32])
    return plans
