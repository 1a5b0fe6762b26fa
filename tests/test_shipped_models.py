"""The trained models in checkpoints/ give the figures that stand beside them."""

import json

import pytest

from iodine import main
from iodine.checkpoints import latest_checkpoint, read_record
from iodine.train.run import record_to_share
from multi_object_datasets.generate import generate
from tests.helpers import tiny

SHIPPED = sorted(path.parent for path in tiny.ROOT.glob("checkpoints/*/evaluation.json"))
# Of each: generator, split and variant of its scenes; those that are rendered take long, and some
# stand beside it.
SCENES = {
    "air": ("multi_mnist", "test", None),
    "air_small": ("multi_mnist", "test", "small"),
    "clevr6_fast": None,
    "clevr6_grayscale_fast": None,
    "demo": ("balls", "train", None),
    "demo_fast": ("balls", "train", None),
    "monet_multi_dsprites_fast": ("multi_dsprites", "train", "colored_on_grayscale"),
    "multi_dsprites_binarized_fast": ("multi_dsprites", "train", "binarized"),
    "multi_dsprites_fast": ("multi_dsprites", "train", "colored_on_grayscale"),
    "objects_room_fast": None,
    "rnn_nem_multi_dsprites_fast": ("multi_dsprites", "train", "binarized"),
    "rnn_nem_shapes": ("shapes", "train", None),
    "shapes_fast": ("shapes", "train", None),
    "slot_attention_multi_dsprites_fast": ("multi_dsprites", "train", "colored_on_grayscale"),
    "slot_attention_tetrominoes_fast": ("tetrominoes", "train", None),
    "tetrominoes_fast": ("tetrominoes", "train", None),
}
NUM_BESIDE = 16  # scenes beside those whose data a generator draws in no time
# Most of AIR's weights are those of an LSTM that sees the whole picture.
MAX_BYTES = {
    **dict.fromkeys(SCENES, 3_000_000),
    "clevr6_fast": 5_000_000,
    "air": 14_000_000,
    "air_small": 20_000_000,
}


def test_the_models_that_the_readme_names_are_there():
    assert [folder.name for folder in SHIPPED] == list(SCENES)


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_model_evaluates_to_its_figures(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Where no scenes are but those beside the models.
    # The figures of the first few of these. As many as the large table has would take an hour.
    figures = json.loads((folder / "scenes.json").read_text())
    words = ["evaluate", "with", folder.name, f"eval_images={figures['num_images']}"]
    code, _, stderr = tiny.run_here(*words, "out=measured.json", "seed=0")
    assert code == 0, stderr
    measured = json.loads((tmp_path / "measured.json").read_text())
    assert measured["num_images"] == figures["num_images"]
    whole = json.loads((folder / "evaluation.json").read_text())
    for name in {"ari", "ari_nobg", "mse", "count_accuracy", "elbo"} & figures.keys():
        mean, stderr = figures[name]["mean"], figures[name]["stderr"]
        assert measured[name]["mean"] == pytest.approx(mean, abs=2e-3)
        assert whole[name]["mean"] == pytest.approx(mean, abs=max(5 * stderr, 0.1))


@pytest.mark.parametrize("name", [name for name, source in SCENES.items() if source])
def test_the_scenes_beside_a_model_are_the_first_of_its_data(name, tmp_path):
    beside = tiny.ROOT / "checkpoints" / name / "scenes.tfrecords"
    drawn = tmp_path / "scenes.tfrecords"
    source, split, variant = SCENES[name]
    generate(source, NUM_BESIDE, seed=0, path=drawn, split=split, variant=variant, workers=1)
    assert beside.read_bytes() == drawn.read_bytes()


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_model_is_small_and_found_by_its_configs_name(folder):
    assert main.get_config(folder.name)["checkpoint_dir"] == f"checkpoints/{folder.name}"
    files = list(folder.glob(f"{latest_checkpoint(folder).rsplit('/', 1)[1]}.*"))
    assert len(files) == 2 and sum(f.stat().st_size for f in files) < MAX_BYTES[folder.name]
    assert "# " in (folder / "README.md").read_text()


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_model_remembers_no_places_of_the_machine_that_trained_it(folder):
    record = read_record(latest_checkpoint(folder))
    assert record == record_to_share(record)


def groups():
    """Lists of the shipped models that the same scenes, at the same size, can test."""
    found = {}
    for folder in SHIPPED:
        config = read_record(latest_checkpoint(folder))["config"]
        data = {name: config["data"].get(name) for name in SAME_DATA}
        found.setdefault(json.dumps(data, sort_keys=True), []).append(folder.name)
    return [names for names in found.values() if len(names) > 1]


SAME_DATA = ("constructor", "dataset_variant", "image_dim", "grayscale", "crop_region")


@pytest.mark.parametrize("names", groups(), ids="-".join)
def test_a_shipped_model_compares_with_each_other_of_its_data(names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Where no scenes are but those beside the models.
    words = [f"checkpoint_dir={json.dumps(names)}", "eval_images=2", f"out={tmp_path / 'out'}"]
    code, _, stderr = tiny.run_here("compare", "with", *words, "seed=0")
    assert code == 0, stderr
    compared = json.loads((tmp_path / "out" / "comparison.json").read_text())["models"]
    assert len(compared) == len(names)
