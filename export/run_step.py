"""Trains by a step of `export.export_step`, and says how fast. Needs jax and numpy only.

    python run_step.py ARTEFACT_DIR --data IMAGES.npy --steps N --out DIR [--params FILE]

The data set stays on the device as uint8, and each step gathers a random batch there, a function of
seed and step alone, so that a continued run (--params) sees what an unbroken one would. On a GPU
the steps between two printed lines are one compiled loop; on a CPU, where XLA runs convolutions in
loops very slowly, they are single calls. DIR gets params-STEP.npz every --save-every steps, and
report.json. The shares are those of the rates of a convolution of the decoder's size (forward and
backward) and of a large matrix product, both measured in the same run.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def load_state(path):
    """Reads (params, m, v, step, seed) from a parameter file, the first three {key: array}.

    The seed is [S], and the arrays are [S, ...], of models that are trained side by side.
    """
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    step, seed = arrays.pop("step"), arrays.pop("seed")
    params = {key: value for key, value in arrays.items() if key.startswith("model/")}
    m, v = ({key: arrays[f"{prefix}/{key}"] for key in params} for prefix in "mv")
    return params, m, v, step, seed


def save_state(directory, state):
    """Writes a parameter file whole or not at all, and returns its path."""
    params, m, v, step, seed = jax.device_get(state)
    path = os.path.join(directory, f"params-{int(step):07d}.npz")
    arrays = {f"m/{key}": value for key, value in m.items()}
    arrays |= {f"v/{key}": value for key, value in v.items()}
    with open(f"{path}.part", "wb") as file:
        np.savez(file, step=step, seed=seed, **params, **arrays)
    os.replace(f"{path}.part", path)
    return path


def choose_batch(seed, number, batch_size, num_images):
    """Returns which images step `number` sees, [batch_size], each of them any of all.

    Several seeds [S] see batches of their own, [S, batch_size].
    """
    if jnp.ndim(seed):
        return jax.vmap(lambda one: choose_batch(one, number, batch_size, num_images))(seed)
    key = jax.random.fold_in(jax.random.key(seed), number)
    return jax.random.randint(key, [batch_size], 0, num_images)


def is_gpu():
    """Whether the steps run on a GPU."""
    return jax.devices()[0].platform == "gpu"


def compile_steps(step, state, data, batch_size, num_steps):
    """Compiles `num_steps` training steps.

    Args:
      step: the artefact's function.
      state: (params, m, v, step, seed) on the device.
      data: uint8 [N, ...] on the device.
      batch_size: number of images a step.
      num_steps: steps between two returns to Python.

    Returns:
      Function of (state, data) that gives (state, metrics [num_steps, 5], of several seeds
      [num_steps, S, 5]); the state that it is given is gone afterwards.
    """

    def train_step(state, data):
        *variables, number, seed = state
        chosen = choose_batch(seed, number, batch_size, len(data))
        *variables, number, metrics = step(*variables, number, seed, data[chosen])
        return (*variables, number, seed), metrics

    def compiled(function):
        return jax.jit(function, donate_argnums=0).lower(state, data).compile()

    if is_gpu():
        return compiled(
            lambda state, data: lax.scan(
                lambda state, _: train_step(state, data), state, length=num_steps
            )
        )
    single = compiled(train_step)

    def steps(state, data):
        metrics = []
        for _ in range(num_steps):
            state, values = single(state, data)
            metrics.append(values)
        return state, jnp.stack(metrics)

    return steps


def rate(function, arguments, flop, repeats):
    """Returns TFLOP/s of a function of arrays, the best of three times `repeats` calls."""
    function = jax.jit(function)
    jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(repeats):
            result = function(*arguments)
        jax.block_until_ready(result)  # they run in order
        seconds.append(time.perf_counter() - start)
    return flop * repeats / min(seconds) / 1e12


def measure_rates(num_slots, height, width, kernel):
    """Measures the device at the decoder's convolution and at a large matrix product.

    Args:
      num_slots: images in the convolution.
      height, width: of the images.
      kernel: [k, k, channels in, channels out], None for a model without convolutions.

    Returns:
      {"conv bf16", "conv float32" (TF32 on a GPU that has it), "matmul bf16", "matmul float32"},
      TFLOP/s.
    """
    size, repeats = (8192, 20) if is_gpu() else (1024, 3)
    rates = {}
    for name, dtype in (("bf16", jnp.bfloat16), ("float32", jnp.float32)):

        def convolve(x, w):
            return lax.conv_general_dilated(
                x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )

        def convolve_with_gradients(x, w, dy):
            y, gradients = jax.vjp(convolve, x, w)
            return y, gradients(dy)

        if kernel is not None:
            x = jnp.ones([num_slots, height, width, kernel[2]], dtype)
            w = jnp.ones(kernel, dtype)
            dy = jnp.ones([num_slots, height, width, kernel[3]], dtype)
            flop = 3 * 2.0 * num_slots * height * width * np.prod(kernel)
            rates[f"conv {name}"] = rate(convolve_with_gradients, (x, w, dy), flop, repeats)
        a = jnp.ones([size, size], dtype)
        rates[f"matmul {name}"] = rate(jnp.matmul, (a, a), 2.0 * size**3, repeats)
    return rates


def peak_memory():
    """Peak memory in MiB: the GPU's, or that of this process on a CPU."""
    stats = jax.devices()[0].memory_stats()
    if stats:
        return stats["peak_bytes_in_use"] / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def read_data(args, about, seed):
    """Returns the data set, uint8 [N, ...], or ends the program where it does not fit."""
    shape = about["images_shape"][1:]
    if args.data is None:
        return np.random.default_rng(seed).integers(0, 256, [args.random, *shape], np.uint8)
    data = np.load(args.data)
    if data.dtype != np.uint8 or list(data.shape[1:]) != shape or not len(data):
        wanted = ", ".join(map(str, ["N", *shape]))
        sys.exit(f"error: {args.data} is {data.dtype} {data.shape}, not uint8 ({wanted})")
    return data


def train(args, about, step, state, data):
    """Runs the steps and writes parameter files on the way.

    Args:
      args: command line.
      about: what step.json says.
      step: the artefact's function.
      state: (params, m, v, step, seed) on the device.
      data: uint8 [N, ...] on the device.

    Returns:
      ({metric: mean over the last --log-every steps, a list if there are several seeds}, list of
      seconds a step between two printed lines, seconds that compiling took).
    """
    batch_size, names = about["batch_size"], about["metrics"]
    images_per_step = batch_size * state[4].size
    start = time.perf_counter()
    steps = compile_steps(step, state, data, batch_size, args.log_every)
    compile_seconds = time.perf_counter() - start
    print(f"compiled in {compile_seconds:.1f} s", flush=True)
    seconds = []
    for done in range(args.log_every, args.steps + 1, args.log_every):
        start = time.perf_counter()
        state, metrics = steps(state, data)
        means = np.asarray(metrics).mean(axis=0)
        seconds.append((time.perf_counter() - start) / args.log_every)
        for values in np.atleast_2d(means):  # a line for each seed
            figures = "  ".join(f"{name} {value:.6g}" for name, value in zip(names, values))
            print(f"{int(state[3]):>7d}  {figures}  {images_per_step / seconds[-1]:.1f} images/s")
        sys.stdout.flush()
        if not np.isfinite(means[..., [0, -1]]).all():  # others may be ones that the model lacks
            sys.exit(f"error: not finite by step {int(state[3])}; see {args.out} for good ones")
        if done % args.save_every == 0 or done == args.steps:
            save_state(args.out, state)
    return dict(zip(names, means.T.tolist())), seconds, compile_seconds


def parse_arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("artefact", help="directory that export_step wrote")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", metavar="IMAGES.npy", help="uint8 images")
    source.add_argument("--random", type=int, metavar="N", help="N images of noise instead")
    parser.add_argument("--params", help="file to start from, the artefact's own if not given")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--log-every", type=int, default=100, help="steps between printed lines")
    parser.add_argument("--save-every", type=int, default=1000, help="steps between files")
    parser.add_argument("--out", required=True, help="directory for parameter files")
    args = parser.parse_args()
    if args.log_every < 1 or args.steps < 1 or args.steps % args.log_every:
        sys.exit("error: --steps has to be a multiple of --log-every")
    if args.save_every < 1 or args.save_every % args.log_every:
        sys.exit("error: --save-every has to be a multiple of --log-every")
    return args


def main():
    """The command line."""
    args = parse_arguments()
    try:
        with open(os.path.join(args.artefact, "step.json")) as file:
            about = json.load(file)
        with open(os.path.join(args.artefact, "step.jaxexp"), "rb") as file:
            exported = jax.export.deserialize(bytearray(file.read()))
        path = args.params or os.path.join(args.artefact, "params.npz")
        # What is on the device before the first call is not compiled for anew at the second.
        state = jax.device_put(load_state(path))
        data = jax.device_put(read_data(args, about, np.asarray(state[4])))
        os.makedirs(args.out, exist_ok=True)
    except (OSError, KeyError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"{about['config']} {about['images_shape']} on {jax.devices()[0].device_kind}")

    metrics, seconds, compile_seconds = train(args, about, exported.call, state, data)
    median = statistics.median(seconds[1:] or seconds)
    memory = peak_memory()  # before the measurements below
    kernels = about["decoder_kernels"] or [None]
    achieved = about["flop_per_step"] / median / 1e12
    report = {
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "steps": args.steps,
        "compile_seconds": compile_seconds,
        "seconds_per_step": median,
        "images_per_second": about["batch_size"] * state[4].size / median,
        "peak_memory_mib": memory,
        "tflops": achieved,
        "metrics": metrics,
        "rates": measure_rates(
            about["num_slots"], *about["images_shape"][-3:-1], kernels[len(kernels) // 2]
        ),
    }
    print(
        f"{report['images_per_second']:.1f} images/s, {median:.4f} s a step, "
        f"{memory:.0f} MiB at most, {achieved:.2f} TFLOP/s"
    )
    for name, value in report["rates"].items():
        print(f"{name:<16}{value:>9.2f} TFLOP/s, the step {achieved / value:.0%} of it")
    with open(os.path.join(args.out, "report.json"), "w") as file:
        json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
