"""Build plans of data sets, models and optimizers, of which configs are made.

A plan is a nested dict whose `constructor` is a dotted path, see `iodine.modules.utils.build`.
"""


def logistic_pixels(scale):
    """Plan of logistic pixels of a fixed scale."""
    return {
        "constructor": "iodine.modules.distribution.LocScaleDistribution",
        "dist": "logistic",
        "scale": "fixed",
        "scale_val": scale,
    }


LINEAR_COORDS = {"coord_type": "linear"}
COSINE_COORDS = {"coord_type": "cos", "coord_freqs": 5}  # of more frequencies than the paper's


def upsampling_decoder(channels, coords=COSINE_COORDS):
    """Plan of a decoder that broadcasts to a grid of a quarter of the image's size.

    Args:
      channels: of the layer on the grid, and of the two transposed convolutions that double it.
      coords: coord_type, and coord_freqs if "cos".
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


BINARY_PIXELS = {"constructor": "iodine.modules.distribution.BernoulliOutput"}


def data_plan(constructor, file_name, batch_size, image_dim, **options):
    """Plan of a data set of `iodine.modules.data` in multi_object_datasets/file_name."""
    return {
        "constructor": f"iodine.modules.data.{constructor}",
        "path": f"multi_object_datasets/{file_name}",
        "batch_size": batch_size,
        "image_dim": image_dim,
        "held_out": 320,  # as many scenes as the paper evaluates on
        **options,
    }


def regressor_plan(factors):
    """Plan of the regressor of factors, [[name, size, type], ...]."""
    return {"constructor": "iodine.modules.factor_eval.FactorRegressor", "mapping": factors}


def model_plan(
    n_z,
    num_components,
    num_iters,
    decoder_channels,
    encoder_channels,
    kernel_shape,
    mlp_sizes,
    hidden_sizes,
    coord_type,
    pixel_dist,
    decoder_coords=LINEAR_COORDS,
    factors=None,
    refinement_head="iodine.modules.refinement.ResHead",
    **options,
):
    """Plan of an IODINE model in the form that all published ones have.

    Args:
      n_z, num_components, num_iters: as in `IODINE`.
      decoder_channels: of the decoder's convolutions but the last, which makes a mask logit and
        the pixel parameters.
      encoder_channels: of the refinement encoder's convolutions.
      kernel_shape: of all convolutions.
      mlp_sizes: of the refinement encoder's MLP.
      hidden_sizes: of the refinement core's LSTM.
      coord_type: of the coordinates among the refinement inputs.
      pixel_dist: plan of a pixel's distribution within its component.
      decoder_coords: the decoder's coord_type, and coord_freqs if "cos".
      factors: [name, size, type] of each factor to regress, None for no regression.
      refinement_head: constructor of the head.
      **options: further arguments of `IODINE`.
    """
    return {
        "constructor": "iodine.modules.iodine.IODINE",
        "n_z": n_z,
        "num_components": num_components,
        "num_iters": num_iters,
        "iter_loss_weight": "linspace",
        "coord_type": coord_type,
        "decoder": {
            "constructor": "iodine.modules.decoder.ComponentDecoder",
            "pixel_decoder": {
                "constructor": "iodine.modules.networks.BroadcastConv",
                "cnn_opt": {
                    "output_channels": [*decoder_channels, None],
                    "kernel_shapes": kernel_shape,
                    "strides": 1,
                    "activation": "elu",
                },
                **decoder_coords,
            },
        },
        "refinement_core": {
            "constructor": "iodine.modules.refinement.RefinementCore",
            "encoder_net": {
                "constructor": "iodine.modules.networks.CNN",
                "mode": "avg_pool",
                "cnn_opt": {
                    "output_channels": encoder_channels,
                    "kernel_shapes": kernel_shape,
                    "strides": 2,
                    "activation": "elu",
                },
                "mlp_opt": {"output_sizes": mlp_sizes, "activation": "elu"},
            },
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
            "num_components": num_components,
            "component_dist": pixel_dist,
        },
        "factor_evaluator": factors and regressor_plan(factors),
        **options,
    }


def small_plan(n_z, num_components, num_iters, **options):
    """Plan of the smaller model that the paper uses for all pictures of up to 64×64 pixels."""
    return model_plan(
        n_z,
        num_components,
        num_iters,
        decoder_channels=[32, 32, 32, 32],
        encoder_channels=[32, 32, 32],
        kernel_shape=5,
        mlp_sizes=[128],
        coord_type="cos",
        **options,
    )


def large_plan(n_z, num_components, num_iters, **options):
    """Plan of the larger model that the paper uses for CLEVR."""
    return model_plan(
        n_z,
        num_components,
        num_iters,
        decoder_channels=[64, 64, 64, 64],
        encoder_channels=[64, 64, 64, 64],
        kernel_shape=3,
        mlp_sizes=[256, 256],
        hidden_sizes=[256],
        coord_type="linear",
        **options,
    )


def tiny_plan(n_z, num_components, num_iters, channels=16, **options):
    """Plan of a model that trains on a CPU: few channels, and coordinates of more frequencies."""
    return model_plan(
        n_z,
        num_components,
        num_iters,
        decoder_channels=[channels] * 3,
        encoder_channels=[channels] * 3,
        kernel_shape=3,
        mlp_sizes=[64],
        hidden_sizes=[],
        decoder_coords=COSINE_COORDS,
        **COSINE_COORDS,
        **options,
    )


def optimizer_plan(learn_rate, beta1=0.95, **schedule):
    """Plan of the optimizer; its defaults are those of all published IODINEs."""
    return {
        "constructor": "iodine.optimizer.Adam",
        "learning_rate": {
            "constructor": "iodine.optimizer.ExponentialDecay",
            "initial_learning_rate": learn_rate,
            "decay_rate": 0.1,
            "decay_steps": 1000000,
            **schedule,
        },
        "beta1": beta1,
        "beta2": 0.999,
        "epsilon": 1e-8,
    }


def tiny_plans(data, n_z, num_components, num_iters, learn_rate, decay_steps, **model):
    """Plans of a `tiny_plan` of 32 channels that trains within an hour or two of one core.

    Args:
      data: plan of its data.
      n_z, num_components, num_iters: as in `IODINE`.
      learn_rate: the first learning rate.
      decay_steps: number of steps that halve it.
      **model: further arguments of `tiny_plan`.
    """
    return {
        "data": data,
        "model": tiny_plan(n_z, num_components, num_iters, channels=32, **model),
        "optimizer": optimizer_plan(
            learn_rate, decay_rate=0.5, decay_steps=decay_steps, warmup_steps=300
        ),
    }
