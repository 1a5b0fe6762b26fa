"""Progress bars on stderr."""

import sys

import tqdm


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
    on_terminal = stream is not None and stream.isatty()
    if not on_terminal and log_seconds is not None:
        options |= {"delay": log_seconds, "mininterval": log_seconds}
    disable = stream is None or not (on_terminal or log_seconds is not None)
    return tqdm.tqdm(total=total, unit=unit, disable=disable, file=stream, **options)
