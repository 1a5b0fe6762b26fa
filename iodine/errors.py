"""What is said of a user's mistakes, and the checks of single values."""

import difflib
import numbers
import signal


class UserError(ValueError):
    """A mistake in what the user asked for; its text says what is wrong and what to do."""


class Interrupted(Exception):
    """A signal ended the training, after the step under way and a checkpoint.

    Attributes:
      signal_number: number of the signal.
    """

    def __init__(self, signal_number):
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


class WorkerLost(Exception):
    """Another worker of the cluster is gone, so that no step can be finished."""


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
