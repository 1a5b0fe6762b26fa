"""Figure 11: scenes without the colours, or with textures, that make objects hard to tell apart.

    python -m experiments.challenges                             # a textured digit on a texture
    python -m experiments.challenges --config clevr6_grayscale   # CLEVR in grey
    python -m experiments.challenges --config demo --updates data.grayscale=True

Trains a model of such scenes and shows what it makes of some. The paper: grey CLEVR is taken apart
by shape alone, with some mistakes, and textured MNIST is not taken apart.
"""

import numpy as np

from experiments import experiment, panels
from iodine.evaluate import evaluation, visualization
from iodine.figures import decompositions

METRICS = ("ari_nobg", "ari", "mse")
NUM_SHOWN = 6  # scenes in the picture


def measure(lab):
    """Trains the config with each seed and evaluates it.

    Args:
      lab: the `Experiment`.

    Returns:
      {"config": its name, "seeds": list of {metric: as `mean_and_stderr`}}. With one object in a
      scene, the foreground ARI says nothing, and the ARI counts.
    """
    runs = lab.train_or_take({"full": {}})["full"]
    seeds = [evaluation.summarize(run.score(), METRICS) for run in runs]
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
    metrics = [name for name in METRICS if name in figures["seeds"][0]]
    figure, axes = panels.panels(metrics, "refinements")
    for ax, metric in zip(axes, metrics):
        for number, seed in enumerate(figures["seeds"]):
            curve = np.array(seed[metric]["per_iteration"])
            ax.plot(range(len(curve)), curve, color="C0", label=figures["config"] * (number == 0))
    panels.legend(figure, axes[0])
    return figure


if __name__ == "__main__":
    experiment.main("challenges", __doc__, measure, draw, config="textured_mnist")
