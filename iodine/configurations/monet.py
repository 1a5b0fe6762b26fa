"""Configs for MONet."""

from iodine.configurations.clevr import CLEVR6, CLEVR_FACTORS, clevr_data
from iodine.configurations.multi_dsprites import COLORED, SPRITE_FACTORS, multi_dsprites_data
from iodine.configurations.named_config import named_config
from iodine.configurations.plans import optimizer_plan, regressor_plan
from iodine.configurations.tetrominoes import TETROMINO_FACTORS, tetrominoes_data

ENTRIES = {"n_z": 16, "batch_size": 64, "learn_rate": 0.0001, "kl_weight": 0.5}
FAST = {**ENTRIES, "learn_rate": 0.0007, "save_summaries_steps": 100}
# Channels of the attention network's blocks, each of which halves the image.
ATTENTION = [32, 32, 64, 64, 64]
SMALL_LAYERS = {"attention_mlp_size": 64, "encoder_mlp_size": 128}


def _plans(c, data, factors, attention_channels=ATTENTION, **options):
    return {
        "data": data,
        "model": {
            "constructor": "iodine.baselines.monet.MONet",
            "n_z": c.n_z,
            "num_components": c.num_components,
            "attention_channels": attention_channels,
            "encoder_channels": [32, 32, 64, 64],
            "decoder_channels": [32, 32, 32, 32],
            "sigma_bg": 0.09,
            "sigma_fg": 0.11,
            "kl_weight": c.kl_weight,
            "mask_kl_weight": 0.5,
            "factor_evaluator": regressor_plan(factors),
            **options,
        },
        "optimizer": optimizer_plan(c, beta1=0.9, decay_rate=1.0),
    }


@named_config(**ENTRIES, num_components=4, image_dim=[35, 35])
def monet_tetrominoes(c):
    """Tetrominoes, with a smaller attention network: 35×35 pixels cannot be halved as often.

    Not trained here.
    """
    return _plans(c, tetrominoes_data(c), TETROMINO_FACTORS, ATTENTION[:-1])


@named_config(
    **{**FAST, "batch_size": 32}, num_components=4, image_dim=[35, 35], stop_after_steps=2000
)
def monet_tetrominoes_fast(c):
    """`monet_tetrominoes` with smaller dense layers and a higher learning rate.

    59 minutes of one core gave a foreground ARI of 0.54, the mean of three seeds.
    """
    return _plans(c, tetrominoes_data(c), TETROMINO_FACTORS, ATTENTION[:-1], **SMALL_LAYERS)


@named_config(**ENTRIES, **COLORED, num_components=6, image_dim=[64, 64])
def monet_multi_dsprites(c):
    """Multi-dSprites; its authors report a foreground ARI of 0.904."""
    return _plans(c, multi_dsprites_data(c), SPRITE_FACTORS)


@named_config(
    **{**FAST, "batch_size": 16, "kl_weight": 0.1},
    **COLORED,
    num_components=6,
    image_dim=[32, 32],
    stages=[
        {"until": 1000, "saturation": 3.0, "background": 0.0},
        {"until": 1350, "background": 0.0},
        {"until": 1500, "background": 0.3},
        {"until": 1650, "background": 0.6},
        {"until": 4000},
        {"until": 4400, "learn_rate": 0.0002},
    ],
)
def monet_multi_dsprites_fast(c):
    """`monet_multi_dsprites` at 32×32, smaller, at first of strong colours in front of black.

    80 minutes of one core give a foreground ARI of 0.58.
    Slots begin as levels of brightness and use no latents; strong colours make them use these. The
    weights of both KL divergences follow the number of pixels.
    """
    options = {**SMALL_LAYERS, "mask_kl_weight": c.kl_weight}
    return _plans(c, multi_dsprites_data(c), SPRITE_FACTORS, ATTENTION[:-1], **options)


SIGMAS = {"sigma_bg": 0.06, "sigma_fg": 0.1}  # of the IODINE paper's runs on CLEVR6


@named_config(**ENTRIES, num_components=7, image_dim=[128, 128])
def monet_clevr6(c):
    """CLEVR6; the IODINE paper reports a foreground ARI of 0.962."""
    return _plans(c, clevr_data(c, **CLEVR6), CLEVR_FACTORS, [32, *ATTENTION], **SIGMAS)


@named_config(
    **{**FAST, "batch_size": 16, "kl_weight": 0.1},
    num_components=7,
    image_dim=[32, 32],
    stages=[{"until": 500, "saturation": 3.0}, {"until": 1200}],
)
def monet_clevr6_fast(c):
    """`monet_clevr6` at 32×32, smaller, at first of strong colours.

    28 minutes of one core gave a foreground ARI of 0.42, the mean of three seeds.
    Like `clevr6_fast`, it has no regressor of factors.
    """
    options = {**SMALL_LAYERS, **SIGMAS, "mask_kl_weight": c.kl_weight}
    return _plans(c, clevr_data(c, **CLEVR6), None, ATTENTION[:-1], **options)
