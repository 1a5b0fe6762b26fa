"""The metrics: each is one function and one line of the table that tables, plots and reports read.

To add one, write a function of an `Outcome` and give it a line in `METRICS`. Models whose `METRICS`
name it are then evaluated, compared and drawn with it.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from iodine.errors import UserError, did_you_mean
from multi_object_datasets.image_ops import NO_ENTITY
from multi_object_datasets.segmentation_metrics import MEASURES, segmentation_measures

OBJECTS_ALONE = "_nobg"  # ends the names of measures that leave the background out


class Outcome:
    """What a model made of a batch, as metrics look at it.

    Args:
      info: what `Model.eval` returned.
      num_background: number of true entities, the first ones, that are no objects.
    """

    def __init__(self, info, num_background):
        self.info = info
        self.num_background = num_background

    @functools.cached_property
    def segmentations(self):
        """{measure: float64 [B, T]} of all measures of the masks, empty without true masks.

        They are as `segmentation_measures` has them, for all entities and, with `OBJECTS_ALONE`,
        for objects; NaN where a scene has none.
        """
        if "true_mask" not in self.info["data"]:
            return {}
        true_mask = self.info["data"]["true_mask"][..., 0]  # [B, frames, L, H, W]
        true_labels = tf.cast(tf.argmax(true_mask, axis=2), tf.uint8)
        true_labels = tf.where(tf.reduce_any(true_mask > 0, axis=2), true_labels, NO_ENTITY)
        pred_mask = self.info["outputs"]["pred_mask"][..., 0]  # [B, T, K, H, W]
        pred_labels = tf.cast(tf.argmax(pred_mask, axis=2), tf.uint8)
        scores = tf.numpy_function(self._score, [true_labels, pred_labels], tf.float64)
        scores.set_shape([2 * len(MEASURES), *pred_labels.shape[:2]])
        names = [name + ending for ending in ("", OBJECTS_ALONE) for name in MEASURES]
        return dict(zip(names, tf.unstack(scores)))

    def _score(self, true, pred):
        """Scores label maps, uint8 [B, frames, H, W] and [B, T, H, W], as float64 [8, B, T]."""
        true = np.broadcast_to(true, pred.shape)  # One frame for all states, or one for each.
        maps = [labels.reshape(-1, *labels.shape[2:]) for labels in (true, pred)]  # [B * T, H, W]
        return np.stack(
            [
                scores.reshape(pred.shape[:2])
                for first_label in (0, self.num_background)
                for scores in segmentation_measures(*maps, first_label).values()
            ]
        )


def from_model(name):
    """A metric that the model's `eval` or `bounds` computes itself."""
    return lambda outcome: outcome.info["metrics"].get(name)


def from_loss(name):
    """A loss of each scene that the model's `eval` returns, summed over slots if it is of slots."""

    def measure(outcome):
        loss = outcome.info["losses"].get(name)
        if loss is None:
            return None
        return tf.reduce_sum(loss, axis=-1) if len(loss.shape) == 3 else loss

    return measure


def from_masks(name):
    """One of `segmentation_measures`, with `OBJECTS_ALONE` at its end for objects alone."""
    return lambda outcome: outcome.segmentations.get(name)


class Metric(NamedTuple):
    """A line of the table.

    Attributes:
      label: how tables and plots call it, with its unit.
      measure: function of an `Outcome` that returns it for each scene and state, a tensor [B, T],
        NaN where it is undefined; None where the data or the model does not have it.
      higher_is_better: None if neither is, as of a KL divergence.
      limits: (worst, best) value, None where there is none.
    """

    label: str
    measure: Callable
    higher_is_better: bool | None
    limits: tuple | None = None

    @property
    def heading(self):
        """The label with an arrow that says which way is better."""
        return self.label + {True: " ↑", False: " ↓", None: ""}[self.higher_is_better]


METRICS = {
    "count_accuracy": Metric("count accuracy", from_model("count_accuracy"), True, (0, 1)),
    "elbo": Metric("ELBO [nats]", from_model("elbo"), True),
    "iwae": Metric("log p(x) ≥ [nats]", from_model("iwae"), True),
    "ari": Metric("ARI", from_model("ari"), True, (0, 1)),
    "ari_nobg": Metric("foreground ARI", from_model("ari_nobg"), True, (0, 1)),
    "miou": Metric("mIoU", from_masks("miou"), True, (0, 1)),
    "miou_nobg": Metric("foreground mIoU", from_masks("miou_nobg"), True, (0, 1)),
    "mbo": Metric("mBO", from_masks("mbo"), True, (0, 1)),
    "mbo_nobg": Metric("foreground mBO", from_masks("mbo_nobg"), True, (0, 1)),
    "sc": Metric("SC", from_masks("sc"), True, (0, 1)),
    "sc_nobg": Metric("foreground SC", from_masks("sc_nobg"), True, (0, 1)),
    "msc": Metric("mSC", from_masks("msc"), True, (0, 1)),
    "msc_nobg": Metric("foreground mSC", from_masks("msc_nobg"), True, (0, 1)),
    "mse": Metric("MSE", from_model("mse"), False),
    "recons": Metric("−log p(x|z) [nats]", from_loss("recons"), False),
    "kl": Metric("Σ KL [nats]", from_loss("kl"), None),
    "mask_kl": Metric("KL of masks [nats]", from_loss("mask_kl"), None),
}


def named(names):
    """Returns {name: `Metric`} of some names, a model's `METRICS`, in their order.

    Raises:
      UserError: if the table lacks a name; says which.
    """
    for name in names:
        if name not in METRICS:
            raise UserError(
                f"there is no metric '{name}'{did_you_mean(name, METRICS)}: "
                "iodine.evaluate.metrics.METRICS has them all"
            )
    return {name: METRICS[name] for name in names}


def measure(info, model):
    """Takes the metrics that a model names, those that there are.

    Args:
      info: what the model's `eval` returned.
      model: a `Model`.

    Returns:
      {name: tensor [B, T]}.

    Raises:
      UserError: if it names one that the table does not have.
    """
    outcome = Outcome(info, model.num_background)
    values = {name: metric.measure(outcome) for name, metric in named(model.METRICS).items()}
    return {name: value for name, value in values.items() if value is not None}


def as_number(value):
    """Returns a float, or None if it is NaN or infinite, which JSON has no words for."""
    return float(value) if np.isfinite(value) else None


def mean_and_stderr(values):
    """Mean and its standard error over scenes at the last iteration.

    Args:
      values: [N, T], NaN where undefined, which is left out.

    Returns:
      {"mean", "stderr", "per_iteration": the T means, "num_undefined": scenes left out at the last
      iteration}, and "num_infinite", scenes with an infinite value there, where there are any. A
      number is None where it is infinite or no scene is left.
    """
    columns = [column[~np.isnan(column)] for column in np.float64(values).T]
    last = columns[-1]
    with np.errstate(invalid="ignore"):  # inf - inf, in numbers that are None then.
        means = [as_number(column.mean()) if len(column) else None for column in columns]
        stderr = np.std(last, ddof=1) / np.sqrt(len(last)) if len(last) > 1 else 0.0
    entry = {
        "mean": means[-1],
        "stderr": as_number(stderr) if len(last) else None,
        "per_iteration": means,
        "num_undefined": len(values) - len(last),
    }
    if infinite := int(np.isinf(last).sum()):
        entry["num_infinite"] = infinite
    return entry


def summarize(values, names):
    """Returns {name: as `mean_and_stderr`} for those of some metrics that there are values of."""
    return {name: mean_and_stderr(values[name]) for name in names if name in values}


def left_out(entry):
    """Says of `mean_and_stderr` what is in no mean, such as " (93 undefined)", or ""."""
    counts = {kind: entry.get(f"num_{kind}", 0) for kind in ("undefined", "infinite")}
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return f" ({said})" if said else ""


def three_digits(value):
    """A number with three significant digits; a dash for None."""
    if value is None:
        return "–"
    return _decimals(value, _num_decimals(value))


def mean_text(entry):
    """The last state's mean of `mean_and_stderr`, its standard error, and what is in neither."""
    if entry["mean"] is None:
        return f"–{left_out(entry)}"
    mean, stderr = rounded(entry)
    return f"{mean} ± {stderr}{left_out(entry)}"


def rounded(entry):
    """The last state's mean of `mean_and_stderr` and its standard error, ("0.984", "0.009")."""
    if entry["mean"] is None:
        return "–", "–"
    decimals = _num_decimals(entry["mean"])
    # An error far smaller than the mean's last digit keeps a digit of its own.
    error = max(decimals, _num_decimals(entry["stderr"]) - 2) if entry["stderr"] else decimals
    return _decimals(entry["mean"], decimals), _decimals(entry["stderr"], max(error, 0))


def _num_decimals(value):
    """Number of digits after the point of a number of three significant digits, negative too."""
    return 2 - int(f"{value:.2e}".rpartition("e")[2])


def _decimals(value, count):
    """A number with so many decimals; below -3 or above 7 of them with an exponent."""
    if not -4 <= count <= 7:
        return f"{value:.2e}"
    return f"{round(value, count):.{max(count, 0)}f}"
