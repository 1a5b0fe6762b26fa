"""Linear regression of the true factors from frozen latents (paper, Figure 5)."""

import numpy as np

from iodine.objects import true_values

TRAIN_SCENES_PER_TEST_SCENE = 4


def fit_and_score(regressor, train, test):
    """Fits a linear model of each factor and scores it on other scenes.

    Args:
      regressor: the model's `FactorRegressor`, whose mapping names the factors.
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
