"""How fast AIR trains: `python -m benchmarks.air_speed [--torch PYTHON]`.

Prints the median milliseconds of a training step of config `air` with each estimator, by the clock
and of the processors' time (which other programs on the machine change less). `--torch` names the
Python of an environment with PyTorch, whose plain AIR (`torch_air.py`) then takes turns with ours.
"""

import pathlib
import re
import statistics
import subprocess
import sys
import time

import tensorflow as tf

from iodine.main import build, get_config
from iodine.train.learner import Learner, Progress
from multi_object_datasets.arguments import Parser

TORCH_AIR = pathlib.Path(__file__).with_name("torch_air.py")
WARM_UP = 5


def step_function(estimator, batch_size):
    """Returns a function that makes one training step on random pictures, and waits for it."""
    config = get_config("air", {"model.estimator": estimator, "batch_size": batch_size})
    model, optimizer = build(config["model"]), build(config["optimizer"])
    size = config["data"]["image_dim"]
    model.initialize([*size, 1])
    learner = Learner(model, optimizer, Progress(model, 0), tf.distribute.get_strategy(), xla=False)
    images = tf.random.uniform([batch_size, 1, *size, 1])
    batches = iter(tf.data.Dataset.from_tensors({"image": images}).repeat())
    return lambda: learner.steps(batches, 1)["loss/total"].numpy()


def times(step, num_steps):
    """Returns (clock, processors' time) of each step, in ms."""
    found = []
    for _ in range(num_steps):
        began, processor = time.perf_counter(), time.process_time()
        step()
        found.append((time.perf_counter() - began, time.process_time() - processor))
    return [(1e3 * wall, 1e3 * processor) for wall, processor in found]


def torch_times(python, batch_size, num_steps, threads):
    """Returns [(clock, processors' time)], the medians of PyTorch's steps in ms."""
    options = [f"--batch-size={batch_size}", f"--steps={num_steps}", f"--threads={threads}"]
    line = subprocess.check_output([python, str(TORCH_AIR), *options], text=True)
    return [tuple(float(value) for value in re.findall(r"([\d.]+) ms", line))]


def main():
    """The command line."""
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30, help="in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--torch", metavar="PYTHON", help="Python of an environment with PyTorch")
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    steps = {name: step_function(name, args.batch_size) for name in ("exact", "reinforce")}
    found = {name: [] for name in steps}
    for step in steps.values():
        times(step, WARM_UP)
    for _ in range(args.rounds):
        for name, step in steps.items():
            found[name] += times(step, args.steps)
        if args.torch:
            options = args.torch, args.batch_size, args.steps, args.threads
            found.setdefault("PyTorch, reinforce", []).extend(torch_times(*options))
    for name, values in found.items():
        wall, processor = (statistics.median(column) for column in zip(*values))
        print(f"{name:<20}{wall:>8.1f} ms a step{processor:>8.1f} ms of processors' time")


if __name__ == "__main__":
    sys.exit(main())
