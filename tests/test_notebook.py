"""The tour in iodine/Eval.ipynb."""

import base64
import io
import json

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from tests import tiny, trained

NOTEBOOK = tiny.ROOT / "iodine" / "Eval.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_kept_without_outputs(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


def test_it_runs_from_top_to_bottom_and_shows_a_figure_after_every_plot(notebook, monkeypatch):
    monkeypatch.setenv("IODINE_CONFIG", "tetrominoes")
    monkeypatch.setenv("IODINE_UPDATES", json.dumps(tiny.UPDATES))
    monkeypatch.setenv("IODINE_CHECKPOINT_DIR", trained.checkpoint_dir())
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.delenv("IODINE_PICTURE", raising=False)
    # Where Jupyter starts it.
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()

    num_figures = 0
    for cell in notebook.cells:
        if cell.cell_type != "code" or "_plot(" not in cell.source:
            continue
        (png,) = [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50, cell.source
        num_figures += 1
    assert num_figures == 9
