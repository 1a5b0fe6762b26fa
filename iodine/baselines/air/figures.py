"""AIR's own part of `visualize`'s report: counts, attention step by step, traversals, samples."""

import numpy as np
import tensorflow as tf

from iodine.baselines.air.spatial_transformer import PLACE
from iodine.figures import summary_images
from iodine.figures.colors import slot_colors
from iodine.figures.style import default_style
from iodine.figures.tiles import FONT_SIZE, label_row, show_img, tile_figure

TILE = 0.8  # inches
TRAVERSED = 6  # latents of the appearance
TRAVERSAL_STEPS = 9
TRAVERSAL_STDS = 2.0  # how far a traversal goes to either side, in the prior's standard deviations
NUM_SAMPLES = 16  # of each kind
NUMBERS = {"color": "white", "fontsize": FONT_SIZE}


@default_style()
def figures(model, info):
    """Draws all of them.

    Args:
      model: an `AIR`, restored.
      info: what its `eval` returned for a few scenes, as NumPy arrays.

    Returns:
      List of (name, `matplotlib.figure.Figure`, caption).
    """
    return [
        (
            "counts",
            counts_figure(info),
            "Scenes and reconstructions with the windows of the objects that were found, first in "
            "the colour of the first step. Below: true and found number of objects.",
        ),
        (
            "attention",
            attention_figure(info),
            "What each step does: its window, what it sees there, the patch that it makes of it, "
            "and the image so far. The number is the probability of an object, given that those "
            "before are there.",
        ),
        (
            "air_traversals",
            traversal_figure(model, info),
            f"The first object found, with one latent set to {TRAVERSAL_STEPS} values from "
            f"-{TRAVERSAL_STDS:g} to {TRAVERSAL_STDS:g} of the prior's standard deviations around "
            "what was inferred: its place, and the latents of its appearance whose posterior is "
            "narrowest.",
        ),
        (
            "air_samples",
            samples_figure(model, info),
            "Images of places and appearances from the prior: above with as many objects as were "
            "found in the scenes, below with as many as the prior draws. Its probabilities of "
            f"0, 1, ... objects are {_listed(info['counts']['prior'][0])}.",
        ),
    ]


def counts_figure(info):
    """Images and reconstructions with boxes, a column for each scene."""
    images = info["data"]["image"][:, 0]
    counts = info["counts"]
    there = _there(info)
    boxes = [
        summary_images.draw_windows(pictures, info["steps"]["place"], there).numpy()
        for pictures in (images, info["outputs"]["recons"][:, 0, 0])
    ]
    figure, axes = tile_figure(2, len(images), 1.5 * TILE, images.shape[2] / images.shape[1])
    for row, (pictures, label) in enumerate(zip(boxes, ("scene", "AIR"))):
        label_row(axes[row, 0], label)
        for b, picture in enumerate(pictures):
            title = f"found {counts['predicted'][b]}"
            if "true" in counts:
                title = f"{counts['true'][b]} objects, {title}"
            show_img(picture, ax=axes[row, b], title=None if row else title)
    return figure


def attention_figure(info):
    """A row for each scene, four columns for each step."""
    steps, images = info["steps"], info["data"]["image"][:, 0]
    num_scenes, num_steps = steps["place"].shape[:2]
    present = 1.0 / (1.0 + np.exp(-steps["logits"]))  # [B, N]
    so_far = np.cumsum(steps["placed"], axis=1)[..., None]
    figure, axes = tile_figure(num_scenes, 4 * num_steps, TILE)
    for t in range(num_steps):
        color = slot_colors(num_steps)[t]
        only = np.broadcast_to(np.arange(num_steps) == t, [num_scenes, num_steps])
        windows = summary_images.draw_windows(images, steps["place"], only).numpy()
        for b in range(num_scenes):
            patches = (steps[name][b, t, ..., None] for name in ("attended", "patches"))
            for i, tile in enumerate((windows[b], *patches, so_far[b, t])):
                title = (f"step {t + 1}", "sees", "draws", "so far")[i] if b == 0 else None
                show_img(tile, ax=axes[b, 4 * t + i], color=color, title=title)
            axes[b, 4 * t].text(
                0.04, 0.04, f"{present[b, t]:.2f}", transform=axes[b, 4 * t].transAxes, **NUMBERS
            )
    for b in range(num_scenes):
        label_row(axes[b, 0], f"scene {b + 1}")
    return figure


def traversal_figure(model, info):
    """Traversals of the first object of the first scene that has one."""
    steps = info["steps"]
    b = int(np.argmax(info["counts"]["predicted"] > 0))
    place, what = steps["place_mean"][b, 0], steps["what_mean"][b, 0]
    narrowest = np.argsort(steps["what_std"][b, 0])[:TRAVERSED]
    offsets = np.linspace(-TRAVERSAL_STDS, TRAVERSAL_STDS, TRAVERSAL_STEPS)
    rows = {name: i for i, name in enumerate(("scale", "x", "y"))}
    rows |= {f"appearance {i}": PLACE + i for i in narrowest}
    stds = np.concatenate([model.place_prior[1].numpy(), np.ones(len(what))])
    z = np.tile(np.concatenate([place, what]), [len(rows), TRAVERSAL_STEPS, 1])
    for row, i in enumerate(rows.values()):
        z[row, :, i] += offsets * stds[i]
    z = tf.constant(z.reshape(-1, 1, z.shape[-1]), tf.float32)  # [rows * steps, 1, 3 + n_z]
    _, placed = model.draw_objects(z[..., :PLACE], z[..., PLACE:])
    pictures = placed.numpy().reshape(len(rows), TRAVERSAL_STEPS, *placed.shape[2:], 1)
    figure, axes = tile_figure(len(rows), TRAVERSAL_STEPS, TILE, label_width=0.9, top=0.1)
    for row, name in enumerate(rows):
        label_row(axes[row, 0], name)
        for column in range(TRAVERSAL_STEPS):
            show_img(pictures[row, column], ax=axes[row, column])
    return figure


def samples_figure(model, info):
    """Draws from the prior: two rows with counts that were found, two with counts of the prior."""
    found = np.resize(info["counts"]["predicted"], NUM_SAMPLES)
    pictures = model.sample(tf.concat([found, model.sample_counts(NUM_SAMPLES)], axis=0)).numpy()
    figure, axes = tile_figure(4, NUM_SAMPLES // 2, TILE, top=0.1)
    for picture, ax in zip(pictures, axes.flat):
        show_img(picture, ax=ax)
    label_row(axes[0, 0], "as found")
    label_row(axes[2, 0], "prior")
    return figure


def _listed(probs):
    """Probabilities as text."""
    return ", ".join(f"{p:.3g}" for p in probs)


def _there(info):
    """Which steps found an object, bool [B, N]."""
    num_steps = info["steps"]["place"].shape[1]
    return np.arange(num_steps) < info["counts"]["predicted"][:, None]
