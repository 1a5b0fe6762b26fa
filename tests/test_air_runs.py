"""AIR by the command line: training resumes exactly where it stopped, and all commands serve it."""

import json

import numpy as np
import pytest
import tensorflow as tf

from iodine.checkpoints import latest_checkpoint
from iodine.data import datasets
from iodine.errors import UserError
from iodine.main import build, get_config
from multi_object_datasets import generators
from multi_object_datasets.generate import generate
from multi_object_datasets.generators import multi_mnist
from multi_object_datasets.generators.worker import scene_rng
from tests.helpers import tiny

pytestmark = pytest.mark.usefixtures("eagerly")

SIZES = ["n_z=3", "batch_size=4", "model.lstm_size=6", "model.hidden_size=6", "seed=3"]
PERIODS = ["save_summaries_steps=1", "save_checkpoint_steps=2", "save_images_steps=4"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Six test scenes and twenty training scenes, as datasets.path takes them."""
    folder = tmp_path_factory.mktemp("scenes")
    for split, count in (("test", 6), ("train", 20)):
        generate("multi_mnist", count, 0, folder / split, split=split, workers=1)
    return [f"data.path=['{folder}/test','{folder}/train']", "data.held_out=6"]


def run(*words):
    code, stdout, stderr = tiny.run_here(*words)
    assert code == 0, stderr
    return stdout


def weights(directory):
    reader = tf.train.load_checkpoint(latest_checkpoint(directory))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("model/")]
    return {name: reader.get_tensor(name) for name in names}


@pytest.mark.parametrize("estimator", ["exact", "reinforce"])
def test_a_run_goes_on_exactly_where_it_stopped(estimator, files, tmp_path):
    config = ["with", "air", *files, *SIZES, *PERIODS, f"model.estimator={estimator}"]
    run(*config, f"checkpoint_dir={tmp_path}/whole", "stop_after_steps=4")
    run(*config, f"checkpoint_dir={tmp_path}/halves", "stop_after_steps=2")
    go_on = ["continue_run=True", f"checkpoint_dir={tmp_path}/halves_1", "stop_after_steps=4"]
    run(*config, *go_on)
    whole, halves = weights(f"{tmp_path}/whole_1"), weights(f"{tmp_path}/halves_1")
    assert whole.keys() == halves.keys() and len(whole) > 10
    for name, value in whole.items():
        np.testing.assert_array_equal(value, halves[name], err_msg=name)


def test_it_is_evaluated_shown_and_exported(files, tmp_path):
    config = ["with", "air", *files, *SIZES, "eval_images=5"]
    run(*config, f"checkpoint_dir={tmp_path}/run", "stop_after_steps=1", *PERIODS)
    config.append(f"checkpoint_dir={tmp_path}/run_1")
    printed = run("evaluate", *config, f"out={tmp_path}/figures.json", "model.bound_draws=10")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["num_images"] == np.sum(figures["confusion"]) == 5
    for name in ("count_accuracy", "elbo", "iwae", "mse", "ari_nobg"):
        assert np.isfinite(figures[name]["mean"]) and name in printed
    empty = sum(figures["confusion"][0])  # scenes without a digit, which earn no foreground ARI
    assert empty and figures["ari_nobg"]["num_undefined"] == empty
    assert figures["iwae"]["mean"] > figures["elbo"]["mean"]
    run("visualize", *config, f"out={tmp_path}/report")
    pictures = {path.name for path in (tmp_path / "report").iterdir()}
    shown = {"counts.png", "attention.png", "air_traversals.png", "air_samples.png", "report.html"}
    assert shown <= pictures
    run("export_weights", *config, f"out={tmp_path}/weights")
    assert latest_checkpoint(f"{tmp_path}/weights").endswith("-1")


def test_the_prior_is_learned_from_weights_that_lack_it(files, tmp_path):
    config = [*files, *SIZES, *PERIODS]
    run("with", "air", *config, f"checkpoint_dir={tmp_path}/air", "stop_after_steps=1")
    trained = f"{tmp_path}/air_1"
    config = ["with", "air_prior", *config, f"initial_weights={trained}"]
    printed = run(*config, f"checkpoint_dir={tmp_path}/prior", "stop_after_steps=2")
    assert f"'{trained}/ckpt-1' lacks model/prior_logits, which starts as in a new model" in printed
    before, after = weights(trained), weights(f"{tmp_path}/prior_1")
    (added,) = after.keys() - before.keys()
    assert added.startswith("model/prior_logits/")
    # Adam's first steps are as long as the learning rate, and there are digits in most scenes.
    assert after[added][0] > -4.59 and np.all(after[added] != np.float32(-np.log(99)))
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name], err_msg=name)
    own = [*config, f"checkpoint_dir={tmp_path}/prior_1"]
    printed = run(*own, "continue_run=True", "stop_after_steps=3")
    assert "lacks" not in printed
    out = tmp_path / "figures.json"
    run("evaluate", *own, f"out={out}", "eval_images=5", "model.bound_draws=10")
    prior = json.loads(out.read_text())["count_shares"]["prior"]
    p = 1 / (1 + np.exp(-weights(f"{tmp_path}/prior_1")[added]))
    expected = [1 - p[0], p[0] * (1 - p[1]), p[0] * p[1] * (1 - p[2]), p[0] * p[1] * p[2]]
    np.testing.assert_allclose(prior, expected, rtol=1e-4)


def test_only_weights_to_begin_with_may_lack_the_prior(files, tmp_path):
    config = [*files, *SIZES, *PERIODS, "stop_after_steps=1"]
    run("with", "air", *config, f"checkpoint_dir={tmp_path}/air")
    begin = f"initial_weights={tmp_path}/air_1"
    run("with", "air_prior", *config, begin, f"checkpoint_dir={tmp_path}/prior")
    for name, words, found, wanted in (
        ("air_prior", ["continue_run=True", f"checkpoint_dir={tmp_path}/air_1"], "missing", "[3]"),
        ("air", ["continue_run=True", f"checkpoint_dir={tmp_path}/prior_1"], "[3]", "unknown"),
        ("air", [f"initial_weights={tmp_path}/prior_1"], "[3]", "unknown"),
    ):
        place = f"checkpoint_dir={tmp_path}/{name}_new"
        code, _, stderr = tiny.run_here(
            "with", name, *files, *SIZES, place, *words, "stop_after_steps=2"
        )
        assert code == 1 and "is of another architecture than the config" in stderr
        (line,) = [line for line in stderr.splitlines() if "model/prior_logits" in line]
        assert line.split() == ["model/prior_logits", found, wanted]
    other = ["with", "air_prior", *config, begin, f"checkpoint_dir={tmp_path}/other"]
    code, _, stderr = tiny.run_here(*other, "model.lstm_size=5")
    assert code == 1 and "is of another architecture than the config" in stderr
    assert "model/prior_logits" not in stderr  # which is what the two may differ by


def test_its_files_of_test_and_training_digits_are_generated_where_they_are_not_there(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.MultiMNIST, "num_scenes", {"test": 3, "train": 5})
    plan = {**get_config("air")["data"], "held_out": 3, "batch_size": 2}
    dataset = build(plan)
    images = np.concatenate([batch["image"] for batch in dataset("test").as_numpy_iterator()])
    lines = capfd.readouterr().err.splitlines()
    for split, count in (("test", 3), ("train", 5)):
        path = f"multi_object_datasets/multi_mnist_standard_{split}.tfrecords"
        start = f"no {path} yet: generating {count} scenes, "
        assert any(line.startswith(start) for line in lines)
    test_digits = generators.load_sources("multi_mnist", "test")
    for i, image in enumerate(images):
        scene = multi_mnist.scene(scene_rng(0, "test", i), "standard", **test_digits)
        np.testing.assert_allclose(image[0], scene["image"] / 255, atol=1e-6)
    with pytest.raises(UserError, match="nowhere does not exist: generate it"):
        next(iter(build({**plan, "path": "nowhere"})("train")))
