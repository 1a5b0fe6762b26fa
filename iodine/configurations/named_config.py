"""Named configs, which register themselves."""

from types import SimpleNamespace

from iodine.entries import default_checkpoint_dir

NAMED_CONFIGS = {}  # {name: `NamedConfig`}, in the order of their definition


class NamedConfig:
    """A config that `with NAME` calls.

    The entries at its top are given to a function that makes the plans `data`, `model` and
    `optimizer` of them. So `n_z=16` on the command line changes all plans that it feeds, and
    `data.batch_size=2` just that one.

    Attributes:
      name: of the function.
      entries: {name: value} at its top, where they differ from `iodine.entries`. A value may be a
        function of the other entries.
      plans: function of {name: value} of all entries that returns {"data", "model", "optimizer"}.
    """

    def __init__(self, function, entries):
        self.name = function.__name__
        self.__doc__ = function.__doc__
        self.function = function
        self.entries = {"checkpoint_dir": default_checkpoint_dir(self.name), **entries}

    def plans(self, values):
        """Returns the plans that the function makes of entries {name: value}."""
        return self.function(SimpleNamespace(**values))


def evaluate_entries(entries):
    """Returns entries with those that are functions of the others replaced by their values."""
    given = SimpleNamespace(**{k: v for k, v in entries.items() if not callable(v)})
    return {k: v(given) if callable(v) else v for k, v in entries.items()}


def named_config(**entries):
    """Decorator that registers a function as a `NamedConfig` with these entries at its top."""

    def register(function):
        config = NamedConfig(function, entries)
        NAMED_CONFIGS[config.name] = config
        return config

    return register
