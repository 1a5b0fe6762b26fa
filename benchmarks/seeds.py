"""How well a config trains, seed by seed: `python -m benchmarks.seeds CONFIG [key=value ...]`.

Trains with each seed, in each of the given precisions, by the command line and on one core, as many
at a time as there are cores. Evaluates on held-out scenes, prints a table and draws all curves.
Everything goes to the directory OUT: curves.png, and for each run its checkpoints, what Sacred
recorded, its figures (NAME.json) and all that was printed (NAME.log). The same command, started
again after an interruption, resumes; runs that OUT already has the figures of are not repeated.
"""

import concurrent.futures
import datetime
import json
import os
import pathlib
import queue
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from iodine import checkpoints
from iodine.train.stages import plan_stages
from multi_object_datasets.arguments import Parser

LABELS = {"ari_nobg": "foreground ARI", "ari": "ARI", "mse": "MSE"}
MODULE = [sys.executable, "-m", "iodine.main"]


def train_and_evaluate(config, updates, name, out, core):
    """Writes the run's figures: {"minutes" that training took, "curves": Sacred's metrics,
    "evaluation": what `evaluate` gives}. A training that was interrupted resumes.
    """
    observed, report = out / f"sacred-{name}", out / f"report-{name}.json"
    words = ["with", config, *updates, f"checkpoint_dir={out / name}"]
    on_core = ["taskset", "--cpu-list", str(core), *MODULE]
    train = ["-F", str(observed), *words, "continue_run=auto"]
    with open(out / f"{name}.log", "a") as log:
        if not is_finished(out / name):
            subprocess.run([*on_core, *train], check=True, stdout=log, stderr=log)
        evaluate = ["evaluate", *words, f"out={report}"]
        subprocess.run([*on_core, *evaluate], check=True, stdout=log, stderr=log)
    curves, minutes = joined(recorded_runs(observed))
    evaluation = json.loads(report.read_text())
    figures = {"minutes": minutes, "curves": curves, "evaluation": evaluation}
    (out / f"{name}.json").write_text(json.dumps(figures))


def is_finished(directory):
    """Returns whether the training that saves to a directory has made all its steps."""
    for path in checkpoints.checkpoints_in(str(directory))[:1]:
        config = checkpoints.read_record(path)["config"]
        return checkpoints.step_of(path) >= plan_stages(config)[-1].until
    return False


def recorded_runs(directory):
    """Reads what a FileStorageObserver recorded of each start of a training.

    Args:
      directory: of the observer.

    Returns:
      [(what run.json says, Sacred's metrics), ...], the first start first.
    """
    runs = []
    for path in sorted(directory.glob("*/run.json"), key=lambda path: int(path.parent.name)):
        metrics = path.with_name("metrics.json")
        text = metrics.read_text() if metrics.exists() else ""
        runs.append((json.loads(path.read_text()), json.loads(text or "{}")))
    return runs


def joined(runs):
    """Joins the starts of a training: of a step made twice the later one counts.

    Args:
      runs: as `recorded_runs` returned.

    Returns:
      ({name: {"steps", "values"}}, minutes of all starts).
    """
    values, seconds = {}, 0.0
    for run, metrics in runs:
        times = [run["start_time"], run.get("stop_time") or run["heartbeat"] or run["start_time"]]
        began, ended = map(datetime.datetime.fromisoformat, times)
        seconds += (ended - began).total_seconds()
        for name, curve in metrics.items():
            values.setdefault(name, {}).update(zip(curve["steps"], curve["values"]))
    curves = {
        name: {"steps": sorted(by_step), "values": [by_step[step] for step in sorted(by_step)]}
        for name, by_step in values.items()
    }
    return curves, seconds / 60


def draw(curves, score, path):
    """Draws curves {(precision, seed): Sacred's metrics}, one colour for each precision.

    The loss is on the left, the score on the right.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    precisions = list(dict.fromkeys(precision for precision, _ in curves))
    for (precision, _), metrics in curves.items():
        color = f"C{precisions.index(precision)}"
        for axis, name in zip(axes, ("loss", score)):
            axis.plot(*(metrics[name][k] for k in ("steps", "values")), color=color, linewidth=0.8)
    for index, precision in enumerate(precisions):
        axes[1].plot([], [], color=f"C{index}", label=precision)
    axes[0].set(xlabel="step", ylabel="loss (nats an image)")
    axes[1].set(xlabel="step", ylabel=LABELS.get(score, score), ylim=(0, 1))
    axes[1].legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def first_step(curve, value):
    """The first step at which a curve {"steps", "values"} is at least so high, as text."""
    reached = (step for step, v in zip(curve["steps"], curve["values"]) if v >= value)
    return str(next(reached, "–"))


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("updates", nargs="*", metavar="key=value", help="as on the command line")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--precisions", nargs="+", default=["float32"])
    parser.add_argument(
        "--figures",
        nargs="+",
        default=["ari_nobg", "ari", "mse"],
        help="of `evaluate`, to tabulate",
    )
    parser.add_argument("--score", default="ari_nobg", help="of training's figures, to draw")
    parser.add_argument(
        "--reach", type=float, nargs="*", default=[], help="scores to tabulate the first step of"
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/seeds"))
    args = parser.parse_intermixed_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cores = queue.SimpleQueue()
    for core in os.sched_getaffinity(0):
        cores.put(core)

    def run(precision, seed):
        name = f"{precision}-{seed}"
        file = args.out / f"{name}.json"
        if not file.exists():
            updates = [*args.updates, f"precision={precision}", f"seed={seed}"]
            core = cores.get()
            try:
                train_and_evaluate(args.config, updates, name, args.out, core)
            finally:  # Without its core the runs after a failed one would wait for ever.
                cores.put(core)
        return json.loads(file.read_text())

    heads = ["precision", "seed", "minutes", *[LABELS.get(n, n) for n in args.figures]]
    heads += [f"steps to {value:g}" for value in args.reach]
    print(f"| {' | '.join(heads)} |")
    print(f"|{' --- |' * len(heads)}", flush=True)
    curves = {}
    with concurrent.futures.ThreadPoolExecutor(cores.qsize()) as executor:
        runs = {
            executor.submit(run, precision, seed): (precision, seed)
            for precision in args.precisions
            for seed in args.seeds
        }
        for future in concurrent.futures.as_completed(runs):
            precision, seed = runs[future]
            figures = future.result()
            curves[precision, seed] = figures["curves"]
            means = [f"{figures['evaluation'][name]['mean']:.4f}" for name in args.figures]
            steps = [first_step(figures["curves"][args.score], value) for value in args.reach]
            cells = [precision, str(seed), f"{figures['minutes']:.1f}", *means, *steps]
            print(f"| {' | '.join(cells)} |", flush=True)
            # Drawn after each run, so that what was stopped leaves what it has.
            draw(dict(sorted(curves.items())), args.score, args.out / "curves.png")


if __name__ == "__main__":
    main()
