"""Figures of what a model does with a scene, drawn with matplotlib.

`info` is what `IODINE.eval` returns, as NumPy arrays; b is a scene of the batch, t an iteration,
and `size` the height of a picture in inches. Each figure is 7 inches wide or a little more, that
of a printed page, at its default size.
"""

import numpy as np
from matplotlib.patches import Rectangle

from iodine.modules.overview import slot_colors
from iodine.modules.tiles import (
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
    return _frame(info["data"]["true_mask"], b, t)  # [L, H, W, 1]


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
        return f"ARI {metrics['ari_nobg'][b, t]:.2f}"
    return f"MSE\n{metrics['mse'][b, t]:.4f}"


def example_plot(info, b=0, t=-1, mask_components=False, size=0.6, row_labels=None):
    """The decomposition of scenes: image, reconstruction, masks (also true ones), components.

    Args:
      info: what `IODINE.eval` returned, as NumPy arrays.
      b: the scene, or a list of scenes, a row for each.
      t: the iteration.
      mask_components: whether to show of each component only what its mask lets through.
      size: height of a picture in inches.
      row_labels: text left of each scene; how good its result is if None.

    Returns:
      `matplotlib.figure.Figure`.
    """
    scenes = [b] if np.isscalar(b) else list(b)
    outputs, components = info["outputs"], _component_means(info)
    has_truth = "true_mask" in info["data"]
    num_slots = components.shape[2]
    first = 4 if has_truth else 3
    figure, axes = tile_figure(len(scenes), first + num_slots, size, _tile_aspect(info))
    colors = slot_colors(num_slots)
    for row, scene in enumerate(scenes):

        def title(text, row=row):
            return text if row == 0 else None

        tiles = iter(axes[row])
        show_img(_frame(info["data"]["image"], scene, t), next(tiles), title("image"))
        show_img(outputs["recons"][scene, t, 0], next(tiles), title("recon-\nstruction"))
        if has_truth:
            show_mask(_true_masks(info, scene, t), next(tiles), title("true\nmasks"), True)
        masks = outputs["pred_mask"][scene, t]  # [K, H, W, 1]
        show_mask(masks, next(tiles), title("masks"))
        for k in range(num_slots):
            show_img(
                components[scene, t, k],
                next(tiles),
                title(f"slot {k + 1}"),
                masks[k] if mask_components else None,
                colors[k],
            )
        label_row(axes[row, 0], row_labels[row] if row_labels else _score(info, scene, t))
    return figure


def iterations_plot(info, b=0, mask_components=False, size=0.5):
    """All iterations from left to right: components beside the logits of their masks.

    Args:
      info: what `IODINE.eval` returned, as NumPy arrays.
      b: the scene.
      mask_components: whether to show of each component only what its mask lets through.
      size: height of a picture in inches.

    Returns:
      `matplotlib.figure.Figure`.
    """
    outputs, components = info["outputs"], _component_means(info)[b]
    num_steps, num_slots = components.shape[:2]
    has_truth = "true_mask" in info["data"]
    right = num_steps + 1  # first column of the right half, after an empty one
    figure, axes = tile_figure(
        2 + num_slots, right + num_steps, size, _tile_aspect(info), bottom=0.4
    )
    colors = slot_colors(num_slots)
    logits = outputs["pred_mask_logits"][b, ..., 0]  # [T, K, H, W]
    limits = tuple(np.quantile(logits, [0.001, 0.999]))
    for t in range(num_steps):
        masks = outputs["pred_mask"][b, t]  # [K, H, W, 1]
        show_img(_frame(info["data"]["image"], b, t), axes[0, t], f"{t}")
        show_img(outputs["recons"][b, t, 0], axes[1, t])
        if has_truth:
            show_mask(_true_masks(info, b, t), axes[0, right + t], f"{t}", True)
        show_mask(masks, axes[1, right + t], None if has_truth else f"{t}")
        for k in range(num_slots):
            mask = masks[k] if mask_components else None
            show_img(components[t, k], axes[2 + k, t], mask=mask, frame_color=colors[k])
            shown = show_mat(
                logits[t, k], axes[2 + k, right + t], limits=limits, frame_color=colors[k]
            )
    label_row(axes[0, 0], "image")
    label_row(axes[1, 0], "recon-\nstruction")
    if has_truth:
        label_row(axes[0, right], "true\nmasks")
    label_row(axes[1, right], "masks")
    for k in range(num_slots):
        label_row(axes[2 + k, 0], f"slot {k + 1}")

    first, last = axes[-1, 0].get_position(), axes[-1, num_steps - 1].get_position()
    inch = 1.0 / figure.get_figheight()
    figure.text(
        (first.x0 + last.x1) / 2,
        first.y0 - 0.05 * inch,
        f"components after 0 to {num_steps - 1} refinements",
        fontsize=FONT_SIZE,
        ha="center",
        va="top",
    )
    first, last = axes[-1, right].get_position(), axes[-1, -1].get_position()
    color_bar(figure, shown, first.x0, first.y0 - 0.12 * inch, last.x1 - first.x0, "mask logits")
    return figure


def _spatial_tile(name, value, ax, title, limits, color):
    """Draws one spatial refinement input, [H, W, n]."""
    if name == "coordinates":
        show_coords(value, ax, title)
    elif name in ("image", "components"):
        show_img(value, ax, title, frame_color=color)
    elif name == "dcomponents":
        show_img(0.5 + 0.5 * value / limits[1], ax, title, frame_color=color)
    elif name in GRADIENTS:
        show_mat(value[..., 0], ax, title, limits, "RdBu_r", color)
    else:
        show_mat(value[..., 0], ax, title, limits, "viridis", color)


def inputs_plot(info, b=0, t=-1, size=0.6):
    """The inputs of the refinement network that led to iteration t, a row for each slot.

    Of gradients and likelihoods red is positive, blue negative. The constant inputs (capacity and
    flat_capacity) are left out.

    Args:
      info: what `IODINE.eval` returned, as NumPy arrays.
      b: the scene.
      t: the iteration, not the first.
      size: height of a picture in inches.

    Returns:
      `matplotlib.figure.Figure`.
    """
    channels = info["data"]["image"].shape[-1]
    spatial = {name: v[b, t] for name, v in info["inputs"]["spatial"].items()}  # [K or 1, H, W, n]
    flat = {name: v[b, t] for name, v in info["inputs"]["flat"].items()}  # [K, n]
    spatial = {name: spatial[name] for name in INPUT_TITLES if name in spatial}
    flat = {name: flat[name] for name in INPUT_TITLES if name in flat}
    num_slots = info["losses"]["kl"].shape[2]
    flat_height = 0.1 * num_slots  # inches
    bottom = 0.05 + (flat_height + 0.25) * len(flat)
    figure, axes = tile_figure(
        num_slots, len(spatial), size, _tile_aspect(info), label_width=0.4, bottom=bottom
    )
    colors = slot_colors(num_slots)
    for column, (name, value) in enumerate(spatial.items()):
        value = value[..., :channels] if "components" in name else value
        if name in GRADIENTS:
            limits = _symmetric_limits(value)
        else:
            limits = (0, 1) if name in ("pred_mask", "posterior") else None
        shared = len(value) == 1
        for k in range(len(value)):
            title = INPUT_TITLES[name] if k == 0 else None
            color = None if shared else colors[k]
            _spatial_tile(name, value[k], axes[k, column], title, limits, color)
        if shared:
            axes[1, column].text(
                0.5,
                0.5,
                "same for\nall slots",
                transform=axes[1, column].transAxes,
                fontsize=FONT_SIZE - 1,
                ha="center",
                va="center",
                color="grey",
            )
    for k in range(num_slots):
        label_row(axes[k, 0], f"slot {k + 1}")

    # The flat inputs below, as wide as the page: a row for each slot, a column for each value.
    width, height = figure.get_size_inches()
    top = bottom - 0.2
    for name, value in flat.items():
        box = [0.4 / width, (top - flat_height) / height, (width - 0.45) / width]
        ax = figure.add_axes([*box, flat_height / height])
        ax.imshow(
            value,
            aspect="auto",
            cmap="RdBu_r",
            interpolation="nearest",
            vmin=_symmetric_limits(value)[0],
            vmax=_symmetric_limits(value)[1],
        )
        prepare_axis(ax, f"{INPUT_TITLES[name]} (flat, {value.shape[-1]} values a slot)")
        ax.set_yticks(range(num_slots), [str(k + 1) for k in range(num_slots)])
        ax.tick_params(labelsize=FONT_SIZE - 2, length=0, pad=2)
        for k, color in enumerate(colors):
            ax.add_patch(Rectangle((-0.5, k - 0.5), 0.006 * value.shape[-1], 1, color=color))
        top -= flat_height + 0.25
    return figure


# ---------------------------------------------------------------- several models, and samples


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
    titles = ["image", *["true\nmasks"] * has_truth, "recon-\nstruction", "masks"]
    titles += [f"slot {k + 1}" for k in range(num_slots)]
    for ax, title in zip(axes[0], titles):
        ax.set_title(title, **TITLE)
    for row, (scene, (name, info)) in enumerate(
        (scene, model) for scene in scenes for model in zip(names, infos)
    ):
        tiles = axes[row, first - 2 :]
        if row % len(infos) == 0:
            show_img(_frame(info["data"]["image"], scene, -1), axes[row, 0])
            if has_truth:
                show_mask(_true_masks(info, scene, -1), axes[row, 1], background=True)
        masks = info["outputs"]["pred_mask"][scene, -1]  # [K, H, W, 1]
        show_img(info["outputs"]["recons"][scene, -1, 0], tiles[0])
        show_mask(masks, tiles[1])
        colors = slot_colors(len(masks))
        for ax, component, color in zip(tiles[2:], _component_means(info)[scene, -1], colors):
            show_img(component, ax, frame_color=color)
        label_row(axes[row, 0], f"{name}\n{_score(info, scene, -1)}")
    return figure


def samples_plot(recons, masks, columns=8, size=0.78):
    """Decoded draws from the prior, the masks below each.

    Args:
      recons: [N, 1, H, W, C], N a multiple of `columns`.
      masks: [N, K, H, W, 1].
      columns: how many to put side by side.
      size: height of a picture in inches.

    Returns:
      `matplotlib.figure.Figure`.
    """
    height, width = recons.shape[2:4]
    rows = len(recons) // columns
    figure, axes = tile_figure(2 * rows, columns, size, width / height, top=GAP)
    for i in range(len(recons)):
        row, column = divmod(i, columns)
        show_img(recons[i, 0], axes[2 * row, column])
        show_mask(masks[i], axes[2 * row + 1, column])
    for row in range(rows):
        label_row(axes[2 * row, 0], "samples")
        label_row(axes[2 * row + 1, 0], "masks")
    return figure
