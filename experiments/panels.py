"""Panels of curves in the style of all the project's figures."""

from matplotlib import pyplot as plt

from iodine.figures.tiles import FONT_SIZE

WIDTH = 7.0  # inches
TITLES = {
    "ari_nobg": "foreground ARI",
    "ari": "ARI",
    "mse": "MSE",
    "kl": "KL [nats]",
    "loss": "loss [nats]",
}


def panels(titles, x_label, columns=4, height=1.9):
    """A figure of panels with a title each.

    Args:
      titles: of the panels; `TITLES` says how metrics are called.
      x_label: below all panels.
      columns: panels side by side.
      height: of a row, in inches.

    Returns:
      (`matplotlib.figure.Figure`, list of axes).
    """
    rows, columns = -(-len(titles) // columns), min(columns, len(titles))
    figure = plt.figure(figsize=(WIDTH, rows * height + 0.3), dpi=200, layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[len(titles) :]:
        ax.set_visible(False)
    for ax, title in zip(axes, titles):
        ax.set_title(TITLES.get(title, title), fontsize=FONT_SIZE + 1)
        ax.set_xlabel(x_label, fontsize=FONT_SIZE)
        ax.tick_params(which="both", labelsize=FONT_SIZE - 1, length=2, pad=2)
        ax.spines[["top", "right"]].set_visible(False)
        if title in ("ari_nobg", "ari"):
            ax.set_ylim(-0.05, 1.05)
    return figure, axes[: len(titles)]


def legend(figure, ax, columns=4):
    """Puts the legend of one panel, which is that of all, below the figure."""
    figure.legend(
        *ax.get_legend_handles_labels(),
        fontsize=FONT_SIZE,
        frameon=False,
        loc="outside lower center",
        ncols=columns,
    )
