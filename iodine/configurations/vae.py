"""Config of the variational autoencoder that IODINE is compared with."""

from iodine.configurations.demo import balls_data
from iodine.configurations.named_config import named_config
from iodine.configurations.plans import (
    COSINE_COORDS,
    broadcast_conv,
    logistic_pixels,
    optimizer_plan,
)


@named_config(
    n_z=32,
    num_components=1,
    num_iters=1,
    batch_size=16,
    image_dim=[14, 14],
    pixel_scale=0.1,
    learn_rate=0.001,
    stop_after_steps=8000,
    save_summaries_steps=100,
)
def demo_vae(c):
    """Balls, all of a scene in one latent; wider networks than `demo` has for one slot.

    8000 steps, ten minutes of one core, give a mean squared error of 0.0056.
    """
    return {
        "data": balls_data(c),
        "model": {
            "constructor": "iodine.baselines.vae.VAE",
            "n_z": c.n_z,
            "kl_weight": c.kl_weight,
            "encoder": {
                "constructor": "iodine.modules.networks.CNN",
                "mode": "flatten",  # An average over places would not tell balls apart.
                "cnn_opt": {
                    "output_channels": [32, 32, 32],
                    "kernel_shapes": 3,
                    "strides": 2,
                    "activation": "elu",
                },
                "mlp_opt": {"output_sizes": [128], "activation": "elu"},
            },
            "decoder": broadcast_conv([64, 64, 64], 3, COSINE_COORDS),
            "latent_dist": {
                "constructor": "iodine.modules.distribution.LocScaleDistribution",
                "dist": "normal",
                "scale": "var",
                "scale_act": "softplus",
            },
            "pixel_dist": logistic_pixels(c),
        },
        "optimizer": optimizer_plan(c, decay_rate=0.5, decay_steps=3500, warmup_steps=500),
    }
