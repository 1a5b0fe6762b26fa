"""How long things take: bars on stderr, which show on a terminal only, and estimates."""

import sys

import tqdm


def on_terminal():
    """Returns whether stderr is a terminal; daemons may have none at all."""
    return sys.stderr is not None and sys.stderr.isatty()


def bar(iterable=None, label=None, **options):
    """Returns a `tqdm` bar.

    Args:
      iterable: what to count, or None to call the bar's `update` instead.
      label: text before the bar; None shows none.
      **options: of `tqdm`.
    """
    return tqdm.tqdm(iterable, label, disable=label is None or not on_terminal(), **options)


def duration(seconds):
    """Returns a rough duration in words, such as "about 40 seconds"."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"about {seconds / length:.0f} {unit}"
    return f"about {seconds:.0f} seconds" if seconds >= 1.5 else "about a second"
