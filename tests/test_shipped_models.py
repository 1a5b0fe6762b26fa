"""The trained models in checkpoints/ give the figures that stand beside them."""

import json

import pytest

from iodine import main
from iodine.checkpoints import latest_checkpoint
from iodine.modules.utils import import_constructor
from multi_object_datasets.generate import generate
from tests import tiny

SHIPPED = sorted(path.parent for path in tiny.ROOT.glob("checkpoints/*/evaluation.json"))
MAX_BYTES = 3_000_000


def test_the_models_that_the_readme_names_are_there():
    assert [folder.name for folder in SHIPPED] == ["demo", "tetrominoes_fast"]


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_model_evaluates_to_its_figures(folder, tmp_path):
    reader = import_constructor(main.get_config(folder.name)["data"]["constructor"])
    # The held-out scenes are the first of the file, and these do not depend on how many follow.
    scenes = tmp_path / "scenes.tfrecords"
    generate(reader.scene_format.name, num_examples=320, seed=0, path=scenes)
    figures = json.loads((folder / "evaluation.json").read_text())
    measured = tmp_path / "evaluation.json"
    words = ["evaluate", "with", folder.name, f"data.path={scenes}", f"out={measured}"]
    code, _, stderr = tiny.run_here(*words, "seed=0")
    assert code == 0, stderr
    measured = json.loads(measured.read_text())
    assert measured["num_images"] == figures["num_images"] == 320
    for name in ("ari", "ari_nobg", "mse"):
        assert measured[name]["mean"] == pytest.approx(figures[name]["mean"], abs=2e-3)


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_model_is_small_and_found_by_its_configs_name(folder):
    assert main.get_config(folder.name)["checkpoint_dir"] == f"checkpoints/{folder.name}"
    files = list(folder.glob(f"{latest_checkpoint(folder).rsplit('/', 1)[1]}.*"))
    assert len(files) == 2 and sum(file.stat().st_size for file in files) < MAX_BYTES
    assert "# " in (folder / "README.md").read_text()
