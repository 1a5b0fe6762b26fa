"""Linear regression of the true factors from frozen latents (paper, Figure 5)."""

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression

TRAIN_SCENES_PER_TEST_SCENE = 4


def select_objects(info, mapping, target):
    """Picks what the regression needs of what `model.eval` returned.

    Args:
      info: the nested dict, with true masks and factors.
      mapping: list of (name, size, type) of the factors.
      target: function of (name, type, size, values) that gives the values to predict.

    Returns:
      {"slots": means [B, L, Z] of the slot that covers each entity best, after the last iteration,
      "visibility": [B, L], "target/NAME": [B, L, n]}.
    """
    assignment = info["factor_regressor"]["assignment"][:, -1]  # [B, L, K]
    selected = {
        "slots": assignment @ info["latent"]["z_mean"][:, -1],
        "visibility": info["data"]["visibility"],
    }
    for name, size, kind in mapping:
        values = info["data"]["factors"][name]
        selected[f"target/{name}"] = target(name, kind, size, values)
    return selected


def visible_objects(scenes, prefixes):
    """Rows of the visible foreground objects of those entries whose names begin so.

    Args:
      scenes: {name: [N, L, n]}, with "visibility" [N, L]; entity 0 is the background.
      prefixes: tuple of beginnings of names.

    Returns:
      {name: [objects, n]}.
    """
    counts = scenes["visibility"] > 0
    counts[:, 0] = False
    return {name: value[counts] for name, value in scenes.items() if name.startswith(prefixes)}


def fit_and_score(mapping, train, test):
    """Fits a linear model of each factor and scores it on other scenes.

    Args:
      mapping: list of (name, size, type) of the factors.
      train: what `select_objects` returned, as arrays over all training scenes.
      test: the same over the held-out scenes.

    Returns:
      {name: accuracy for a categorical factor (logistic regression), else R² averaged over the
      factor's values (least squares)}.
    """
    train, test = (visible_objects(scenes, ("slots", "target/")) for scenes in (train, test))
    # The same scale for all latents, or the logistic regression's penalty would weigh them apart.
    mean, std = train["slots"].mean(axis=0), train["slots"].std(axis=0) + 1e-6
    x, x_test = (train["slots"] - mean) / std, (test["slots"] - mean) / std
    scores = {}
    for name, _, kind in mapping:
        y, y_test = train[f"target/{name}"], test[f"target/{name}"]
        if kind == "categorical":
            y, y_test = y.argmax(axis=-1), y_test.argmax(axis=-1)
        if kind == "categorical" and len(np.unique(y)) == 1:
            scores[name] = float(np.mean(y_test == y[0]))
            continue
        is_class = kind == "categorical"
        regression = LogisticRegression(max_iter=2000) if is_class else LinearRegression()
        scores[name] = float(regression.fit(x, y).score(x_test, y_test))
    return scores
