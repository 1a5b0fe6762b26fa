"""The entries at the top of every config: one table that all who ask about an entry read.

An entry feeds the build plans `data`, `model` and `optimizer` of a named config, or says how a run
or a command is to be carried out.
"""

import math
import os
from typing import Any, NamedTuple

from iodine.errors import UserError, as_whole_number, did_you_mean


class Entry(NamedTuple):
    """An entry at the top of a config.

    Attributes:
      name: how the command line calls it.
      default: its value where neither a named config nor the user gives another.
      help: one line for people.
      kind: "count" (a whole number above 0), "seed", "positive", "weight" (a number of 0 or more),
        "share" (a number from 0 to 1), "size" ([height, width]), "path", "paths" (one or a list),
        "names" (a list of texts), "text", "choice" or "any".
      choices: the values that a "choice" takes.
      optional: whether None is a value.
      of_stage: whether a stage of training may change it. No variable of a model depends on such
        an entry.
      feeds: whether it feeds a plan, so that it changes what is computed. A resumed run tells the
        user where such an entry differs from its checkpoint's.
      of_config: whether it means something only where the named config has a value for it.
    """

    name: str
    default: Any
    help: str
    kind: str = "any"
    choices: tuple = ()
    optional: bool = False
    of_stage: bool = False
    feeds: bool = False
    of_config: bool = False

    def check(self, value, place=""):
        """Returns a value as this entry takes it.

        Args:
          value: what the user, a file or a stage gives.
          place: where it stands, put before the message.

        Returns:
          The value, a whole float such as 1e5 as an integer where an integer is due.

        Raises:
          UserError: if it is none of the values that the entry takes.
        """
        if value is None and (self.optional or self.of_config):
            return value
        value = as_whole_number(value) if self.kind == "count" else value
        problem = CHECKS[self.kind](self, value)
        if problem:
            raise UserError(f"{place}{self.name}{problem}")
        return os.path.expanduser(value) if self.kind == "path" else value


def checkpoint_root():
    """Returns the directory of checkpoints: that of IODINE_CHECKPOINTS, or "checkpoints"."""
    return os.path.expanduser(os.environ.get("IODINE_CHECKPOINTS") or "checkpoints")


def default_checkpoint_dir(name):
    """Returns the `checkpoint_dir` of a named config that says nothing of it."""
    return os.path.join(checkpoint_root(), name)


def _is_number(value):
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _count(_, value):
    if isinstance(value, bool) or not isinstance(value, int):
        return f" has to be of type int, not {value!r}"
    return "" if value >= 1 else f" has to be a whole number above 0, not {value}"


def _seed(_, value):
    if value is None:
        return ""
    is_seed = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return "" if is_seed else f"={value!r}: use a whole number from 0 to {2**31 - 1}"


def _number(wanted, fits):
    def check(_, value):
        if not _is_number(value):
            return f" has to be of type float, not {value!r}"
        return "" if fits(value) else f" has to be {wanted}, not {value}"

    return check


def _size(_, value):
    if not isinstance(value, (list, tuple)):
        return f" has to be of type list, not {value!r}"
    is_size = len(value) == 2 and all(_is_number(v) and v == int(v) and v > 0 for v in value)
    return "" if is_size else f" must be [height, width], not {value!r}"


def _path(entry, value):
    if isinstance(value, (list, tuple)):
        return f"={value!r} is no path: name one"
    if not isinstance(value, str):
        return f"""={value!r} is no path: quote it, {entry.name}='"{value}"'"""
    return "" if value else "= is empty: name a path"


def _paths(entry, value):
    values = value if isinstance(value, (list, tuple)) else [value]
    return next(filter(None, (_path(entry, path) for path in values)), "")


def _names(entry, value):
    if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value):
        return ""
    return f"""={value!r} is no list of names: for example '{entry.name}=["mypackage"]'"""


def _text(_, value):
    return "" if isinstance(value, str) else f" has to be of type str, not {value!r}"


def _choice(entry, value):
    # As 1 == True, types count too.
    if any(value == choice and type(value) is type(choice) for choice in entry.choices):
        return ""
    meant = did_you_mean(value, entry.choices) if isinstance(value, str) else ""
    return f"={value!r}{meant}: use {', '.join(map(str, entry.choices))}"


CHECKS = {
    "any": lambda entry, value: "",
    "count": _count,
    "seed": _seed,
    "positive": _number("above 0", lambda value: value > 0),
    "weight": _number("a number of 0 or more", lambda value: value >= 0),
    "share": _number("from 0 to 1", lambda value: 0 <= value <= 1),
    "size": _size,
    "path": _path,
    "paths": _paths,
    "names": _names,
    "text": _text,
    "choice": _choice,
}


def _fed(name, default, help, kind, **options):
    return Entry(name, default, help, kind, feeds=True, **options)


_RUN = (
    Entry(
        "checkpoint_dir",
        default_checkpoint_dir("iodine"),
        "Directory of the run's checkpoints and event files, or of the model to look at.",
        "paths",
    ),
    Entry(
        "continue_run",
        False,
        "Resume from the latest checkpoint in checkpoint_dir; auto resumes if there is one.",
        "choice",
        (True, False, "auto"),
    ),
    Entry(
        "initial_weights",
        None,
        "Checkpoint, or name of a shipped model, whose weights a new run begins with.",
        "path",
        optional=True,
    ),
    Entry("save_summaries_steps", 10, "Print and log means every so many steps.", "count"),
    Entry("save_images_steps", 1000, "Write summary images every so many steps.", "count"),
    Entry("save_checkpoint_steps", 1000, "Save a checkpoint every so many steps.", "count"),
    Entry("stop_after_steps", 1000000, "Number of the last training step.", "count"),
    Entry(
        "stages",
        [],
        'Differences up to a step, one after the other: [{"until": 1000, "kl_weight": 0.1}, ...].',
    ),
    Entry(
        "strategy",
        "auto",
        "Devices to train on; auto takes all GPUs, and the cluster of TF_CONFIG if that is set.",
        "choice",
        ("auto", "one_device", "mirrored", "multi_worker_mirrored"),
    ),
    Entry("steps_per_call", 1, "Training steps in one compiled call.", "count"),
    Entry(
        "xla",
        "auto",
        "Compile the step with XLA; auto does on a GPU, if XLA can compile the step.",
        "choice",
        ("auto", True, False),
    ),
    Entry(
        "gpu_memory_growth",
        True,
        "Take GPU memory as it is needed; False takes all of it at once.",
        "choice",
        (True, False),
    ),
)

_PLANS = (
    _fed(
        "precision",
        "float32",
        "Precision of the model's convolutions and matrix products.",
        "choice",
        choices=("float32", "mixed_bfloat16"),
    ),
    _fed(
        "rematerialize",
        False,
        "Forget each refinement's intermediate results: less memory, more time.",
        "choice",
        choices=(True, False),
    ),
    _fed("n_z", 64, "Z, number of latent dimensions of a slot.", "count"),
    _fed("num_components", 7, "K, number of slots.", "count"),
    _fed("num_iters", 5, "Number of refinements.", "count", of_stage=True),
    _fed(
        "learn_rate",
        0.001,
        "Learning rate, before its schedule.",
        "weight",
        of_stage=True,
    ),
    _fed("batch_size", 4, "Scenes in a step, over all devices.", "count", of_stage=True),
    _fed(
        "image_dim",
        None,
        "[height, width] that scenes are resized to.",
        "size",
        of_stage=True,
        of_config=True,
    ),
    _fed(
        "pixel_scale",
        None,
        "Scale of the likelihood of pixels.",
        "positive",
        of_stage=True,
        of_config=True,
    ),
    _fed("kl_weight", 1.0, "Weight of the KL divergence; 1 is the ELBO.", "weight", of_stage=True),
    _fed(
        "dataset_variant",
        None,
        "Which of the data set's variants.",
        "text",
        of_stage=True,
        of_config=True,
    ),
    _fed(
        "saturation",
        1.0,
        "Strength of the scenes' colours: 0 is grey, 1 as they are.",
        "weight",
        of_stage=True,
    ),
    _fed(
        "background",
        1.0,
        "Share of its brightness that the background keeps: 0 is black, 1 as it is.",
        "share",
        of_stage=True,
    ),
    _fed(
        "random_light",
        1.0,
        "Least factor of a training scene's channels, random up to 1; 1 leaves them as they are.",
        "share",
        of_stage=True,
    ),
    _fed("data", {}, "Plan of the data set.", "any"),
    _fed("model", {}, "Plan of the model.", "any"),
    _fed("optimizer", {}, "Plan of the optimizer.", "any"),
)

_COMMANDS = (
    Entry(
        "named_config",
        None,
        "The named config that the plans are made by.",
        "text",
        optional=True,
    ),
    Entry("seed", None, "Seed of weights, batches and noise; drawn if None.", "seed"),
    Entry(
        "allow_constructors",
        [],
        "Packages beside this one and Sonnet that plans may name; for the command line alone.",
        "names",
    ),
    Entry("eval_images", 320, "Number of scenes that `evaluate` and `visualize` use.", "count"),
    Entry(
        "factor_regression",
        None,
        "True, or [[name, size, type], ...]: `evaluate` fits linear models of these factors.",
    ),
    Entry("out", None, "Where a command writes its results.", "path", optional=True),
    Entry(
        "image",
        None,
        "Image files to look at: a file, a folder, a glob, or a list of these.",
        "paths",
        optional=True,
    ),
    Entry(
        "reference_checkpoint",
        None,
        "Checkpoint of the original IODINE that `convert` reads.",
        "path",
        optional=True,
    ),
    Entry(
        "reference_batch_size",
        None,
        "Scenes on each device when the original was trained; None takes batch_size.",
        "count",
        optional=True,
    ),
)

ENTRIES = {entry.name: entry for entry in (*_RUN, *_PLANS, *_COMMANDS)}
PLANS = ("data", "model", "optimizer")


def defaults():
    """Returns {name: default} of all entries."""
    return {name: entry.default for name, entry in ENTRIES.items()}


def of_computation():
    """Returns the names of the entries that say what a run computes, not how it is looked after."""
    return ["named_config", "stages", *[name for name, entry in ENTRIES.items() if entry.feeds]]


def of_stage():
    """Returns the names of the entries that a stage may change."""
    return [name for name, entry in ENTRIES.items() if entry.of_stage]
