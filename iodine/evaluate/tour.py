"""The first five minutes: shipped models take scenes apart, and a small one is trained.

    python -m iodine.evaluate.tour DIR

writes DIR/report.html. `./run.sh` runs it.
"""

# ruff: noqa: E402
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from iodine import startup

if __name__ == "__main__":
    startup.import_tensorflow()

from iodine import checkpoints, loading, shipped_models
from iodine.errors import UserError
from iodine.evaluate import metrics
from iodine.evaluate.visualization import run_model
from iodine.figures import decompositions
from iodine.figures.report import Report

# (model, what it takes apart), one for each of the paper's data sets.
MODELS = (
    ("tetrominoes_fast", "Tetrominoes"),
    ("multi_dsprites_fast", "Multi-dSprites"),
    ("clevr6_fast", "CLEVR"),
)
TRAINED = "demo_fast"
# Where the foreground ARI of its training batches, in colour, has risen above 0.8.
TRAINING_STEPS = 1500
NUM_SCENES = 6  # measured
NUM_SHOWN = 4
PLAN = """\
1. Three trained models take held-out scenes of the paper's data sets apart: about a minute.
2. A small model, {trained}, is trained until balls come apart, {steps} steps: two to three minutes.
   The first run also draws its scenes, in a quarter of a minute.
3. All of it goes to {report}."""


class Score(NamedTuple):
    """What a model reached on the scenes beside it.

    Attributes:
      name: of the model.
      num_scenes: number of scenes.
      ari: their mean foreground ARI.
      expected: the same of the shipped model on `num_expected` scenes, and its standard error.
      num_expected: number of these scenes.
    """

    name: str
    num_scenes: int
    ari: float
    expected: tuple[float, float]
    num_expected: int

    def __str__(self):
        mean, stderr = self.expected
        return (
            f"foreground ARI of {self.ari:.3f} on {self.num_scenes} held-out scenes (expected of "
            f"the shipped model, from {self.num_expected}: {mean:.3f} ± {stderr:.3f})"
        )


def add_model(report, name, title, text, checkpoint=None):
    """Adds what a model makes of the held-out scenes beside a shipped model.

    Args:
      report: `Report` to add to.
      name: of the shipped model.
      title: of the section.
      text: its paragraph.
      checkpoint: directory of another model of the same config, which is looked at instead.

    Returns:
      `Score`.

    Raises:
      UserError: if a model has no scenes beside it, or as `loading.open_model`.
    """
    shipped = checkpoints.checkpoint_prefix(name)
    scenes = shipped_models.scenes_beside(shipped)
    if scenes is None:
        raise UserError(f"there are no scenes beside {shipped}: clone the repository again")
    opened = loading.open_model(str(checkpoint or name))
    with tempfile.TemporaryDirectory() as cache:
        dataset = dataclasses.replace(
            opened.dataset,
            path=scenes,
            cache=cache,
            batch_size=min(NUM_SCENES, shipped_models.num_scenes(scenes)),
        )
        dataset.only_held_out = True
        batch = next(dataset("summary").as_numpy_iterator())
    info = run_model(opened.model, batch, seed=0)
    values = metrics.measure(info, opened.model)["ari_nobg"]
    with open(os.path.join(os.path.dirname(shipped), "evaluation.json")) as file:
        figures = json.load(file)
    expected = figures["ari_nobg"]["mean"], figures["ari_nobg"]["stderr"]
    num_scenes = len(batch["image"])
    score = Score(name, num_scenes, float(values[:, -1].mean()), expected, figures["num_images"])
    report.add_heading(title)
    report.add_text(f"{text} It has a {score}.")
    report.add_figure(
        name,
        decompositions.example_plot(info, range(min(NUM_SHOWN, num_scenes))),
        "Each row is a scene. The frame of a slot has the colour of its mask; each slot shows its "
        "component before masking. Left: the foreground ARI.",
    )
    print(f"{title}: {score}", flush=True)
    return score


def train(directory, num_steps):
    """Trains the small model by the command that anyone would use, shown with its progress bar.

    Args:
      directory: of its checkpoints.
      num_steps: number of steps.

    Raises:
      UserError: if the command fails; its own line has said why.
    """
    words = [TRAINED, f"checkpoint_dir={directory}", "continue_run=auto", "seed=0"]
    words += [f"stop_after_steps={num_steps}"]
    command = ["-m", "iodine.main", "--loglevel=ERROR", "with", *words]
    print("$ python", *command, flush=True)
    code = subprocess.run([sys.executable, *command]).returncode
    if code:
        raise UserError(f"the training ended with exit code {code}")


def next_commands():
    """Returns the three commands to try next."""
    python = f"{sys.executable} -m iodine.main"
    return (
        f"{python} explore with clevr6_fast out=page.html",
        f"{python} segment with clevr6_fast image=YOUR_IMAGE.png out=slots",
        f"{python} with {TRAINED} -F runs",
    )


def add_summary(report, scores):
    """Adds a table of the `Score`s, the last one of the model just trained, and what to try."""
    rows = [["model", "scenes", "foreground ARI", "expected", "scenes"]]
    for score in scores:
        mean, stderr = score.expected
        just_trained = " (just trained)" if score is scores[-1] else ""
        rows.append(
            [
                score.name + just_trained,
                str(score.num_scenes),
                f"{score.ari:.3f}",
                f"{mean:.3f} ± {stderr:.3f}",
                str(score.num_expected),
            ]
        )
    report.add_heading("All figures")
    report.add_table(rows)
    report.add_heading("Next")
    for command in next_commands():
        report.add_text(command)


def tour(out, models=MODELS, num_steps=TRAINING_STEPS):
    """Runs the whole and writes its report.

    Args:
      out: directory to write to, new or empty.
      models: list of (name of a shipped model, title of its section).
      num_steps: number of training steps of the small model.

    Returns:
      Path of the report.

    Raises:
      UserError: if the directory is not empty, or a step of the tour fails.
    """
    began = time.monotonic()
    report = Report(out, "IODINE: scenes taken apart")
    path = os.path.abspath(os.path.join(out, "report.html"))
    print(PLAN.format(trained=TRAINED, steps=num_steps, report=path), flush=True)
    report.add_text(
        "Scenes that no model was trained on, and the slots that each takes them apart into. A "
        "foreground ARI of 1 is a segmentation as the true one, 0 one by chance."
    )
    scores = [
        add_model(report, name, title, f"{name}, a trained model of the repository.")
        for name, title in models
    ]
    directory = os.path.join(out, "checkpoint")
    training_began = time.monotonic()
    train(directory, num_steps)
    minutes = (time.monotonic() - training_began) / 60
    steps = checkpoints.step_of(checkpoints.checkpoint_prefix(TRAINED))
    text = (
        f"The shipped {TRAINED} was trained for {steps} steps. This one was trained here, for "
        f"{num_steps} steps in {minutes:.1f} minutes."
    )
    scores.append(add_model(report, TRAINED, "Balls, just trained", text, directory))
    add_summary(report, scores)
    report.write()
    print(f"Done in {(time.monotonic() - began) / 60:.1f} minutes. Report: {path}")
    print("Next:", *next_commands(), sep="\n  ")
    return path


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m iodine.evaluate.tour DIR")
    try:
        tour(sys.argv[1])
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
