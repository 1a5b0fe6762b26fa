"""What all experiments share: runs that are trained once, their results, and the command line.

An experiment is a module with two functions. `measure(experiment)` trains what it needs and returns
figures for JSON; `draw(figures)` makes a picture of these alone. Runs of one name are shared by all
experiments that write to the same directory.
"""

import os
import pathlib
import shlex
import sys
import time

import tensorflow as tf
from sacred.arg_parser import get_config_updates
from sacred.utils import iterate_flattened

from experiments.run import Run
from iodine import checkpoints, startup
from iodine.config import get_config
from iodine.errors import UserError
from iodine.evaluate import metrics, result_files
from iodine.figures import curves
from iodine.figures.style import default_style, render_png
from iodine.train.run import differences_from
from multi_object_datasets.arguments import Parser
from multi_object_datasets.cpus import available_cpus
from multi_object_datasets.errors import DatasetError

RESULTS = pathlib.Path(__file__).parent / "results"


class Experiment:
    """An experiment on one config.

    Args:
      name: of the experiment.
      config: name of a named config.
      updates: {dotted key: value} of all its runs, as on the command line.
      seeds: of the runs.
      out: `Path` of the directory of results and, in `runs`, of what was trained.
      words: of the command line but --out, for the record.

    Attributes:
      runs: list of all `Run`s that it trained.
    """

    def __init__(self, name, config, updates, seeds, out, words=()):
        self.name = name
        self.config = config
        self.updates = updates
        self.seeds = seeds
        self.out = out
        self.words = words
        self.runs = []

    def get_config(self):
        """The config of its runs, as a dict."""
        return get_config(self.config, self.updates)

    def run(self, label, updates, config=None):
        """The `Run`s of a variant, one for each seed, trained or not.

        Args:
          label: of the variant, for its name.
          updates: {dotted key: value} that make it differ from the experiment's config.
          config: another named config than the experiment's; what the experiment's updates say of
            the model's plan is not for it.
        """
        config = config or self.config
        given = {
            key: value
            for key, value in self.updates.items()
            if config == self.config or not key.startswith("model.")
        }
        return [
            Run(
                f"{config}-{label}-seed{seed}",
                config,
                {**given, **updates, "seed": seed},
                self.out / "runs",
            )
            for seed in self.seeds
        ]

    def shipped(self):
        """The trained model in the config's checkpoint_dir, as a list of one `Run`.

        An empty list if there is none, if seeds or the number of training steps were chosen, or if
        the updates change what a model is or is trained on.
        """
        directory = pathlib.Path(self.get_config()["checkpoint_dir"])
        chosen = "stop_after_steps" in self.updates or self.seeds != [0]
        if chosen or differences_from(get_config(self.config), self.get_config()):
            return []
        if not checkpoints.checkpoints_in(str(directory)):
            print(f"{directory} has no trained model: one is trained now", flush=True)
            return []
        return [Run(directory.name, self.config, self.updates, directory.parent)]

    def train_or_take(self, variants):
        """As `train`, but takes `shipped` for "full"; for those who need no curves of training."""
        shipped = self.shipped()
        taken = {"full": shipped} if shipped else {}
        trained = self.train({label: v for label, v in variants.items() if label not in taken})
        return {label: taken.get(label) or trained[label] for label in variants}

    def train(self, variants):
        """Trains variants of the config, each with each seed, but for what is done.

        Args:
          variants: {label: updates, or (updates, named config)}.

        Returns:
          {label: list of `Run`s}, one for each seed.

        Raises:
          UserError: if what is there was trained in another way.
        """
        trained = {
            label: self.run(label, *(given if isinstance(given, tuple) else (given,)))
            for label, given in variants.items()
        }
        every = [run for of_label in trained.values() for run in of_label]
        left = {run.name: run.last_step - run.step() for run in every}
        todo = [run for run in every if left[run.name]]
        total, done, began = sum(left.values()), 0, time.monotonic()
        print(f"{self.name}: {len(every)} runs, {len(every) - len(todo)} of them done", flush=True)
        for number, run in enumerate(todo, 1):
            minutes = (time.monotonic() - began) / 60 * (total - done) / max(done, 1)
            time_left = f", about {minutes:.0f} minutes left" if done else ""
            print(
                f"{run.name} ({number} of {len(todo)}): {left[run.name]} steps{time_left}",
                flush=True,
            )
            run.train()
            done += left[run.name]
        self.runs += every
        return trained

    def write_picture(self, name, figure):
        """Writes a `matplotlib.figure.Figure` to EXPERIMENT-NAME.png."""
        self._save(figure, f"{self.name}-{name}.png")

    def _save(self, figure, file_name):
        (self.out / file_name).write_bytes(render_png(figure))

    def write(self, figures, figure):
        """Writes NAME.json, the figures and how they came about, and NAME.png.

        Args:
          figures: for JSON; numbers that are NaN or infinite become None, and are counted.
          figure: `matplotlib.figure.Figure`.
        """
        figures, not_finite = result_files.for_json(figures)
        record = {
            "command": f"python -m experiments.{self.name} {shlex.join(self.words)}".strip(),
            "hardware": hardware(),
            "minutes": {run.name: round(run.minutes(), 1) for run in self.runs},
            "steps": {run.name: run.last_step for run in self.runs},
            "seeds": self.seeds,
            "num_images": self.get_config()["eval_images"],
            "num_not_finite": not_finite,
            "figures": figures,
        }
        path = self.out / f"{self.name}.json"
        result_files.write_json(path, record)
        self._save(figure, f"{self.name}.png")
        print(f"wrote {path} and {self.name}.png")


def metric_panels(names, x_label, columns=4, height=2.2):
    """As `curves.panels`, one for each of some metrics, with its label and its limits."""
    named = metrics.named(names)
    labels = [metric.label for metric in named.values()]
    figure, axes = curves.panels(labels, x_label, columns, height)
    for ax, metric in zip(axes, named.values()):
        if metric.limits:
            curves.fit_axis(ax, metric.limits)
    return figure, axes


def hardware():
    """The processor's name and the number of its cores that this process may use."""
    name = "unknown CPU"
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            name = next((ln.split(":")[1].strip() for ln in file if "model name" in ln), name)
    gpus = len(tf.config.list_physical_devices("GPU"))
    return f"{name}, {available_cpus()} of its cores" + (f", {gpus} GPUs" if gpus else "")


def main(name, doc, measure, draw, config="demo", steps=None):
    """Runs an experiment from the command line.

    Args:
      name: of the module.
      doc: its docstring.
      measure: function of an `Experiment` that returns figures for JSON.
      draw: function of these figures that returns a `matplotlib.figure.Figure`.
      config: name of the config that it takes if none is given.
      steps: number of training steps of that config, its own if None.
    """
    parser = Parser(f"python -m experiments.{name}", description=doc.splitlines()[0])
    parser.add_argument("--config", default=config, help=f"a named config ({config})")
    parser.add_argument("--steps", type=int, help="number of training steps, if not the config's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS, help="directory of results")
    parser.add_argument(
        "--updates", nargs="+", default=[], metavar="key=value", help="as on the command line"
    )
    args = parser.parse_args()
    startup.print_whatever_the_encoding()
    os.environ.setdefault("MPLBACKEND", "agg")
    try:
        updates, words = get_config_updates(args.updates)
        if words:
            raise UserError(f"--updates takes key=value, not '{words[0]}'")
        if args.steps is None and args.config == config:
            args.steps = steps
        if args.steps is not None:
            updates["stop_after_steps"] = args.steps
        updates = dict(iterate_flattened(updates))
        get_config(args.config, updates)  # Refuses what it does not take.
        args.out.mkdir(parents=True, exist_ok=True)
        words = sys.argv[1:]
        if "--out" in words:
            del words[words.index("--out") : words.index("--out") + 2]
        experiment = Experiment(name, args.config, updates, args.seeds, args.out, words)
        with startup.reader_may_leave(), default_style():
            figures = measure(experiment)
            experiment.write(figures, draw(figures))
    except (UserError, DatasetError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: cannot write to --out {args.out}: {error}")
