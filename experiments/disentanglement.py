"""Figure 6: latents of a VAE on single objects, of a VAE on scenes, and of IODINE.

    python -m experiments.disentanglement

Trains the VAE of a config (`NAME_vae`) on scenes of one ball and on scenes of several, and draws
traversals of the latents with the highest KL divergence beside IODINE's. The paper: with one object
a VAE has a latent for each factor, with several they are entangled, and IODINE's slots are as the
single object's latents.
"""

import numpy as np

from experiments import experiment
from experiments.larger import data_name
from iodine.errors import UserError
from iodine.evaluate import visualization
from iodine.figures import curves, latents
from multi_object_datasets import generate

NUM_SINGLE = 30000  # scenes of one ball to train on
MODELS = {"single": "VAE, one object", "vae": "VAE, scenes", "full": "IODINE, a slot"}
NUM_LATENTS = 6  # in a picture
ACTIVE = 0.1  # nats from which on a latent counts


def measure(lab, num_single=NUM_SINGLE):
    """Trains the models, measures the KL of each latent, and draws traversals.

    Args:
      lab: the `Experiment`.
      num_single: number of scenes of one ball.

    Returns:
      {model: {"kl": mean KL divergence of each latent in nats, the highest first, for IODINE of
      the slot with the highest in each scene; "active": how many have ACTIVE or more}}.

    Raises:
      UserError: if the config is of other data than Balls.
    """
    if data_name(lab) != "Balls":
        raise UserError("disentanglement has single objects of Balls alone: use demo")
    path = lab.out / "runs" / f"balls_single_{num_single}.tfrecords"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        generate.generate("balls", num_single, 0, path, variant="single")
    single = {"data.path": str(path), "data.dataset_variant": "single"}
    trained = lab.train_or_take(
        {
            "full": {},
            "vae": ({}, f"{lab.config}_vae"),
            "single": (single, f"{lab.config}_vae"),
        }
    )
    figures = {}
    for label, name in MODELS.items():
        model, dataset = trained[label][0].load()
        info = visualization.run_model(model, next(dataset("test").as_numpy_iterator()), seed=0)
        mean, std = (info["latent"][key][:, -1] for key in ("z_mean", "z_std"))  # [B, K, Z]
        kl = latents.latent_kl(model, mean, std)
        slots = kl.sum(axis=-1).argmax(axis=1)  # [B]
        kl = np.sort(kl[np.arange(len(kl)), slots].mean(axis=0))[::-1]
        figures[name] = {"kl": kl.tolist(), "active": int(np.sum(kl >= ACTIVE))}
        lab.write_picture(
            label, latents.traversal_plot(model, info, num_slots=1, num_latents=NUM_LATENTS)
        )
    return figures


def draw(figures):
    """Draws the KL divergence of each latent, a line for each model.

    Args:
      figures: as `measure` returned.

    Returns:
      `matplotlib.figure.Figure`.
    """
    figure, (ax,) = curves.panels(["KL of each latent [nats]"], "latents, by their KL", height=2.7)
    for name, entry in figures.items():
        label = f"{name}: {entry['active']} of {ACTIVE} nats or more"
        ax.plot(range(1, 1 + len(entry["kl"])), entry["kl"], ".-", linewidth=1, label=label)
    curves.legend(figure, [ax])
    return figure


if __name__ == "__main__":
    experiment.main("disentanglement", __doc__, measure, draw)
