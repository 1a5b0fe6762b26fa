"""How long a device waits for the next step: `python -m benchmarks.gaps CONFIG [key=value ...]`.

Trains for some steps under TensorFlow's profiler and adds up the time in which nothing was computed
on the device (the threads of its ops on a CPU, its kernels on a GPU), from the third step to the
last, and the time that the host spent between the calls of compiled steps. `--steps N` of them, and
prints, logs and summaries are written as in any training.
"""

import pathlib
import tempfile

import numpy as np
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from iodine.main import ex
from multi_object_datasets.arguments import Parser

STEP = "__inference_step"  # part of the name of the call of a compiled step
WARM_UP = 2


def profiled_planes(words, directory):
    """Runs `iodine.main` with command-line words under the profiler: its list of XPlanes."""
    tf.profiler.experimental.start(str(directory))
    try:
        ex.run_commandline(["iodine", *words])
    finally:
        tf.profiler.experimental.stop()
    (file,) = directory.rglob("*.xplane.pb")
    return xplane_pb2.XSpace.FromString(file.read_bytes()).planes


def events(plane, line):
    """(name, begin, end) of each event on a line of a plane, in milliseconds."""
    for event in line.events:
        begin = line.timestamp_ns / 1e6 + event.offset_ps / 1e9
        yield plane.event_metadata[event.metadata_id].name, begin, begin + event.duration_ps / 1e9


def idle_intervals(busy, begin, end):
    """The parts of a time that no interval covers.

    Args:
      busy: [N, 2], begins and ends of intervals in any order.
      begin, end: of the time.

    Returns:
      [M, 2], begins and ends.
    """
    busy = np.clip(np.asarray(busy, np.float64).reshape(-1, 2), begin, end)
    busy = busy[np.argsort(busy[:, 0])]
    begins = np.append(busy[:, 0], end)  # Where a gap may end,
    ends = np.maximum.accumulate(np.append(begin, busy[:, 1]))  # and where it began.
    return np.stack([ends, begins], axis=1)[begins > ends]


def host_time(steps):
    """The time between the calls of steps, median and longest.

    Args:
      steps: [(name, begin, end), ...], two or more, in order.
    """
    between = [after[1] - before[2] for before, after in zip(steps, steps[1:])]
    return np.median(between), max(between)


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("updates", nargs="*", metavar="key=value", help="as of iodine.main")
    parser.add_argument("--steps", type=int, default=40, help="number of steps")
    args = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as folder:
        directory = pathlib.Path(folder)
        words = [f"stop_after_steps={args.steps + WARM_UP}", f"checkpoint_dir={directory / 'run'}"]
        words += [f"save_checkpoint_steps={10 * args.steps}"]  # No save but the last one.
        planes = profiled_planes(["with", args.config, *args.updates, *words], directory)
    steps, busy = [], []
    for plane in planes:
        for line in plane.lines:
            if plane.name.startswith("/device:GPU") or line.name.startswith("tf_Compute"):
                busy += [(begin, end) for _, begin, end in events(plane, line)]
            else:
                steps += [e for e in events(plane, line) if f"Execute: {STEP}" in e[0]]
    steps = sorted(steps, key=lambda event: event[1])[WARM_UP:]
    begin, end = steps[0][1], steps[-1][2]
    idle = np.diff(idle_intervals(busy, begin, end), axis=1)
    share, longest = 100 * idle.sum() / (end - begin), idle.max(initial=0.0)
    print(f"{len(steps)} steps of {(end - begin) / len(steps):.1f} ms")
    median, most = host_time(steps)
    print(f"host between two steps: {median:.2f} ms, at most {most:.2f} ms")
    print(f"nothing computed: {share:.1f} % of the time, at most {longest:.1f} ms at once")


if __name__ == "__main__":
    main()
