"""Compares trained models: the same held-out scenes, and the same noise where it has one shape."""

import json
import os
import sys
from typing import NamedTuple

import tensorflow as tf

from iodine import checkpoints
from iodine.build import build, build_model
from iodine.data.provenance import check_never_trained_on
from iodine.errors import UserError
from iodine.evaluate import evaluation, visualization
from iodine.figures import curves, decompositions
from iodine.figures.report import Report
from iodine.model import Model

NUM_SCENES = 4  # in the picture


class TrainedModel(NamedTuple):
    """A model to compare.

    Attributes:
      checkpoint: path of the checkpoint that it was restored from.
      model: the `Model`.
    """

    checkpoint: str
    model: Model


def load_models(paths, dataset, model_plan):
    """Builds and restores the models to compare.

    Args:
      paths: of their checkpoints, as for `checkpoints.latest_checkpoint`.
      dataset: data set whose held-out scenes are to test them.
      model_plan: plan of models whose checkpoints do not remember their config.

    Returns:
      List of `TrainedModel`.

    Raises:
      UserError: if there are no two of them, one cannot be restored, was trained on the scenes, or
        is for images of another shape.
    """
    if not isinstance(paths, (list, tuple)) or len(paths) < 2:
        raise UserError(
            "compare takes two checkpoints or more: "
            """'checkpoint_dir=["checkpoints/A", "checkpoints/B"]'"""
        )
    models = []
    for path in map(checkpoints.latest_checkpoint, paths):
        config = checkpoints.read_record(path).get("config")
        if config:
            shape = build(config["data"], "data").image_shape
            if shape != dataset.image_shape:
                raise UserError(
                    f"'{path}' is for images of {_shape(shape)}, the data has "
                    f"{_shape(dataset.image_shape)}: only models for images of one shape compare"
                )
        model = build_model(config["model"] if config else model_plan, dataset)
        record = checkpoints.restore_model(path, model, dataset.image_shape)
        if line := check_never_trained_on(record.get("data"), dataset):
            print(f"{path}: {line}", file=sys.stderr)
        models.append(TrainedModel(path, model))
    return models


def _shape(image_shape):
    return "×".join(map(str, image_shape))


def paired_difference(values, others):
    """Mean and standard error of what a model has more than another, image by image.

    Args:
      values, others: metrics [N, T] of the two, of which the last iterations count; NaN where
        undefined.

    Returns:
      {"mean", "stderr", "num_images"}, of the images where both are defined; None if none is.
    """
    difference = values[:, -1] - others[:, -1]
    entry = evaluation.mean_and_stderr(difference[:, None])
    if entry is None:
        return None
    return {
        "mean": entry["mean"],
        "stderr": entry["stderr"],
        "num_images": len(difference) - entry["num_undefined"],
    }


def figures(models, values):
    """The figures of a comparison, for JSON.

    Args:
      models: list of `TrainedModel`.
      values: of each, what `evaluation.score_held_out` returned.

    Returns:
      {"num_images", "models": [{"checkpoint", "model" (its class), "metrics": {name: as
      `mean_and_stderr`}, "difference": {name: as `paired_difference` to the first model}}]}; the
      first has no difference.
    """
    entries = []
    for (checkpoint, model), own in zip(models, values):
        metrics = evaluation.summarize(own, model.METRICS)
        entry = {"checkpoint": checkpoint, "model": type(model).__name__, "metrics": metrics}
        if entries:
            both = {name: values[0][name] for name in metrics if name in values[0]}
            differences = {n: paired_difference(own[n], first) for n, first in both.items()}
            entry["difference"] = {name: d for name, d in differences.items() if d}
        entries.append(entry)
    return {"num_images": len(values[0]["mse"]), "models": entries}


def table(comparison, labels):
    """The figures as rows of strings, the head first.

    Args:
      comparison: what `figures` returned.
      labels: {metric: how the table calls it}.
    """

    def cell(entry):
        return f"{entry['mean']:.4g} ± {entry['stderr']:.2g}" if entry else "–"

    first, *others = comparison["models"]
    head = [f"({i + 1})" for i in range(1 + len(others))]
    head += [f"({i + 2}) − (1)" for i in range(len(others))]
    rows = [["mean ± standard error", *head]]
    for name, label in labels.items():
        cells = [model["metrics"].get(name) for model in (first, *others)]
        if any(cells):
            cells += [model["difference"].get(name) for model in others]
            rows.append([label, *map(cell, cells)])
    return rows


def format_table(rows):
    """A table as text, its columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))])
        for row in rows
    )


def compare(models, dataset, out, num_images, seed):
    """Prints a table of all measures of models on the same held-out scenes.

    Args:
      models: list of `TrainedModel`.
      dataset: data set whose held-out scenes test them.
      out: directory for comparison.json, pictures and report.html, new or empty; None prints only.
      num_images: number of scenes; all, if fewer are held out.
      seed: of the noise, which depends on it and the scene, and so is the same for models that take
        noise of one shape.

    Raises:
      UserError: for a directory that holds something already.
    """
    names = [f"({i + 1})" for i in range(len(models))]
    report = Report(out, "Comparison of trained models") if out else None
    values = []
    for name, (checkpoint, model) in zip(names, models):
        print(f"{name} {type(model).__name__}: {checkpoint}", flush=True)
        values.append(evaluation.score_held_out(model, dataset, num_images, seed, lambda info: {}))
    labels = {}
    for _, model in models:
        labels |= model.METRICS
    comparison = figures(models, values)
    rows = table(comparison, labels)
    if report:
        report.write_file("comparison.json", json.dumps(comparison, indent=1).encode())
    print(f"{format_table(rows)}\n{comparison['num_images']} scenes")
    if report:
        long_names = [f"{name} {c}" for name, (c, _) in zip(names, models)]
        report.add_text(f"{comparison['num_images']} held-out scenes. " + "; ".join(long_names))
        report.add_table(rows)
        add_pictures(report, models, names, values, labels, dataset, seed)
        print(f"wrote {report.write()}")


def add_pictures(report, models, names, values, labels, dataset, seed):
    """Adds decompositions of the same scenes and curves over the iterations to a report."""
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
    folders = [os.path.basename(os.path.dirname(checkpoint)) for checkpoint, _ in models]
    titles = [f"{name} {folder}" for name, folder in zip(names, folders)]
    report.add_figure(
        "curves",
        curves.comparison_curves(values, titles, labels),
        "Means over all scenes by the number of refinements; a dotted line is a model that gives "
        "just a result.",
    )
