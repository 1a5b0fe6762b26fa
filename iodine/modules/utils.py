"""Building objects from plans, and small tensor helpers that several modules share."""

import difflib
import importlib
import inspect
import numbers

import numpy as np
import tensorflow as tf


class UserError(ValueError):
    """A mistake in what the user asked for; its text says what is wrong and what to do."""


def did_you_mean(name, known):
    """Returns ", did you mean 'x'?" for the known name nearest to `name`, else ""."""
    nearest = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f", did you mean '{nearest[0]}'?" if nearest else ""


def as_whole_number(value):
    """Returns the int that a whole float such as 1e5 stands for; any other value as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def size(value, what):
    """Returns a size as an int; raises a `UserError` unless it is a whole number above 0.

    Args:
      value: what the user gave.
      what: the argument's name, for messages.
    """
    whole = as_whole_number(value)
    if not isinstance(whole, numbers.Integral) or isinstance(whole, bool) or whole < 1:
        raise UserError(f"{what} is {value!r}, use a whole number above 0")
    return int(whole)


def sizes(values, what):
    """Returns a sequence of sizes as a list of ints; raises a `UserError` unless it is one."""
    if not isinstance(values, (list, tuple)):
        raise UserError(f"{what} is {values!r}, use a list with a number for each layer")
    return [size(value, f"an entry of {what}") for value in values]


def check_arguments(function, arguments, where=""):
    """Raises a `UserError` unless `function` can be called with these keyword arguments.

    An argument that has no default must not be None either.

    Args:
      function: what is to be called, usually a class.
      arguments: dict of keyword arguments.
      where: the place in the config, put before the message.
    """
    place = f"{where}: " if where else ""
    name = getattr(function, "__name__", str(function))
    if not isinstance(arguments, dict):
        raise UserError(f"{place}{name} takes a dict of arguments, not {arguments!r}")
    if inspect.isclass(function) and function.__init__ is not object.__init__:
        # Of the class itself, Sonnet's metaclass would say (*args, **kwargs).
        _, *parameters = inspect.signature(function.__init__).parameters.items()
        parameters = dict(parameters)
    else:
        try:
            parameters = inspect.signature(function).parameters
        except ValueError:
            return  # Some functions in C do not tell.
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for key in arguments:
            if key not in parameters:
                raise UserError(
                    f"{place}{name} has no argument '{key}'{did_you_mean(key, parameters)} "
                    f"(it takes {', '.join(parameters) or 'none'})"
                )
    missing = [
        name
        for name, p in parameters.items()
        if p.default is p.empty
        and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        and arguments.get(name) is None
    ]
    if missing:
        raise UserError(f"{place}{name} needs {', '.join(missing)}")


# What plans of the original IODINE name, modules and their members, and who answers to it here.
REFERENCE_NAMES = {
    "iodine.modules.distributions": "iodine.modules.distribution",
    "tensorflow.compat.v1.train": "tensorflow.train",
    "tensorflow.train.AdamOptimizer": "iodine.optimizer.adam_optimizer",
    "tensorflow.train.exponential_decay": "iodine.optimizer.exponential_decay",
    "tensorflow.train.get_or_create_global_step": "iodine.optimizer.global_step",
}

# Whose constructors a plan may name. Configs come from files and other people, and a dotted path
# reaches anything, `os.system` as well. Of the libraries only classes are taken, since they have
# functions such as `tensorflow.io.gfile.rmtree`.
OWN_PACKAGES = ("iodine", "multi_object_datasets")
LIBRARIES = ("sonnet", "tensorflow", "tensorflow_probability", "keras", "tf_keras")


def import_constructor(path, where="", allowed=()):
    """Returns the class or function that a plan names.

    Args:
      path: a dotted path such as `iodine.modules.iodine.IODINE`, or the class or function itself.
      where: the place in the config, put before messages.
      allowed: names of packages whose members are taken beside those of this project and the
        classes of Sonnet, TensorFlow, TensorFlow Probability and Keras.

    Raises:
      UserError: if there is none of this name, or plans may not name it.
    """
    if callable(path):
        return path
    unknown = f"{where}: unknown constructor '{path}'" if where else f"unknown constructor '{path}'"
    module_name, _, attribute = str(path).rpartition(".")
    name = f"{REFERENCE_NAMES.get(module_name, module_name)}.{attribute}"
    module_name, _, attribute = REFERENCE_NAMES.get(name, name).rpartition(".")
    package = module_name.partition(".")[0]
    packages = (*OWN_PACKAGES, *LIBRARIES, *allowed)
    # Before the import, since that runs a module's code.
    if package not in packages:
        raise UserError(
            f"{unknown}: plans may name those of {', '.join(packages)}, "
            f'and allow_constructors=["{package or "PACKAGE"}"] adds a package'
        )
    try:
        module = _import_module(module_name)
    except (ImportError, ValueError) as error:
        raise UserError(f"{unknown} (cannot import '{module_name}': {error})") from error
    if not hasattr(module, attribute):
        raise UserError(
            f"{unknown}{did_you_mean(attribute, dir(module))} ({module_name} has no '{attribute}')"
        )
    constructor = getattr(module, attribute)
    if not callable(constructor) or inspect.isabstract(constructor):
        raise UserError(f"{unknown}: it is there, but no class or function that builds something")
    # Not `package` where the module itself imported it from elsewhere.
    home = (getattr(constructor, "__module__", None) or "").partition(".")[0]
    own = home in OWN_PACKAGES or (home in LIBRARIES and inspect.isclass(constructor))
    if package not in allowed and not own:
        raise UserError(
            f"{unknown}: plans may name classes and functions of {', '.join(OWN_PACKAGES)}, "
            f"and classes of {', '.join(LIBRARIES)}"
        )
    return constructor


def _import_module(name):
    """Imports a module, or what poses as one: `tensorflow.keras` is the Keras that is in use."""
    module, path = None, []
    for part in name.split("."):
        path.append(part)
        found = getattr(module, part, None)
        module = importlib.import_module(".".join(path)) if found is None else found
    return module


def build(plan, where="", allowed=()):
    """Builds the object that a plan describes, nested plans first.

    A plan is a dict with a `constructor`, a dotted path or a class or function; its other keys are
    keyword arguments. Within it, dicts without a constructor and lists are passed on, with the
    plans inside them built. Nothing is cached: two calls build two objects.

    Args:
      plan: the plan.
      where: name of the plan in the config, for messages.
      allowed: names of further packages that plans may take constructors from, see
        `import_constructor`.

    Returns:
      What the constructor returns.

    Raises:
      UserError: for what is no plan, an unknown constructor, an unknown argument or a missing one.
    """
    place = f"{where}: " if where else ""
    if not isinstance(plan, dict):
        example = f"config['{plan}']" if isinstance(plan, str) else "config['model']"
        raise UserError(f"{place}build takes a plan such as {example}, not {plan!r}")
    if "constructor" not in plan:
        keys = ", ".join(map(str, plan)) or "nothing"
        raise UserError(f"{place}a plan needs a constructor, and this one has {keys}")
    return _build(plan, where, allowed)


def _build(value, where, allowed):
    """Builds a plan, or any value inside one."""
    if isinstance(value, (list, tuple)):
        return [_build(entry, where, allowed) for entry in value]
    if not isinstance(value, dict):
        return value
    prefix = f"{where}." if where else ""
    built = {
        key: entry if key == "constructor" else _build(entry, f"{prefix}{key}", allowed)
        for key, entry in value.items()
    }
    if "constructor" not in value:
        return built
    constructor = import_constructor(built.pop("constructor"), where, allowed)
    check_arguments(constructor, built, where)
    return constructor(**built)


ACTIVATIONS = (
    "abs",
    "elu",
    "exp",
    "gelu",
    "leaky_relu",
    "log_sigmoid",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "square",
    "swish",
    "tanh",
)


def activation(given):
    """Returns an activation function.

    Args:
      given: name of one of TensorFlow's, such as "elu", in any case; "identity", "linear" or None
        for the identity; or a function, which is returned as it is.

    Raises:
      UserError: for anything else.
    """
    if callable(given):
        return given
    name = "identity" if given is None else str(given).lower()
    if name in ("identity", "linear"):
        return tf.identity
    if name not in ACTIVATIONS:
        raise UserError(
            f"unknown activation '{given}'{did_you_mean(name, ACTIVATIONS)}, "
            f"use identity, {', '.join(ACTIVATIONS)}, or a function"
        )
    return getattr(tf.nn, name, None) or getattr(tf.math, name)


def check_coordinates(coord_type, coord_freqs, known=("linear", "cos")):
    """Raises a `UserError` unless coord_type is one of `known` and coord_freqs makes sense for it.

    Args:
      coord_type: the type of coordinates.
      coord_freqs: number of frequencies of "cos".
      known: the types to choose from.
    """
    if coord_type not in known:
        raise UserError(
            f"coord_type is {coord_type!r}{did_you_mean(coord_type, known)}, "
            f"use {' or '.join(map(repr, known))}"
        )
    if coord_type == "cos" and size(coord_freqs, "coord_freqs") < 2:
        raise UserError(f"coord_freqs is {coord_freqs!r}, use a whole number of 2 or more")


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
    rows = [np.cos(b * np.linspace(0, np.pi, height)) for b in range(int(freqs))]
    columns = [np.cos(a * np.linspace(0, np.pi, width)) for a in range(int(freqs))]
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
