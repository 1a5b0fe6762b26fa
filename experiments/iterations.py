"""Figure 8: models trained with few refinements, run with many.

    python -m experiments.iterations

Trains the config with 1, 2, 4 and 6 refinements and runs each with 15 on held-out scenes. The
paper: models that were trained with few improve beyond these, those that were trained with
more are better and stay so.
"""

import warnings

import numpy as np

from experiments import experiment
from iodine.figures import curves

TRAINED_WITH = (1, 2, 4, 6)
RUN_WITH = 15
METRICS = ("ari_nobg", "mse", "kl")
QUARTILES = ("lower", "median", "upper")


def quartiles(values):
    """The quartiles over scenes, leaving out where it is undefined.

    Args:
      values: [N, T], infinite where a model runs away.

    Returns:
      {"lower", "median", "upper": a list of T numbers each, None for one that is infinite or where
      no scene is left; "num_undefined": scenes left out, for each of the T; "num_scenes": N}.
    """
    undefined = np.isnan(values).sum(axis=0)
    # Without interpolation, which makes nothing of infinities.
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # where all is NaN
        found = np.nanpercentile(values, [25, 50, 75], axis=0, method="inverted_cdf")
    found = np.where(np.isfinite(found), found, None)
    return {
        **dict(zip(QUARTILES, found.tolist())),
        "num_undefined": undefined.tolist(),
        "num_scenes": len(values),
    }


def measure(lab, trained_with=TRAINED_WITH, run_with=RUN_WITH):
    """Trains and runs the models.

    Args:
      lab: the `Experiment`.
      trained_with: numbers of refinements in training.
      run_with: number of refinements on held-out scenes.

    Returns:
      {number of refinements in training: {metric: as `quartiles`}}, of all seeds together.
    """
    stages = [
        {key: value for key, value in stage.items() if key != "num_iters"}
        for stage in lab.get_config()["stages"]
    ]
    trained = lab.train(
        {f"iterations{n}": {"num_iters": n, "stages": stages} for n in trained_with}
    )
    figures = {}
    for num_iters, runs in zip(trained_with, trained.values()):
        scores = [run.score(num_iters=run_with) for run in runs]
        figures[str(num_iters)] = {
            name: quartiles(np.concatenate([score[name] for score in scores])) for name in METRICS
        }
    return figures


def draw(figures):
    """Draws medians as lines and the middle half of the scenes as bands.

    A dot is where training ended. The legend says how many scenes are left out at most, of any
    metric, since it is undefined there.

    Args:
      figures: as `measure` returned.

    Returns:
      `matplotlib.figure.Figure`.
    """
    figure, axes = experiment.metric_panels(METRICS, "refinements")
    for ax, name in zip(axes, METRICS):
        for number, (num_iters, metrics) in enumerate(figures.items()):
            color = f"C{number}"
            curve = {quartile: np.array(metrics[name][quartile], float) for quartile in QUARTILES}
            label = f"trained with {num_iters}"
            if undefined := max(max(metric["num_undefined"]) for metric in metrics.values()):
                label += f" ({undefined} of {metrics[name]['num_scenes']} undefined)"
            iterations = range(len(curve["median"]))
            ax.fill_between(
                iterations, curve["lower"], curve["upper"], color=color, alpha=0.15, linewidth=0
            )
            ax.plot(iterations, curve["median"], color=color, label=label)
            ax.plot(int(num_iters), curve["median"][int(num_iters)], "o", color=color, ms=3)
        if name != "ari_nobg":
            ax.set_yscale("log")
    curves.legend(figure, axes, columns=3)
    return figure


if __name__ == "__main__":
    experiment.main("iterations", __doc__, measure, draw)
