"""Config for Balls, our own data set for quick experiments."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import data_plan, logistic_pixels, optimizer_plan, tiny_plan

SHARED = {"n_z": 8, "num_components": 4, "image_dim": [14, 14], "save_summaries_steps": 100}
ENTRIES = {
    **SHARED,
    "num_iters": 5,
    "batch_size": 16,
    "pixel_scale": 0.1,
    "learn_rate": 0.004,
    "stop_after_steps": 8000,
}
FAST = {**SHARED, "batch_size": 8, "pixel_scale": 0.2, "kl_weight": 0.1, "learn_rate": 0.003}
FAST_SCHEDULE = {"decay_steps": 2000, "warmup_steps": 300}
BALL_FACTORS = [["position", 2, "scalar"], ["color", 3, "scalar"]]
STAGES = [
    {"until": 1000, "num_iters": 4, "saturation": 0.0},
    {"until": 5500, "num_iters": 4},
]


def _plans(batch_size, image_dim, pixel_scale, learn_rate, schedule, data, **model):
    return {
        "data": data_plan("Balls", batch_size=batch_size, image_dim=image_dim, **data),
        "model": tiny_plan(pixel_dist=logistic_pixels(pixel_scale), **model),
        "optimizer": optimizer_plan(learn_rate, decay_rate=0.5, **schedule),
    }


@named_config(**ENTRIES)
def demo(**entries):
    """Scenes of 14×14 pixels and small networks: trains on a CPU in minutes.

    A wider likelihood than the paper's and coordinates of more frequencies bring objects apart
    sooner.
    """
    return _plans(
        **entries,
        schedule={"decay_steps": 3500, "warmup_steps": 1000},
        data={"file_name": "balls_train.tfrecords"},
        factors=BALL_FACTORS,
    )


@named_config(**FAST, num_iters=8, saturation=1.0, stages=STAGES)
def demo_fast(saturation, **entries):
    """demo with a still wider likelihood, on scenes that begin grey.

    Coloured scenes are first told apart by colours, and two balls of one colour may go on sharing
    a slot. In grey ones slots can only stand for places.
    """
    return _plans(
        **entries,
        schedule=FAST_SCHEDULE,
        data={"file_name": "balls_train.tfrecords", "saturation": saturation},
        factors=BALL_FACTORS,
    )


@named_config(**ENTRIES)
def demo_deconv(**entries):
    """demo with the deconvolutional decoder that the paper tries in place of the broadcast one."""
    plans = demo.function(**entries)
    plans["model"]["decoder"]["pixel_decoder"] = {
        "constructor": "iodine.modules.networks.DeConv",
        "seed_channels": 16,
        "cnn_opt": {
            "output_channels": [16, 16, None],
            "kernel_shapes": 5,
            "strides": 2,
            "activation": "elu",
        },
    }
    return plans


# One refinement a frame; the last frame is only predicted.
@named_config(
    **FAST,
    num_iters=15,
    saturation=1.0,
    stages=[{"until": 1000, "saturation": 0.0}, {"until": 4000}],
)
def demo_sequences(num_iters, saturation, **entries):
    """Next-frame prediction of balls that move, 16 frames, grey at first."""
    return _plans(
        num_iters=num_iters,
        **entries,
        schedule=FAST_SCHEDULE,
        data={
            "file_name": "balls_sequences.tfrecords",
            "dataset_variant": "sequences",
            "num_frames": num_iters + 1,
            "saturation": saturation,
        },
        refinement_head="iodine.modules.refinement.PredictorCorrectorHead",
        sequential=True,
    )
