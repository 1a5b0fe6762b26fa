"""What the latents mean: traversals of single ones, and projections of all that objects have."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.ticker import MaxNLocator

from iodine.figures.colors import slot_colors
from iodine.figures.style import default_style
from iodine.figures.tiles import (
    FONT_SIZE,
    color_bar,
    label_row,
    prepare_axis,
    show_img,
    tile_figure,
)

tfd = tfp.distributions

TRAVERSAL_VALUES = np.linspace(-1.25, 1.25, 9)
MIN_OBJECTS = 10  # fewer points make no picture
MAX_OBJECTS = 2000  # more take t-SNE minutes


# ---------------------------------------------------------------- traversals


def can_traverse(model, info):
    """Returns whether a model can decode slots that were changed, and says how sure it is of them.

    Args:
      model: a `Model`.
      info: what its `eval` returned.
    """
    return hasattr(model, "decode") and "z_std" in info["latent"] and "kl" in info["losses"]


def latent_kl(model, z_mean, z_std):
    """KL divergence of each latent from the prior, taking both for normal.

    Args:
      model: a `Model`; its prior is that of its `latent_dist`, a unit normal if it names none.
      z_mean, z_std: posterior mean and standard deviation, [..., Z].

    Returns:
      float32 [..., Z] in nats.
    """
    prior = tfd.Normal(0.0, 1.0)
    if hasattr(model, "latent_dist"):
        prior = model.latent_dist(tf.zeros([model.latent_dist.num_params(z_mean.shape[-1])]))
        prior = tfd.Normal(prior.mean(), prior.stddev())
    return tfd.kl_divergence(tfd.Normal(z_mean, z_std), prior).numpy()


def traverse(model, z, slot, latent, image_shape, values=TRAVERSAL_VALUES):
    """Decodes a scene with one latent of one slot set to each of several values.

    Args:
      model: a `Model` that decodes.
      z: the scene's slots [K, Z].
      slot, latent: which one to change.
      image_shape: (H, W, C).
      values: what to set it to.

    Returns:
      The scene with each value, float32 [values, H, W, C].
    """
    scenes = np.repeat(z[None], len(values), axis=0)  # [values, K, Z]
    scenes[:, slot, latent] = values
    return model.decode(tf.constant(scenes, tf.float32), image_shape)["recons"][:, 0].numpy()


@default_style()
def traversal_plot(model, info, b=0, num_slots=3, num_latents=5, size=0.62):
    """Traversals of the latents that say most, those with the highest KL, of the slots that do.

    Labels count slots and latents from 1.

    Args:
      model: a `Model` that decodes.
      info: what its `eval` returned, as NumPy arrays.
      b: the scene.
      num_slots: how many slots to show.
      num_latents: how many latents of each.
      size: height of a picture in inches.

    Returns:
      `matplotlib.figure.Figure`.
    """
    image_shape = info["data"]["image"].shape[2:]
    mean, std = info["latent"]["z_mean"][b, -1], info["latent"]["z_std"][b, -1]  # [K, Z]
    kl = latent_kl(model, mean, std)
    colors = slot_colors(len(mean))
    slots = np.argsort(-info["losses"]["kl"][b, -1])[:num_slots]
    num_latents = min(num_latents, mean.shape[-1])
    figure, axes = tile_figure(
        len(slots) * num_latents,
        len(TRAVERSAL_VALUES),
        size,
        image_shape[1] / image_shape[0],
        label_width=0.75,
    )
    rows = [(slot, latent) for slot in slots for latent in np.argsort(-kl[slot])[:num_latents]]
    for i, (slot, latent) in enumerate(rows):
        images = traverse(model, mean, slot, latent, image_shape)
        for ax, value, image in zip(axes[i], TRAVERSAL_VALUES, images):
            title = f"{value:+.2f}" if i == 0 else None
            show_img(image, ax=ax, color=colors[slot], title=title)
        label_row(axes[i, 0], f"slot {slot + 1}, z{latent + 1}\n{kl[slot, latent]:.1f} nats")
    return figure


# ---------------------------------------------------------------- projections


def project(latents, seed=0):
    """Projects latents [objects, Z] to the plane, {"PCA": [objects, 2], "t-SNE": [objects, 2]}."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    # scikit-learn wants fewer neighbours than points.
    perplexity = min(30.0, (len(latents) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    pca = PCA(n_components=2, random_state=seed)
    return {"PCA": pca.fit_transform(latents), "t-SNE": tsne.fit_transform(latents)}


def _colorings(factors, kinds):
    """Splits factors into single values to colour points by, (title, values, kind)."""
    for name, values in factors.items():
        kind = kinds.get(name, "scalar")
        if kind == "scalar" and name == "color" and values.shape[-1] == 3:
            yield name, np.clip(values, 0.0, 1.0), "rgb"
            continue
        for i in range(values.shape[-1]):
            title = name if values.shape[-1] == 1 else f"{name} {i + 1}"
            yield title, values[:, i], kind


@default_style()
def projection_plot(projections, factors, kinds):
    """Projected object latents, a row for each method, coloured by a true factor in each column.

    Args:
      projections: {method: [objects, 2]}.
      factors: {name: [objects, n]}.
      kinds: {name: "scalar", "angle" or "categorical"}, scalar where a name is not there. A scalar
        `color` of three values is taken for the points' own colour.

    Returns:
      `matplotlib.figure.Figure`.
    """
    panels = list(_colorings(factors, kinds))
    size = min(1.5, 6.45 / len(panels) - 0.05)
    figure, axes = tile_figure(len(projections), len(panels), size, bottom=0.28)
    inch = 1.0 / figure.get_figheight()
    for column, (title, values, kind) in enumerate(panels):
        cmap, norm, codes = {"scalar": "viridis", "angle": "twilight"}.get(kind), None, None
        if kind == "categorical":
            codes, values = np.unique(values, return_inverse=True)
            cmap = ListedColormap(slot_colors(len(codes)))
            norm = BoundaryNorm(np.arange(len(codes) + 1) - 0.5, len(codes))
        for row, (method, points) in enumerate(projections.items()):
            ax = axes[row, column]
            shown = ax.scatter(*points.T, c=values, cmap=cmap, norm=norm, s=3, linewidths=0)
            prepare_axis(ax, title if row == 0 else None, "lightgrey")
            if column == 0:
                label_row(ax, method)
        if kind != "rgb":
            box = axes[-1, column].get_position()
            bar = color_bar(figure, shown, box.x0, box.y0 - 0.06 * inch, box.width)
            if codes is None:
                bar.ax.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
            else:
                some = range(0, len(codes), 1 + len(codes) // 10)  # as many as there is room for
                bar.set_ticks(some, labels=[f"{codes[i]:g}" for i in some])
                bar.minorticks_off()
                bar.ax.tick_params(length=0, labelsize=FONT_SIZE - 2)
    return figure
