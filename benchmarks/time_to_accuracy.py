"""How long a config takes to tell objects apart: `python -m benchmarks.time_to_accuracy NAME`.

Trains NAME in pieces, each of which ends in an evaluation on held-out scenes of full size, and then
the plain config (NAME without _fast), if there is one, for as many minutes. Prints when the
foreground ARI was first at 0.5, 0.8, 0.9 and 0.95, and draws it. Only steps count as time, not
starts and evaluations. Everything goes to the directory OUT; called again, it resumes there.
"""

import datetime
import json
import math
import pathlib
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from benchmarks.seeds import MODULE
from iodine.config import NAMED_CONFIGS
from iodine.train.stages import plan_stages
from multi_object_datasets.arguments import Parser

ACCURACIES = (0.5, 0.8, 0.9, 0.95)


def run(words, log):
    """Runs a command of `iodine.main`, its output to a file; ends where it fails."""
    with open(log, "a") as file:
        failed = subprocess.run([*MODULE, *words], stdout=file, stderr=file).returncode
    if failed:
        sys.exit(f"error: `iodine.main {words[0]}` failed: {log.read_text().splitlines()[-1]}")


def minutes_of(loss, num_steps):
    """Minutes that so many steps took, by when Sacred recorded the losses of some of them."""
    began, ended = (datetime.datetime.fromisoformat(loss["timestamps"][i]) for i in (0, -1))
    recorded = loss["steps"][-1] - loss["steps"][0]
    return (ended - began).total_seconds() / 60 * num_steps / recorded


def scenes_after(config, step):
    """Number of scenes that a config's run has seen after so many steps."""
    return sum(
        stage.differences.get("batch_size", config["batch_size"])
        * (min(stage.until, step) - stage.begin)
        for stage in plan_stages(config)
        if stage.begin < step
    )


def train_piece(words, out, last, step):
    """Trains up to a step and evaluates.

    Args:
      words: config and updates, as on the command line.
      out: directory of the run.
      last: what this function returned for the piece before.
      step: number of the last step.

    Returns:
      {"step", "minutes", "scenes", "ari_nobg"} after it.
    """
    observed, figures = out / "sacred" / str(step), out / f"{step}.json"
    files = f"checkpoint_dir={out / 'run'}"
    train = ["continue_run=auto", f"stop_after_steps={step}", files]
    run(["-F", str(observed), "with", *words, *train], out / "log.txt")
    run(["evaluate", "with", *words, files, f"out={figures}"], out / "log.txt")
    # The newest: an attempt that was stopped before may have left a folder too.
    record = max(observed.glob("[0-9]*"), key=lambda folder: int(folder.name))
    loss = json.loads((record / "metrics.json").read_text())["loss"]
    config = json.loads((record / "config.json").read_text())
    return {
        "step": step,
        "minutes": last["minutes"] + minutes_of(loss, step - last["step"]),
        "scenes": scenes_after(config, step),
        "ari_nobg": json.loads(figures.read_text())["ari_nobg"]["mean"],
    }


def follow(words, out, every, steps, minutes=math.inf):
    """Trains in pieces until a number of steps or minutes: a list of what `train_piece` returns."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "curve.json"
    curve = json.loads(file.read_text()) if file.exists() else []
    while True:
        last = curve[-1] if curve else {"step": 0, "minutes": 0.0}
        if last["step"] >= steps or last["minutes"] >= minutes:
            return curve
        curve.append(train_piece(words, out, last, min(last["step"] + every, steps)))
        file.write_text(json.dumps(curve))
        print(" ".join(f"{key} {value:.6g}" for key, value in curve[-1].items()), flush=True)


def draw(curves, path):
    """Draws curves {config: list of what `train_piece` returns} over the minutes."""
    figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
    for name, curve in curves.items():
        axis.plot([p["minutes"] for p in curve], [p["ari_nobg"] for p in curve], ".-", label=name)
    axis.set(xlabel="minutes of training", ylabel="foreground ARI", ylim=(0, 1))
    axis.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("config", choices=list(NAMED_CONFIGS), metavar="NAME")
    parser.add_argument("updates", nargs="*", metavar="key=value", help="as of iodine.main")
    parser.add_argument("--steps", type=int, required=True, help="number of NAME's last step")
    parser.add_argument(
        "--every", type=int, help="steps of a piece, a tenth of --steps if left out"
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/time_to_accuracy"))
    args = parser.parse_intermixed_args()
    every = args.every or max(1, args.steps // 10)
    plain = args.config.removesuffix("_fast")
    curves = {}
    for name in dict.fromkeys([args.config, plain]):
        limits = {"steps": args.steps}
        if curves:  # No more time than the first one took.
            limits = {"steps": sys.maxsize, "minutes": curves[args.config][-1]["minutes"]}
        print(name, flush=True)
        words = [name, *args.updates]
        curves[name] = follow(words, args.out / name, every, **limits)
    draw(curves, args.out / "curves.png")
    print("\n| config | foreground ARI | minutes | scenes |\n| --- | --- | --- | --- |")
    for name, curve in curves.items():
        for accuracy in ACCURACIES:
            reached = next((p for p in curve if p["ari_nobg"] >= accuracy), None)
            cells = [f"{reached['minutes']:.1f}", f"{reached['scenes']}"] if reached else ["–", "–"]
            print(f"| {name} | {accuracy:g} | {' | '.join(cells)} |")
        best = max(curve, key=lambda p: p["ari_nobg"])
        print(
            f"| {name}, best | {best['ari_nobg']:.3f} | {best['minutes']:.1f} | {best['scenes']} |"
        )


if __name__ == "__main__":
    main()
