"""The tour in iodine/Eval.ipynb."""

import base64
import io
import json

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from tests.helpers import tiny, trained

NOTEBOOK = tiny.ROOT / "iodine" / "Eval.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def figures(notebook):
    """{source of a cell that plots: its figures}."""
    found = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and "plt.show()" in cell.source:
            data = [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
            pictures = [Image.open(io.BytesIO(base64.b64decode(png))) for png in data]
            found[cell.source] = [picture.convert("RGB") for picture in pictures]
    return found


def check_figures(notebook):
    """Checks that each cell that plots shows one figure, which is not blank."""
    shown = figures(notebook)
    assert len(shown) == 13
    for source, pictures in shown.items():
        (picture,) = pictures
        assert picture.getcolors(3) is None, source


def test_it_can_be_read_without_running_it(notebook):
    assert NOTEBOOK.stat().st_size < 1_500_000
    check_figures(notebook)
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert not any(o.output_type == "error" or o.get("name") == "stderr" for o in outputs)
    assert any("ari_nobg" in o.get("text", "") for o in outputs)


def test_it_runs_from_top_to_bottom_and_shows_a_figure_after_every_plot(notebook, monkeypatch):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    updates = {**tiny.UPDATES, "checkpoint_dir": trained.checkpoint_dir(), "eval_images": 2}
    monkeypatch.setenv("IODINE_CONFIG", "tetrominoes")
    monkeypatch.setenv("IODINE_UPDATES", json.dumps(updates))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.delenv("IODINE_PICTURE", raising=False)
    # Where Jupyter starts it.
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    check_figures(notebook)
