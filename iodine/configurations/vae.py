"""Config of the variational autoencoder that IODINE is compared with."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import COSINE_COORDS, data_plan, logistic_pixels, optimizer_plan


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
def demo_vae(n_z, batch_size, image_dim, pixel_scale, kl_weight, learn_rate):
    """Balls, all of a scene in one latent; wider networks than `demo` has for one slot."""
    cnn = {"kernel_shapes": 3, "activation": "elu"}
    return {
        "data": data_plan("Balls", "balls_train.tfrecords", batch_size, image_dim),
        "model": {
            "constructor": "iodine.baselines.vae.VAE",
            "n_z": n_z,
            "kl_weight": kl_weight,
            "encoder": {
                "constructor": "iodine.modules.networks.CNN",
                "mode": "flatten",  # An average over places would not tell balls apart.
                "cnn_opt": {**cnn, "output_channels": [32, 32, 32], "strides": 2},
                "mlp_opt": {"output_sizes": [128], "activation": "elu"},
            },
            "decoder": {
                "constructor": "iodine.modules.networks.BroadcastConv",
                "cnn_opt": {**cnn, "output_channels": [64, 64, 64, None], "strides": 1},
                **COSINE_COORDS,
            },
            "latent_dist": {
                "constructor": "iodine.modules.distribution.LocScaleDistribution",
                "dist": "normal",
                "scale": "var",
                "scale_act": "softplus",
            },
            "pixel_dist": logistic_pixels(pixel_scale),
        },
        "optimizer": optimizer_plan(learn_rate, decay_rate=0.5, decay_steps=3500, warmup_steps=500),
    }
