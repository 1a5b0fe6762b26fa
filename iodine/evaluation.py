"""Evaluation of a trained model on held-out scenes."""

import sys

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from iodine import factor_regression
from iodine.modules.utils import UserError
from iodine.objects import match_objects, select_objects, true_values


def pad_batch(batch, batch_size):
    """Repeats a batch's last scene until it has batch_size scenes, for one compiled function."""

    def pad(x):
        return np.concatenate([x, np.repeat(x[-1:], batch_size - len(x), axis=0)])

    return tf.nest.map_structure(pad, batch)


def first_scenes(batches, num_images):
    """Yields the first scenes of a data set.

    Args:
      batches: `tf.data.Dataset` of batches.
      num_images: number of scenes in all.

    Yields:
      (batch of NumPy arrays, numbers of its scenes int32 [n]).

    Raises:
      UserError: if there are fewer scenes.
    """
    done = 0
    for batch in batches.as_numpy_iterator():
        count = min(len(batch["image"]), num_images - done)
        numbers = np.arange(done, done + count, dtype=np.int32)
        yield tf.nest.map_structure(lambda x, n=count: x[:n], batch), numbers
        done += count
        if done == num_images:
            return
    raise UserError(
        f"eval_images={num_images}, but only {done} scenes are held out: "
        "lower eval_images, or evaluate on a file of more scenes (data.path=FILE)"
    )


def scene_noise(model, numbers, seed):
    """Noise that depends on the seed and on each scene's number, whatever the batch.

    Args:
      model: a `Model`.
      numbers: of the scenes, int32 [B].
      seed: int32 [].

    Returns:
      Standard-normal draws of the model's `noise_shape(B)`.
    """
    shape = model.noise_shape(1)

    def draw(number):
        return tf.random.stateless_normal(shape, seed=tf.stack([seed, number]))[:, 0]

    return tf.stack([draw(number) for number in tf.unstack(numbers)], axis=1)


def infer(model, batches, seed, select):
    """Runs a model on scenes, batch by batch.

    Args:
      model: a `Model`, restored.
      batches: yields (batch of NumPy arrays, numbers of its scenes int32 [n]); none is larger than
        the first.
      seed: of the noise.
      select: function of what `model.eval` returned that picks tensors [B, ...], nested as it
        likes; nothing else is computed.

    Yields:
      (numbers of a batch's scenes, what was picked, as NumPy arrays [n, ...]).
    """

    @tf.function(autograph=False)
    def infer_batch(batch, numbers):
        return select(model.eval(batch, scene_noise(model, numbers, seed)))

    batch_size = None
    for batch, numbers in batches:
        count, batch_size = len(numbers), batch_size or len(numbers)
        padded = pad_batch((batch, numbers), batch_size)
        picked = infer_batch(*tf.nest.map_structure(tf.constant, padded))
        yield numbers, tf.nest.map_structure(lambda x, n=count: x.numpy()[:n], picked)


def run_model(model, batches, num_images, seed, select):
    """Runs a model on scenes, with a progress bar.

    Args:
      model, batches, seed: as for `infer`.
      num_images: number of scenes in all.
      select: as for `infer`, returning {name: tensor}.

    Returns:
      {name: array [num_images, ...]}.
    """
    results = []
    with progress_bar(num_images, "image") as bar:
        for numbers, picked in infer(model, batches, seed, select):
            results.append(picked)
            bar.update(len(numbers))
    return {name: np.concatenate([r[name] for r in results]) for name in results[0]}


def progress_bar(total, unit):
    """A progress bar on stderr, if that is a terminal."""
    return tqdm(total=total, unit=unit, disable=None, file=sys.__stderr__)


def select_metrics(info):
    """Picks the metrics, {name: [B, T]}, of what `model.eval` returned.

    Those are its metrics, and its losses of each image; kl is summed over slots.
    """
    losses = {name: info["losses"][name] for name in ("recons", "kl") if name in info["losses"]}
    if "kl" in losses:
        losses["kl"] = tf.reduce_sum(losses["kl"], axis=-1)
    return {**info["metrics"], **losses}


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


def evaluate(model, dataset, num_images, seed, regress=False):
    """Evaluates a model on held-out scenes.

    Args:
      model: a `Model`, restored.
      dataset: data set of `iodine.modules.data`.
      num_images: number of scenes.
      seed: of the noise.
      regress: whether to fit linear models of the factors to frozen latents of training scenes.

    Returns:
      {metric: as `mean_and_stderr`} for the model's `METRICS` that there are, among them ari and
      ari_nobg (where there are true masks), mse, recons (-log p(x|z), nats) and kl (summed over
      slots, nats); num_images; where the model regresses factors, factors {name: score} as
      `factor_scores`; with `regress`, factor_regression {name: score} as
      `factor_regression.fit_and_score`.

    Raises:
      UserError: if fewer scenes are held out, or there are no factors to regress.
    """
    regressor = model.factor_evaluator

    def select(info):
        selected = select_metrics(info)
        if "factor_regressor" in info:
            selected |= match_objects(info, model.num_background)
            predictions = info["factor_regressor"]["predictions"]
            selected |= {f"prediction/{name}": p[:, -1] for name, p in predictions.items()}
        return selected

    if regress and not regressor:
        raise UserError("factor_regression needs a model.factor_evaluator that names the factors")
    batches = first_scenes(dataset("test"), num_images)
    values = run_model(model, batches, num_images, seed, select)
    report = {name: mean_and_stderr(values[name]) for name in model.METRICS if name in values}
    report["num_images"] = num_images
    if "latents" not in values:
        if regress:
            raise UserError("factor_regression needs data with factors")
        return report
    objects = select_objects(values)
    report["factors"] = factor_scores(regressor, objects)
    if regress:
        num_train = factor_regression.TRAIN_SCENES_PER_TEST_SCENE * num_images
        batches = first_scenes(dataset("train", seed=seed), num_train)
        train = run_model(
            model, batches, num_train, seed + 1, lambda i: match_objects(i, model.num_background)
        )
        report["factor_regression"] = factor_regression.fit_and_score(
            regressor, select_objects(train), objects
        )
    return report


def format_report(report, metrics):
    """The report of `evaluate` as a table for people, metrics being the model's `METRICS`."""
    num_iterations = len(report["mse"]["per_iteration"])
    header = "".join(f"{t:>12d}" for t in range(num_iterations))
    lines = [f"{'metric':<10}{'mean':>14} ± {'stderr':<10}by iteration:{header}"]
    for name in metrics:
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
