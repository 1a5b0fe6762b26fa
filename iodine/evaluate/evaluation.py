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


def format_table(rows):
    """A table, rows of strings, as text with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]
        ).rstrip()
        for row in rows
    )


def format_report(report, names):
    """The report of `evaluate` as a table for people, with the mean after t iterations.

    Args:
      report: what `evaluate` returned.
      names: the model's `METRICS`.
    """

    entries = {name: report[name] for name in names if name in report}
    means = [("mean", "stderr"), *map(metrics.rounded, entries.values())]
    left, right = (max(map(len, column)) for column in zip(*means))
    means = [f"{mean:>{left}} ± {stderr:<{right}}" for mean, stderr in means]
    num_iterations = len(report["mse"]["per_iteration"])
    rows = [["metric", means[0], *(f"t={t}" for t in range(num_iterations)), ""]]
    for (name, entry), mean in zip(entries.items(), means[1:]):
        iterations = map(metrics.three_digits, entry["per_iteration"])
        rows.append([name, mean, *iterations, metrics.left_out(entry).strip()])
    lines = [format_table(rows)]
    for true, row in enumerate(report.get("confusion", [])):
        lines.append(f"{true} objects, taken for 0, 1, ...:" + "".join(f"{n:>8d}" for n in row))
    for name, shares in report.get("count_shares", {}).items():
        lines.append(
            f"{f'share of 0, 1, ..., {name}:':<30}" + "".join(f"{s:>8.4f}" for s in shares)
        )
    for key in ("factors", "factor_regression"):
        for factor, score in report.get(key, {}).items():
            lines.append(f"{key}/{factor:<24}{metrics.three_digits(score):>8}")
    lines.append(f"{report['num_images']} scenes")
    return "\n".join(lines)
