"""Speed and memory of one training step: `python -m benchmarks.train_step [CONFIG ...]`.

For each config it runs the step in several variants, each in a process of its own, and prints
images/s, seconds a step (median of warm steps), peak memory, the share of the machine's measured
convolution rate, and the ratio of images/s to the plain variant's in the same run. The plain
variant convolves everything in full, in float32; `without ...` leaves out one optimisation.

The work of an image is counted from shapes, as 2 FLOP for each multiply-add of a convolution done
in full: with D the decoder's multiply-adds for K slots, E the encoder's, and T = num_iters,

    GFLOP = 2·[D·((T + 1) + T + 2·(T + 1)) + E·3·T] / 1e9

(T + 1 decodings; T gradients by the decoder's inputs for the refinement; gradients by inputs and
weights for training; the encoder's T runs with both gradients). What an optimisation spares is
counted still, so the share tells how far the whole is from a machine doing only convolutions.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine.main import build, get_config
from iodine.modules import convolutions, networks
from iodine.train import devices
from iodine.train.learner import Learner, Progress
from multi_object_datasets.arguments import Parser

BATCH_SIZES = {"tetrominoes": 8, "multi_dsprites": 2, "clevr6": 1}


class FullBroadcastConv2D(convolutions.BroadcastConv2D):
    """The decoder's first layer, on vectors that are really copied to every pixel."""

    def __call__(self, vectors, image):
        num_vectors = vectors.shape[0]
        _, height, width, _ = image.shape
        vectors = tf.tile(vectors[:, None, None], [1, height, width, 1])
        image = tf.tile(image, [num_vectors, 1, 1, 1])
        return snt.Conv2D.__call__(self, tf.concat([vectors, image], axis=-1))


class FullSlotConv2D(convolutions.SlotConv2D):
    """The encoder's first layer, on images that are really copied to every slot."""

    def __call__(self, images):
        num_slots = max(image.shape[1] for image in images)
        copies = [tf.repeat(x, num_slots // x.shape[1], axis=1) for x in images]
        x = tf.concat(copies, axis=-1)  # [B, K, H, W, C]
        return snt.Conv2D.__call__(self, tf.reshape(x, [-1, *x.shape[2:]]))


FULL_LAYERS = {
    "BroadcastConv2D": FullBroadcastConv2D,
    "SlotConv2D": FullSlotConv2D,
    "NarrowConv2D": snt.Conv2D,
}

TWO_DEVICES = "two logical devices"

# {variant: (layers done in full, config updates)}
VARIANTS = {
    "plain": (list(FULL_LAYERS), {}),
    "default": ([], {}),
    "without BroadcastConv2D": (["BroadcastConv2D"], {}),
    "without SlotConv2D": (["SlotConv2D"], {}),
    "without NarrowConv2D": (["NarrowConv2D"], {}),
    "rematerialize": ([], {"rematerialize": True}),
    "mixed_bfloat16": ([], {"precision": "mixed_bfloat16"}),
    "mixed_bfloat16, rematerialize": (
        [],
        {"precision": "mixed_bfloat16", "rematerialize": True},
    ),
    # The batch split over two devices that share this CPU: what a strategy itself costs.
    TWO_DEVICES: ([], {}),
}


# Of models that have no layers to do in full, or whose layers are not those above.
OTHER_VARIANTS = ("default", "mixed_bfloat16", TWO_DEVICES)


def gflop_per_image(config):
    """Work of a training step an image, by the formula above."""
    model, data = config["model"], config["data"]
    num_iters, num_slots = model["num_iters"], model["num_components"]
    height, width = data["image_dim"]

    def multiply_adds(cnn_opt, channels, height, width):
        total = 0
        for outputs in cnn_opt["output_channels"]:
            height, width = -(-height // cnn_opt["strides"]), -(-width // cnn_opt["strides"])
            outputs = 4 if outputs is None else outputs  # mask logit and RGB
            total += height * width * cnn_opt["kernel_shapes"] ** 2 * channels * outputs
            channels = outputs
        return num_slots * total

    decoder = multiply_adds(
        model["decoder"]["pixel_decoder"]["cnn_opt"], model["n_z"] + 3, height, width
    )
    encoder_channels = 18 if model["coord_type"] == "linear" else 24
    encoder = multiply_adds(
        model["refinement_core"]["encoder_net"]["cnn_opt"], encoder_channels, height, width
    )
    passes = (num_iters + 1) + num_iters + 2 * (num_iters + 1)
    return 2e-9 * (decoder * passes + encoder * 3 * num_iters)


def median_seconds(function, num_repeats):
    """Median time of a call, after one that does not count."""
    function()
    times = []
    for _ in range(num_repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def convolution_rate(config, batch_size, dtype):
    """GFLOP/s of the decoder's inner convolution, forward and both gradients."""
    opt = config["model"]["decoder"]["pixel_decoder"]["cnn_opt"]
    channels, kernel = opt["output_channels"][0], opt["kernel_shapes"]
    num_images = batch_size * config["num_components"]
    x = tf.cast(tf.random.normal([num_images, *config["data"]["image_dim"], channels]), dtype)
    w = tf.cast(tf.random.normal([kernel, kernel, channels, channels]), dtype)

    @tf.function(autograph=False)
    def forward_and_backward():
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = tf.nn.conv2d(x, w, 1, "SAME")
        return tape.gradient(y, [x, w], output_gradients=y)

    seconds = median_seconds(lambda: forward_and_backward()[1].numpy(), 7)
    return 3 * 2e-9 * np.prod(x.shape) * kernel**2 * channels / seconds


def measure_variant(name, variant, batch_size, num_repeats, updates):
    """Times one variant in this process: {"seconds", "peak_gb"}."""
    full_layers, variant_updates = VARIANTS[variant]
    for layer in full_layers:
        setattr(networks, layer, FULL_LAYERS[layer])
    config = get_config(name, {"batch_size": batch_size, **updates, **variant_updates})
    if "factor_evaluator" in config["model"]:
        config["model"]["factor_evaluator"] = None
    strategy = tf.distribute.get_strategy()
    if variant == TWO_DEVICES:
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    image_shape = build(config["data"]).image_shape
    with devices.replica_local_variables(strategy):
        model, optimizer = build(config["model"]), build(config["optimizer"])
        model.initialize(image_shape)
    learner = Learner(model, optimizer, Progress(model, 0), strategy)
    label = tf.random.uniform([batch_size, 1, *image_shape[:2]], maxval=4, dtype=tf.int32)
    batch = {
        "image": tf.random.uniform([batch_size, 1, *image_shape]),
        "mask": tf.one_hot(label, 4, axis=2)[..., None],
    }
    batches = devices.distribute(strategy, tf.data.Dataset.from_tensors(batch).repeat())
    batch = next(batches)
    seconds = median_seconds(lambda: learner.step(batch)["loss/total"].numpy(), num_repeats)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds, "peak_gb": peak_gb}


def run_in_process(name, variant, batch_size, num_repeats, updates=None):
    """`measure_variant` in a fresh process, whose peak memory is then its own."""
    updates = updates or {}
    task = json.dumps([name, variant, batch_size, num_repeats, updates])
    command = [sys.executable, "-m", "benchmarks.train_step", "--task", task]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(result.stdout.splitlines()[-1])


def report(name, batch_size, num_repeats, variants):
    """Prints the table of one config; of models but IODINE, those of OTHER_VARIANTS alone."""
    config = get_config(name, {"batch_size": batch_size})
    share = None
    print(f"\n{name}, batch {batch_size}", end="")
    if config["model"]["constructor"].endswith(".IODINE"):
        gflop = gflop_per_image(config)
        rates = {t: convolution_rate(config, batch_size, t) for t in (tf.float32, tf.bfloat16)}
        share = {t: gflop / rate for t, rate in rates.items()}
        print(f": {gflop:.1f} GFLOP an image; convolutions at ", end="")
        print(f"{rates[tf.float32]:.0f} (float32) and {rates[tf.bfloat16]:.0f} GFLOP/s (bfloat16)")
    else:
        variants = [variant for variant in variants if variant in OTHER_VARIANTS]
        print()
    print("| variant | images/s | s/step | peak GB | share of rate | against the first |")
    print("| --- | --- | --- | --- | --- | --- |")
    first = None
    for variant in variants:
        if variant == TWO_DEVICES and batch_size % 2:
            continue
        result = run_in_process(name, variant, batch_size, num_repeats)
        speed = batch_size / result["seconds"]
        first = first or speed
        dtype = tf.bfloat16 if "bfloat16" in variant else tf.float32
        print(
            f"| {variant} | {speed:.2f} | {result['seconds']:.3f} | {result['peak_gb']:.2f} "
            f"| {f'{speed * share[dtype]:.0%}' if share else '–'} | {speed / first:.2f} |",
            flush=True,
        )


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="*", default=list(BATCH_SIZES), help="named configs")
    parser.add_argument("--batch-size", type=int, help="default: " + str(BATCH_SIZES))
    parser.add_argument("--repeats", type=int, default=5, help="timed steps of each variant")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--task", help=argparse.SUPPRESS)  # what a child process has to measure
    args = parser.parse_args()
    if args.task:
        print(json.dumps(measure_variant(*json.loads(args.task))))
        return
    for name in args.configs:
        batch_size = args.batch_size or BATCH_SIZES.get(name, 1)
        report(name, batch_size, args.repeats, args.variants)


if __name__ == "__main__":
    main()
