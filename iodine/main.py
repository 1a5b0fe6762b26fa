"""The command line: `python -m iodine.main [COMMAND] with CONFIG key=value ...`."""

from sacred import SETTINGS, Experiment
from sacred.initialize import create_run
from sacred.utils import convert_to_nested_dict, create_basic_stream_logger

from iodine import configurations
from iodine.modules.utils import build

__all__ = ["build", "ex", "get_config"]

# Sacred's default would turn stdout into a pipe, and a progress bar needs to see the terminal.
SETTINGS.CAPTURE_MODE = "sys"
SETTINGS.CONFIG.READ_ONLY_CONFIG = False

ex = Experiment("iodine")
# A named config fills the base's empty plans, which Sacred would report entry by entry.
ex.logger = create_basic_stream_logger()
ex.logger.addFilter(lambda record: not record.getMessage().startswith("Added new config entry"))
ex.config(configurations.base)
for named_config in configurations.NAMED_CONFIGS:
    ex.named_config(named_config)


def get_config(named_config, updates=None):
    """Returns the config that Sacred would run with.

    Args:
      named_config: name of a named config.
      updates: {dotted key: value}, as given on the command line.
    """
    run = create_run(ex, "main", convert_to_nested_dict(updates or {}), [named_config])
    return run.config


@ex.main
def main(data, model, optimizer):
    pass
