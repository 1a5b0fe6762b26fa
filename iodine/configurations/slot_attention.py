"""Configs for Slot Attention."""

from iodine.configurations.clevr import CLEVR_FACTORS, OBJECTS, clevr_data
from iodine.configurations.multi_dsprites import SPRITE_FACTORS, multi_dsprites_data
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


SCHEDULE = {"decay_rate": 0.5, "decay_steps": 100000, "warmup_steps": 10000}  # as published


def _plans(data, factors, n_z, num_components, num_iters, learn_rate, networks, schedule=SCHEDULE):
    return {
        "data": data,
        "model": {
            "constructor": "iodine.baselines.slot_attention.SlotAttentionAutoEncoder",
            "n_z": n_z,
            "num_components": num_components,
            "num_iters": num_iters,
            **networks,
            "mlp_size": 128,
            "implicit": False,  # True: gradients through the last iteration alone
            "factor_evaluator": regressor_plan(factors),
        },
        "optimizer": optimizer_plan(learn_rate, beta1=0.9, **schedule),
    }


@named_config(**ENTRIES, num_components=4, image_dim=[35, 35])
def slot_attention_tetrominoes(batch_size, image_dim, n_z, num_components, num_iters, learn_rate):
    data = tetrominoes_data(batch_size, image_dim)
    sizes = (n_z, num_components, num_iters, learn_rate)
    return _plans(data, TETROMINO_FACTORS, *sizes, SMALL_NETWORKS)


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
def slot_attention_tetrominoes_fast(
    batch_size, image_dim, n_z, num_components, num_iters, learn_rate
):
    """slot_attention_tetrominoes with a higher learning rate, on scenes that grow."""
    data = tetrominoes_data(batch_size, image_dim)
    sizes = (n_z, num_components, num_iters, learn_rate)
    schedule = {**SCHEDULE, "warmup_steps": 1000}
    return _plans(data, TETROMINO_FACTORS, *sizes, SMALL_NETWORKS, schedule)


@named_config(**ENTRIES, num_components=6, image_dim=[64, 64])
def slot_attention_multi_dsprites(
    batch_size, image_dim, n_z, num_components, num_iters, learn_rate
):
    data = multi_dsprites_data("colored_on_grayscale", batch_size, image_dim)
    sizes = (n_z, num_components, num_iters, learn_rate)
    return _plans(data, SPRITE_FACTORS, *sizes, SMALL_NETWORKS)


@named_config(
    **{**ENTRIES, "batch_size": 16, "learn_rate": 0.0003},
    num_components=6,
    image_dim=[32, 32],
    saturation=1.0,
    background=1.0,
    stages=[
        {
            "until": 800,
            "image_dim": [16, 16],
            "batch_size": 32,
            "learn_rate": 0.0008,
            "saturation": 3.0,
            "background": 0.0,
        },
        {
            "until": 2000,
            "image_dim": [16, 16],
            "batch_size": 32,
            "saturation": 3.0,
            "background": 0.0,
        },
        {"until": 2200, "saturation": 3.0, "background": 0.0},
        {"until": 3400, "saturation": 3.0},
        {"until": 6000},
        {"until": 6600, "learn_rate": 0.0001},
    ],
    save_summaries_steps=100,
)
def slot_attention_multi_dsprites_fast(
    batch_size, image_dim, n_z, num_components, num_iters, learn_rate, saturation, background
):
    """slot_attention_multi_dsprites at 32×32, at first of strong colours in front of black."""
    data = multi_dsprites_data("colored_on_grayscale", batch_size, image_dim)
    data = {**data, "saturation": saturation, "background": background}
    sizes = (n_z, num_components, num_iters, learn_rate)
    schedule = {**SCHEDULE, "warmup_steps": 500}
    return _plans(data, SPRITE_FACTORS, *sizes, SMALL_NETWORKS, schedule)


@named_config(**ENTRIES, num_components=7, image_dim=[128, 128])
def slot_attention_clevr6(batch_size, image_dim, n_z, num_components, num_iters, learn_rate):
    data = clevr_data(batch_size, image_dim, **OBJECTS)
    sizes = (n_z, num_components, num_iters, learn_rate)
    return _plans(data, CLEVR_FACTORS, *sizes, CLEVR_NETWORKS)


@named_config(
    **{**ENTRIES, "batch_size": 16, "learn_rate": 0.0003},
    num_components=7,
    image_dim=[32, 32],
    saturation=1.0,
    background=1.0,
    stages=[
        {
            "until": 1600,
            "image_dim": [16, 16],
            "batch_size": 32,
            "learn_rate": 0.0008,
            "saturation": 3.0,
            "background": 0.0,
        },
        {"until": 2500, "learn_rate": 0.0008, "saturation": 3.0, "background": 0.0},
        {"until": 3400, "saturation": 3.0, "background": 0.0},
        {"until": 4500, "saturation": 3.0},
        {"until": 5700},
        {"until": 6300, "learn_rate": 0.0001},
    ],
    save_summaries_steps=100,
)
def slot_attention_clevr6_fast(
    batch_size, image_dim, n_z, num_components, num_iters, learn_rate, saturation, background
):
    """slot_attention_clevr6 at 32×32, smaller, at first of strong colours in front of black."""
    options = {**OBJECTS, "saturation": saturation, "background": background}
    data = clevr_data(batch_size, image_dim, **options)
    sizes = (n_z, num_components, num_iters, learn_rate)
    schedule = {**SCHEDULE, "warmup_steps": 500}
    return _plans(data, CLEVR_FACTORS, *sizes, SMALL_NETWORKS, schedule)
