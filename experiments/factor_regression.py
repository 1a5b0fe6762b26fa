"""Figures 5 and 23: factors read out linearly from frozen latents.

    python -m experiments.factor_regression

Compares IODINE, IODINE with the deconvolutional decoder (the config `NAME_deconv`) and a VAE of the
whole scene (`NAME_vae`). An object's factors are read out from the slot whose mask covers it best.
The VAE's latent is asked for all objects, in a canonical order: from left to right or top to
bottom, as the first number of their position says. The paper: slots tell an object's factors, the
latent of a whole scene does not, and the deconvolutional decoder is in between.
"""

import numpy as np

from experiments import experiment
from iodine.errors import UserError
from iodine.evaluate import evaluation, factors, prediction, visualization
from iodine.figures import curves, decompositions
from iodine.figures.tiles import FONT_SIZE
from iodine.main import build

MODELS = {"IODINE": "", "IODINE, deconvolution": "_deconv", "VAE": "_vae"}
METRICS = ("ari_nobg", "mse", "recons", "kl")
NUM_SHOWN = 4  # scenes in the picture


def in_order(values, rank):
    """The scenes that have an object of a rank, with that object's factors.

    Args:
      values: {"latents": [N, Z], "visibility": [N, L], "factor/NAME": [N, L, n]}, of objects alone.
      rank: of the object, from 0.

    Returns:
      {"latents": [scenes, Z], "factor/NAME": [scenes, n]}.
    """
    place = np.where(values["visibility"] > 0, values["factor/position"][..., 0], np.inf)
    order = np.argsort(place, axis=1, kind="stable")[:, rank]  # [N]
    has_one = values["visibility"].sum(axis=1) > rank
    scenes = np.flatnonzero(has_one)
    factors = {k: v[scenes, order[scenes]] for k, v in values.items() if k.startswith("factor/")}
    return {"latents": values["latents"][scenes], **factors}


def regress_whole_scene(model, dataset, regressor, num_images):
    """Scores linear models of each object's factors from one latent of the scene.

    Args:
      model: a trained `VAE`.
      dataset: its data set.
      regressor: `FactorRegressor` that names the factors.
      num_images: number of held-out scenes.

    Returns:
      {factor: as `factors.fit_and_score`}, the mean over the objects' ranks.
    """
    first = model.num_background

    def select(info):
        return {
            "latents": info["latent"]["z_mean"][:, -1, 0],
            "visibility": info["data"]["visibility"][:, first:],
            **{f"factor/{name}": f[:, first:] for name, f in info["data"]["factors"].items()},
        }

    num_train = factors.TRAIN_SCENES_PER_TEST_SCENE * num_images
    train, test = (
        prediction.run_model(model, prediction.first_scenes(batches, n), n, 0, select)
        for batches, n in ((dataset("train"), num_train), (dataset("test"), num_images))
    )
    ranks = range(int(test["visibility"].sum(axis=1).max()))
    scores = [
        factors.fit_and_score(regressor, in_order(train, rank), in_order(test, rank))
        for rank in ranks
    ]
    return {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}


def measure(lab):
    """Trains the models, reads factors out and draws what the deconvolutional decoder shows.

    Args:
      lab: the `Experiment`.

    Returns:
      {model: list for the seeds of {"factors": {name: score}, metric: as
      `metrics.mean_and_stderr`}}.

    Raises:
      UserError: if the config's model regresses no factors.
    """
    plan = lab.get_config()["model"].get("factor_evaluator")
    if not plan:
        raise UserError(f"'{lab.config}' names no factors: model.factor_evaluator")
    num_images = lab.get_config()["eval_images"]
    trained = lab.train_or_take(
        {
            ending.removeprefix("_") or "full": ({}, lab.config + ending)
            for ending in MODELS.values()
        }
    )
    figures = {}
    for name, runs in zip(MODELS, trained.values()):
        figures[name] = []
        for run in runs:
            model, dataset = run.load()
            report = evaluation.evaluate(model, dataset, num_images, 0, model.factor_evaluator)
            factors = report.get("factor_regression") or regress_whole_scene(
                model, dataset, build(plan, "model.factor_evaluator"), report["num_images"]
            )
            metrics = {metric: report[metric] for metric in METRICS if metric in report}
            figures[name].append({"factors": factors, **metrics})
    model, dataset = trained["deconv"][0].load()
    batch = next(dataset("test").as_numpy_iterator())
    info = visualization.run_model(model, batch, seed=0)
    shown = range(min(NUM_SHOWN, len(batch["image"])))
    lab.write_picture("deconv", decompositions.example_plot(info, b=shown))
    return figures


def draw(figures):
    """Draws the scores of each factor, a bar for each model and a dot for each seed.

    Args:
      figures: as `measure` returned.

    Returns:
      `matplotlib.figure.Figure`.
    """
    factors = list(next(iter(figures.values()))[0]["factors"])
    figure, (ax,) = curves.panels(["accuracy of shapes and the like, else R²"], "", height=2.2)
    for number, (name, seeds) in enumerate(figures.items()):
        scores = np.array([[seed["factors"][f] for f in factors] for seed in seeds], float)
        places = np.arange(len(factors)) + 0.27 * (number - 1)
        ax.bar(places, scores.mean(axis=0), 0.25, color=f"C{number}", alpha=0.6, label=name)
        for score in scores:
            ax.plot(places, score, ".", color=f"C{number}", markersize=4)
    ax.set_xticks(range(len(factors)), factors, fontsize=FONT_SIZE)
    ax.set_ylim(min(0, ax.get_ylim()[0]), 1.05)
    curves.legend(figure, [ax])
    return figure


if __name__ == "__main__":
    experiment.main("factor_regression", __doc__, measure, draw)
