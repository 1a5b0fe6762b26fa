"""Figures of what a model does with a scene, drawn with matplotlib.

`info` is what `Model.eval` returns, as NumPy arrays; b is a scene of the batch, t an iteration,
and `size` the height of a picture in inches. Each figure is 7 inches wide or a little more, that
of a printed page, at its default size.
"""

import numpy as np
from matplotlib.patches import Rectangle

from iodine.figures.colors import slot_colors
from iodine.figures.style import default_style
from iodine.figures.tiles import (
    FONT_SIZE,
    GAP,
    TITLE,
    color_bar,
    label_row,
    prepare_axis,
    show_coords,
    show_img,
    show_mask,
    show_mat,
    tile_figure,
)

INPUT_TITLES = {
    "image": "image",
    "components": "component\nmeans",
    "pred_mask": "masks",
    "mask": "mask\nlogits",
    "posterior": "mask\nposterior",
    "dcomponents": "∇ comp.\nmeans",
    "dmask": "∇ mask\nlogits",
    "log_prob": "log-\nlikelihood",
    "counterfactual": "leave-\none-out",
    "coordinates": "coordinates",
    "zp": "posterior parameters",
    "dzp": "∇ posterior parameters",
}
GRADIENTS = ("dcomponents", "dmask", "counterfactual", "log_prob", "dzp", "zp")


def _tile_aspect(info):
    height, width = info["data"]["image"].shape[2:4]
    return width / height


def _frame(images, b, t):
    """What iteration t sees of scene b: the one frame, or that of a sequence."""
    return images[b, t if images.shape[1] > 1 else 0]


def _true_masks(info, b, t):
    return _frame(info["data"]["true_mask"], b, t)[..., 0]  # [L, H, W]


def _component_means(info):
    """Components as images, [B, T, K, H, W, C].

    Where the pixel parameters have scales too, locations come first.
    """
    return info["outputs"]["components"][..., : info["data"]["image"].shape[-1]]


def _symmetric_limits(values):
    """Limits around zero that only the largest thousandth of all values exceeds."""
    limit = np.quantile(np.abs(values), 0.999)
    return -max(limit, 1e-12), max(limit, 1e-12)


def _score(info, b, t):
    """How good the result of a scene is, for a label."""
    metrics = info["metrics"]
    if "ari_nobg" in metrics:
        ari = metrics["ari_nobg"][b, t]
        return "no object" if np.isnan(ari) else f"ARI {ari:.2f}"
    return f"MSE\n{metrics['mse'][b, t]:.4f}"


@default_style()
def example_plot(
    info, b=0, t=-1, mask_components=False, size=0.6, column_titles=None, row_labels=None
):
    """The decomposition of scenes: image, reconstruction, masks (also true ones), components.

    Args:
      info: what `Model.eval` returned, as NumPy arrays.
      b: the scene, or a list of scenes, a row for each.
      t: the iteration.
      mask_components: whether to show of each component only what its mask lets through.
      size: height of a picture in inches.
      column_titles: texts above the columns, as many as wanted, instead of what they show.
      row_labels: text left of each scene; how good its result is if None.

    Returns:
      `matplotlib.figure.Figure`.
    """
    scenes = [b] if np.isscalar(b) else list(b)
    outputs, components = info["outputs"], _component_means(info)
    has_truth = "true_mask" in info["data"]
    num_slots = components.shape[2]
    titles = _column_titles(has_truth, num_slots) if column_titles is None else column_titles
    first = 4 if has_truth else 3
    figure, axes = tile_figure(len(scenes), first + num_slots, size, _tile_aspect(info))
    for ax, title in zip(axes[0], titles):
        ax.set_title(title, **TITLE)
    colors = slot_colors(num_slots)
    for row, scene in enumerate(scenes):
        tiles = iter(axes[row])
        show_img(_frame(info["data"]["image"], scene, t), ax=next(tiles))
        show_img(outputs["recons"][scene, t, 0], ax=next(tiles))
        if has_truth:
            show_mask(_true_masks(info, scene, t), next(tiles), background=True)
        masks = outputs["pred_mask"][scene, t]  # [K, H, W, 1]
        show_mask(masks[..., 0], next(tiles))
        for k in range(num_slots):
            mask = masks[k] if mask_components else None
            show_img(components[scene, t, k], mask, next(tiles), color=colors[k])
        label_row(axes[row, 0], row_labels[row] if row_labels else _score(info, scene, t))
    return figure


def _column_titles(has_truth, num_slots):
    titles = ["image", "recon-\nstruction", *["true\nmasks"] * has_truth, "masks"]
    return titles + [f"slot {k + 1}" for k in range(num_slots)]


@default_style()
def iterations_plot(info, b=0, mask_components=False, size=0.7):
    """A row for each iteration: reconstruction, masks and components.

    The last row holds the image, the true masks if there are, and the final logits of the masks.

    Args:
      info: what `Model.eval` returned, as NumPy arrays.
      b: the scene.
      mask_components: whether to show of each component only what its mask lets through.
      size: height of a picture in inches.

    Returns:
      `matplotlib.figure.Figure`.
    """
    outputs, components = info["outputs"], _component_means(info)[b]
    num_steps, num_slots = components.shape[:2]
    figure, axes = tile_figure(
        num_steps + 1, 2 + num_slots, size, _tile_aspect(info), label_width=0.75, bottom=0.4
    )
    colors = slot_colors(num_slots)
    for ax, title in zip(axes[0], ["recon-\nstruction", "masks"]):
        ax.set_title(title, **TITLE)
    for t in range(num_steps):
        label_row(axes[t, 0], f"iteration {t}")
        masks = outputs["pred_mask"][b, t]  # [K, H, W, 1]
        show_img(outputs["recons"][b, t, 0], ax=axes[t, 0])
        show_mask(masks[..., 0], axes[t, 1])
        for k in range(num_slots):
            mask = masks[k] if mask_components else None
            title = f"slot {k + 1}" if t == 0 else None
            show_img(components[t, k], mask, axes[t, 2 + k], color=colors[k], title=title)

    last, has_truth = axes[-1], "true_mask" in info["data"]
    label_row(last[0], "image, true\nmasks, logits" if has_truth else "image,\nlogits")
    show_img(_frame(info["data"]["image"], b, num_steps - 1), ax=last[0])
    if has_truth:
        show_mask(_true_masks(info, b, num_steps - 1), last[1], background=True)
    logits = outputs["pred_mask_logits"][b, -1]  # [K, H, W, 1]
    low, high = np.quantile(logits, [0.001, 0.999])
    for k in range(num_slots):
        shown = show_mat(logits[k], last[2 + k], low, high, color=colors[k])
    left, right = last[2].get_position(), last[-1].get_position()
    inch = 1.0 / figure.get_figheight()
    width = right.x1 - left.x0
    color_bar(figure, shown, left.x0, left.y0 - 0.08 * inch, width, "final mask logits")
    return figure


def _spatial_tile(name, value, ax, title, limits, color):
    """Draws one spatial refinement input, [H, W, n]."""
    if name == "coordinates":
        show_coords(value, ax, title=title)
    elif name in ("image", "components"):
        show_img(value, ax=ax, color=color, title=title)
    elif name == "dcomponents":
        show_img(0.5 + 0.5 * value / limits[1], ax=ax, color=color, title=title)
    else:
        cmap = "RdBu_r" if name in GRADIENTS else "viridis"
        show_mat(value[..., :1], ax, *limits, cmap, color, title=title)


def _spatial_column(name, value, axes, colors, channels):
    """Draws one spatial refinement input [K or 1, H, W, n] in a column of axes, slots below."""
    value = value[..., :channels] if "components" in name else value
    if name in GRADIENTS:
        limits = _symmetric_limits(value)
    else:
        limits = (0, 1) if name in ("pred_mask", "posterior") else (None, None)
    shared = len(value) == 1
    for k, tile in enumerate(value):
        title = INPUT_TITLES[name] if k == 0 else None
        _spatial_tile(name, tile, axes[k], title, limits, None if shared else colors[k])
    if shared:
        text = {"fontsize": FONT_SIZE - 1, "ha": "center", "va": "center", "color": "grey"}
        axes[1].text(0.5, 0.5, "same for\nall slots", transform=axes[1].transAxes, **text)


def _flat_input(name, value, ax, colors):
    """Draws one flat refinement input [K, n]: a row for each slot, a column for each value."""
    low, high = _symmetric_limits(value)
    ax.imshow(value, aspect="auto", cmap="RdBu_r", interpolation="nearest", vmin=low, vmax=high)
    prepare_axis(ax, f"{INPUT_TITLES[name]} (flat, {value.shape[-1]} values a slot)")
    ax.set_yticks(range(len(value)), [str(k + 1) for k in range(len(value))])
    ax.tick_params(labelsize=FONT_SIZE - 2, length=0, pad=2)
    for k, color in enumerate(colors):
        ax.add_patch(Rectangle((-0.5, k - 0.5), 0.006 * value.shape[-1], 1, color=color))


@default_style()
def inputs_plot(info, b=0, t=-1, size=0.6):
    """The inputs of the refinement network that led to iteration t, a row for each slot.

    Of gradients and likelihoods red is positive, blue negative. The constant inputs (capacity and
    flat_capacity) are left out.

    Args:
      info: what `Model.eval` returned, as NumPy arrays.
      b: the scene.
      t: the iteration, not the first.
      size: height of a picture in inches.

    Returns:
      `matplotlib.figure.Figure`.
    """
    channels = info["data"]["image"].shape[-1]
    spatial, flat = (
        {name: inputs[name][b, t] for name in INPUT_TITLES if name in inputs}
        for inputs in (info["inputs"]["spatial"], info["inputs"]["flat"])
    )  # [K or 1, H, W, n] and [K, n]
    num_slots = info["losses"]["kl"].shape[2]
    colors = slot_colors(num_slots)
    flat_height = 0.1 * num_slots  # inches
    bottom = 0.05 + (flat_height + 0.25) * len(flat)
    figure, axes = tile_figure(
        num_slots, len(spatial), size, _tile_aspect(info), label_width=0.4, bottom=bottom
    )
    for column, (name, value) in zip(axes.T, spatial.items()):
        _spatial_column(name, value, column, colors, channels)
    for k in range(num_slots):
        label_row(axes[k, 0], f"slot {k + 1}")
    width, height = figure.get_size_inches()
    for row, (name, value) in enumerate(flat.items()):  # below, as wide as the page
        top = bottom - 0.2 - row * (flat_height + 0.25)
        box = [0.4 / width, (top - flat_height) / height, (width - 0.45) / width]
        _flat_input(name, value, figure.add_axes([*box, flat_height / height]), colors)
    return figure


# ---------------------------------------------------------------- several models, and samples


@default_style()
def comparison_plot(infos, names, scenes, size=0.6):
    """Decompositions of the same scenes by several models, a row for each model below each scene.

    Args:
      infos: what each model's `eval` returned, as NumPy arrays.
      names: of the models, short.
      scenes: places of the scenes in the batch.
      size: height of a picture in inches.

    Returns:
      `matplotlib.figure.Figure`.
    """
    has_truth = "true_mask" in infos[0]["data"]
    first = 4 if has_truth else 3
    num_slots = max(_component_means(info).shape[2] for info in infos)
    figure, axes = tile_figure(
        len(scenes) * len(infos), first + num_slots, size, _tile_aspect(infos[0])
    )
    # Image and true masks, which the models share, then what each makes of them.
    image, recons, *truth_and_rest = _column_titles(has_truth, num_slots)
    truth, rest = truth_and_rest[:has_truth], truth_and_rest[has_truth:]
    for ax, title in zip(axes[0], [image, *truth, recons, *rest]):
        ax.set_title(title, **TITLE)
    for row, (scene, (name, info)) in enumerate(
        (scene, model) for scene in scenes for model in zip(names, infos)
    ):
        tiles = axes[row, first - 2 :]
        if row % len(infos) == 0:
            show_img(_frame(info["data"]["image"], scene, -1), ax=axes[row, 0])
            if has_truth:
                show_mask(_true_masks(info, scene, -1), axes[row, 1], background=True)
        masks = info["outputs"]["pred_mask"][scene, -1, ..., 0]  # [K, H, W]
        show_img(info["outputs"]["recons"][scene, -1, 0], ax=tiles[0])
        show_mask(masks, tiles[1])
        colors = slot_colors(len(masks))
        for ax, component, color in zip(tiles[2:], _component_means(info)[scene, -1], colors):
            show_img(component, ax=ax, color=color)
        label_row(axes[row, 0], f"{name}\n{_score(info, scene, -1)}")
    return figure


@default_style()
def samples_plot(recons, masks, columns=8, size=0.78, label="samples"):
    """Decoded scenes such as draws from the prior, the masks below each.

    Args:
      recons: [N, 1, H, W, C], N a multiple of `columns`.
      masks: [N, K, H, W, 1].
      columns: how many to put side by side.
      size: height of a picture in inches.
      label: what the pictures are.

    Returns:
      `matplotlib.figure.Figure`.
    """
    height, width = recons.shape[2:4]
    rows = len(recons) // columns
    figure, axes = tile_figure(2 * rows, columns, size, width / height, top=GAP)
    for i in range(len(recons)):
        row, column = divmod(i, columns)
        show_img(recons[i, 0], ax=axes[2 * row, column])
        show_mask(masks[i, ..., 0], axes[2 * row + 1, column])
    for row in range(rows):
        label_row(axes[2 * row, 0], label)
        label_row(axes[2 * row + 1, 0], "masks")
    return figure
