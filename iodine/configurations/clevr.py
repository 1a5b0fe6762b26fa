"""Configs for CLEVR."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import (
    LINEAR_COORDS,
    broadcast_conv,
    conv_encoder,
    data_plan,
    halving,
    iodine_plan,
    logistic_pixels,
    optimizer_plan,
    tiny_networks,
)

CLEVR_FACTORS = [
    ["color", 9, "categorical"],
    ["shape", 4, "categorical"],
    ["size", 3, "categorical"],
    ["position", 3, "scalar"],
]
CLEVR6 = {"min_num_objects": 3, "max_num_objects": 6}

ENTRIES = {
    "n_z": 64,
    "num_components": 7,
    "num_iters": 5,
    "batch_size": 4,
    "image_dim": [128, 128],
    "pixel_scale": 0.03,
    "learn_rate": lambda c: 0.001 * (c.batch_size / 32) ** 0.5,
}


def clevr_data(c, **options):
    """Plan of the data set, with the rows and columns that the paper keeps."""
    crop_region = [[29, 221], [64, 256]]
    file_name = "clevr_with_masks_train.tfrecords"
    return data_plan(c, "CLEVR", file_name, crop_region=crop_region, **options)


def _plans(c, factors=CLEVR_FACTORS, warmup_steps=0, **data):
    return {
        "data": clevr_data(c, **data),
        "model": iodine_plan(
            c,
            decoder=broadcast_conv([64, 64, 64, 64], 3),
            encoder=conv_encoder([64, 64, 64, 64], 3, [256, 256]),
            hidden_sizes=[256],
            pixels=logistic_pixels(c),
            coords=LINEAR_COORDS,
            factors=factors,
        ),
        "optimizer": optimizer_plan(c, warmup_steps=warmup_steps),
    }


@named_config(**ENTRIES, reference_batch_size=4)
def clevr6(c):
    """CLEVR's scenes of 3 to 6 objects, 128×128, as published: 1 000 000 steps on eight GPUs.

    The paper reports a foreground ARI of 0.988.
    """
    return _plans(c, **CLEVR6)


@named_config(**{**ENTRIES, "num_components": 11})
def clevr(c):
    """All of CLEVR, 3 to 10 objects, with the networks of `clevr6`; not trained here."""
    return _plans(c)


@named_config(**ENTRIES)
def clevr6_grayscale(c):
    """`clevr6` without colours, so that shapes have to tell objects apart; not trained here."""
    return _plans(c, **CLEVR6, grayscale=True)


# The KL divergence has a quarter of the weight that the pixels of a stage have of 128×128, then
# half. With the likelihood's scale halved it has all of it, which balances as the quarter did.
STAGES = [
    {"until": 1800, "image_dim": [16, 16], "kl_weight": 0.004},
    {"until": 3650, "image_dim": [32, 32], "kl_weight": 0.016},
    {"until": 4500, "image_dim": [32, 32], "kl_weight": 0.016, "learn_rate": 0.0002},
    {"until": 5184, "image_dim": [64, 64], "kl_weight": 0.063, "batch_size": 32},
    {"until": 6960, "kl_weight": 0.25, "batch_size": 16, "learn_rate": 0.0004},
    {"until": 8960, "image_dim": [64, 64], "kl_weight": 0.125, "batch_size": 32},
]
STAGES = [{**stage, "pixel_scale": 0.2} for stage in STAGES] + [
    {
        "until": 12140,
        "image_dim": [64, 64],
        "kl_weight": 0.25,
        "batch_size": 32,
        "learn_rate": 0.0005,
    },
    {"until": 13100, "batch_size": 16, "learn_rate": 0.0003},
    {"until": 13860, "batch_size": 16, "learn_rate": 0.0001},
]
STAGES = [{**stage, "num_iters": 3} for stage in STAGES]


@named_config(
    **{
        **ENTRIES,
        "num_iters": 8,
        "pixel_scale": 0.1,
        "learn_rate": 0.0006,
        "stages": STAGES,
        "save_summaries_steps": 100,
    }
)
def clevr6_fast(c):
    """`clevr6` with a wider likelihood, on scenes that grow from 16×16 to 128×128.

    Two hours of a core and 20 minutes of a GPU, as it was trained, give a foreground ARI of 0.92.
    It has no regressor of factors: the squared errors of places in pixels would rule the norm that
    gradients are clipped to.
    """
    return _plans(c, **CLEVR6, warmup_steps=300, factors=None)


GRAYSCALE_STAGES = [
    {"until": 3000, "image_dim": [16, 16], "kl_weight": 0.02},
    {"until": 3500},
    {"until": 5500, "learn_rate": 0.0015},
    {"until": 6000, "learn_rate": 0.0005},
]
GRAYSCALE_STAGES = [{**stage, "num_iters": 4} for stage in GRAYSCALE_STAGES]


@named_config(
    **{
        **ENTRIES,
        "n_z": 16,
        "num_iters": 8,
        "batch_size": 8,
        "image_dim": [32, 32],
        "pixel_scale": 0.1,
        "kl_weight": 0.08,
        "learn_rate": 0.003,
        "stages": GRAYSCALE_STAGES,
        "save_summaries_steps": 100,
    }
)
def clevr6_grayscale_fast(c):
    """`clevr6_grayscale` at 32×32 with small networks, on scenes that grow.

    77 minutes of one core give a foreground ARI of 0.73.
    """
    return {
        "data": clevr_data(c, **CLEVR6, grayscale=True),
        "model": iodine_plan(c, **tiny_networks(32), pixels=logistic_pixels(c)),
        "optimizer": halving(c, 7000),
    }
