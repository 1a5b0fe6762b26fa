"""Compares trained models: the same held-out scenes, and the same noise where it has one shape."""

import contextlib
import json
import os
import sys
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from iodine.data.provenance import check_never_trained_on
from iodine.errors import UserError
from iodine.evaluate import evaluation, metrics, visualization
from iodine.figures import curves, decompositions
from iodine.figures.report import Report
from iodine.model import Model

NUM_SCENES = 4  # in the figure


class TrainedModel(NamedTuple):
    """A model to compare.

    Attributes:
      checkpoint: path of the checkpoint that it was restored from.
      model: the `Model`.
    """

    checkpoint: str
    model: Model


def check_comparable(opened):
    """Makes sure that models can be tested on the scenes of the first one's data.

    Args:
      opened: list of `loading.OpenModel`.

    Raises:
      UserError: if one is for images of another shape, or was trained on the scenes.
    """
    dataset = opened[0].dataset
    for other in opened:
        if other.dataset.image_shape != dataset.image_shape:
            raise UserError(
                f"'{other.path}' is for images of {_shape(other.dataset.image_shape)}, "
                f"'{opened[0].path}' for {_shape(dataset.image_shape)}: only models for images of "
                "one shape compare"
            )
        if line := check_never_trained_on(other.record.get("data"), dataset):
            print(f"{other.path}: {line}", file=sys.stderr)


def _shape(image_shape):
    return "×".join(map(str, image_shape))


def paired_difference(values, others):
    """What a model has more of a metric than another, image by image.

    Args:
      values, others: metrics [N, T] of the two, of which the last iterations count; NaN where
        undefined.

    Returns:
      As `metrics.mean_and_stderr`, without "per_iteration": num_undefined counts the images where
      one of the two is undefined.
    """
    with np.errstate(invalid="ignore"):  # Of two infinities.
        difference = values[:, -1:] - others[:, -1:]
    entry = metrics.mean_and_stderr(difference)
    del entry["per_iteration"]
    return entry


def figures(models, values):
    """The figures of a comparison, for JSON.

    Args:
      models: list of `TrainedModel`.
      values: of each, what `evaluation.score_held_out` returned.

    Returns:
      {"num_images", "models": [{"checkpoint", "model" (its class), "metrics": {name: as
      `metrics.mean_and_stderr`}, "difference": {name: as `paired_difference` to the first
      model}}]}; the first has no difference.
    """
    entries = []
    for (checkpoint, model), own in zip(models, values):
        summary = metrics.summarize(own, model.METRICS)
        entry = {"checkpoint": checkpoint, "model": type(model).__name__, "metrics": summary}
        if entries:
            both = {name: values[0][name] for name in summary if name in values[0]}
            entry["difference"] = {n: paired_difference(own[n], first) for n, first in both.items()}
        entries.append(entry)
    return {"num_images": len(values[0]["mse"]), "models": entries}


def table(comparison, columns):
    """The figures as rows of strings, the head first.

    Args:
      comparison: what `figures` returned.
      columns: {name: `Metric`} of all that a model may have.
    """

    def cell(entry):
        return metrics.mean_text(entry) if entry else "–"

    first, *others = comparison["models"]
    head = [f"({i + 1})" for i in range(1 + len(others))]
    head += [f"({i + 2}) − (1)" for i in range(len(others))]
    rows = [["mean ± standard error", *head]]
    for name, metric in columns.items():
        cells = [model["metrics"].get(name) for model in (first, *others)]
        if any(cells):
            cells += [model["difference"].get(name) for model in others]
            rows.append([metric.heading, *map(cell, cells)])
    return rows


def compare(models, dataset, out, num_images, seed):
    """Prints a table of all measures of models on the same held-out scenes.

    Args:
      models: list of `TrainedModel`.
      dataset: data set whose held-out scenes test them.
      out: directory for comparison.json, figures and report.html, new or empty; None prints only.
      num_images: number of scenes; all, if fewer are held out.
      seed: of the noise, which depends on it and the scene, and so is the same for models that take
        noise of one shape.

    Raises:
      UserError: if the directory is not empty.
    """
    names = [f"({i + 1})" for i in range(len(models))]
    report_or_none = (
        Report(out, "Comparison of trained models") if out else contextlib.nullcontext()
    )
    with report_or_none as report:
        values = []
        for name, (checkpoint, model) in zip(names, models):
            print(f"{name} {type(model).__name__}: {checkpoint}", flush=True)
            values.append(
                evaluation.score_held_out(model, dataset, num_images, seed, lambda info: {})
            )
        named = {}
        for _, model in models:
            named |= metrics.named(model.METRICS)
        comparison = figures(models, values)
        rows = table(comparison, named)
        print(f"{evaluation.format_table(rows)}\n{comparison['num_images']} scenes", flush=True)
        if report:
            report.write_file("comparison.json", json.dumps(comparison, indent=1).encode())
            long_names = [f"{name} {c}" for name, (c, _) in zip(names, models)]
            report.add_text(f"{comparison['num_images']} held-out scenes. " + "; ".join(long_names))
            add_decompositions(report, models, names, dataset, seed)
            report.add_heading("Metrics")
            report.add_table(rows)
            add_curves(report, models, names, values, named)
            print(f"wrote {report.write()}")


def add_decompositions(report, models, names, dataset, seed):
    """Adds decompositions of the same scenes to a report."""
    batch = next(dataset("test").as_numpy_iterator())
    batch = tf.nest.map_structure(lambda x: x[:NUM_SCENES], batch)
    infos = [visualization.run_model(model, batch, seed) for _, model in models]
    scenes = range(len(batch["image"]))
    report.add_figure(
        "decompositions",
        decompositions.comparison_plot(infos, names, scenes),
        "The same scenes taken apart by each model, a row for each. The frame of a slot has the "
        "colour of its mask; each slot shows its component before masking.",
    )


def add_curves(report, models, names, values, named):
    """Adds curves over the iterations to a report, named being {name: `Metric`}."""
    folders = [os.path.basename(os.path.dirname(checkpoint)) for checkpoint, _ in models]
    titles = [f"{name} {folder}" for name, folder in zip(names, folders)]
    report.add_heading("Metrics over the iterations")
    report.add_figure(
        "curves",
        curves.comparison_curves(values, titles, named),
        "Means over all scenes where a metric is defined, by the number of refinements; a dotted "
        "line is a model that gives just a result.",
    )
