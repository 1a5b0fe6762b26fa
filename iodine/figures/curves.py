"""Panels of curves: losses and metrics over the iterations, drawn with matplotlib.

A metric is described by its line in the table of `iodine.evaluate.metrics`: its label and limits.
"""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import EngFormatter, MaxNLocator

from iodine.figures.colors import slot_colors
from iodine.figures.style import default_style
from iodine.figures.tiles import FONT_SIZE

WIDTH = 7.0  # inches
COLUMNS = 5  # panels side by side
MARGIN = 0.05  # beyond a metric's limits, in parts of what is between them
MANY_NATS = 1000  # from which on an axis counts in thousands


def panels(titles, x_label, columns=COLUMNS, height=1.6):
    """A figure of panels with a title each.

    Args:
      titles: of the panels.
      x_label: below all panels.
      columns: panels side by side.
      height: of a row, in inches.

    Returns:
      (`matplotlib.figure.Figure`, list of axes).
    """
    rows, columns = -(-len(titles) // columns), min(columns, len(titles))
    figure = plt.figure(figsize=(WIDTH, rows * height), dpi=200, layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[len(titles) :]:
        ax.set_visible(False)
    for ax, title in zip(axes, titles):
        ax.set_title(title, fontsize=FONT_SIZE)
        ax.set_xlabel(x_label, fontsize=FONT_SIZE)
        ax.tick_params(which="both", labelsize=FONT_SIZE - 1, length=2, pad=2)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes[: len(titles)]


def legend(figure, axes, columns=4):
    """Puts one legend of all that is labelled in some panels below a figure."""
    handles = {}
    for ax in axes:
        handles |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels())}
    figure.legend(
        handles.values(),
        handles,
        fontsize=FONT_SIZE,
        frameon=False,
        loc="outside lower center",
        ncols=columns,
    )


def fit_axis(ax, limits=None):
    """Gives a metric's panel its limits, and numbers that fit, once its curves are drawn.

    Args:
      ax: the panel.
      limits: (worst, best) value; the panel also shows curves below the worst one.
    """
    if limits:
        margin = MARGIN * (limits[1] - limits[0])
        ax.set_ylim(min(limits[0] - margin, ax.get_ylim()[0]), limits[1] + margin)
    elif np.abs(ax.get_ylim()).max() >= MANY_NATS:
        ax.yaxis.set_major_formatter(EngFormatter(sep=""))


def _iteration_panels(titles):
    """As `panels`, over refinements, which are whole numbers."""
    figure, axes = panels(titles, "refinements")
    for ax in axes:
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return figure, axes


def _mean(values):
    """Means over scenes, [N, T] -> [T], without those where a metric is undefined (NaN)."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):  # of none at all
        return np.where(defined, values, 0.0).sum(axis=0) / defined.sum(axis=0)


@default_style()
def curves_plot(values, metrics):
    """Losses and metrics over the iterations, a thin line for each scene and a thick mean.

    Args:
      values: {metric: [B, T]}, NaN where undefined.
      metrics: {name: `Metric`}, of which those are drawn that there are values of.

    Returns:
      `matplotlib.figure.Figure`.
    """
    metrics = {name: metric for name, metric in metrics.items() if name in values}
    figure, axes = _iteration_panels([metric.label for metric in metrics.values()])
    for ax, (name, metric) in zip(axes, metrics.items()):
        ax.plot(np.transpose(values[name]), color="tab:blue", alpha=0.35, linewidth=0.7)
        ax.plot(_mean(np.asarray(values[name])), color="tab:blue", linewidth=1.6)
        fit_axis(ax, metric.limits)
    return figure


@default_style()
def slot_kl_plot(info, scenes):
    """The KL divergence of each slot over the iterations, a panel for each scene.

    Args:
      info: what `Model.eval` returned, as NumPy arrays.
      scenes: places of the scenes in the batch.

    Returns:
      `matplotlib.figure.Figure`; the colours are those of the masks.
    """
    kl = info["losses"]["kl"]  # [B, T, K]
    figure, axes = _iteration_panels([f"KL of each slot [nats], scene {b + 1}" for b in scenes])
    for ax, b in zip(axes, scenes):
        for curve, color in zip(kl[b].T, slot_colors(kl.shape[-1])):
            ax.plot(curve, color=color, linewidth=1.2)
        fit_axis(ax)
    return figure


@default_style()
def factor_curves_plot(info):
    """The loss of the factor regressor, and how well it predicts each factor, over the iterations.

    Args:
      info: what the `eval` of a model that regresses factors returned, as NumPy arrays.

    Returns:
      `matplotlib.figure.Figure`: the loss, and for each factor the accuracy or the mean of
      1 - squared error / variance.
    """
    curves = {"factor loss": info["losses"]["factor"], **info["factor_regressor"]["metrics"]}  # [T]
    figure, axes = _iteration_panels(list(curves))
    for ax, curve in zip(axes, curves.values()):
        ax.plot(curve, color="tab:blue", linewidth=1.6)
    return figure


@default_style()
def comparison_curves(values, names, metrics):
    """Means of losses and metrics over the iterations, a line for each model in each panel.

    Args:
      values: for each model {metric: [N, T]}, NaN where undefined.
      names: of the models.
      metrics: {name: `Metric`}, of which those are drawn that a model has.

    Returns:
      `matplotlib.figure.Figure`. A model with just a result is a dotted line across.
    """
    metrics = {name: metric for name, metric in metrics.items() if any(name in v for v in values)}
    figure, axes = _iteration_panels([metric.label for metric in metrics.values()])
    for ax, (key, metric) in zip(axes, metrics.items()):
        for number, (value, name) in enumerate(zip(values, names)):
            if key not in value or np.isnan(curve := _mean(value[key])).all():
                continue
            color = f"C{number}"
            if len(curve) == 1:
                ax.axhline(curve[0], color=color, linewidth=1.2, linestyle=":", label=name)
            else:
                ax.plot(curve, color=color, linewidth=1.2, label=name)
        fit_axis(ax, metric.limits)
    legend(figure, axes)
    return figure
