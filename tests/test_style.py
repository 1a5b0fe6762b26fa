"""Figures are the same whatever a user's matplotlibrc says."""

import os
import subprocess
import sys

import matplotlib

from iodine.figures.style import default_style
from tests.helpers import tiny

DRAWING = """
import sys
import numpy as np
from iodine.evaluate import metrics
from iodine.figures import curves, decompositions, latents, tiles
from iodine.figures.report import Report
from iodine.figures.style import default_style
from tests.test_plotting import given_metrics, random_info

info, rng = random_info(), np.random.default_rng(0)
points, factors = rng.random((40, 2)), {"color": rng.random((40, 3)), "x": rng.random((40, 1))}
report = Report(sys.argv[1], "report")
tiles.show_img(info["data"]["image"][0, 0])
report.add_figure("image", tiles.plt.gcf(), "")
for name, figure in {
    "example": decompositions.example_plot(info, [0, 1]),
    "iterations": decompositions.iterations_plot(info),
    "inputs": decompositions.inputs_plot(info),
    "samples": decompositions.samples_plot(rng.random((8, 1, 6, 8, 3)), np.ones((8, 1, 6, 8, 1))),
    "curves": curves.curves_plot(given_metrics(info), metrics.METRICS),
    "slots": curves.slot_kl_plot(info, [0]),
    "projections": latents.projection_plot({"PCA": points}, factors, {}),
}.items():
    report.add_figure(name, figure, "")
"""


def draw(folder, **environment):
    """Draws in a process of its own, {name of a file: its bytes}."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "agg", **environment}
    subprocess.run(
        [sys.executable, "-c", DRAWING, str(folder)], check=True, env=environment, cwd=tiny.ROOT
    )
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_matplotlibrc_changes_no_figure(tmp_path):
    style = tmp_path / "matplotlibrc"
    style.write_text(
        "image.origin: lower\ntext.usetex: True\nfont.size: 30\nlines.linewidth: 9\n"
        "axes.facecolor: black\nsavefig.facecolor: red\nsavefig.dpi: 20\nimage.cmap: gray\n"
    )
    usual = draw(tmp_path / "usual")
    assert len(usual) == 8
    assert draw(tmp_path / "users", MATPLOTLIBRC=str(style)) == usual


def test_a_users_settings_are_back_afterwards():
    with matplotlib.rc_context({"image.origin": "lower"}):
        with default_style():
            assert matplotlib.rcParams["image.origin"] == "upper"
        assert matplotlib.rcParams["image.origin"] == "lower"
