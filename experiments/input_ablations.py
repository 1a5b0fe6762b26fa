"""Figures 33 to 40: what training does without one of the refinement network's inputs.

    python -m experiments.input_ablations

Trains the config with all inputs, and without each one. The posterior's parameters themselves, zp,
which the refinement updates, always stay; the two capacities, which are constant, go together and
show how much runs differ by chance.
"""

import numpy as np

from experiments import experiment
from iodine.evaluate import metrics
from iodine.figures import curves
from iodine.modules.refinement_inputs import ALL_INPUTS

CONSTANT = ("capacity", "flat_capacity")
LEFT_OUT = {name: (name,) for name in ALL_INPUTS if name not in ("zp", *CONSTANT)}
LEFT_OUT["capacity"] = CONSTANT
SCALARS = {
    "loss": "loss/total",
    "ari_nobg": "loss/ari_nobg",
    "mse": "loss/mse",
    "kl": "loss/kl",
}
TITLES = {"loss": "loss [nats]", "kl": "KL of all iterations [nats]"}
METRICS = ("ari_nobg", "mse", "recons", "kl")  # on held-out scenes
SMOOTHED = 5  # logged values in a mean


def variants(left_out):
    """The runs, {label: updates}: the full model first, then as `measure`'s `left_out` says."""
    without = {
        f"without_{label}": {"model.inputs": [name for name in ALL_INPUTS if name not in names]}
        for label, names in left_out.items()
    }
    return {"full": {}, **without}


def mean_curves(runs):
    """Curves of training, means over seeds.

    Args:
      runs: list of `Run`s of one variant.

    Returns:
      {name in SCALARS: {"steps", "values"}}.
    """
    curves = [run.curves(SCALARS.values()) for run in runs]
    return {
        name: {
            "steps": curves[0][scalar]["steps"],
            "values": np.mean([curve[scalar]["values"] for curve in curves], axis=0).tolist(),
        }
        for name, scalar in SCALARS.items()
    }


def measure(lab, left_out=LEFT_OUT):
    """Trains the models and reads their curves.

    Args:
      lab: the `Experiment`.
      left_out: {label: names of the inputs that a run goes without}.

    Returns:
      {label: {"curves": as `mean_curves`, "held_out": {metric: mean over scenes and seeds},
      "num_undefined": {metric: scenes of all seeds that are in no mean}}}.
    """
    figures = {}
    for label, runs in lab.train(variants(left_out)).items():
        seeds = [metrics.summarize(run.score(), METRICS) for run in runs]
        means = {name: np.array([seed[name]["mean"] for seed in seeds], float) for name in METRICS}
        figures[label] = {
            "curves": mean_curves(runs),
            "held_out": {name: float(np.mean(values)) for name, values in means.items()},
            "num_undefined": {
                name: sum(seed[name]["num_undefined"] for seed in seeds) for name in METRICS
            },
        }
    return figures


def smooth(values):
    """Means of each value and those before it, SMOOTHED in all."""
    return [np.mean(values[max(0, i + 1 - SMOOTHED) : i + 1]) for i in range(len(values))]


def draw(figures):
    """Draws the curves of each model; the full one is black.

    Args:
      figures: as `measure` returned.

    Returns:
      `matplotlib.figure.Figure`.
    """
    titles = [TITLES.get(name) or metrics.METRICS[name].label for name in SCALARS]
    figure, axes = curves.panels(titles, "step", columns=2, height=2.6)
    for ax, name in zip(axes, SCALARS):
        for number, (label, entry) in enumerate(figures.items()):
            curve = entry["curves"][name]  # Where ARI is undefined in a batch, None or NaN.
            color = "black" if label == "full" else f"C{(number - 1) % 10}"
            ax.plot(
                curve["steps"],
                smooth(np.array(curve["values"], float)),
                color=color,
                linestyle="--" if number > 10 else "-",
                linewidth=1.6 if label == "full" else 0.9,
                zorder=3 if label == "full" else 2,
                label=label.replace("_", " ", 1),
            )
        if name == "mse":
            ax.set_yscale("log")
    curves.legend(figure, axes, columns=5)
    return figure


if __name__ == "__main__":
    experiment.main("input_ablations", __doc__, measure, draw)
