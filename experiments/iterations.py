"""Figure 8: models trained with few refinements, run with many.

    python -m experiments.iterations

Trains the config with 1, 2, 4 and 6 refinements and runs each with 15 on held-out scenes. The
paper: models that were trained with few go on improving beyond these, those that were trained with
more are better and stay so.
"""

import numpy as np

from experiments import experiment, panels

TRAINED_WITH = (1, 2, 4, 6)
RUN_WITH = 15
METRICS = ("ari_nobg", "mse", "kl")


def quartiles(values):
    """The quartiles over scenes, leaving out where it is undefined.

    Args:
      values: [N, T], infinite where a model runs away.

    Returns:
      {"lower", "median", "upper"}, each a list of T numbers, None for one that is infinite.
    """
    # Without interpolation, which makes nothing of infinities.
    found = np.nanpercentile(values, [25, 50, 75], axis=0, method="inverted_cdf").astype(object)
    found[~np.isfinite(found.astype(float))] = None
    return dict(zip(("lower", "median", "upper"), found.tolist()))


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

    A dot is where training ended.

    Args:
      figures: as `measure` returned.

    Returns:
      `matplotlib.figure.Figure`.
    """
    figure, axes = panels.panels(METRICS, "refinements")
    for ax, name in zip(axes, METRICS):
        for number, (num_iters, metrics) in enumerate(figures.items()):
            color = f"C{number}"
            curve = {
                quartile: np.array(values, float) for quartile, values in metrics[name].items()
            }
            iterations = range(len(curve["median"]))
            ax.fill_between(
                iterations, curve["lower"], curve["upper"], color=color, alpha=0.15, linewidth=0
            )
            ax.plot(iterations, curve["median"], color=color, label=f"trained with {num_iters}")
            ax.plot(int(num_iters), curve["median"][int(num_iters)], "o", color=color, ms=3)
        if name != "ari_nobg":
            ax.set_yscale("log")
    panels.legend(figure, axes[0])
    return figure


if __name__ == "__main__":
    experiment.main("iterations", __doc__, measure, draw)
