"""Config for Balls, our own data set for quick experiments."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import data_plan, logistic_pixels, model_plan, optimizer_plan

COSINE_COORDS = {"coord_type": "cos", "coord_freqs": 5}


ENTRIES = {
    "n_z": 8,
    "num_components": 4,
    "num_iters": 5,
    "batch_size": 16,
    "image_dim": [14, 14],
    "pixel_scale": 0.1,
    "learn_rate": 0.004,
    "stop_after_steps": 8000,
    "save_summaries_steps": 100,
}


@named_config(**ENTRIES)
def demo(n_z, num_components, num_iters, batch_size, image_dim, pixel_scale, kl_weight, learn_rate):
    """Scenes of 14×14 pixels and small networks: trains on a CPU in minutes.

    A wider likelihood than the paper's and coordinates of more frequencies bring objects apart
    sooner.
    """
    return {
        "data": data_plan("Balls", "balls_train.tfrecords", batch_size, image_dim),
        "model": model_plan(
            n_z,
            num_components,
            num_iters,
            decoder_channels=[16, 16, 16],
            encoder_channels=[16, 16, 16],
            kernel_shape=3,
            mlp_sizes=[64],
            hidden_sizes=[],
            decoder_coords=COSINE_COORDS,
            factors=[["position", 2, "scalar"], ["color", 3, "scalar"]],
            pixel_dist=logistic_pixels(pixel_scale),
            kl_weight=kl_weight,
            **COSINE_COORDS,
        ),
        "optimizer": optimizer_plan(
            learn_rate, decay_rate=0.5, decay_steps=3500, warmup_steps=1000
        ),
    }


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
