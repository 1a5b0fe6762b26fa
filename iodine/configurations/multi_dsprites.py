"""Configs for Multi-dSprites."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import (
    BINARY_PIXELS,
    COSINE_COORDS,
    SMALL_NETWORKS,
    broadcast_conv,
    broadcast_deconv,
    conv_encoder,
    data_plan,
    halving,
    iodine_plan,
    logistic_pixels,
    optimizer_plan,
    tiny_networks,
)

SPRITE_FACTORS = [
    ["color", 3, "scalar"],
    ["shape", 4, "categorical"],
    ["scale", 1, "scalar"],
    ["x", 1, "scalar"],
    ["y", 1, "scalar"],
    ["orientation", 2, "angle"],
]
BINARY_FACTORS = SPRITE_FACTORS[1:]  # all but the colour, which is the same for all

ENTRIES = {
    "n_z": 16,
    "num_components": 6,
    "num_iters": 5,
    "batch_size": 16,
    "image_dim": [64, 64],
    "learn_rate": lambda c: 0.0003 * (c.batch_size / 128) ** 0.5,
}
COLORED = {"dataset_variant": "colored_on_grayscale"}
BINARIZED = {"dataset_variant": "binarized"}


def multi_dsprites_data(c):
    """Plan of the data set."""
    variant = c.dataset_variant
    file_name = f"multi_dsprites_{variant}.tfrecords"
    return data_plan(c, "MultiDSprites", file_name, dataset_variant=variant)


@named_config(**ENTRIES, **COLORED, pixel_scale=0.03, reference_batch_size=16)
def multi_dsprites(c):
    """Two to five coloured sprites on grey, 64×64, as published: 1 000 000 steps.

    The paper reports a foreground ARI of 0.767.
    """
    return {
        "data": multi_dsprites_data(c),
        "model": iodine_plan(
            c,
            decoder=broadcast_conv([32, 32, 32, 32], 5),
            encoder=conv_encoder([32, 32, 32], 5, [128]),
            hidden_sizes=[128],
            pixels=logistic_pixels(c),
            coords={"coord_type": "cos"},
            factors=SPRITE_FACTORS,
        ),
        "optimizer": optimizer_plan(c),
    }


@named_config(**{**ENTRIES, **BINARIZED, "num_components": 4})
def multi_dsprites_binarized(c):
    """White sprites on black, with Bernoulli pixels; not trained here."""
    return {
        "data": multi_dsprites_data(c),
        "model": iodine_plan(
            c, **SMALL_NETWORKS, hidden_sizes=[128], pixels=BINARY_PIXELS, factors=BINARY_FACTORS
        ),
        "optimizer": optimizer_plan(c),
    }


# The KL divergence has the weight that the pixels of a stage have of 64×64.
BINARIZED_STAGES = [
    {"until": 4200, "num_iters": 4, "image_dim": [16, 16], "kl_weight": 0.0625},
    {"until": 6000, "num_iters": 4, "image_dim": [32, 32], "kl_weight": 0.25},
    {"until": 6500, "num_iters": 4},
]


@named_config(
    **{
        **ENTRIES,
        **BINARIZED,
        "num_components": 4,
        "num_iters": 8,
        "batch_size": 8,
        "learn_rate": 0.003,
        "stages": BINARIZED_STAGES,
        "save_summaries_steps": 100,
    }
)
def multi_dsprites_binarized_fast(c):
    """`multi_dsprites_binarized` with small networks, on scenes that grow.

    85 minutes of one core give a foreground ARI of 0.58.
    """
    return {
        "data": multi_dsprites_data(c),
        "model": iodine_plan(c, **tiny_networks(32), pixels=BINARY_PIXELS, factors=BINARY_FACTORS),
        "optimizer": halving(c, 4000),
    }


# Places first, then colours, both in front of black, and only then the scenes as they are. Twice as
# many refinements last, which find the sprites that fewer leave to a neighbour's slot.
SMALL = {"image_dim": [16, 16], "pixel_scale": 0.1, "kl_weight": 0.1}
BLACK = {"dataset_variant": "colored_on_black"}
GREY = {"pixel_scale": 0.2, "saturation": 0.0, "learn_rate": 0.003}
STAGES = [
    {"until": 1000, **SMALL, **BLACK, **GREY, "num_iters": 4},
    {"until": 3000, **SMALL, **BLACK, "num_iters": 4},
    {"until": 7000, **SMALL, "num_iters": 4},
    {"until": 9000, **SMALL, "num_iters": 8},
    {"until": 10000, "num_iters": 8, "image_dim": [32, 32], "pixel_scale": 0.1, "kl_weight": 0.2},
    {"until": 12000, "num_iters": 8, "image_dim": [32, 32], "kl_weight": 0.2},
    {"until": 12900, "num_iters": 8},
    {"until": 13300, "num_iters": 8, "learn_rate": 0.0004},
]


@named_config(
    **{
        **ENTRIES,
        **COLORED,
        "n_z": 32,
        "num_iters": 10,
        "batch_size": 8,
        "pixel_scale": 0.05,
        "kl_weight": 0.8,
        "learn_rate": 0.0016,
        "stages": STAGES,
        "save_summaries_steps": 100,
    }
)
def multi_dsprites_fast(c):
    """`multi_dsprites` decoded from a coarse grid, on scenes that grow, grey on black at first.

    Two and a half hours of one core give a foreground ARI of 0.67, the mean of two seeds. Slots
    hold the sprites as discs.

    On backgrounds of any brightness each slot learns to draw that brightness, and stays grey. In
    front of black there is nothing but the sprites to learn.
    """
    return {
        "data": multi_dsprites_data(c),
        "model": iodine_plan(
            c,
            decoder=broadcast_deconv([64, 64, 32], COSINE_COORDS),
            encoder=conv_encoder([64, 64, 64], 3, [128]),
            hidden_sizes=[128],
            pixels=logistic_pixels(c),
            coords=COSINE_COORDS,
        ),
        "optimizer": halving(c, 7000),
    }
