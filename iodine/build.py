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
    _check_plan(plan, where)
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


# What every config has at its top and hands to the models that declare it, with the values that
# say what a model does that declares nothing.
MODEL_OPTIONS = {"precision": "float32", "rematerialize": False}


def declared_options(plan, allowed=()):
    """Names of the `MODEL_OPTIONS` that a model declares as arguments of its constructor.

    Args:
      plan: the config's `model`.
      allowed: as for `build`.

    Raises:
      UserError: for what is no plan, or a constructor that cannot be imported.
    """
    _check_plan(plan, "model")
    constructor = import_constructor(plan["constructor"], "model", allowed)
    return MODEL_OPTIONS.keys() & (parameters_of(constructor) or {})


def check_options(config):
    """Raises a `UserError` if a config asks an option of a model that does not declare it."""
    declared = declared_options(config["model"], config["allow_constructors"])
    for key, default in MODEL_OPTIONS.items():
        if key not in declared and config[key] != default:
            name = str(config["model"]["constructor"]).rpartition(".")[2]
            raise UserError(
                f"{key}={config[key]}: {name} has no argument '{key}', leave it at {default}"
            )


def _check_plan(plan, where):
    """Raises a `UserError` for what is no plan; `where` is its name in the config."""
    place = f"{where}: " if where else ""
    if not isinstance(plan, dict):
        example = f"config['{plan}']" if isinstance(plan, str) else "config['model']"
        raise UserError(f"{place}build takes a plan such as {example}, not {plan!r}")
    if "constructor" not in plan:
        keys = ", ".join(map(str, plan)) or "nothing"
        raise UserError(f"{place}a plan needs a constructor, and this one has {keys}")


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
