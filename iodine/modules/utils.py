"""Building objects from plans, and small tensor helpers that several modules share."""

import difflib
import importlib
import inspect

import numpy as np
import tensorflow as tf


class UserError(ValueError):
    """A mistake in what the user asked for; its text says what is wrong and what to do."""


def did_you_mean(name, known):
    """Returns ", did you mean 'x'?" for the known name nearest to `name`, else ""."""
    nearest = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f", did you mean '{nearest[0]}'?" if nearest else ""


def check_arguments(function, arguments, where=""):
    """Raises a `UserError` unless `function` can be called with these keyword arguments.

    Args:
      function: what is to be called, usually a class.
      arguments: dict of keyword arguments.
      where: the place in the config, put before the message.
    """
    if inspect.isclass(function):
        # Of the class itself, Sonnet's metaclass would say (*args, **kwargs).
        _, *parameters = inspect.signature(function.__init__).parameters.items()
        parameters = dict(parameters)
    else:
        parameters = inspect.signature(function).parameters
    place = f"{where}: " if where else ""
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for key in arguments:
            if key not in parameters:
                raise UserError(
                    f"{place}{function.__name__} has no argument '{key}'"
                    f"{did_you_mean(key, parameters)} (it takes {', '.join(parameters)})"
                )
    missing = [
        name
        for name, p in parameters.items()
        if p.default is p.empty
        and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        and name not in arguments
    ]
    if missing:
        raise UserError(f"{place}{function.__name__} needs {', '.join(missing)}")


def import_constructor(path, where=""):
    """Imports the object that a dotted path such as `iodine.modules.iodine.IODINE` names."""
    place = f"{where}: " if where else ""
    module_name, _, attribute = str(path).rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise UserError(
            f"{place}unknown constructor '{path}' (cannot import '{module_name}': {error})"
        ) from error
    if not hasattr(module, attribute):
        raise UserError(
            f"{place}unknown constructor '{path}'{did_you_mean(attribute, dir(module))} "
            f"({module_name} has no '{attribute}')"
        )
    return getattr(module, attribute)


def build(plan, where=""):
    """Builds the object that a plan describes, nested plans first.

    A plan is a dict with a `constructor` (a dotted path); its other keys are keyword arguments.
    Dicts without a constructor and lists are passed on, with the plans inside them built. Nothing
    is cached: two calls build two objects.

    Args:
      plan: the plan, or any value inside one.
      where: name of the plan in the config, for messages.

    Returns:
      What the constructor returns.

    Raises:
      UserError: for an unknown constructor, an unknown argument or a missing one.
    """
    prefix = f"{where}." if where else ""
    if isinstance(plan, dict):
        built = {key: build(value, f"{prefix}{key}") for key, value in plan.items()}
        if "constructor" not in plan:
            return built
        constructor = import_constructor(built.pop("constructor"), where)
        check_arguments(constructor, built, where)
        return constructor(**built)
    if isinstance(plan, (list, tuple)):
        return [build(value, where) for value in plan]
    return plan


def activation(name):
    """Returns TensorFlow's activation function of this name ("elu", "softplus", "linear", ...)."""
    if name is None or name == "linear":
        return tf.identity
    for namespace in (tf.nn, tf.math):
        if hasattr(namespace, name):
            return getattr(namespace, name)
    raise UserError(f"unknown activation '{name}', try 'elu', 'relu', 'softplus' or 'linear'")


def linear_coordinates(height, width):
    """The two image axes, each running from -1 to 1.

    Returns:
      (over the height, over the width), each float32 [1, height, width, 1].
    """
    over_height, over_width = np.meshgrid(
        np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij"
    )
    return [c[None, :, :, None].astype(np.float32) for c in (over_height, over_width)]


def cosine_coordinates(height, width, freqs):
    """Products of cosines, a 2-D cosine basis without its constant.

    Channel (a, b) is cos(a·x)·cos(b·y), with x over the width and y over the height running from 0
    to π, and a the slower index.

    Returns:
      float32 [1, height, width, freqs² - 1].
    """
    rows = [np.cos(b * np.linspace(0, np.pi, height)) for b in range(freqs)]
    columns = [np.cos(a * np.linspace(0, np.pi, width)) for a in range(freqs)]
    basis = [np.outer(row, column) for column in columns for row in rows]
    return np.stack(basis[1:], axis=-1)[None].astype(np.float32)


def num_replicas():
    """Number of replicas that the running step is split over, 1 outside of such a step."""
    if tf.distribute.in_cross_replica_context():
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_sum(value):
    """Sum of a tensor over all replicas, not differentiated."""
    value = tf.stop_gradient(value)
    if num_replicas() == 1:
        return value
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)
