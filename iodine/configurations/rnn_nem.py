"""Configs for RNN-NEM, on binary pictures."""

from iodine.configurations.multi_dsprites import SPRITE_FACTORS, multi_dsprites_data
from iodine.configurations.named_config import named_config
from iodine.configurations.plans import optimizer_plan, regressor_plan
from iodine.configurations.shapes import SHAPE_FACTORS, shapes_data

ENTRIES = {
    "n_z": 250,
    "num_components": 4,
    "num_iters": 15,
    "batch_size": 64,
    "learn_rate": 0.001,
}


def _plans(
    data, factors, encoder_channels, n_z, num_components, num_iters, learn_rate, mlp_size=512
):
    return {
        "data": data,
        "model": {
            "constructor": "iodine.baselines.rnn_nem.RNNNEM",
            "n_z": n_z,
            "num_components": num_components,
            "num_iters": num_iters,
            "encoder_channels": encoder_channels,
            "mlp_size": mlp_size,
            "flip_prob": 0.1,
            "factor_evaluator": regressor_plan(factors),
        },
        "optimizer": optimizer_plan(learn_rate, beta1=0.9, decay_rate=1.0),
    }


@named_config(**ENTRIES, image_dim=[28, 28])
def rnn_nem_shapes(batch_size, image_dim, n_z, num_components, num_iters, learn_rate):
    """Three binary shapes, with a fully connected network."""
    data = shapes_data(batch_size, image_dim)
    return _plans(data, SHAPE_FACTORS, [], n_z, num_components, num_iters, learn_rate)


@named_config(**ENTRIES, image_dim=[64, 64])
def rnn_nem_multi_dsprites(batch_size, image_dim, n_z, num_components, num_iters, learn_rate):
    """White sprites on black, with convolutions."""
    data = multi_dsprites_data("binarized", batch_size, image_dim)
    sizes = (n_z, num_components, num_iters, learn_rate)
    return _plans(data, SPRITE_FACTORS[1:], [16, 32, 64], *sizes)


@named_config(
    **{**ENTRIES, "batch_size": 32},
    image_dim=[32, 32],
    stop_after_steps=1300,
    save_summaries_steps=100,
)
def rnn_nem_multi_dsprites_fast(batch_size, image_dim, n_z, num_components, num_iters, learn_rate):
    """rnn_nem_multi_dsprites at 32×32, until slots hold sprites and not yet parts of them."""
    data = multi_dsprites_data("binarized", batch_size, image_dim)
    sizes = (n_z, num_components, num_iters, learn_rate)
    return _plans(data, SPRITE_FACTORS[1:], [16, 32, 64], *sizes, mlp_size=128)
