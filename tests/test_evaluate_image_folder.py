"""evaluate on images of one's own with masks, and on any terminal, run as people run it."""

import json

import numpy as np
import pytest
from PIL import Image

from iodine import startup
from iodine.data import datasets
from multi_object_datasets.generate import generate
from tests.helpers import tiny


@pytest.fixture
def folder(tmp_path):
    """Two scenes as a PNG and its label map each."""
    generate("tetrominoes", num_scenes=2, seed=0, path=str(tmp_path / "scenes"), workers=1)
    batch = next(datasets.Tetrominoes(str(tmp_path / "scenes"), 2)("summary").as_numpy_iterator())
    (tmp_path / "images").mkdir()
    for name, image, mask in zip("ab", batch["image"][:, 0], batch["mask"][:, 0]):
        pixels, labels = np.uint8(np.round(255 * image)), np.uint8(mask[..., 0].argmax(axis=0))
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(labels).save(tmp_path / "images" / f"{name}_mask.png")
    return tmp_path / "images"


def test_a_shipped_model_scores_masks_without_factors_on_a_terminal_of_ascii(tmp_path, folder):
    out = tmp_path / "figures.json"
    words = ["evaluate", "with", "tetrominoes_fast", f"data.path={folder}", f"out={out}"]
    words += ["data.constructor=iodine.modules.data.ImageFolder", "seed=0", "data.held_out=1"]
    process = tiny.start(*words, environment={"PYTHONIOENCODING": "ascii"})
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert "only 2 scenes are held out" in stderr
    figures = json.loads(out.read_text())
    assert figures["num_images"] == 2 and "factors" not in figures
    assert figures["ari_nobg"]["mean"] > 0.7
    for name in ("ari_nobg", "miou_nobg", "mbo_nobg", "sc_nobg", "msc_nobg"):
        assert 0 < figures[name]["mean"] <= 1.0
        assert any(line.startswith(name) and "+-" in line for line in stdout.splitlines())
    assert "2 scenes" in stdout


def test_a_stream_spells_what_its_encoding_lacks(tmp_path, monkeypatch):
    with open(tmp_path / "log", "w", encoding="ascii") as file:
        monkeypatch.setattr("sys.stdout", file)
        startup.print_whatever_the_encoding()
        print("1 ± 2, −log p, 雪, \udce9")
    assert (tmp_path / "log").read_text() == "1 +- 2, -log p, ?, ?\n"
