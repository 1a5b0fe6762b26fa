"""Configs for Balls, our own data set for quick experiments."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import (
    data_plan,
    iodine_plan,
    logistic_pixels,
    optimizer_plan,
    tiny_networks,
)

BALL_FACTORS = [["position", 2, "scalar"], ["color", 3, "scalar"]]
SHARED = {"n_z": 8, "num_components": 4, "image_dim": [14, 14], "save_summaries_steps": 100}
ENTRIES = {
    **SHARED,
    "num_iters": 5,
    "batch_size": 16,
    "pixel_scale": 0.1,
    "learn_rate": 0.004,
    "stop_after_steps": 8000,
}
FAST = {
    **SHARED,
    "batch_size": 8,
    "pixel_scale": 0.2,
    "kl_weight": 0.1,
    "learn_rate": 0.003,
}


def balls_data(c, file_name="balls_train.tfrecords", **options):
    """Plan of the data set."""
    return data_plan(c, "Balls", file_name, **options)


def _demo(c, **networks):
    schedule = {"decay_rate": 0.5, "decay_steps": 3500, "warmup_steps": 1000}
    return {
        "data": balls_data(c),
        "model": iodine_plan(
            c,
            **{**tiny_networks(16), **networks},
            pixels=logistic_pixels(c),
            factors=BALL_FACTORS,
        ),
        "optimizer": optimizer_plan(c, **schedule),
    }


def _fast(c, data, **options):
    return {
        "data": data,
        "model": iodine_plan(c, **tiny_networks(16), pixels=logistic_pixels(c), **options),
        "optimizer": optimizer_plan(c, decay_rate=0.5, decay_steps=2000, warmup_steps=300),
    }


@named_config(**ENTRIES)
def demo(c):
    """Three balls in 14×14 pixels, with small networks.

    12 minutes of one core give a foreground ARI of 0.93, the mean of five seeds.
    A wider likelihood than the paper's and coordinates of more frequencies bring objects apart
    sooner.
    """
    return _demo(c)


@named_config(**ENTRIES)
def demo_deconv(c):
    """`demo` with the deconvolutional decoder that the paper compares with its own.

    Some 20 minutes of one core give a foreground ARI of 0.90.
    """
    decoder = {
        "constructor": "iodine.modules.networks.DeConv",
        "seed_channels": 16,
        "cnn_opt": {
            "output_channels": [16, 16, None],
            "kernel_shapes": 5,
            "strides": 2,
            "activation": "elu",
        },
    }
    return _demo(c, decoder=decoder)


@named_config(
    **FAST,
    num_iters=8,
    stages=[{"until": 1000, "num_iters": 4, "saturation": 0.0}, {"until": 5500, "num_iters": 4}],
)
def demo_fast(c):
    """`demo` with a still wider likelihood, on scenes that begin grey.

    13 minutes of one core give a foreground ARI of 0.985, the mean of five seeds.
    In coloured scenes slots stand for colours first, and two balls of one colour may keep sharing
    a slot. In grey scenes slots can only stand for places.
    """
    return _fast(c, balls_data(c), factors=BALL_FACTORS)


# One refinement a frame; the last frame is only predicted.
@named_config(**FAST, num_iters=15, stages=[{"until": 1000, "saturation": 0.0}, {"until": 4000}])
def demo_sequences(c):
    """Next-frame prediction of balls that move, 16 frames, grey at first.

    30 minutes of one core give a foreground ARI of 0.58 at the last frame.
    """
    data = balls_data(
        c,
        "balls_sequences.tfrecords",
        dataset_variant="sequences",
        num_frames=c.num_iters + 1,
    )
    return _fast(
        c,
        data,
        refinement_head="iodine.modules.refinement.PredictorCorrectorHead",
        sequential=True,
    )
