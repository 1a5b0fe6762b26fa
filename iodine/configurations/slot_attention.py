"""Configs for Slot Attention."""

from iodine.configurations.clevr import CLEVR6, CLEVR_FACTORS, clevr_data
from iodine.configurations.multi_dsprites import COLORED, SPRITE_FACTORS, multi_dsprites_data
from iodine.configurations.named_config import named_config
from iodine.configurations.plans import optimizer_plan, regressor_plan
from iodine.configurations.tetrominoes import TETROMINO_FACTORS, tetrominoes_data

ENTRIES = {"n_z": 64, "num_iters": 3, "batch_size": 64, "learn_rate": 0.0004}
SMALL_NETWORKS = {
    "encoder_channels": [32, 32, 32, 32],
    "decoder_channels": [32, 32, 32],
    "decoder_strides": [1, 1, 1],
}
CLEVR_NETWORKS = {
    "encoder_channels": [64, 64, 64, 64],
    "decoder_channels": [64, 64, 64, 64, 64],
    "decoder_strides": [2, 2, 2, 2, 1],
}


def _plans(c, data, factors, networks=SMALL_NETWORKS, warmup_steps=10000):
    return {
        "data": data,
        "model": {
            "constructor": "iodine.baselines.slot_attention.SlotAttentionAutoEncoder",
            "n_z": c.n_z,
            "num_components": c.num_components,
            "num_iters": c.num_iters,
            **networks,
            "mlp_size": 128,
            "implicit": False,  # True: gradients through the last iteration alone
            "factor_evaluator": regressor_plan(factors),
        },
        # As published, but for the warm-up of the fast configs.
        "optimizer": optimizer_plan(
            c, beta1=0.9, decay_rate=0.5, decay_steps=100000, warmup_steps=warmup_steps
        ),
    }


@named_config(**ENTRIES, num_components=4, image_dim=[35, 35])
def slot_attention_tetrominoes(c):
    """Tetrominoes as published: 500 000 steps to a foreground ARI of 0.995."""
    return _plans(c, tetrominoes_data(c), TETROMINO_FACTORS)


@named_config(
    **{**ENTRIES, "batch_size": 32, "learn_rate": 0.0008},
    num_components=4,
    image_dim=[35, 35],
    stages=[
        {"until": 4200, "image_dim": [14, 14]},
        {"until": 12000},
        {"until": 16000, "learn_rate": 0.0002},
    ],
    save_summaries_steps=100,
)
def slot_attention_tetrominoes_fast(c):
    """`slot_attention_tetrominoes` with a higher learning rate, on scenes that grow.

    A minute of an H100 gives a foreground ARI of 0.945.
    """
    return _plans(c, tetrominoes_data(c), TETROMINO_FACTORS, warmup_steps=1000)


@named_config(**ENTRIES, **COLORED, num_components=6, image_dim=[64, 64])
def slot_attention_multi_dsprites(c):
    """Multi-dSprites as published: 500 000 steps to a foreground ARI of 0.913."""
    return _plans(c, multi_dsprites_data(c), SPRITE_FACTORS)


STRONG_ON_BLACK = {"saturation": 3.0, "background": 0.0}
FIRST = {"image_dim": [16, 16], "batch_size": 32, **STRONG_ON_BLACK}


@named_config(
    **{**ENTRIES, "batch_size": 16, "learn_rate": 0.0003},
    **COLORED,
    num_components=6,
    image_dim=[32, 32],
    stages=[
        {"until": 800, **FIRST, "learn_rate": 0.0008},
        {"until": 2000, **FIRST},
        {"until": 2200, **STRONG_ON_BLACK},
        {"until": 3400, "saturation": 3.0},
        {"until": 6000},
        {"until": 6600, "learn_rate": 0.0001},
    ],
    save_summaries_steps=100,
)
def slot_attention_multi_dsprites_fast(c):
    """`slot_attention_multi_dsprites` at 32×32, at first of strong colours in front of black.

    105 minutes of one core give a foreground ARI of 0.52.
    """
    return _plans(c, multi_dsprites_data(c), SPRITE_FACTORS, warmup_steps=500)


@named_config(**ENTRIES, num_components=7, image_dim=[128, 128])
def slot_attention_clevr6(c):
    """CLEVR6 as published: 500 000 steps to a foreground ARI of 0.988."""
    return _plans(c, clevr_data(c, **CLEVR6), CLEVR_FACTORS, CLEVR_NETWORKS)


@named_config(
    **{**ENTRIES, "batch_size": 16, "learn_rate": 0.0003},
    num_components=7,
    image_dim=[32, 32],
    stages=[
        {"until": 1600, **FIRST, "learn_rate": 0.0008},
        {"until": 2500, "learn_rate": 0.0008, **STRONG_ON_BLACK},
        {"until": 3400, **STRONG_ON_BLACK},
        {"until": 4500, "saturation": 3.0},
        {"until": 5700},
        {"until": 6300, "learn_rate": 0.0001},
    ],
    save_summaries_steps=100,
)
def slot_attention_clevr6_fast(c):
    """`slot_attention_clevr6` at 32×32, smaller, at first of strong colours in front of black.

    108 minutes of one core gave a foreground ARI of 0.64.
    """
    return _plans(c, clevr_data(c, **CLEVR6), CLEVR_FACTORS, warmup_steps=500)
