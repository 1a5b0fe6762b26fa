"""Models that are exported side by side train as each would alone."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from export import export_step, import_params, pure_step, run_step
from iodine import checkpoints
from iodine.build import build
from iodine.errors import UserError
from iodine.train.learner import Learner, Progress
from multi_object_datasets.generate import generate
from tests.helpers import tiny
from tests.helpers.parity_cases import relative_error
from tests.test_export_step import moved, run_alone, values

SEEDS = [3, 5]
NUM_STEPS = 2
NUM_IMAGES = 6
IMAGE_SHAPE = [50, 50, 1]
SIZES = ["n_z=3", "batch_size=2", "model.lstm_size=6", "model.hidden_size=6"]


@pytest.fixture(scope="module")
def overrides(tmp_path_factory):
    """Of a small AIR, whose baseline learns ten times as fast as the rest, and its scenes."""
    folder = tmp_path_factory.mktemp("scenes")
    for split, count in (("test", 3), ("train", NUM_IMAGES)):
        generate("multi_mnist", count, 0, folder / split, split=split, workers=1)
    files = [f"data.path=['{folder}/test','{folder}/train']", "data.held_out=3"]
    return [*SIZES, *files, "model.estimator=reinforce"]


@pytest.fixture(scope="module")
def trained(overrides, tmp_path_factory):
    """Directory of what two steps of both seeds give."""
    directory = tmp_path_factory.mktemp("artefact") / "air"
    about = export_step.export(
        "air", overrides, str(directory), None, NUM_IMAGES, float32=True, seeds=SEEDS
    )
    assert about["seeds"] == SEEDS
    shutil.copy(run_step.__file__, directory)
    words = [".", "--data", "images.npy", "--log-every", "1", "--save-every", "1"]
    code, stdout, stderr = run_alone(directory, *words, "--steps", f"{NUM_STEPS}", "--out", "runs")
    assert code == 0, stderr
    assert stdout.count("loss") == NUM_STEPS * len(SEEDS)  # a line of each at each step
    return directory


@pytest.mark.parametrize("seed", SEEDS)
def test_each_seed_trains_as_it_would_alone(seed, overrides, trained):
    config = export_step.read_config("air", overrides)
    model, optimizer, _ = export_step.build_parts(config, build(config["data"]), seed)
    expected, *_ = pure_step.state_variables(model, optimizer)
    before = values(expected)
    learner = Learner(model, optimizer, Progress(model, seed), tf.distribute.get_strategy())
    images = np.load(trained / "images.npy")
    for step in range(NUM_STEPS):
        batch = images[run_step.choose_batch(seed, step, 2, NUM_IMAGES)]
        noise = pure_step.standard_normal(model.noise_shape(2), tf.constant([seed, step]))
        learner.step({"image": batch[:, None] / np.float32(255)}, noise)

    params, *_, seeds = run_step.load_state(trained / "runs" / "params-0000002.npz")
    member = {key: value[list(seeds).index(seed)] for key, value in params.items()}
    assert relative_error(moved(member, before), moved(values(expected), before)) < 1e-3


def test_one_of_them_becomes_a_checkpoint(overrides, trained, tmp_path):
    path = trained / "runs" / "params-0000002.npz"
    words = [*overrides, f"checkpoint_dir={tmp_path / 'imported'}"]
    with pytest.raises(UserError, match="of the seeds 3, 5: add seed=N"):
        import_params.import_params(str(path), "air", [*words, "seed=4"])
    assert not (tmp_path / "imported").exists()
    import_params.import_params(str(path), "air", [*words, "seed=5"])

    config = export_step.read_config("air", overrides)
    model, optimizer, progress = export_step.build_parts(config, build(config["data"]), 0)
    found = checkpoints.latest_checkpoint(tmp_path / "imported")
    checkpoints.restore(found, model=model, optimizer=optimizer, progress=progress)
    assert int(optimizer.step) == NUM_STEPS and int(progress.seed) == 5
    params, *_ = run_step.load_state(path)
    for key, variable in pure_step.state_variables(model, optimizer)[0].items():
        np.testing.assert_array_equal(variable, params[key][1])


@pytest.mark.parametrize("matmuls", [None, "float32"])
def test_models_with_convolutions_are_refused(tmp_path, matmuls):
    overrides = [f"data.path={tiny.SCENES}", "batch_size=2"]
    with pytest.raises(UserError, match="so its seeds need --matmuls=all"):
        export_step.export(
            "tetrominoes",
            overrides,
            str(tmp_path / "a"),
            None,
            None,
            True,
            seeds=[0, 1],
            matmuls=matmuls,
        )
    assert not (tmp_path / "a").exists()
