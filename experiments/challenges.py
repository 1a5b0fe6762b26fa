"""Figure 11: scenes without the colours, or with textures, that make objects hard to tell apart.

    python -m experiments.challenges                             # a textured digit on a texture
    python -m experiments.challenges --config clevr6_grayscale   # CLEVR in grey
    python -m experiments.challenges --config demo --updates data.grayscale=True

Trains a model of such scenes and shows what it makes of some. The paper: grey CLEVR is taken apart
by shape alone, with some mistakes, and textured MNIST is not taken apart.
"""

import numpy as np

from experiments import experiment
from iodine.evaluate import metrics, visualization
from iodine.figures import curves, decompositions

METRICS = ("ari_nobg", "ari", "mse")
NUM_SHOWN = 6  # scenes in the picture


def measure(lab):
    """Trains the config with each seed and evaluates it.

    Args:
      lab: the `Experiment`.

    Returns:
      {"config": its name, "seeds": list of {metric: as `metrics.mean_and_stderr`}}. With one object
      in a scene, the foreground ARI says nothing, and the ARI counts.
    """
    runs = lab.train_or_take({"full": {}})["full"]
    seeds = [metrics.summarize(run.score(), METRICS) for run in runs]
    model, dataset = runs[0].load()
    batch = next(dataset("test").as_numpy_iterator())
    info = visualization.run_model(model, batch, seed=0)
    shown = range(min(NUM_SHOWN, len(batch["image"])))
    lab.write_picture("scenes", decompositions.example_plot(info, b=shown))
    return {"config": lab.config, "seeds": seeds}


def draw(figures):
    """Draws each metric over the refinements, a line for each seed.

    Args:
      figures: as `measure` returned.

    Returns:
      `matplotlib.figure.Figure`.
    """
    names = [name for name in METRICS if name in figures["seeds"][0]]
    figure, axes = experiment.metric_panels(names, "refinements")
    for ax, name in zip(axes, names):
        for number, seed in enumerate(figures["seeds"]):
            curve = np.array(seed[name]["per_iteration"], float)
            ax.plot(range(len(curve)), curve, color="C0", label=figures["config"] * (number == 0))
    curves.legend(figure, axes)
    return figure


if __name__ == "__main__":
    experiment.main("challenges", __doc__, measure, draw, config="textured_mnist")
