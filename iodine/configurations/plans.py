"""Build plans of data sets, networks, models and optimizers, of which configs are made.

A plan is a nested dict whose `constructor` is a dotted path, see `iodine.build.build`. `c` stands
for the entries of a config, as attributes.
"""

LINEAR_COORDS = {"coord_type": "linear"}
COSINE_COORDS = {"coord_type": "cos", "coord_freqs": 5}  # of more frequencies than the paper's


def data_plan(c, constructor, file_name, **options):
    """Plan of a data set of `iodine.modules.data` in multi_object_datasets/file_name."""
    return {
        "constructor": f"iodine.modules.data.{constructor}",
        "path": f"multi_object_datasets/{file_name}",
        "batch_size": c.batch_size,
        "image_dim": c.image_dim,
        "saturation": c.saturation,
        "background": c.background,
        "random_light": c.random_light,
        **options,
    }


def logistic_pixels(c):
    """Plan of logistic pixels of a fixed scale."""
    return {
        "constructor": "iodine.modules.distribution.LocScaleDistribution",
        "dist": "logistic",
        "scale": "fixed",
        "scale_val": c.pixel_scale,
    }


BINARY_PIXELS = {"constructor": "iodine.modules.distribution.BernoulliOutput"}


def regressor_plan(factors):
    """Plan of the regressor of factors, [[name, size, type], ...]; None for no factors."""
    return factors and {
        "constructor": "iodine.modules.factor_eval.FactorRegressor",
        "mapping": factors,
    }


def broadcast_conv(channels, kernel_shape, coords=LINEAR_COORDS):
    """Plan of a spatial broadcast decoder.

    Args:
      channels: of its convolutions but the last, which makes a mask logit and the pixel parameters.
      kernel_shape: of all of them.
      coords: coord_type, and coord_freqs if "cos".
    """
    return {
        "constructor": "iodine.modules.networks.BroadcastConv",
        "cnn_opt": {
            "output_channels": [*channels, None],
            "kernel_shapes": kernel_shape,
            "strides": 1,
            "activation": "elu",
        },
        **coords,
    }


def broadcast_deconv(channels, coords):
    """Plan of a decoder that broadcasts to a grid of a quarter of the image's size.

    Args:
      channels: of the layer on the grid, and of the two transposed convolutions that double it.
      coords: as for `broadcast_conv`.
    """
    return {
        "constructor": "iodine.modules.networks.BroadcastDeConv",
        "cnn_opt": {
            "output_channels": [*channels, None],
            "kernel_shapes": [3, 5, 5, 3],
            "strides": [1, 2, 2, 1],
            "activation": "elu",
        },
        **coords,
    }


def conv_encoder(channels, kernel_shape, mlp_sizes):
    """Plan of the refinement network's encoder: convolutions, an average over places, an MLP."""
    return {
        "constructor": "iodine.modules.networks.CNN",
        "mode": "avg_pool",
        "cnn_opt": {
            "output_channels": channels,
            "kernel_shapes": kernel_shape,
            "strides": 2,
            "activation": "elu",
        },
        "mlp_opt": {"output_sizes": mlp_sizes, "activation": "elu"},
    }


def iodine_plan(
    c,
    decoder,
    encoder,
    hidden_sizes,
    pixels,
    coords,
    factors=None,
    refinement_head="iodine.modules.refinement.ResHead",
    **options,
):
    """Plan of an IODINE model in the form that all published ones have.

    Args:
      c: the config's entries.
      decoder: plan of the network that decodes a slot.
      encoder: plan of the refinement network's encoder.
      hidden_sizes: of the refinement network's LSTM.
      pixels: plan of a pixel's distribution within its component.
      coords: coord_type of the coordinates among the refinement inputs, and coord_freqs.
      factors: [name, size, type] of each factor to regress, None for no regression.
      refinement_head: constructor of the head.
      **options: further arguments of `IODINE`.
    """
    return {
        "constructor": "iodine.modules.iodine.IODINE",
        "n_z": c.n_z,
        "num_components": c.num_components,
        "num_iters": c.num_iters,
        "iter_loss_weight": "linspace",
        "kl_weight": c.kl_weight,
        "decoder": {
            "constructor": "iodine.modules.decoder.ComponentDecoder",
            "pixel_decoder": decoder,
        },
        "refinement_core": {
            "constructor": "iodine.modules.refinement.RefinementCore",
            "encoder_net": encoder,
            "recurrent_net": {
                "constructor": "iodine.modules.networks.LSTM",
                "hidden_sizes": hidden_sizes,
            },
            "refinement_head": {"constructor": refinement_head},
        },
        "latent_dist": {
            "constructor": "iodine.modules.distribution.LocScaleDistribution",
            "dist": "normal",
            "scale": "var",
            "scale_act": "softplus",
        },
        "output_dist": {
            "constructor": "iodine.modules.distribution.MaskedMixture",
            "num_components": c.num_components,
            "component_dist": pixels,
        },
        "factor_evaluator": regressor_plan(factors),
        **coords,
        **options,
    }


# The networks that the paper uses for all images of up to 64×64 pixels.
SMALL_NETWORKS = {
    "decoder": broadcast_conv([32, 32, 32, 32], 5),
    "encoder": conv_encoder([32, 32, 32], 5, [128]),
    "coords": {"coord_type": "cos"},
}


def tiny_networks(channels):
    """Networks that train on a CPU: few channels, and coordinates of more frequencies, no LSTM."""
    return {
        "decoder": broadcast_conv([channels] * 3, 3, COSINE_COORDS),
        "encoder": conv_encoder([channels] * 3, 3, [64]),
        "hidden_sizes": [],
        "coords": COSINE_COORDS,
    }


def optimizer_plan(c, beta1=0.95, **schedule):
    """Plan of the optimizer; its defaults are those of all published IODINEs."""
    return {
        "constructor": "iodine.optimizer.Adam",
        "learning_rate": {
            "constructor": "iodine.optimizer.ExponentialDecay",
            "initial_learning_rate": c.learn_rate,
            "decay_rate": 0.1,
            "decay_steps": 1000000,
            **schedule,
        },
        "beta1": beta1,
        "beta2": 0.999,
        "epsilon": 1e-8,
    }


def halving(c, steps):
    """Plan of an optimizer whose rate halves every so many steps, after 300 of warm-up."""
    return optimizer_plan(c, decay_rate=0.5, decay_steps=steps, warmup_steps=300)
