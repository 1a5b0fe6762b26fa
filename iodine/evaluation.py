"""Evaluation of a trained model on held-out scenes."""

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from iodine.modules.utils import UserError

METRICS = ("ari", "ari_nobg", "mse", "recons", "kl")


def pad_batch(batch, batch_size):
    """Cuts a batch to batch_size scenes, or repeats its last scene until it has as many."""

    def pad(x):
        x = x[:batch_size]
        return np.concatenate([x, np.repeat(x[-1:], batch_size - len(x), axis=0)])

    return tf.nest.map_structure(pad, batch)


def held_out_batches(dataset, num_images, batch_size):
    """Yields the first held-out scenes in batches of one size.

    What the refinement network sees depends on the batch size, so that a smaller last batch is
    filled up.

    Args:
      dataset: data set of `iodine.modules.data`.
      num_images: number of scenes in all.
      batch_size: number of scenes in each batch.

    Yields:
      (batch of NumPy arrays, number of its scenes that count).

    Raises:
      UserError: if fewer scenes are held out.
    """
    remaining = num_images
    for batch in dataset("test").as_numpy_iterator():
        count = min(len(batch["image"]), remaining)
        yield pad_batch(batch, batch_size), count
        remaining -= count
        if not remaining:
            return
    raise UserError(
        f"eval_images={num_images}, but only {num_images - remaining} scenes are held out: "
        f"lower eval_images or raise data.held_out"
    )


def run_model(model, dataset, num_images, batch_size, seed, select):
    """Runs a model on held-out scenes, with a progress bar.

    Args:
      model: an `IODINE`.
      dataset: data set of `iodine.modules.data`.
      num_images: number of scenes.
      batch_size: as in training.
      seed: of the noise.
      select: function of what `model.eval` returned that picks tensors [B, ...], {name: tensor};
        nothing else is kept in memory.

    Returns:
      {name: array [num_images, ...]}.
    """

    @tf.function(autograph=False)
    def infer(batch, index):
        shape = [model.num_iters + 1, batch_size, model.num_components, model.n_z]
        noise = tf.random.stateless_normal(shape, seed=tf.stack([seed, index]))
        return select(model.eval(batch, noise, batch_size=batch_size))

    results = []
    with tqdm(total=num_images, unit="image", disable=None) as bar:
        batches = held_out_batches(dataset, num_images, batch_size)
        for index, (batch, count) in enumerate(batches):
            result = infer(tf.nest.map_structure(tf.constant, batch), tf.constant(index))
            results.append({name: value.numpy()[:count] for name, value in result.items()})
            bar.update(count)
    return {name: np.concatenate([r[name] for r in results]) for name in results[0]}


def mean_and_stderr(values):
    """Mean and its standard error over images, of values [N, T] at the last iteration.

    Returns:
      {"mean", "stderr", "per_iteration": the T means}.
    """
    last = values[:, -1]
    stderr = np.std(last, ddof=1) / np.sqrt(len(last)) if len(last) > 1 else 0.0
    return {
        "mean": float(np.mean(last)),
        "stderr": float(stderr),
        "per_iteration": np.mean(values, axis=0).tolist(),
    }


def factor_scores(mapping, predictions, targets, visibility):
    """Scores the predicted factors of visible foreground objects.

    Args:
      mapping: the factor regressor's list of (name, size, type).
      predictions: {name: [N, L, n]} of the slots matched to each entity.
      targets: {name: [N, L, n]} in the same form.
      visibility: [N, L]; entity 0 is the background.

    Returns:
      {name: accuracy for a categorical factor, else R² = 1 - Σ(y - ŷ)² / Σ(y - mean y)², averaged
      over its values}.
    """
    counts = visibility > 0
    counts[:, 0] = False
    scores = {}
    for factor, _, kind in mapping:
        pred, true = predictions[factor][counts], targets[factor][counts]  # [objects, n]
        if kind == "categorical":
            scores[factor] = float(np.mean(pred.argmax(-1) == true.argmax(-1)))
        else:
            residual = np.sum(np.square(true - pred), axis=0)
            spread = np.sum(np.square(true - true.mean(axis=0)), axis=0)
            scores[factor] = float(np.mean(1.0 - residual / np.maximum(spread, 1e-12)))
    return scores


def evaluate(model, dataset, num_images, batch_size, seed):
    """Evaluates a model on held-out scenes.

    Args:
      model: an `IODINE`, restored.
      dataset: data set of `iodine.modules.data`.
      num_images: number of scenes.
      batch_size: as in training.
      seed: of the noise.

    Returns:
      {metric: as `mean_and_stderr`} for ari and ari_nobg (where there are true masks), mse, recons
      (-log p(x|z), nats) and kl (summed over slots, nats); num_images; and, where factors are
      regressed, factors {name: score} as `factor_scores`.

    Raises:
      UserError: if fewer scenes are held out.
    """
    regressor = model.factor_evaluator

    def select(info):
        selected = {**info["metrics"], "recons": info["losses"]["recons"]}
        selected["kl"] = tf.reduce_sum(info["losses"]["kl"], axis=-1)
        if "factor_regressor" in info:
            selected["visibility"] = info["data"]["visibility"]
            for factor, size, kind in regressor.mapping:
                predictions = info["factor_regressor"]["predictions"][factor]
                selected[f"prediction/{factor}"] = predictions[:, -1]
                selected[f"target/{factor}"] = regressor.target(
                    factor, kind, size, info["data"]["factors"][factor]
                )
        return selected

    values = run_model(model, dataset, num_images, batch_size, seed, select)
    report = {name: mean_and_stderr(values[name]) for name in METRICS if name in values}
    report["num_images"] = num_images
    if "visibility" in values:

        def by_factor(prefix):
            return {factor: values[f"{prefix}/{factor}"] for factor, _, _ in regressor.mapping}

        report["factors"] = factor_scores(
            regressor.mapping, by_factor("prediction"), by_factor("target"), values["visibility"]
        )
    return report


def format_report(report):
    """The report of `evaluate` as a table for people."""
    num_iterations = len(report["mse"]["per_iteration"])
    header = "".join(f"{t:>12d}" for t in range(num_iterations))
    lines = [f"{'metric':<10}{'mean':>14} ± {'stderr':<10}by iteration:{header}"]
    for name in METRICS:
        if name in report:
            entry = report[name]
            iterations = "".join(f"{v:>12.4g}" for v in entry["per_iteration"])
            lines.append(
                f"{name:<10}{entry['mean']:>14.6g} ± {entry['stderr']:<10.3g}{'':13}{iterations}"
            )
    for factor, score in report.get("factors", {}).items():
        lines.append(f"{'factor/' + factor:<20}{score:>8.4f}")
    lines.append(f"{report['num_images']} scenes")
    return "\n".join(lines)
