"""Evaluation of a trained model on held-out scenes."""

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from iodine import factor_regression
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


def training_batches(dataset, num_images, batch_size, seed):
    """Yields as `held_out_batches`, of random training scenes."""
    batches = dataset("train", seed=seed).as_numpy_iterator()
    for start in range(0, num_images, batch_size):
        yield pad_batch(next(batches), batch_size), min(batch_size, num_images - start)


def run_model(model, batches, num_images, batch_size, seed, select):
    """Runs a model on scenes, with a progress bar.

    Args:
      model: an `IODINE`.
      batches: yields (batch of NumPy arrays, number of its scenes that count).
      num_images: number of scenes in all.
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
        for index, (batch, count) in enumerate(batches):
            result = infer(tf.nest.map_structure(tf.constant, batch), tf.constant(index))
            results.append({name: value.numpy()[:count] for name, value in result.items()})
            bar.update(count)
    return {name: np.concatenate([r[name] for r in results]) for name in results[0]}


def select_metrics(info):
    """Picks the METRICS that there are, {name: [B, T]}, of what `model.eval` returned."""
    kl = tf.reduce_sum(info["losses"]["kl"], axis=-1)  # over slots
    return {**info["metrics"], "recons": info["losses"]["recons"], "kl": kl}


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


def factor_scores(mapping, values):
    """Scores the factors that the model predicted, over visible foreground objects.

    Args:
      mapping: the factor regressor's list of (name, size, type).
      values: {"prediction/NAME" and "target/NAME": [N, L, n], "visibility": [N, L]}; entity 0 is
        the background.

    Returns:
      {name: accuracy for a categorical factor, else R² = 1 - Σ(y - ŷ)² / Σ(y - mean y)², averaged
      over its values}.
    """
    objects = factor_regression.visible_objects(values, ("prediction/", "target/"))
    scores = {}
    for factor, _, kind in mapping:
        pred, true = objects[f"prediction/{factor}"], objects[f"target/{factor}"]  # [objects, n]
        if kind == "categorical":
            scores[factor] = float(np.mean(pred.argmax(-1) == true.argmax(-1)))
        else:
            residual = np.sum(np.square(true - pred), axis=0)
            spread = np.sum(np.square(true - true.mean(axis=0)), axis=0)
            scores[factor] = float(np.mean(1.0 - residual / np.maximum(spread, 1e-12)))
    return scores


def evaluate(model, dataset, num_images, batch_size, seed, regress=False):
    """Evaluates a model on held-out scenes.

    Args:
      model: an `IODINE`, restored.
      dataset: data set of `iodine.modules.data`.
      num_images: number of scenes.
      batch_size: as in training.
      seed: of the noise.
      regress: whether to fit linear models of the factors to frozen latents of training scenes.

    Returns:
      {metric: as `mean_and_stderr`} for ari and ari_nobg (where there are true masks), mse, recons
      (-log p(x|z), nats) and kl (summed over slots, nats); num_images; where the model regresses
      factors, factors {name: score} as `factor_scores`; with `regress`, factor_regression
      {name: score} as `fit_and_score`.

    Raises:
      UserError: if fewer scenes are held out, or there are no factors to regress.
    """
    mapping = model.factor_evaluator.mapping if model.factor_evaluator else []

    def select_latents(info):
        return factor_regression.select_objects(info, mapping, model.factor_evaluator.target)

    def select(info):
        selected = select_metrics(info)
        if "factor_regressor" in info:
            selected |= select_latents(info)
            predictions = info["factor_regressor"]["predictions"]
            selected |= {f"prediction/{name}": predictions[name][:, -1] for name, _, _ in mapping}
        return selected

    if regress and not mapping:
        raise UserError("factor_regression needs a model.factor_evaluator that names the factors")
    batches = held_out_batches(dataset, num_images, batch_size)
    values = run_model(model, batches, num_images, batch_size, seed, select)
    report = {name: mean_and_stderr(values[name]) for name in METRICS if name in values}
    report["num_images"] = num_images
    if "slots" in values:
        report["factors"] = factor_scores(mapping, values)
    if regress:
        num_train = factor_regression.TRAIN_SCENES_PER_TEST_SCENE * num_images
        batches = training_batches(dataset, num_train, batch_size, seed)
        train = run_model(model, batches, num_train, batch_size, seed + 1, select_latents)
        report["factor_regression"] = factor_regression.fit_and_score(mapping, train, values)
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
    for key in ("factors", "factor_regression"):
        for factor, score in report.get(key, {}).items():
            lines.append(f"{key}/{factor:<24}{score:>8.4f}")
    lines.append(f"{report['num_images']} scenes")
    return "\n".join(lines)
