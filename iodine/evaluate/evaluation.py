"""Evaluation of a trained model on held-out scenes."""

import functools

import numpy as np
import tensorflow as tf

from iodine.errors import UserError
from iodine.evaluate import factors, prediction
from iodine.evaluate.objects import match_objects, select_objects, true_values
from multi_object_datasets.image_ops import NO_ENTITY
from multi_object_datasets.segmentation_metrics import segmentation_measures


def select_metrics(info):
    """Picks the metrics, {name: [B, T]}, of what `model.eval` returned.

    Those are its metrics, and its losses of each image; those of each slot are summed.
    """
    losses = {
        name: tf.reduce_sum(loss, axis=-1) if len(loss.shape) == 3 else loss
        for name, loss in info["losses"].items()
        if name not in ("total", "factor")
    }
    return {**info["metrics"], **losses}


def select_labels(info):
    """Picks the segmentations of what `model.eval` returned as label maps, for `score_labels`.

    Returns:
      {true_labels uint8 [B, frames, H, W], pred_labels uint8 [B, T, H, W]}, nothing without true
      masks.
    """
    if "true_mask" not in info["data"]:
        return {}
    true_mask = info["data"]["true_mask"][..., 0]  # [B, frames, L, H, W]
    true_labels = tf.cast(tf.argmax(true_mask, axis=2), tf.uint8)
    pred_labels = tf.argmax(info["outputs"]["pred_mask"][..., 0], axis=2)  # [B, T, H, W]
    return {
        "true_labels": tf.where(tf.reduce_any(true_mask > 0, axis=2), true_labels, NO_ENTITY),
        "pred_labels": tf.cast(pred_labels, tf.uint8),
    }


def score_labels(picked, num_background):
    """Puts measures of the segmentations in the place of what `select_labels` picked.

    Args:
      picked: {name: array [n, ...]}, true_labels and pred_labels perhaps among them.
      num_background: number of entities, the first ones, that are no objects.

    Returns:
      The same with {measure: [n, T]} of `segmentation_measures`, as they are for all entities and
      with `_nobg` for objects alone.
    """
    if "true_labels" not in picked:
        return picked
    picked = dict(picked)
    true, pred = picked.pop("true_labels"), picked.pop("pred_labels")
    true = np.broadcast_to(true, pred.shape)  # One frame for all states, or one for each.
    maps = [labels.reshape(-1, *labels.shape[2:]) for labels in (true, pred)]  # [n * T, H, W]
    for ending, first_label in (("", 0), ("_nobg", num_background)):
        for name, scores in segmentation_measures(*maps, first_label).items():
            picked[name + ending] = scores.reshape(pred.shape[:2])
    return picked


def score_held_out(model, dataset, num_images, seed, select, bounds=False):
    """Runs a model on held-out scenes and takes all its metrics.

    Args:
      model: a `Model`, restored.
      dataset: data set of `iodine.modules.data`.
      num_images: number of scenes; all, if fewer are held out.
      seed: of the noise.
      select: function of what `model.eval` returned that picks what else is needed, {name: tensor}.
      bounds: whether to take the model's `bounds` too, which need many draws.

    Returns:
      {name: array [num_images, ...]}: metrics and measures [num_images, T], and what was picked.
    """
    num_images = prediction.held_out_scenes(dataset, num_images)
    return prediction.run_model(
        model,
        prediction.first_scenes(dataset("test"), num_images),
        num_images,
        seed,
        lambda info: {**select_metrics(info), **select_labels(info), **select(info)},
        functools.partial(score_labels, num_background=model.num_background),
        bounds,
    )


def mean_and_stderr(values):
    """Mean and its standard error over images at the last iteration.

    Args:
      values: [N, T], NaN for images where they are undefined, which are left out.

    Returns:
      {"mean", "stderr", "per_iteration": the T means, "num_undefined": images left out}; None if
      they are undefined for all images.
    """
    defined = values[~np.isnan(values).any(axis=1)]
    if not len(defined):
        return None
    last = defined[:, -1]
    stderr = np.std(last, ddof=1) / np.sqrt(len(last)) if len(last) > 1 else 0.0
    return {
        "mean": float(np.mean(last)),
        "stderr": float(stderr),
        "per_iteration": np.mean(defined, axis=0).tolist(),
        "num_undefined": len(values) - len(defined),
    }


def summarize(values, metrics):
    """{metric: as `mean_and_stderr`} for those of a model's `METRICS` that there are values of."""
    entries = {name: mean_and_stderr(values[name]) for name in metrics if name in values}
    return {name: entry for name, entry in entries.items() if entry}


def confusion(true, predicted):
    """How often each true count was taken for each other one, of counts [N].

    Returns:
      Nested list of whole numbers: a row for each true count from 0, a column for each predicted.
    """
    table = np.zeros([true.max() + 1, max(true.max(), predicted.max()) + 1], int)
    np.add.at(table, (true, predicted), 1)
    return table.tolist()


def factor_scores(regressor, objects):
    """Scores the factors that the model predicted.

    Args:
      regressor: the model's `FactorRegressor`.
      objects: {"prediction/NAME" and "factor/NAME": [objects, n]}.

    Returns:
      {name: accuracy for a categorical factor, else R² = 1 - Σ(y - ŷ)² / Σ(y - mean y)², averaged
      over its values}.
    """
    scores = {}
    for name, size, kind in regressor.mapping:
        pred, true = (
            objects[f"prediction/{name}"],
            true_values(regressor, objects, name, size, kind),
        )
        if kind == "categorical":
            scores[name] = float(np.mean(pred.argmax(-1) == true.argmax(-1)))
        else:
            residual = np.sum(np.square(true - pred), axis=0)
            spread = np.sum(np.square(true - true.mean(axis=0)), axis=0)
            scores[name] = float(np.mean(1.0 - residual / np.maximum(spread, 1e-12)))
    return scores


def evaluate(model, dataset, num_images, seed, regressor=None):
    """Evaluates a model on held-out scenes.

    Args:
      model: a `Model`, restored.
      dataset: data set of `iodine.modules.data`.
      num_images: number of scenes; all, if fewer are held out.
      seed: of the noise.
      regressor: `FactorRegressor` that names the factors of which linear models are fitted to
        frozen latents of training scenes; None for none.

    Returns:
      {metric: as `mean_and_stderr`} for the model's `METRICS` that there are: ari and the
      `segmentation_measures` (where there are true masks), each also with _nobg for objects alone;
      mse, recons (-log p(x|z), nats) and kl (summed over slots, nats), and its
      `bounds`. num_images; where it counts objects, confusion as `confusion`; where it regresses
      factors, factors {name: score} as `factor_scores`; with `regressor`, factor_regression
      {name: score} as `factors.fit_and_score`.

    Raises:
      UserError: if there are no factors to regress.
    """

    def select(info):
        counts = info.get("counts", {})
        counts = {f"count/{n}": counts[n] for n in ("true", "predicted") if n in counts}
        predictions = info.get("factor_regressor", {}).get("predictions", {})
        if not predictions and not (regressor and info["data"].get("factors")):
            return counts
        for name, size, kind in regressor.mapping if regressor else ():
            regressor.target(name, kind, size, info["data"]["factors"])  # raises if it is missing
        return {
            **counts,
            **match_objects(info, model.num_background),
            **{f"prediction/{name}": p[:, -1] for name, p in predictions.items()},
        }

    values = score_held_out(model, dataset, num_images, seed, select, bounds=True)
    report = {**summarize(values, model.METRICS), "num_images": len(values["mse"])}
    if "count/true" in values:
        report["confusion"] = confusion(values["count/true"], values["count/predicted"])
    if "latents" not in values:
        if regressor:
            raise UserError("factor_regression needs data with factors")
        return report
    objects = select_objects(values)
    if model.factor_evaluator:
        report["factors"] = factor_scores(model.factor_evaluator, objects)
    if regressor:
        num_train = factors.TRAIN_SCENES_PER_TEST_SCENE * report["num_images"]
        train = prediction.run_model(
            model,
            prediction.first_scenes(dataset("train", seed=seed), num_train),
            num_train,
            seed + 1,
            lambda info: match_objects(info, model.num_background),
        )
        report["factor_regression"] = factors.fit_and_score(
            regressor, select_objects(train), objects
        )
    return report


def format_report(report, metrics):
    """The report of `evaluate` as a table for people, metrics being the model's `METRICS`."""
    num_iterations = len(report["mse"]["per_iteration"])
    header = "".join(f"{t:>12d}" for t in range(num_iterations))
    width = 1 + max(len(name) for name in ("metric", *metrics))
    lines = [f"{'metric':<{width}}{'mean':>14} ± {'stderr':<10}by iteration:{header}"]
    for name in metrics:
        if name not in report:
            continue
        entry = report[name]
        iterations = "".join(f"{v:>12.4g}" for v in entry["per_iteration"])
        undefined = f"  (undefined: {entry['num_undefined']})" if entry["num_undefined"] else ""
        lines.append(
            f"{name:<{width}}{entry['mean']:>14.6g} ± {entry['stderr']:<10.3g}{'':13}{iterations}"
            f"{undefined}"
        )
    for true, row in enumerate(report.get("confusion", [])):
        lines.append(f"{true} objects, taken for 0, 1, ...:" + "".join(f"{n:>8d}" for n in row))
    for key in ("factors", "factor_regression"):
        for factor, score in report.get(key, {}).items():
            lines.append(f"{key}/{factor:<24}{score:>8.4f}")
    lines.append(f"{report['num_images']} scenes")
    return "\n".join(lines)
