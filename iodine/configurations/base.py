"""What every config has, as a Sacred config scope, in which every local name is an entry."""

# ruff: noqa: F841


def base():
    continue_run = False  # go on from the latest checkpoint in checkpoint_dir; "auto": if any
    checkpoint_dir = "checkpoints/iodine"
    initial_weights = None  # checkpoint whose weights a new run begins with
    save_summaries_steps = 10  # print and log means
    save_images_steps = 1000  # pictures for TensorBoard
    save_checkpoint_steps = 1000
    stop_after_steps = 1000000
    stages = []  # differences up to a step: [{"until": 1000, "image_dim": [16, 16]}, ...]
    strategy = "auto"  # or one_device, mirrored, multi_worker_mirrored
    precision = "float32"  # or mixed_bfloat16; goes to the model
    rematerialize = False  # less memory, more time; goes to the model
    steps_per_call = 1  # training steps in one compiled call
    xla = "auto"  # True or False; auto: on a GPU, if XLA can compile the step
    gpu_memory_growth = True  # False takes all of a GPU's memory at once

    n_z = 64  # Z, number of latent dimensions of a slot
    num_components = 7  # K, number of slots
    num_iters = 5  # number of refinements
    learn_rate = 0.001
    batch_size = 4  # scenes a step, over all devices
    image_dim = None  # [height, width] that scenes are resized to
    pixel_scale = None  # of the likelihood of pixels
    kl_weight = 1.0  # 1 is the ELBO
    dataset_variant = None  # which of a data set's variants
    saturation = None  # strength of the scenes' colours, 0 for grey, 1 as they are
    background = None  # share of its brightness that the background keeps, from 0, black, to 1

    data = {}
    model = {}
    optimizer = {}
    allow_constructors = []  # packages beside this one, Sonnet and TensorFlow that plans may name

    eval_images = 320  # scenes that `evaluate` and `visualize` use
    factor_regression = None  # True, or [[name, size, type], ...]: `evaluate` fits linear models
    out = None  # where a command writes its results
    image = None  # pictures for `visualize` and `segment`: file, folder, glob, or a list
    reference_checkpoint = None  # what `convert` reads
    reference_batch_size = None  # scenes on each device when that was trained; None: batch_size
