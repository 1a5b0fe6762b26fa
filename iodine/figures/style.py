"""Figures look alike on every machine, whatever its user's matplotlibrc says."""

import contextlib
import io

import matplotlib
from matplotlib import pyplot as plt


@contextlib.contextmanager
def default_style():
    """Context, and decorator, in which matplotlib has its defaults.

    A matplotlibrc may turn images upside down (image.origin), or ask for a LaTeX that is not there.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@default_style()
def render_png(figure):
    """Draws a `matplotlib.figure.Figure` and closes it, since pyplot would keep it in memory.

    Returns:
      The PNG file as bytes.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return buffer.getvalue()
