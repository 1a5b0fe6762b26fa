"""Evaluation of a trained model on held-out scenes."""

import numpy as np

from iodine.errors import UserError
from iodine.evaluate import factors, metrics, prediction


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
      {name: array [num_images, ...]}: metrics [num_images, T], and what was picked.
    """
    num_images = prediction.held_out_scenes(dataset, num_images)
    return prediction.run_model(
        model,
        prediction.first_scenes(dataset("test"), num_images),
        num_images,
        seed,
        lambda info: {**metrics.measure(info, model), **select(info)},
        bounds,
    )


def confusion(true, predicted):
    """How often each true count was taken for each other one, of counts [N].

    Returns:
      Nested list of whole numbers: a row for each true count from 0, a column for each predicted.
    """
    table = np.zeros([true.max() + 1, max(true.max(), predicted.max()) + 1], int)
    np.add.at(table, (true, predicted), 1)
    return table.tolist()


def count_shares(true, probs, prior):
    """Shares of scenes with 0, 1, ... objects.

    Args:
      true: numbers of objects, [num_images].
      probs, prior: probabilities of 0 .. N objects that the model infers from each scene, and under
        its prior, [num_images, N + 1].

    Returns:
      {"true", "posterior", "prior": list of N + 1 numbers, or more where there are more objects}.
    """
    true = np.bincount(true, minlength=probs.shape[1]) / len(true)
    shares = {"posterior": probs, "prior": prior}
    shares = {name: np.mean(values, axis=0, dtype=float) for name, values in shares.items()}
    return {name: values.tolist() for name, values in {"true": true, **shares}.items()}


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
      {metric: as `metrics.mean_and_stderr`} for the model's `METRICS` that there are, its `bounds`
      among them. num_images; where it counts objects, confusion and count_shares as the functions;
      where it regresses factors, factors {name: score} as `factors.score_predictions`; with
      `regressor`, factor_regression {name: score} as `factors.fit_and_score`. All fits into JSON.

    Raises:
      UserError: if there are no factors to regress.
    """

    def select(info):
        counts = {f"count/{name}": value for name, value in info.get("counts", {}).items()}
        predictions = info.get("factor_regressor", {}).get("predictions", {})
        if not predictions and not (regressor and info["data"].get("factors")):
            return counts
        for name, size, kind in regressor.mapping if regressor else ():
            regressor.target(name, kind, size, info["data"]["factors"])  # raises if it is missing
        return {
            **counts,
            **factors.match_objects(info, model.num_background),
            **{f"prediction/{name}": p[:, -1] for name, p in predictions.items()},
        }

    values = score_held_out(model, dataset, num_images, seed, select, bounds=True)
    report = {**metrics.summarize(values, model.METRICS), "num_images": len(values["mse"])}
    if "count/true" in values:
        report["confusion"] = confusion(values["count/true"], values["count/predicted"])
        counts = (values[f"count/{name}"] for name in ("true", "probs", "prior"))
        report["count_shares"] = count_shares(*counts)
    if "latents" not in values:
        if regressor:
            raise UserError("factor_regression needs data with factors")
        return report
    objects = factors.select_objects(values)
    if model.factor_evaluator:
        report["factors"] = factors.score_predictions(model.factor_evaluator, objects)
    if regressor:
        num_train = factors.TRAIN_SCENES_PER_TEST_SCENE * report["num_images"]
        train = prediction.run_model(
            model,
            prediction.first_scenes(dataset("train", seed=seed), num_train),
            num_train,
            seed + 1,
            lambda info: factors.match_objects(info, model.num_background),
        )
        report["factor_regression"] = factors.fit_and_score(
            regressor, factors.select_objects(train), objects
        )
    return report


def format_report(report, names):
    """The report of `evaluate` as a table for people, names being the model's `METRICS`."""

    def number(value, digits):
        return "–" if value is None else f"{value:.{digits}g}"

    num_iterations = len(report["mse"]["per_iteration"])
    header = "".join(f"{t:>12d}" for t in range(num_iterations))
    width = 1 + max(len(name) for name in ("metric", *names))
    lines = [f"{'metric':<{width}}{'mean':>14} ± {'stderr':<10}by iteration:{header}"]
    for name in names:
        if name not in report:
            continue
        entry = report[name]
        iterations = "".join(f"{number(v, 4):>12}" for v in entry["per_iteration"])
        lines.append(
            f"{name:<{width}}{number(entry['mean'], 6):>14} ± {number(entry['stderr'], 3):<10}"
            f"{'':13}{iterations} {metrics.left_out(entry)}".rstrip()
        )
    for true, row in enumerate(report.get("confusion", [])):
        lines.append(f"{true} objects, taken for 0, 1, ...:" + "".join(f"{n:>8d}" for n in row))
    for name, shares in report.get("count_shares", {}).items():
        lines.append(
            f"{f'share of 0, 1, ..., {name}:':<30}" + "".join(f"{s:>8.4f}" for s in shares)
        )
    for key in ("factors", "factor_regression"):
        for factor, score in report.get(key, {}).items():
            lines.append(f"{key}/{factor:<24}{number(score, 4):>8}")
    lines.append(f"{report['num_images']} scenes")
    return "\n".join(lines)
