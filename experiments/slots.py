"""Figure 9: models trained with too few, enough and too many slots, on two sizes of scene.

    python -m experiments.slots

Each model is tested with the config's number of slots on scenes such as it was trained on, and with
more slots on scenes of more objects. The paper: training needs one slot for each object and the
background; more than that does not hurt.
"""

import numpy as np

from experiments import experiment
from experiments.larger import larger_scenes
from iodine.evaluate import metrics
from iodine.figures import curves

MORE_SLOTS = (-1, 0, 2)  # than the config's
METRICS = ("ari_nobg", "mse", "kl")
SIZES = {"usual": "scenes as in training", "larger": "scenes of more objects"}


def measure(lab, more_slots=MORE_SLOTS):
    """Trains and evaluates the models.

    Args:
      lab: the `Experiment`.
      more_slots: how many more slots than the config's models are trained with.

    Returns:
      {number of slots in training: {"usual", "larger": {metric: {"mean", "stderr"}}}}, a list of
      these for the seeds.
    """
    num_slots = lab.get_config()["num_components"]
    sizes = {"usual": {"num_components": num_slots}, "larger": larger_scenes(lab)}
    trained = lab.train_or_take(
        {
            (f"slots{num_slots + more}" if more else "full"): {"num_components": num_slots + more}
            for more in more_slots
        }
    )
    figures = {}
    for more, runs in zip(more_slots, trained.values()):
        figures[str(num_slots + more)] = [
            {
                size: metrics.summarize(run.score(**updates), METRICS)
                for size, updates in sizes.items()
            }
            for run in runs
        ]
    return figures


def draw(figures):
    """Draws each metric against the number of slots in training, a dot for each seed.

    Args:
      figures: as `measure` returned.

    Returns:
      `matplotlib.figure.Figure`.
    """
    figure, axes = experiment.metric_panels(METRICS, "slots in training")
    for ax, metric in zip(axes, METRICS):
        for color, (size, label) in zip(("C0", "C1"), SIZES.items()):
            points = [
                (int(slots), seed[size][metric])
                for slots, seeds in figures.items()
                for seed in seeds
                if metric in seed[size]
            ]
            ax.errorbar(
                [slots for slots, _ in points],
                np.array([entry["mean"] for _, entry in points], float),
                np.array([entry["stderr"] for _, entry in points], float),
                fmt="o",
                color=color,
                markersize=3,
                linewidth=1,
                label=label,
            )
        ax.set_xticks([int(slots) for slots in figures])
    curves.legend(figure, axes)
    return figure


if __name__ == "__main__":
    experiment.main("slots", __doc__, measure, draw)
