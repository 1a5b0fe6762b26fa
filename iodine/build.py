"""Building objects from plans."""

import importlib
import inspect

from iodine.errors import UserError, did_you_mean


def parameters_of(function):
    """The parameters that a class or function is called with, {name: `inspect.Parameter`}.

    None for some functions in C, which do not tell.
    """
    if inspect.isclass(function) and function.__init__ is not object.__init__:
        # Of the class itself, Sonnet's metaclass would say (*args, **kwargs).
        _, *parameters = inspect.signature(function.__init__).parameters.items()
        return dict(parameters)
    try:
        return inspect.signature(function).parameters
    except ValueError:
        return None


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
    parameters = parameters_of(function)
    if parameters is None:
        return
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
    "tensorflow.train.AdamOptimizer": "iodine.optimizer.ReferenceAdam",
    "tensorflow.train.exponential_decay": "iodine.optimizer.ReferenceDecay",
    "tensorflow.train.get_or_create_global_step": "iodine.optimizer.ReferenceStep",
}


# The classes that a plan may name. Configs and checkpoints come from files and other people, and a
# dotted path reaches anything, `os.system` as well.
CONSTRUCTORS = {
    "iodine.modules.iodine": ("IODINE",),
    "iodine.modules.decoder": ("ComponentDecoder",),
    "iodine.modules.refinement": ("RefinementCore", "ResHead", "PredictorCorrectorHead"),
    "iodine.modules.networks": (
        "MLP",
        "ConvNet2D",
        "CNN",
        "BroadcastConv",
        "BroadcastDeConv",
        "DeConv",
        "LSTM",
    ),
    "iodine.modules.distribution": (
        "LocScaleDistribution",
        "BernoulliOutput",
        "MaskedMixture",
    ),
    "iodine.modules.factor_eval": ("FactorRegressor",),
    "iodine.modules.data": (
        "CLEVR",
        "Balls",
        "ImageFolder",
        "MultiDSprites",
        "MultiMNIST",
        "ObjectsRoom",
        "Shapes",
        "Tetrominoes",
    ),
    "iodine.baselines.air": ("AIR",),
    "iodine.baselines.monet": ("MONet",),
    "iodine.baselines.rnn_nem": ("RNNNEM",),
    "iodine.baselines.slot_attention": ("SlotAttentionAutoEncoder",),
    "iodine.baselines.vae": ("VAE",),
    "iodine.optimizer": (
        "Adam",
        "ExponentialDecay",
        "ReferenceAdam",
        "ReferenceDecay",
        "ReferenceStep",
    ),
}
# Of the libraries, classes that derive from one of these. Others do things to files when they are
# made, as `tensorflow.io.TFRecordWriter` does.
LIBRARIES = ("sonnet", "tensorflow", "tensorflow_probability", "keras", "tf_keras")
LIBRARY_BASES = ("Module", "Initializer", "LearningRateSchedule", "Distribution")


def import_constructor(path, where="", allowed=()):
    """Returns the class that a plan names.

    Args:
      path: a dotted path such as `iodine.modules.iodine.IODINE`, or the class or function itself.
      where: the place in the config, put before messages.
      allowed: names of packages whose classes are taken beside those of CONSTRUCTORS and the
        modules, initializers, schedules and distributions of the libraries.

    Raises:
      UserError: if there is none of this name, or plans may not name it.
    """
    if callable(path):
        return path
    unknown = f"{where}: unknown constructor '{path}'" if where else f"unknown constructor '{path}'"
    module_name, _, name = str(path).rpartition(".")
    full = f"{REFERENCE_NAMES.get(module_name, module_name)}.{name}"
    module_name, _, name = REFERENCE_NAMES.get(full, full).rpartition(".")
    package = module_name.partition(".")[0]
    if package not in (*LIBRARIES, *allowed) and name not in CONSTRUCTORS.get(module_name, ()):
        known = [f"{module}.{n}" for module, names in CONSTRUCTORS.items() for n in names]
        siblings = CONSTRUCTORS.get(module_name)
        meant = did_you_mean(name, siblings) if siblings else did_you_mean(path, known)
        raise UserError(
            f"{unknown}{meant} (plans name classes of this project's models, "
            f'networks, data sets and optimizers; allow_constructors=["{package or "PACKAGE"}"] '
            "on the command line adds a package)"
        )
    # Only now, since an import runs a module's code.
    try:
        module = _import_module(module_name)
    except (ImportError, ValueError) as error:
        raise UserError(f"{unknown} (cannot import '{module_name}': {error})") from error
    constructor = getattr(module, name, None)
    if constructor is None:
        raise UserError(
            f"{unknown}{did_you_mean(name, dir(module))} ({module_name} has no '{name}')"
        )
    if not inspect.isclass(constructor) or inspect.isabstract(constructor):
        raise UserError(f"{unknown}: it is there, but no class that can be built")
    bases = {base.__name__ for base in inspect.getmro(constructor)}
    if package in LIBRARIES and package not in allowed and not bases & set(LIBRARY_BASES):
        raise UserError(
            f"{unknown}: of {', '.join(LIBRARIES)} plans name modules, initializers, schedules and "
            "distributions"
        )
    return constructor


def arguments_of(constructor, allowed=()):
    """Returns the names of the arguments that a plan's constructor takes.

    Args:
      constructor: as a plan names it.
      allowed: as for `import_constructor`.

    Returns:
      None where nobody knows, since there is no such constructor.
    """
    try:
        return tuple(parameters_of(import_constructor(constructor, allowed=allowed)) or ())
    except UserError:
        return None


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
      UserError: if this is no plan, or a constructor or argument is unknown or missing.
    """
    place = f"{where}: " if where else ""
    if not isinstance(plan, dict):
        example = f"config['{plan}']" if isinstance(plan, str) else "config['model']"
        raise UserError(f"{place}build takes a plan such as {example}, not {plan!r}")
    if "constructor" not in plan:
        keys = ", ".join(map(str, plan)) or "nothing"
        raise UserError(f"{place}a plan needs a constructor, and this one has {keys}")
    return _build(plan, where, allowed)


def build_model(plan, dataset, allowed=()):
    """Builds the model of a config for a data set, which says how many entities are no objects.

    Args:
      plan: the config's `model`.
      dataset: the `SceneDataset` that the model is trained or tested on.
      allowed: as for `build`.

    Returns:
      The `Model`, its num_background the data set's.

    Raises:
      UserError: as `build`.
    """
    model = build(plan, "model", allowed)
    model.num_background = dataset.num_background
    return model


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
