"""Named configs as functions of the values at their top."""

import inspect

from sacred.config import ConfigDict

from iodine.errors import UserError

# What a function that takes `**entries` gets.
COMMON = (
    "n_z",
    "num_components",
    "num_iters",
    "batch_size",
    "image_dim",
    "pixel_scale",
    "kl_weight",
    "learn_rate",
)


class NamedConfig:
    """A config that Sacred takes as a named one.

    The entries at its top are keyword arguments of a function that returns the rest, the plans
    `data`, `model` and `optimizer`. So `n_z=16` on the command line changes all plans that it
    feeds, and `data.batch_size=2` just that one.

    Attributes:
      name: what `with NAME` calls it.
      entries: {name: value} at its top, a value being a number or a function of others' names.
      function: function of some of the entries that returns {"data", "model", "optimizer"}.
    """

    def __init__(self, function, entries):
        self.name = function.__name__
        self.__doc__ = function.__doc__
        self.function = function
        self.entries = {"checkpoint_dir": f"checkpoints/{self.name}", "kl_weight": 1.0, **entries}

    def __call__(self, fixed=None, preset=None, fallback=None):
        """Sacred's call: the config with `fixed`, what the command line says, in it."""
        values = dict(self.entries)
        fixed = dict(fixed or {})
        if isinstance(fixed.get("stages"), dict):
            fixed["stages"] = override_stages(values.get("stages", []), fixed["stages"])
        values |= {key: value for key, value in fixed.items() if key in values}
        for key, value in values.items():
            if callable(value):
                values[key] = _call(value, values)
        return ConfigDict({**values, **_call(self.function, values)})(fixed, preset, fallback)


def override_stages(stages, updates):
    """Changes some of a list of stages.

    Args:
      stages: list of dicts.
      updates: {number of the stage from 1, as a string: {key: value}}, what Sacred makes of
        `stages.2.until=500`.

    Raises:
      UserError: for a number that no stage has.
    """
    changed = [dict(stage) for stage in stages]
    for number, differences in updates.items():
        if number not in map(str, range(1, len(stages) + 1)) or not isinstance(differences, dict):
            raise UserError(f"stages.{number}: there are stages.1 to stages.{len(stages)}")
        changed[int(number) - 1] |= differences
    return changed


def _call(function, values):
    """Calls a function with those of the values that it names, and COMMON if it takes more."""
    parameters = inspect.signature(function).parameters
    names = {key for key, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    if len(names) < len(parameters):
        names |= values.keys() & set(COMMON)
    return function(**{key: values[key] for key in names})


def named_config(**entries):
    """Decorator that makes a `NamedConfig` of a function, with these entries at its top."""
    return lambda function: NamedConfig(function, entries)
