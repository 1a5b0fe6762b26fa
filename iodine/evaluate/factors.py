"""Linear regression of the true factors from frozen latents (paper, Figure 5)."""

import numpy as np

from iodine.errors import UserError
from iodine.evaluate.objects import true_values
from iodine.modules.factor_eval import FactorRegressor

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
      UserError: for anything else, and if the model was trained with none.
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
    if not isinstance(factors, list) or not all(_is_factor(entry) for entry in factors):
        raise UserError(
            f"factor_regression is {factors!r}: use True, or name the factors, as in {example}"
        )
    return FactorRegressor(factors)


def _is_factor(entry):
    return (
        isinstance(entry, list)
        and [type(value) for value in entry] == [str, int, str]
        and entry[1] > 0
    )


def fit_and_score(regressor, train, test):
    """Fits a linear model of each factor and scores it on other scenes.

    Args:
      regressor: `FactorRegressor`, whose mapping names the factors.
      train: what `objects.select_objects` returned for training scenes.
      test: the same for held-out scenes.

    Returns:
      {name: accuracy for a categorical factor (logistic regression), else R² averaged over the
      factor's values (least squares)}.
    """
    from sklearn.linear_model import LinearRegression, LogisticRegression

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
        scores[name] = float(regression.fit(x, y).score(x_test, y_test))
    return scores
