"""Single pictures, and figures that tile them, drawn with matplotlib.

Figures are pyplot's, so that a notebook's cell shows them; whoever makes many closes them.
"""

import numpy as np
from matplotlib import pyplot as plt

from iodine.figures.colors import slot_colors
from iodine.figures.style import default_style

FONT_SIZE = 7  # points
TITLE = {"fontsize": FONT_SIZE, "pad": 2.5, "linespacing": 1.0}  # for `ax.set_title`
GAP = 0.05  # inches between pictures
FIGSIZE = (4, 4)  # inches of a new figure for one picture
LABEL_WIDTH = 0.55  # inches for the labels of rows
TITLE_HEIGHT = 0.3  # inches for the titles of columns


def prepare_axis(ax, title=None, frame_color=None):
    """Takes an axis' ticks away and puts a title and a frame there."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(frame_color is not None)
    if frame_color is not None:
        ax.spines[:].set_color(frame_color)
        ax.spines[:].set_linewidth(1.2)
    if title is not None:
        ax.set_title(title, **TITLE)


def axis_or_new(ax, figsize):
    """Returns the axis, or that of a new figure if it is None, as for a notebook's cell."""
    return plt.subplots(figsize=figsize)[1] if ax is None else ax


@default_style()
def show_img(img, mask=None, ax=None, norm=False, color=None, figsize=FIGSIZE, title=None):
    """Shows an image.

    Args:
      img: [H, W, C], C being 1 or 3; clipped to [0, 1].
      mask: [H, W, 1] in [0, 1]; white shows where it is 0.
      ax: matplotlib axis; a new figure's if None.
      norm: whether to stretch the image's own range to [0, 1].
      color: of a line around it.
      figsize: (width, height) of a new figure in inches.
      title: text above it.

    Returns:
      What `ax.imshow` returns.
    """
    ax = axis_or_new(ax, figsize)
    if norm:
        low, high = np.min(img), np.max(img)
        img = (img - low) / max(high - low, 1e-12)
    img = np.clip(img, 0.0, 1.0)
    if mask is not None:
        img = mask * img + (1.0 - mask)
    if img.shape[-1] == 1:
        img = np.repeat(img, 3, axis=-1)
    prepare_axis(ax, title, color)
    return ax.imshow(img, interpolation="nearest")


@default_style()
def show_mask(masks, ax=None, color=None, figsize=FIGSIZE, title=None, background=False):
    """Shows all masks in one picture, each in its colour (see `slot_colors`).

    Args:
      masks: [K, H, W] in [0, 1].
      ax, color, figsize, title: as for `show_img`.
      background: whether the first mask is the background's and dark grey.

    Returns:
      What `ax.imshow` returns.
    """
    if background:
        colors = [(0.25, 0.25, 0.25), *slot_colors(len(masks) - 1)]
    else:
        colors = slot_colors(len(masks))
    blended = np.einsum("khw,kc->hwc", masks, colors)
    return show_img(blended, ax=ax, color=color, figsize=figsize, title=title)


@default_style()
def show_mat(
    m, ax=None, vmin=None, vmax=None, cmap="viridis", color=None, figsize=FIGSIZE, title=None
):
    """Shows a matrix of any values in false colours.

    Args:
      m: [H, W, 1].
      vmin, vmax: values of the first and the last colour, those of the matrix if None.
      cmap: matplotlib's name of the colours.
      ax, color, figsize, title: as for `show_img`.

    Returns:
      What `ax.imshow` returns.
    """
    ax = axis_or_new(ax, figsize)
    prepare_axis(ax, title, color)
    return ax.imshow(m[..., 0], vmin=vmin, vmax=vmax, cmap=cmap, interpolation="nearest")


@default_style()
def show_coords(m, ax=None, color=None, figsize=FIGSIZE, title=None):
    """Shows coordinate channels side by side in a square.

    Args:
      m: [H, W, n].
      ax, color, figsize, title: as for `show_img`.

    Returns:
      What `ax.imshow` returns.
    """
    height, width, num_channels = m.shape
    columns = int(np.ceil(np.sqrt(num_channels)))
    canvas = np.full([columns * (height + 1), columns * (width + 1), 1], np.nan)
    for i in range(num_channels):
        row, column = divmod(i, columns)
        top, left = row * (height + 1), column * (width + 1)
        canvas[top : top + height, left : left + width, 0] = m[..., i]
    return show_mat(canvas[:-1, :-1], ax, -1, 1, "gray", color, figsize, title)


def tile_figure(
    rows, columns, size, aspect=1.0, label_width=LABEL_WIDTH, top=TITLE_HEIGHT, bottom=0.0
):
    """Makes a figure of equal tiles, with room for titles above and labels at the left.

    Args:
      rows, columns: number of tiles.
      size: height of a tile in inches.
      aspect: width of a tile by its height.
      label_width: inches left of the tiles.
      top, bottom: inches above and below them.

    Returns:
      (figure, axes [rows, columns]); an axis shows nothing until something is drawn there.
    """
    width = label_width + columns * (size * aspect + GAP)
    height = top + rows * (size + GAP) + bottom
    figure = plt.figure(figsize=(width, height), dpi=200)
    axes = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": label_width / width,
            "right": 1.0 - GAP / width,
            "bottom": (bottom + GAP) / height,
            "top": 1.0 - top / height,
            "wspace": GAP / (size * aspect),
            "hspace": GAP / size,
        },
    )
    for ax in axes.flat:
        prepare_axis(ax)
    return figure, axes


def label_row(ax, text, color="black"):
    """Puts a text left of a tile."""
    ax.set_ylabel(
        text, fontsize=FONT_SIZE, rotation=0, ha="right", va="center", labelpad=4, color=color
    )


def color_bar(figure, shown, left, top, width, label=None):
    """Adds a flat horizontal colour bar.

    Args:
      figure: where to.
      shown: what `show_mat` or `ax.scatter` returned.
      left, top, width: of the bar, in parts of the figure.
      label: text below it.

    Returns:
      `matplotlib.colorbar.Colorbar`.
    """
    height = 0.06 / figure.get_figheight()
    axis = figure.add_axes([left, top - height, width, height])
    bar = figure.colorbar(shown, cax=axis, orientation="horizontal")
    axis.tick_params(labelsize=FONT_SIZE - 1, length=2, pad=1)
    bar.outline.set_visible(False)
    if label is not None:
        bar.set_label(label, fontsize=FONT_SIZE, labelpad=1)
    return bar
