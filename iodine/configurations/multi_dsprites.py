"""Configs for Multi-dSprites."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import (
    BINARY_PIXELS,
    data_plan,
    large_plan,
    logistic_pixels,
    optimizer_plan,
    small_plan,
    tiny_plans,
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


# The KL divergence has a sixteenth of the weight that the pixels of a stage have of 64×64.
STAGES = [
    {"until": 6000, "num_iters": 3, "image_dim": [16, 16], "kl_weight": 0.004},
    {"until": 9000, "num_iters": 3, "image_dim": [32, 32], "kl_weight": 0.016},
    {"until": 10300, "num_iters": 3},
]


@named_config(
    **{
        **ENTRIES,
        "n_z": 64,
        "batch_size": 32,
        "pixel_scale": 0.2,
        "kl_weight": 0.063,
        "learn_rate": 0.0008,
        "stages": STAGES,
        "save_summaries_steps": 100,
    }
)
def multi_dsprites_fast(
    n_z, num_components, num_iters, batch_size, image_dim, pixel_scale, kl_weight, learn_rate
):
    """multi_dsprites with CLEVR's networks and a wider likelihood, on scenes that grow."""
    pixels = logistic_pixels(pixel_scale)
    return {
        "data": multi_dsprites_data("colored_on_grayscale", batch_size, image_dim),
        "model": large_plan(n_z, num_components, num_iters, pixel_dist=pixels, kl_weight=kl_weight),
        "optimizer": optimizer_plan(learn_rate, warmup_steps=300),
    }


# Places, then colours, then the background's brightness, and only then the scenes as they are.
SMALL = {"num_iters": 4, "image_dim": [16, 16], "pixel_scale": 0.2, "kl_weight": 0.1}
TINY_STAGES = [
    {"until": 1000, **SMALL, "saturation": 0.0, "background": 0.0},
    {"until": 3000, **SMALL, "background": 0.0},
    {"until": 4000, **SMALL, "background": 0.3},
    {"until": 5000, **SMALL, "background": 0.6},
    {"until": 9000, **SMALL, "pixel_scale": 0.1},
    {"until": 14000, **SMALL, "image_dim": [32, 32], "pixel_scale": 0.1, "kl_weight": 0.3},
    {"until": 17000, **SMALL, "image_dim": [32, 32], "pixel_scale": 0.05, "kl_weight": 0.6},
    {"until": 17500, "num_iters": 4},
]


@named_config(
    **{
        **ENTRIES,
        "num_iters": 10,
        "batch_size": 8,
        "pixel_scale": 0.05,
        "kl_weight": 2.4,
        "learn_rate": 0.003,
        "saturation": 1.0,
        "background": 1.0,
        "stages": TINY_STAGES,
        "save_summaries_steps": 100,
    }
)
def multi_dsprites_tiny(batch_size, image_dim, pixel_scale, saturation, background, **entries):
    """multi_dsprites with small networks, on scenes that grow, whose background is dark at first.

    On backgrounds of any brightness each slot learns to draw that brightness, and stays grey. In
    front of black ones there is nothing but the sprites to learn.
    """
    data = multi_dsprites_data("colored_on_grayscale", batch_size, image_dim)
    data = {**data, "saturation": saturation, "background": background}
    return tiny_plans(data, **entries, decay_steps=7000, pixel_dist=logistic_pixels(pixel_scale))
