"""How the command line takes what users say: their values checked, their mistakes in one line."""

import contextlib
import os
import signal
import sys

import tensorflow as tf
from sacred import Experiment
from sacred.initialize import create_run
from sacred.utils import (
    ConfigAddedError,
    NamedConfigNotFoundError,
    SacredError,
    SacredInterrupt,
    iterate_flattened,
    set_by_dotted_path,
)

from iodine import configurations, terminal
from iodine.errors import UserError, as_whole_number, did_you_mean
from iodine.train.loop import WorkerLost
from multi_object_datasets.errors import DatasetError, dataset_error_within

NAMED_CONFIGS = ", ".join(config.name for config in configurations.NAMED_CONFIGS)

# Entries that take some values alone, of whatever type.
CHOICES = {"continue_run": (True, False, "auto"), "xla": ("auto", True, False)}
PATHS = (
    "checkpoint_dir",
    "initial_weights",
    "out",
    "image",
    "reference_checkpoint",
    "data.path",
)
FEEDING = ("image_dim", "pixel_scale", "saturation", "background", "dataset_variant")
OBSERVER_PACKAGES = ("pymongo", "sqlalchemy")
EXIT_WORKER_LOST = 75  # what sysexits.h calls a temporary failure: the same command may go on


class Terminated(SacredInterrupt):
    """SIGTERM ended the run."""


class CommandLineExperiment(Experiment):
    """An experiment whose command line answers a user's mistake with one line and exit code 1.

    Called from Python, `run` raises as usual.
    """

    def run(self, *args, **kwargs):
        if kwargs.get("options") is None:
            return super().run(*args, **kwargs)
        command, updates, named_configs = args
        terminal.print_whatever_the_encoding()
        os.environ.setdefault("MPLBACKEND", "agg")  # Commands draw files and open no window.
        try:
            updates = checked_updates(updates, default_config(self, named_configs))
            is_training = command == self.default_command  # It goes on without a reader.
            with contextlib.nullcontext() if is_training else terminal.reader_may_leave():
                return super().run(command, updates, named_configs, **kwargs)
        except ConfigAddedError as error:
            sys.exit(f"error: {unknown_key(error)}")
        except (UserError, DatasetError) as error:
            sys.exit(f"error: {error}")
        except ModuleNotFoundError as error:
            if error.name not in OBSERVER_PACKAGES:
                raise
            sys.exit(
                f"error: this observer needs {error.name}: "
                'pip install -e ".[observers]" (or pip install "iodine[observers]")'
            )
        except WorkerLost as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(EXIT_WORKER_LOST)
        except tf.errors.OpError as error:
            if (cause := dataset_error_within(error)) is None:
                raise
            sys.exit(f"error: {cause}")
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        except Terminated:
            sys.exit(128 + signal.SIGTERM)
        except SacredError as error:
            if error.print_traceback:
                raise
            sys.exit(f"error: {error}")


def default_config(experiment, named_configs):
    """The config of some named ones, without the user's values.

    Raises:
      UserError: if a named config is none, or a config file is not there or cannot be read.
    """
    try:
        return create_run(experiment, "main", {}, named_configs).config
    except NamedConfigNotFoundError as error:
        name = next(n for n in named_configs if n not in experiment.named_configs)
        raise UserError(
            f"there is no config '{name}'{did_you_mean(name, experiment.named_configs)} "
            f"(a JSON file, or one of {NAMED_CONFIGS})"
        ) from error
    except (KeyError, ValueError, OSError) as error:
        files = [name for name in named_configs if "." in name]
        raise UserError(
            f"the config file {', '.join(files)} is not there or cannot be read: {error}"
        ) from error


def checked_updates(updates, defaults):
    """Returns the user's values, refusing those of another type than what they replace.

    Args:
      updates: nested dict of the user's values.
      defaults: the config without them.

    Returns:
      The updates, with whole floats such as 1e5 as integers where an integer is due.

    Raises:
      UserError: for the first entry that does not fit. None is always taken, a whole number for a
        float, and a list for a number, as the networks take one a layer. A string's place may be
        taken by anything, since `iter_loss_weight` is one or a number.
    """
    checked = {}
    for key, value in iterate_flattened(updates):
        if key.split(".")[0] == "stages":
            set_by_dotted_path(checked, key, value)
            continue
        default = default_of(key, defaults)
        if key in FEEDING and default is None:
            raise UserError(f"{key} means nothing to this config, which has no such value")
        if key in CHOICES:
            if value not in CHOICES[key]:
                raise UserError(f"{key}={value!r}: use {', '.join(map(str, CHOICES[key]))}")
        elif key in PATHS:
            check_path(key, value)
        elif key == "seed":
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
                raise UserError(f"seed={value!r}: use a whole number from 0 to {2**31 - 1}")
        else:
            value = fitting(key, value, type(default))
        set_by_dotted_path(checked, key, value)
    return checked


def default_of(key, defaults):
    """Returns what an entry, "a.b", is without the user; None where nothing is in its place.

    Raises:
      UserError: if "a" is neither a group of entries nor None.
    """
    default, above = defaults, []
    for part in key.split("."):
        if default is None:
            return None
        if not isinstance(default, dict):
            group = ".".join(above)
            raise UserError(f"{key}: {group} has no entries of its own, give it as a whole")
        default = default.get(part)
        above.append(part)
    return default


def fitting(key, value, kind):
    """Returns a value as one of a type, for `checked_updates`."""
    if kind is int:
        value = as_whole_number(value)
    if value is None or kind in (str, type(None)) or isinstance(value, kind):
        fits = not (kind is int and isinstance(value, bool))
    elif kind is float:
        fits = isinstance(value, int)
    else:
        fits = isinstance(value, (list, tuple)) and kind in (int, list, tuple)
    if not fits:
        raise UserError(f"{key} has to be of type {kind.__name__}, not {value!r}")
    return value


def check_path(key, value):
    """Refuses what is no path, such as the number that `out=2024` means."""
    for path in value if isinstance(value, (list, tuple)) else [value]:
        if path is not None and not isinstance(path, str):
            raise UserError(f"""{key}={path!r} is no path: quote it, {key}='"{path}"'""")


def unknown_key(error):
    """Says in one line which config entry is unknown."""
    known = [key for key in error.__config__ if key not in error.__conflicting_configs__]
    key = ", ".join(error.__conflicting_configs__)
    return f"unknown config entry '{key}'{did_you_mean(key, known)}"
