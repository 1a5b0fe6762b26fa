"""The base configuration and the named ones, as Sacred config scopes.

In a scope every local name becomes a config entry. The values at the top feed the nested build
plans `data`, `model` and `optimizer`, so that `n_z=16` on the command line changes all of them,
and `data.batch_size=2` just that one.
"""

LOGISTIC_PIXELS = {
    "constructor": "iodine.modules.distribution.LocScaleDistribution",
    "dist": "logistic",
    "scale": "fixed",
    "scale_val": 0.03,
}

LINEAR_COORDS = {"coord_type": "linear"}

BINARY_PIXELS = {"constructor": "iodine.modules.distribution.BernoulliOutput"}

CLEVR_FILE = "clevr_with_masks_train.tfrecords"
CLEVR_CROP = [[29, 221], [64, 256]]  # rows and columns that the paper keeps

DSPRITES_FACTORS = [
    ["color", 3, "scalar"],
    ["shape", 4, "categorical"],
    ["scale", 1, "scalar"],
    ["x", 1, "scalar"],
    ["y", 1, "scalar"],
    ["orientation", 2, "angle"],
]


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
    decoder_coords=LINEAR_COORDS,
    factors=None,
    pixel_dist=LOGISTIC_PIXELS,
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
      decoder_coords: the decoder's coord_type, and coord_freqs if "cos".
      factors: [name, size, type] of each factor to regress, None for no regression.
      pixel_dist: plan of a pixel's distribution within its component.
      refinement_head: constructor of the head.
      **options: further arguments of `IODINE`.
    """
    factor_evaluator = factors and {
        "constructor": "iodine.modules.factor_eval.FactorRegressor",
        "mapping": factors,
    }
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
        "factor_evaluator": factor_evaluator,
        **options,
    }


def clevr_plan(n_z, num_components, num_iters):
    """Plan of the model for CLEVR."""
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
        factors=[
            ["color", 9, "categorical"],
            ["shape", 4, "categorical"],
            ["size", 3, "categorical"],
            ["position", 3, "scalar"],
        ],
    )


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


def tetrominoes_plan(n_z, num_components, num_iters, **options):
    """Plan of the model for Tetrominoes."""
    return small_plan(
        n_z,
        num_components,
        num_iters,
        hidden_sizes=[],
        factors=[
            ["position", 2, "scalar"],
            ["color", 3, "scalar"],
            ["shape", 20, "categorical"],
        ],
        **options,
    )


def optimizer_plan(learn_rate, **schedule):
    """Plan of the optimizer; without `schedule` as all published models were trained with it."""
    return {
        "constructor": "iodine.optimizer.Adam",
        "learning_rate": {
            "constructor": "iodine.optimizer.ExponentialDecay",
            "initial_learning_rate": learn_rate,
            "decay_rate": 0.1,
            "decay_steps": 1000000,
            **schedule,
        },
        "beta1": 0.95,
        "beta2": 0.999,
        "epsilon": 1e-8,
    }


def base():
    continue_run = False  # go on from the latest checkpoint in checkpoint_dir
    checkpoint_dir = "checkpoints/iodine"
    save_summaries_steps = 10
    save_checkpoint_steps = 1000
    stop_after_steps = 1000000
    strategy = "auto"  # or one_device, mirrored, multi_worker_mirrored
    precision = "float32"  # or mixed_bfloat16; goes to the model
    rematerialize = False  # less memory, more time; goes to the model
    steps_per_call = 1  # training steps in one compiled call

    n_z = 64  # Z, number of latent dimensions of a slot
    num_components = 7  # K, number of slots
    num_iters = 5  # number of refinements
    learn_rate = 0.001
    batch_size = 4  # scenes a step, over all devices

    data = {}
    model = {}
    optimizer = {}

    eval_images = 320  # scenes that `evaluate` and `visualize` use
    factor_regression = False  # whether `evaluate` fits linear models of the factors
    out = None  # where a command writes its results
    image = None  # picture file, or list of them, for `visualize`
    reference_checkpoint = None  # what `convert` reads


def clevr6():
    n_z = 64
    num_components = 7
    num_iters = 5
    batch_size = 4
    learn_rate = 0.001 * (batch_size / 32) ** 0.5
    checkpoint_dir = "checkpoints/clevr6"
    data = data_plan(
        "CLEVR",
        CLEVR_FILE,
        batch_size,
        image_dim=[128, 128],
        crop_region=CLEVR_CROP,
        min_num_objects=3,
        max_num_objects=6,
    )
    model = clevr_plan(n_z, num_components, num_iters)
    optimizer = optimizer_plan(learn_rate)


def clevr():
    """All of CLEVR, 3 to 10 objects."""
    n_z = 64
    num_components = 11
    num_iters = 5
    batch_size = 4
    learn_rate = 0.001 * (batch_size / 32) ** 0.5
    checkpoint_dir = "checkpoints/clevr"
    data = data_plan("CLEVR", CLEVR_FILE, batch_size, image_dim=[128, 128], crop_region=CLEVR_CROP)
    model = clevr_plan(n_z, num_components, num_iters)
    optimizer = optimizer_plan(learn_rate)


def clevr6_grayscale():
    """clevr6 without colours, so that objects have to be told apart by their shape."""
    n_z = 64
    num_components = 7
    num_iters = 5
    batch_size = 4
    learn_rate = 0.001 * (batch_size / 32) ** 0.5
    checkpoint_dir = "checkpoints/clevr6_grayscale"
    data = data_plan(
        "CLEVR",
        CLEVR_FILE,
        batch_size,
        image_dim=[128, 128],
        crop_region=CLEVR_CROP,
        min_num_objects=3,
        max_num_objects=6,
        grayscale=True,
    )
    model = clevr_plan(n_z, num_components, num_iters)
    optimizer = optimizer_plan(learn_rate)


def multi_dsprites():
    n_z = 16
    num_components = 6
    num_iters = 5
    batch_size = 16
    learn_rate = 0.0003 * (batch_size / 128) ** 0.5
    checkpoint_dir = "checkpoints/multi_dsprites"
    data = data_plan(
        "MultiDSprites",
        "multi_dsprites_colored_on_grayscale.tfrecords",
        batch_size,
        image_dim=[64, 64],
        dataset_variant="colored_on_grayscale",
    )
    model = small_plan(n_z, num_components, num_iters, hidden_sizes=[128], factors=DSPRITES_FACTORS)
    optimizer = optimizer_plan(learn_rate)


def multi_dsprites_binarized():
    """White sprites on black, with Bernoulli pixels."""
    n_z = 16
    num_components = 4
    num_iters = 5
    batch_size = 16
    learn_rate = 0.0003 * (batch_size / 128) ** 0.5
    checkpoint_dir = "checkpoints/multi_dsprites_binarized"
    data = data_plan(
        "MultiDSprites",
        "multi_dsprites_binarized.tfrecords",
        batch_size,
        image_dim=[64, 64],
        dataset_variant="binarized",
    )
    model = small_plan(
        n_z,
        num_components,
        num_iters,
        hidden_sizes=[128],
        factors=DSPRITES_FACTORS[1:],  # all but the colour, which is the same for all
        pixel_dist=BINARY_PIXELS,
    )
    optimizer = optimizer_plan(learn_rate)


def tetrominoes():
    n_z = 32
    num_components = 4
    num_iters = 5
    batch_size = 128
    learn_rate = 0.0003 * (batch_size / 256) ** 0.5
    checkpoint_dir = "checkpoints/tetrominoes"
    data = data_plan("Tetrominoes", "tetrominoes_train.tfrecords", batch_size, image_dim=[35, 35])
    model = tetrominoes_plan(n_z, num_components, num_iters)
    optimizer = optimizer_plan(learn_rate)


def tetrominoes_fast():
    """tetrominoes with a wider likelihood, smaller batches and a higher learning rate.

    With the paper's scale of 0.03 a slot stands for a colour first, then for a blob of it. With
    0.2 it takes a region that holds one piece within a thousand steps, and then learns shapes.
    checkpoints/tetrominoes_fast/README.md says how to train it from coarse scenes to fine ones.
    """
    n_z = 32
    num_components = 4
    num_iters = 5
    batch_size = 8
    learn_rate = 0.001
    stop_after_steps = 21400
    save_summaries_steps = 100
    checkpoint_dir = "checkpoints/tetrominoes_fast"
    data = data_plan("Tetrominoes", "tetrominoes_train.tfrecords", batch_size, image_dim=[35, 35])
    model = tetrominoes_plan(
        n_z, num_components, num_iters, pixel_dist={**LOGISTIC_PIXELS, "scale_val": 0.2}
    )
    optimizer = optimizer_plan(learn_rate, decay_rate=0.5, decay_steps=20000, warmup_steps=500)


def demo():
    """Scenes of 14×14 pixels and small networks: trains on a CPU in minutes.

    A wider likelihood than the paper's and coordinates of more frequencies bring objects apart
    sooner.
    """
    n_z = 8
    num_components = 4
    num_iters = 5
    batch_size = 16
    learn_rate = 0.004
    stop_after_steps = 8000
    save_summaries_steps = 100
    checkpoint_dir = "checkpoints/demo"
    data = data_plan("Balls", "balls_train.tfrecords", batch_size, image_dim=[14, 14])
    model = model_plan(
        n_z,
        num_components,
        num_iters,
        decoder_channels=[16, 16, 16],
        encoder_channels=[16, 16, 16],
        kernel_shape=3,
        mlp_sizes=[64],
        hidden_sizes=[],
        coord_type="cos",
        coord_freqs=5,
        decoder_coords={"coord_type": "cos", "coord_freqs": 5},
        factors=[
            ["position", 2, "scalar"],
            ["color", 3, "scalar"],
        ],
        pixel_dist={**LOGISTIC_PIXELS, "scale_val": 0.1},
    )
    optimizer = optimizer_plan(learn_rate, decay_rate=0.5, decay_steps=3500, warmup_steps=1000)


def shapes():
    """Three binary shapes, 28×28."""
    n_z = 16
    num_components = 4
    num_iters = 5
    batch_size = 128
    learn_rate = 0.0003 * (batch_size / 256) ** 0.5
    checkpoint_dir = "checkpoints/shapes"
    data = data_plan("Shapes", "shapes_train.tfrecords", batch_size, image_dim=[28, 28])
    model = small_plan(
        n_z,
        num_components,
        num_iters,
        hidden_sizes=[128],
        factors=[["shape", 4, "categorical"], ["x", 1, "scalar"], ["y", 1, "scalar"]],
        pixel_dist=BINARY_PIXELS,
    )
    optimizer = optimizer_plan(learn_rate)


def objects_room():
    """Still pictures of a room with three objects."""
    n_z = 32
    num_components = 7
    num_iters = 5
    batch_size = 16
    learn_rate = 0.0003 * (batch_size / 128) ** 0.5
    checkpoint_dir = "checkpoints/objects_room"
    data = data_plan(
        "ObjectsRoom",
        "objects_room_train.tfrecords",
        batch_size,
        image_dim=[64, 64],
        dataset_variant="train",
    )
    model = small_plan(n_z, num_components, num_iters, hidden_sizes=[128], num_background=4)
    optimizer = optimizer_plan(learn_rate)


def sequences():
    """Next-frame prediction in Objects Room, 16 frames of a moving camera (Appendix A.1)."""
    n_z = 32
    num_components = 7
    num_iters = 15  # one refinement a frame; the last frame is only predicted
    batch_size = 4
    learn_rate = 0.0003 * (batch_size / 128) ** 0.5
    checkpoint_dir = "checkpoints/sequences"
    data = data_plan(
        "ObjectsRoom",
        "objects_room_sequences.tfrecords",
        batch_size,
        image_dim=[64, 64],
        dataset_variant="sequences",
        num_frames=num_iters + 1,
    )
    model = small_plan(
        n_z,
        num_components,
        num_iters,
        hidden_sizes=[128],
        refinement_head="iodine.modules.refinement.PredictorCorrectorHead",
        sequential=True,
        num_background=4,
    )
    optimizer = optimizer_plan(learn_rate)


# Commands list these, and `main` registers them.
NAMED_CONFIGS = (
    demo,
    tetrominoes,
    tetrominoes_fast,
    multi_dsprites,
    clevr6,
    clevr,
    clevr6_grayscale,
    multi_dsprites_binarized,
    shapes,
    objects_room,
    sequences,
)
