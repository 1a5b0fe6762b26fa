"""A trained model is looked at as its checkpoint remembers it, by whatever command."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import iodine
from iodine import checkpoints
from iodine.errors import UserError
from iodine.evaluate.prediction import held_out_scenes
from iodine.loading import open_model
from multi_object_datasets import formats
from multi_object_datasets.generate import generate
from tests.helpers import tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Directory of a run whose last stage has images of 12×12, one refinement and scale 0.4."""
    directory = tmp_path_factory.mktemp("trained")
    scenes = directory / "scenes.tfrecords"
    generate("tetrominoes", 6, seed=3, path=scenes, workers=1)
    stages = [{"until": 3, "image_dim": [12, 12], "num_iters": 1, "pixel_scale": 0.4}]
    words = tiny.arguments(
        checkpoint_dir=directory / "c", stages=stages, data__path=scenes, data__held_out=4
    )
    code, _, stderr = tiny.run_here(*words)
    assert code == 0, stderr
    return directory


def test_the_checkpoint_says_how_and_no_config_is_named(trained):
    opened = open_model(str(trained / "c_1"))
    assert opened.model.n_z == 4 and opened.config["named_config"] == "tetrominoes"
    assert opened.dataset.image_shape == (12, 12, 3)
    assert opened.model.output_dist.component_dist.scale_val == 0.4
    assert opened.dataset.path == str(trained / "scenes.tfrecords")
    # Refinements are the named config's, not those of the last stage.
    assert opened.model.num_iters == 5


def test_the_users_words_go_above_the_record_and_are_told(trained, capsys):
    updates = {"num_iters": 3, "pixel_scale": 0.2, "data.held_out": 2}
    opened = open_model(str(trained / "c_1"), updates)
    assert opened.model.num_iters == 3 and opened.dataset.held_out == 2
    assert opened.model.output_dist.component_dist.scale_val == 0.2
    lines = capsys.readouterr().err.splitlines()
    assert "pixel_scale=0.2 differs from the checkpoint's 0.4" in lines
    assert any(line.startswith("data.held_out=2 differs from") for line in lines)
    open_model(str(trained / "c_1"))
    assert capsys.readouterr().err == ""


def test_another_named_config_than_the_checkpoints_is_told(trained, capsys):
    updates = {"checkpoint_dir": str(trained / "c_1")}
    assert open_model("clevr6", updates).dataset.image_shape == (12, 12, 3)
    assert "trained with tetrominoes, not clevr6" in capsys.readouterr().err


def test_commands_take_a_checkpoint_without_a_config(trained, tmp_path):
    out = tmp_path / "figures.json"
    words = [f"checkpoint_dir={trained / 'c_1'}", "eval_images=4", "seed=0"]
    code, _, stderr = tiny.run_here("evaluate", "with", *words, f"out={out}")
    assert code == 0, stderr
    figures = json.loads(out.read_text())
    assert figures["num_images"] == 4 and len(figures["mse"]["per_iteration"]) == 6


def test_data_of_ones_own_tests_a_model_whose_stages_change_the_data(tmp_path):
    # In training `data.path` would hide the variants that the stages go through.
    scenes = tiny.ROOT / "checkpoints" / "multi_dsprites_fast" / "scenes.tfrecords"
    words = ["with", "multi_dsprites_fast", f"data.path={scenes}", f"data.cache={tmp_path}"]
    code, _, stderr = tiny.run_here("load_checkpoint", *words)
    assert code == 0, stderr
    code, _, stderr = tiny.run_here(*words)
    assert code == 1 and "data.path would hide what stage 1 says of dataset_variant" in stderr


def test_compare_and_evaluate_agree(trained, tmp_path):
    both = f'checkpoint_dir=["{trained / "c_1"}", "{trained / "c_1"}"]'
    compared = tmp_path / "compared"
    words = ["compare", "with", both, "eval_images=4", "seed=0", f"out={compared}"]
    code, _, stderr = tiny.run_here(*words)
    assert code == 0, stderr
    out = tmp_path / "figures.json"
    words = [f"checkpoint_dir={trained / 'c_1'}", "eval_images=4", "seed=0", f"out={out}"]
    assert tiny.run_here("evaluate", "with", *words)[0] == 0
    figures = json.loads(out.read_text())
    for model in json.loads((compared / "comparison.json").read_text())["models"]:
        assert model["metrics"]["mse"]["mean"] == figures["mse"]["mean"]


def test_a_foreign_record_names_no_constructor_of_its_own(trained, tmp_path):
    opened = open_model(str(trained / "c_1"))
    marker = tmp_path / "marker"
    record = json.loads(json.dumps(opened.record))
    record["config"]["allow_constructors"] = ["os"]
    record["config"]["model"]["decoder"] = {
        "constructor": "os.system",
        "command": f"touch {marker}",
    }
    writer = checkpoints.CheckpointWriter(tmp_path / "foreign", record, model=opened.model)
    writer.save(1)
    with pytest.raises(UserError, match="unknown constructor 'os.system'"):
        open_model(str(tmp_path / "foreign"))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        (None, "record"),
        ({"config": None}, "config"),
        ({"config": {}}, "config with data, model, optimizer"),
        ({"overridden": 5}, "config"),
        ({"data": 5}, "data"),
        ({"data": [{"held_out": 4}]}, "data"),
        ({"refinement_batch_size": "x"}, "refinement_batch_size"),
    ],
)
def test_a_record_that_is_none_of_ours_is_one_line(trained, tmp_path, changes, wrong):
    opened = open_model(str(trained / "c_1"))
    record = [1] if changes is None else {**opened.record, **changes}
    checkpoints.CheckpointWriter(tmp_path / "foreign", record, model=opened.model).save(1)
    code, _, stderr = tiny.run_here("evaluate", "with", f"checkpoint_dir={tmp_path / 'foreign'}")
    assert (code, "Traceback" in stderr) == (1, False)
    assert f"foreign/ckpt-1' remembers no {wrong} that this program can use" in stderr


def test_where_nothing_temporary_can_be_written_a_line_says_so(tmp_path):
    words = ["evaluate", "with", "demo_fast", "eval_images=1"]
    ended = subprocess.run(
        ["bash", "-c", 'ulimit -f 0; exec "$@"', "bash", sys.executable, "-m", "iodine", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tiny.ROOT), "IODINE_DATA": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False), ended.stderr
    assert "set TMPDIR to a folder" in ended.stderr.splitlines()[-1]


def test_a_model_is_opened_by_a_path_object_too(trained):
    opened = open_model(trained / "c_1")
    assert opened.path == checkpoints.latest_checkpoint(str(trained / "c_1"))


def test_an_entry_of_a_record_is_checked_as_a_word_is(trained, tmp_path):
    opened = open_model(str(trained / "c_1"))
    for name, value in {"num_iters": -3, "n_z": "x", "named_config": ["demo"]}.items():
        record = {**opened.record, "config": {**opened.record["config"], name: value}}
        writer = checkpoints.CheckpointWriter(tmp_path / name, record, model=opened.model)
        with pytest.raises(UserError, match=f"remembers no {name} that"):
            checkpoints.read_record(writer.save(1))


def test_a_shipped_models_name_does_where_a_path_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checkpoints.latest_checkpoint("demo_fast") == checkpoints.latest_checkpoint(
        tiny.ROOT / "checkpoints" / "demo_fast"
    )
    assert checkpoints.checkpoint_prefix("checkpoints/demo_fast").endswith("ckpt-5500")
    (tmp_path / "demo_fast").mkdir()
    with pytest.raises(UserError, match="no checkpoint at 'demo_fast'"):
        checkpoints.latest_checkpoint("demo_fast")


def test_models_are_listed_with_their_figures():
    models = iodine.list_models()
    assert set(models) == {path.parent.name for path in tiny.ROOT.glob("checkpoints/*/*.index")}
    demo = models["demo_fast"]
    assert demo["config"] == "demo_fast" and demo["data"] == "Balls"
    assert demo["figures"]["ari_nobg"]["mean"] > 0.9


def test_importing_the_package_leaves_the_process_alone():
    script = "import os, sys, iodine\nassert 'tensorflow' not in sys.modules\n"
    script += "assert 'TF_USE_LEGACY_KERAS' not in os.environ and 'jax' not in sys.modules\n"
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    environment["PYTHONPATH"] = str(tiny.ROOT)
    subprocess.run([sys.executable, "-c", script], check=True, cwd="/", env=environment)


def test_a_shipped_model_without_its_data_file_has_the_scenes_beside_it(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IODINE_DATA", raising=False)
    beside = str(tiny.ROOT / "checkpoints" / "demo_fast" / "scenes.tfrecords")
    model, dataset, config = iodine.load_model("demo_fast")
    assert dataset.path == config["data"]["path"] == beside
    assert sum(len(batch["image"]) for batch in dataset("test")) == 16
    own = "multi_object_datasets/balls_train.tfrecords"
    assert capsys.readouterr().err == f"no {own} yet: using the 16 held-out scenes in {beside}\n"
    assert not list(tmp_path.iterdir())  # nor is anything packed beside the model
    assert not list((tiny.ROOT / "checkpoints" / "demo_fast").glob("*.packed"))
    assert open_model("demo_fast", num_scenes=16).dataset.path == beside
    # None at all, and a file that the user names.
    assert open_model("demo_fast").dataset.path == own
    named = {"data.path": "elsewhere.tfrecords"}
    assert open_model("demo_fast", named, num_scenes=16).dataset.path == "elsewhere.tfrecords"
    (tmp_path / "multi_object_datasets").mkdir()
    (tmp_path / own).touch()
    assert open_model("demo_fast", num_scenes=16).dataset.path == own


@pytest.mark.parametrize(
    "name, num_wanted, num_generated, file_name",
    [
        ("demo_fast", 17, 17, "balls_train_first_17.tfrecords"),
        ("demo_fast", 1000, 320, "balls_train_first_320.tfrecords"),  # As many are held out.
        ("air_small", 18, 18, "multi_mnist_small_test_first_18.tfrecords"),
    ],
)
def test_more_held_out_scenes_than_lie_beside_a_model_are_generated_alone(
    name, num_wanted, num_generated, file_name, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IODINE_DATA", raising=False)
    dataset = open_model(name, for_testing=True, num_scenes=num_wanted).dataset
    path = tmp_path / "multi_object_datasets" / file_name
    assert os.path.abspath(dataset.path) == str(path)
    assert f"no multi_object_datasets/{file_name} yet: generating {num_generated} scenes" in (
        capfd.readouterr().err
    )
    numbers = np.concatenate([batch["scene"] for batch in dataset("test")])
    np.testing.assert_array_equal(numbers, np.arange(num_generated))
    # They are the first ones of the whole file.
    beside = tiny.ROOT / "checkpoints" / name / "scenes.tfrecords"
    first = [scene["image"] for scene in formats.read_scenes(beside)]
    for scene, image in zip(formats.read_scenes(path), first):
        np.testing.assert_array_equal(scene["image"], image)


@pytest.mark.parametrize("name, count", [("clevr6_fast", 32), ("objects_room_fast", 16)])
def test_scenes_that_need_a_renderer_are_those_beside_the_model_however_many_are_wanted(
    name, count, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IODINE_DATA", raising=False)
    dataset = open_model(name, for_testing=True, num_scenes=320).dataset
    assert held_out_scenes(dataset, 320) == count
    using, only = capsys.readouterr().err.splitlines()
    assert f"using the {count} held-out scenes in " in using and "(for more, generate it" in using
    assert only.startswith(f"only {count} scenes are held out: taking these, not eval_images=320")


def test_a_model_of_ones_own_has_no_scenes_beside_it(trained):
    path = str(trained / "c_1")
    (trained / "scenes.tfrecords").rename(trained / "c_1" / "scenes.tfrecords")
    try:
        assert open_model(path, num_scenes=4).dataset.path == str(trained / "scenes.tfrecords")
    finally:
        (trained / "c_1" / "scenes.tfrecords").rename(trained / "scenes.tfrecords")
