"""Curves of losses and metrics over the iterations, drawn with matplotlib."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import EngFormatter, MaxNLocator

from iodine.figures.summary_images import slot_colors
from iodine.figures.tiles import FONT_SIZE

WIDTH = 7.0  # inches
COLUMNS = 5  # panels side by side
BEST_IS_ONE = ("ari", "miou", "mbo", "sc", "msc")  # and the same with _nobg


def _panels(titles, height=1.6):
    """A figure of panels, rows of COLUMNS at most, with a title each: (figure, axes)."""
    rows = -(-len(titles) // COLUMNS)
    figure = plt.figure(figsize=(WIDTH, rows * height), dpi=200, layout="constrained")
    axes = figure.subplots(rows, min(COLUMNS, len(titles)), squeeze=False).flat
    for ax in axes[len(titles) :]:
        ax.set_visible(False)
    for ax, title in zip(axes, titles):
        ax.set_title(title, fontsize=FONT_SIZE)
        ax.set_xlabel("refinements", fontsize=FONT_SIZE)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.tick_params(labelsize=FONT_SIZE - 1, length=2, pad=2)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes[: len(titles)]


def _scale(ax, name):
    """Gives a metric's panel the limits and the numbers that fit it."""
    if name.removesuffix("_nobg") in BEST_IS_ONE:
        ax.set_ylim(min(-0.05, ax.get_ylim()[0]), 1.05)
    if name in ("recons", "kl"):
        ax.yaxis.set_major_formatter(EngFormatter(sep=""))


def curves_plot(info, labels):
    """Losses and metrics over the iterations, a thin line for each scene and a thick mean.

    Args:
      info: what `Model.eval` returned, as NumPy arrays.
      labels: the model's `METRICS`.

    Returns:
      `matplotlib.figure.Figure`.
    """
    curves = {**info["losses"], **info["metrics"]}
    if "kl" in curves:
        curves["kl"] = curves["kl"].sum(axis=-1)
    curves = {name: curves[name] for name in labels if name in curves}  # [B, T] each
    figure, axes = _panels([labels[name] for name in curves])
    for ax, (name, curve) in zip(axes, curves.items()):
        ax.plot(curve.T, color="tab:blue", alpha=0.35, linewidth=0.7)
        ax.plot(curve.mean(axis=0), color="tab:blue", linewidth=1.6)
        _scale(ax, name)
    return figure


def slot_kl_plot(info, scenes):
    """The KL divergence of each slot over the iterations, a panel for each scene.

    Args:
      info: what `Model.eval` returned, as NumPy arrays.
      scenes: places of the scenes in the batch.

    Returns:
      `matplotlib.figure.Figure`; the colours are those of the masks.
    """
    kl = info["losses"]["kl"]  # [B, T, K]
    figure, axes = _panels([f"KL of each slot [nats], scene {b + 1}" for b in scenes])
    for ax, b in zip(axes, scenes):
        for curve, color in zip(kl[b].T, slot_colors(kl.shape[-1])):
            ax.plot(curve, color=color, linewidth=1.2)
        _scale(ax, "kl")
    return figure


def factor_curves_plot(info):
    """The loss of the factor regressor, and how well it predicts each factor, over the iterations.

    Args:
      info: what the `eval` of a model that regresses factors returned, as NumPy arrays.

    Returns:
      `matplotlib.figure.Figure`: the loss, and for each factor the accuracy or the mean of
      1 - squared error / variance.
    """
    curves = {"factor loss": info["losses"]["factor"], **info["factor_regressor"]["metrics"]}  # [T]
    figure, axes = _panels(list(curves))
    for ax, curve in zip(axes, curves.values()):
        ax.plot(curve, color="tab:blue", linewidth=1.6)
    return figure


def comparison_curves(values, names, labels):
    """Means of losses and metrics over the iterations, a line for each model in each panel.

    Args:
      values: for each model {metric: [N, T]}, NaN where undefined.
      names: of the models.
      labels: {metric: title of its panel}.

    Returns:
      `matplotlib.figure.Figure`. A model with just a result is a dotted line across.
    """
    labels = {key: label for key, label in labels.items() if any(key in v for v in values)}
    figure, axes = _panels(list(labels.values()))
    for ax, key in zip(axes, labels):
        for number, (value, name) in enumerate(zip(values, names)):
            if key not in value or np.isnan(value[key]).all():
                continue
            curve, color = np.nanmean(value[key], axis=0), f"C{number}"
            if len(curve) == 1:
                ax.axhline(curve[0], color=color, linewidth=1.2, linestyle=":", label=name)
            else:
                ax.plot(curve, color=color, linewidth=1.2, label=name)
        _scale(ax, key)
    handles = {}
    for ax in axes:
        handles |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels())}
    figure.legend(
        handles.values(), handles, fontsize=FONT_SIZE, frameon=False, loc="outside lower center"
    )
    return figure
