"""Configs for MONet."""

from iodine.configurations.clevr import CLEVR_FACTORS, OBJECTS, clevr_data
from iodine.configurations.multi_dsprites import SPRITE_FACTORS, multi_dsprites_data
from iodine.configurations.named_config import named_config
from iodine.configurations.plans import optimizer_plan, regressor_plan
from iodine.configurations.tetrominoes import TETROMINO_FACTORS, tetrominoes_data

ENTRIES = {"n_z": 16, "batch_size": 64, "learn_rate": 0.0001, "kl_weight": 0.5}
ATTENTION = [32, 32, 64, 64, 64]
SMALL_LAYERS = {"attention_mlp_size": 64, "encoder_mlp_size": 128}


def _plans(
    data, factors, attention_channels, n_z, num_components, learn_rate, kl_weight, **options
):
    return {
        "data": data,
        "model": {
            "constructor": "iodine.baselines.monet.MONet",
            "n_z": n_z,
            "num_components": num_components,
            "attention_channels": attention_channels,
            "encoder_channels": [32, 32, 64, 64],
            "decoder_channels": [32, 32, 32, 32],
            "sigma_bg": 0.09,
            "sigma_fg": 0.11,
            "kl_weight": kl_weight,
            "mask_kl_weight": 0.5,
            "factor_evaluator": factors and regressor_plan(factors),
            **options,
        },
        "optimizer": optimizer_plan(learn_rate, beta1=0.9, decay_rate=1.0),
    }


@named_config(**ENTRIES, num_components=4, image_dim=[35, 35])
def monet_tetrominoes(batch_size, image_dim, n_z, num_components, learn_rate, kl_weight):
    """With a smaller attention network: pictures of 35×35 cannot be halved as often."""
    data = tetrominoes_data(batch_size, image_dim)
    sizes = (n_z, num_components, learn_rate, kl_weight)
    return _plans(data, TETROMINO_FACTORS, ATTENTION[:-1], *sizes)


@named_config(
    **{**ENTRIES, "batch_size": 32, "learn_rate": 0.0007},
    num_components=4,
    image_dim=[35, 35],
    stop_after_steps=2000,
    save_summaries_steps=100,
)
def monet_tetrominoes_fast(batch_size, image_dim, n_z, num_components, learn_rate, kl_weight):
    """monet_tetrominoes with smaller dense layers and a higher learning rate."""
    data = tetrominoes_data(batch_size, image_dim)
    sizes = (n_z, num_components, learn_rate, kl_weight)
    return _plans(data, TETROMINO_FACTORS, ATTENTION[:-1], *sizes, **SMALL_LAYERS)


@named_config(**ENTRIES, num_components=6, image_dim=[64, 64])
def monet_multi_dsprites(batch_size, image_dim, n_z, num_components, learn_rate, kl_weight):
    data = multi_dsprites_data("colored_on_grayscale", batch_size, image_dim)
    sizes = (n_z, num_components, learn_rate, kl_weight)
    return _plans(data, SPRITE_FACTORS, ATTENTION, *sizes)


@named_config(
    **{**ENTRIES, "batch_size": 16, "learn_rate": 0.0007, "kl_weight": 0.1},
    num_components=6,
    image_dim=[32, 32],
    saturation=1.0,
    background=1.0,
    stages=[
        {"until": 1000, "saturation": 3.0, "background": 0.0},
        {"until": 1350, "background": 0.0},
        {"until": 1500, "background": 0.3},
        {"until": 1650, "background": 0.6},
        {"until": 4000},
        {"until": 4400, "learn_rate": 0.0002},
    ],
    save_summaries_steps=100,
)
def monet_multi_dsprites_fast(
    batch_size, image_dim, n_z, num_components, learn_rate, kl_weight, saturation, background
):
    """monet_multi_dsprites at 32×32, smaller, at first of strong colours in front of black.

    Slots begin as levels of brightness and use no latents; strong colours make them use these. The
    weights of both KL divergences follow the number of pixels.
    """
    data = multi_dsprites_data("colored_on_grayscale", batch_size, image_dim)
    data = {**data, "saturation": saturation, "background": background}
    sizes = (n_z, num_components, learn_rate, kl_weight)
    options = {**SMALL_LAYERS, "mask_kl_weight": kl_weight}
    return _plans(data, SPRITE_FACTORS, ATTENTION[:-1], *sizes, **options)


@named_config(**ENTRIES, num_components=7, image_dim=[128, 128])
def monet_clevr6(batch_size, image_dim, n_z, num_components, learn_rate, kl_weight):
    """With the standard deviations of the IODINE paper's runs."""
    data = clevr_data(batch_size, image_dim, **OBJECTS)
    sizes = (n_z, num_components, learn_rate, kl_weight)
    channels = [32, *ATTENTION]
    return _plans(data, CLEVR_FACTORS, channels, *sizes, sigma_bg=0.06, sigma_fg=0.1)


@named_config(
    **{**ENTRIES, "batch_size": 16, "learn_rate": 0.0007, "kl_weight": 0.1},
    num_components=7,
    image_dim=[32, 32],
    saturation=1.0,
    stages=[{"until": 500, "saturation": 3.0}, {"until": 1200}],
    save_summaries_steps=100,
)
def monet_clevr6_fast(
    batch_size, image_dim, n_z, num_components, learn_rate, kl_weight, saturation
):
    """monet_clevr6 at 32×32, smaller, at first of strong colours.

    It has no regressor of factors, as `clevr6_fast`.
    """
    data = clevr_data(batch_size, image_dim, **OBJECTS, saturation=saturation)
    sizes = (n_z, num_components, learn_rate, kl_weight)
    options = {**SMALL_LAYERS, "mask_kl_weight": kl_weight, "sigma_bg": 0.06, "sigma_fg": 0.1}
    return _plans(data, None, ATTENTION[:-1], *sizes, **options)
