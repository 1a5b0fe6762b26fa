"""How long things take: bars on stderr, and estimates."""

import sys

import tqdm


def on_terminal():
    """Returns whether stderr is a terminal; daemons may have none at all."""
    return sys.__stderr__ is not None and sys.__stderr__.isatty()


def bar(iterable=None, label=None, **options):
    """Returns a `tqdm` bar that shows on a terminal only.

    Args:
      iterable: what to count, or None to call the bar's `update` instead.
      label: text before the bar; None shows none.
      **options: of `tqdm`.
    """
    return tqdm.tqdm(iterable, label, disable=label is None or not on_terminal(), **options)


def progress_bar(total, unit, log_seconds=None, **options):
    """Returns a progress bar on stderr.

    It goes to the process's own stderr, since Sacred would keep each of a million drawings of what
    is in the place of `sys.stderr`. Where there is no stderr, there is no bar.

    Args:
      total: number of units in all.
      unit: name of a unit.
      log_seconds: seconds between two lines about progress where stderr is no terminal; None for no
        lines there.
      **options: of `tqdm.tqdm`.
    """
    stream = sys.__stderr__
    if not on_terminal() and log_seconds is not None:
        options |= {"delay": log_seconds, "mininterval": log_seconds}
    disable = stream is None or not (on_terminal() or log_seconds is not None)
    return tqdm.tqdm(total=total, unit=unit, disable=disable, file=stream, **options)


def duration(seconds):
    """Returns a rough duration in words, such as "about 40 seconds"."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"about {seconds / length:.0f} {unit}"
    return f"about {seconds:.0f} seconds" if seconds >= 1.5 else "about a second"
