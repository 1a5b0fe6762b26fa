"""What is said of a user's mistakes, and the checks of single values."""

import difflib
import math
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


def number(value, what, holds, wanted):
    """Returns a value; raises a `UserError` unless it is a finite number of which `holds` is true.

    Args:
      value: what the user gave.
      what: the argument's name, for messages.
      holds: function of the number.
      wanted: what `holds` says, put behind "use a number".
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not holds(value):
        raise UserError(f"{what} is {value!r}, use a number {wanted}")
    return value


def one_of(value, known, what):
    """Returns a value; raises a `UserError` unless it is one of the names in `known`."""
    if value not in list(known):  # A dict would take no list as its key.
        raise UserError(
            f"{what} is '{value}'{did_you_mean(value, known)}, use {' or '.join(known)}"
        )
    return value


def truth(value, what):
    """Returns a value; raises a `UserError` unless it is True or False."""
    if not isinstance(value, bool):
        raise UserError(f"{what} is {value!r}, use True or False")
    return value


def instance_of(value, kind, what):
    """Returns a value; raises a `UserError` unless it is a `kind`."""
    if not isinstance(value, kind):
        raise UserError(f"{what} is a {type(value).__name__}, but has to be a {kind.__name__}")
    return value


def sizes(values, what):
    """Returns a sequence of sizes as a list of ints; raises a `UserError` unless it is one."""
    if not isinstance(values, (list, tuple)):
        raise UserError(f"{what} is {values!r}, use a list with a number for each layer")
    return [size(value, f"an entry of {what}") for value in values]


def layer_sizes(values, what):
    """As `sizes`, of at least one layer."""
    if not values and isinstance(values, (list, tuple)):
        raise UserError(f"{what} is empty, at least one layer is needed")
    return sizes(values, what)
