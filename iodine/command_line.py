"""How the command line takes what users say: words resolved, mistakes told in one line."""

import contextlib
import os
import signal
import sys

import sacred.commands
import tensorflow as tf
from sacred import Experiment
from sacred.config.config_summary import ConfigSummary
from sacred.dependencies import get_commit_if_possible
from sacred.utils import SacredError, SacredInterrupt, create_basic_stream_logger

from iodine import checkpoints, config, startup
from iodine.configurations.named_config import NAMED_CONFIGS, NamedConfig
from iodine.entries import ENTRIES
from iodine.errors import UserError, WorkerLost, did_you_mean
from iodine.train.loop import check_periods
from multi_object_datasets.errors import DatasetError, dataset_error_within

OBSERVER_PACKAGES = ("pymongo", "sqlalchemy")
EXIT_WORKER_LOST = 75  # what sysexits.h calls a temporary failure: the same command may resume


class Terminated(SacredInterrupt):
    """SIGTERM ended the run."""


def looks_at_a_model(command):
    """Marks a command that looks at a trained model, whose checkpoint says how."""
    command.looks_at_a_model = True
    return command


class CommandLineExperiment(Experiment):
    """An experiment whose configs `iodine.config` resolves, and whose mistakes are one line.

    Called from Python, `run` raises as usual.

    Args:
      name: of the experiment and of the program.
      doc: what `--help` says of it.

    Attributes:
      stages: list of (`Stage`, its config) of the run under way.
    """

    def __init__(self, name, doc):
        super().__init__(name, save_git_info=_git_can_be_asked())
        self.doc = doc  # Sacred would take this module's.
        self.logger = create_basic_stream_logger()
        # Plans have been checked; Sacred would report them entry by entry. Observers are a choice.
        hushed = ("Added new config entry", "Changed type of config entry", "No observers have")
        self.logger.addFilter(lambda record: not record.getMessage().startswith(hushed))
        self.named_configs |= NAMED_CONFIGS
        self.stages = []

    def run_commandline(self, argv=None):
        _check_words((sys.argv if argv is None else argv)[1:], self.commands)
        return super().run_commandline(argv)

    def get_usage(self, program_name=None):
        # Sacred shows the path from `base_dir` to the program.
        return super().get_usage(program_name or os.path.join(self.base_dir, self.path))

    def _create_run(
        self, command_name=None, config_updates=None, named_configs=(), *args, **kwargs
    ):
        """Sacred's step from words to a run, with the config that `iodine.config` makes of them."""
        words = config_updates or {}
        scopes = {n: c for n, c in self.named_configs.items() if not isinstance(c, NamedConfig)}
        command = self.commands.get(command_name)
        record = None
        if getattr(command, "looks_at_a_model", False):
            record = self._record(named_configs, words, scopes)
        resolution = config.resolve(named_configs, words, record, scopes)
        check_periods(
            resolution.config["steps_per_call"],
            resolution.config["save_summaries_steps"],
            resolution.config["save_images_steps"],
            resolution.config["save_checkpoint_steps"],
        )
        if record is not None or command_name in (None, self.default_command):
            for note in resolution.notes:
                print(note, file=sys.stderr)
        self.stages = resolution.stages
        self.configurations.clear()
        self.add_config({k: v for k, v in resolution.config.items() if (k, v) != ("seed", None)})
        run = super()._create_run(command_name, {}, (), *args, **kwargs)
        # What Sacred would have noted of the words.
        run.meta_info |= {"named_configs": list(named_configs), "config_updates": words}
        changed = config.differing(resolution.unchanged, resolution.config)
        run.config_modifications = ConfigSummary(
            modified=changed, docs={name: entry.help for name, entry in ENTRIES.items()}
        )
        return run

    def _record(self, named_configs, words, scopes):
        """The record of the checkpoint that a command looks at."""
        if not named_configs and "checkpoint_dir" not in words:
            raise UserError(
                "no model given: name a shipped model or a config (`with demo_fast`), or set "
                "checkpoint_dir=DIR"
            )
        # The other words are for the model as its checkpoint remembers it.
        where = {key: value for key, value in words.items() if key == "checkpoint_dir"}
        named = config.resolve(named_configs, where, scopes=scopes).config
        return checkpoints.read_record(checkpoints.latest_checkpoint(named["checkpoint_dir"]))

    def run(self, *args, **kwargs):
        if kwargs.get("options") is None:
            return super().run(*args, **kwargs)
        startup.print_whatever_the_encoding()
        os.environ.setdefault("MPLBACKEND", "agg")  # Commands draw files and open no window.
        if not sys.stdout.isatty():
            _write_without_colors()
        try:
            # Training continues without a reader.
            if args[0] == self.default_command:
                return super().run(*args, **kwargs)
            with startup.reader_may_leave(), _terminable():
                return super().run(*args, **kwargs)
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


def _check_words(words, commands):
    """Says what is wrong with the first words of a command line, where Sacred shows its usage."""
    if not words or words[0].startswith("-") or words[0] == "with":
        return
    command, *rest = words
    if command not in commands and command != "help":
        also = f", and {command} is a config: say `with {command}`" * (command in NAMED_CONFIGS)
        meant = also or did_you_mean(command, commands)
        sys.exit(f"error: there is no command '{command}'{meant}")
    if rest and rest[0] != "with" and not rest[0].startswith("-") and command != "help":
        sys.exit(f"error: `with` is missing: {command} with {' '.join(rest)}")


@contextlib.contextmanager
def _terminable():
    """SIGTERM ends a command by an exception, so that it takes back what is half done."""

    def terminate(*_):
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _git_can_be_asked():
    """Whether Sacred can note the commit; says so in a line where it cannot.

    It cannot where there is no git, in a repository without a commit, or in one of another user.
    """
    try:
        get_commit_if_possible(__file__, True)
    except Exception as error:  # Each of these is a class of its own, of GitPython or built in.
        reason = str(error).strip().splitlines() or [type(error).__name__]
        print(f"runs are recorded without a git commit: {reason[0]}", file=sys.stderr)
        return False
    return True


def _write_without_colors():
    """Makes Sacred's commands write no colours, which in a file or a pipe are noise."""
    names = [name for name in vars(sacred.commands) if name.startswith("COLOR_")]
    for name in (*names, "ENDC"):
        setattr(sacred.commands, name, "")
    sacred.commands.LEGEND = "(modified, added, typechanged, doc)"
