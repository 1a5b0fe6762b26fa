"""Configs for RNN-NEM, on binary images."""

from iodine.configurations.multi_dsprites import BINARIZED, BINARY_FACTORS, multi_dsprites_data
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


def _plans(c, data, factors, encoder_channels, mlp_size=512):
    return {
        "data": data,
        "model": {
            "constructor": "iodine.baselines.rnn_nem.RNNNEM",
            "n_z": c.n_z,
            "num_components": c.num_components,
            "num_iters": c.num_iters,
            "encoder_channels": encoder_channels,
            "mlp_size": mlp_size,
            "flip_prob": 0.1,
            "factor_evaluator": regressor_plan(factors),
        },
        "optimizer": optimizer_plan(c, beta1=0.9, decay_rate=1.0),
    }


@named_config(**ENTRIES, image_dim=[28, 28], stop_after_steps=4000, save_summaries_steps=100)
def rnn_nem_shapes(c):
    """Three binary shapes, with a fully connected network.

    35 minutes of one core give a foreground ARI of 0.69, the mean of three seeds.
    """
    return _plans(c, shapes_data(c), SHAPE_FACTORS, [])


@named_config(**ENTRIES, **BINARIZED, image_dim=[64, 64])
def rnn_nem_multi_dsprites(c):
    """White sprites on black, with convolutions; not trained here."""
    return _plans(c, multi_dsprites_data(c), BINARY_FACTORS, [16, 32, 64])


@named_config(
    **{**ENTRIES, "batch_size": 32},
    **BINARIZED,
    image_dim=[32, 32],
    stop_after_steps=600,
    save_summaries_steps=100,
)
def rnn_nem_multi_dsprites_fast(c):
    """`rnn_nem_multi_dsprites` at 32×32, until slots hold sprites and not yet parts of them.

    15 minutes of one core give a foreground ARI of 0.66, the mean of three seeds.
    """
    return _plans(c, multi_dsprites_data(c), BINARY_FACTORS, [16, 32, 64], mlp_size=128)
