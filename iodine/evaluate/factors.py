"""Factor regression: true objects, the slots that explain them, and what these tell of factors.

Linear models of the factors are trained along with a model (`FactorRegressor`), or fitted to its
frozen latents (paper, Figure 5).
"""

import numpy as np
import tensorflow as tf

from iodine.errors import UserError
from iodine.evaluate.metrics import as_number
from iodine.modules.factor_eval import FactorRegressor, is_factor

TRAIN_SCENES_PER_TEST_SCENE = 4


def choose_regressor(factors, model):
    """Chooses the factors of which linear models are fitted.

    Args:
      factors: True for those that the model was trained with; [[name, size, type], ...] as
        `FactorRegressor` takes them, which may be given for any model; None or False for none.
      model: a `Model`.

    Returns:
      `FactorRegressor` that names them, or None.

    Raises:
      UserError: if `factors` has another form, or is True and the model was trained with none.
    """
    if factors is None or factors is False:
        return None
    example = """'factor_regression=[["position", 2, "scalar"], ["color", 3, "scalar"]]'"""
    if factors is True:
        if not model.factor_evaluator:
            raise UserError(
                "factor_regression=True takes the factors of model.factor_evaluator, which this "
                f"model does not have: name them, as in {example}"
            )
        return model.factor_evaluator
    if not isinstance(factors, list) or not all(map(is_factor, factors)):
        raise UserError(
            f"factor_regression is {factors!r}: use True, or name the factors, as in {example}"
        )
    return FactorRegressor(factors)


def match_objects(info, num_background):
    """Finds the latents of each true entity, those of the slot whose mask covers it best.

    Args:
      info: what `Model.eval` returned for data with ground truth.
      num_background: number of entities, the first ones, that are no objects.

    Returns:
      {"latents": final posterior means [B, L, Z], "is_object": bool [B, L], and "factor/NAME"
      [B, L, n] for each factor}. What shows no pixel, as outside of a crop, is no object here.
    """
    true_mask, pred_mask = info["data"]["true_mask"][:, -1], info["outputs"]["pred_mask"][:, -1]
    overlap = tf.einsum("blhwc,bkhwc->blk", true_mask, pred_mask)
    slots = tf.argmax(overlap, axis=-1)  # [B, L]
    seen = tf.reduce_any(true_mask > 0, axis=[2, 3, 4]) & (info["data"]["visibility"] > 0)
    foreground = tf.range(seen.shape[1]) >= num_background
    factors = info["data"].get("factors", {})
    return {
        "latents": tf.gather(info["latent"]["z_mean"][:, -1], slots, batch_dims=1),
        "is_object": seen & foreground,
        **{f"factor/{name}": values for name, values in factors.items()},
    }


def select_objects(values):
    """Picks the objects out of all entities.

    Args:
      values: {name: array}, with what `match_objects` found among them.

    Returns:
      {name: [objects, n]} of latents, factors and predictions.
    """
    prefixes = ("latents", "factor/", "prediction/")
    rows = values["is_object"]
    return {name: value[rows] for name, value in values.items() if name.startswith(prefixes)}


def true_values(regressor, objects, name, size, kind):
    """The values of a factor in the form that a `FactorRegressor` predicts, array [objects, n]."""
    return regressor.target(name, kind, size, {name: objects[f"factor/{name}"]}).numpy()


def score_predictions(regressor, objects):
    """Scores the factors that a model predicted.

    Args:
      regressor: the model's `FactorRegressor`.
      objects: {"prediction/NAME" and "factor/NAME": [objects, n]}.

    Returns:
      {name: accuracy for a categorical factor, else R² = 1 - Σ(y - ŷ)² / Σ(y - mean y)², averaged
      over its values; None where there is no object}.
    """
    scores = {}
    for name, size, kind in regressor.mapping:
        pred = objects[f"prediction/{name}"]
        true = true_values(regressor, objects, name, size, kind)
        if not len(true):
            scores[name] = None
        elif kind == "categorical":
            scores[name] = float(np.mean(pred.argmax(-1) == true.argmax(-1)))
        else:
            residual = np.sum(np.square(true - pred), axis=0)
            spread = np.sum(np.square(true - true.mean(axis=0)), axis=0)
            scores[name] = as_number(np.mean(1.0 - residual / np.maximum(spread, 1e-12)))
    return scores


def fit_and_score(regressor, train, test):
    """Fits a linear model of each factor and scores it on other scenes.

    Args:
      regressor: `FactorRegressor`, whose mapping names the factors.
      train: what `select_objects` returned for training scenes.
      test: the same for held-out scenes.

    Returns:
      {name: accuracy for a categorical factor (logistic regression), else R² averaged over the
      factor's values (least squares); None where there is no object}.
    """
    from sklearn.linear_model import LinearRegression, LogisticRegression

    if not len(train["latents"]) or not len(test["latents"]):
        return dict.fromkeys([name for name, _, _ in regressor.mapping])
    # The same scale for all latents, or the logistic regression's penalty would weigh them apart.
    mean, std = train["latents"].mean(axis=0), train["latents"].std(axis=0) + 1e-6
    x, x_test = (train["latents"] - mean) / std, (test["latents"] - mean) / std
    scores = {}
    for name, size, kind in regressor.mapping:
        y, y_test = (true_values(regressor, o, name, size, kind) for o in (train, test))
        if kind == "categorical":
            y, y_test = y.argmax(axis=-1), y_test.argmax(axis=-1)
        if kind == "categorical" and len(np.unique(y)) == 1:
            scores[name] = float(np.mean(y_test == y[0]))
            continue
        is_class = kind == "categorical"
        regression = LogisticRegression(max_iter=2000) if is_class else LinearRegression()
        scores[name] = as_number(regression.fit(x, y).score(x_test, y_test))
    return scores
