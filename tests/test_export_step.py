"""The exported training step trains as the one in TensorFlow does, there and back again."""

import json
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import tensorflow as tf

from export import export_step, import_params, pure_step, run_step
from iodine import checkpoints
from iodine.errors import UserError
from iodine.main import build, get_config
from iodine.train.learner import Learner, Progress
from tests.helpers import tiny
from tests.helpers.parity_cases import relative_error

UPDATES = {**tiny.UPDATES, "num_iters": 1}
OVERRIDES = [f"{key}={value}" for key, value in UPDATES.items()]
IMAGES_SHAPE = [2, 35, 35, 3]
SEED = UPDATES["seed"]

# Runs the copied runner where neither TensorFlow nor this project can be imported.
ALONE = """
import runpy, sys
sys.modules.update({name: None for name in ("tensorflow", "iodine", "benchmarks")})
sys.argv = sys.argv[1:]
runpy.run_path("run_step.py", run_name="__main__")
"""


def run_alone(directory, *words):
    """Runs the runner in a directory: (exit code, stdout, stderr)."""
    command = [sys.executable, "-c", ALONE, "run_step.py", *words]
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300)
    return result.returncode, result.stdout, result.stderr


def parts(**updates):
    """Builds (model, optimizer) of the tiny config."""
    config = get_config("tetrominoes", {**UPDATES, **updates})
    tf.random.set_seed(SEED)
    model, optimizer = build(config["model"]), build(config["optimizer"])
    model.initialize(IMAGES_SHAPE[1:])
    optimizer.initialize(model.trainable_variables)
    return model, optimizer


def train(model, optimizer, batches):
    """Trains in TensorFlow with the exported step's noise: the scalars of the last step."""
    learner = Learner(model, optimizer, Progress(model, SEED), tf.distribute.get_strategy())
    for step, images in enumerate(batches, start=int(optimizer.step)):
        noise = pure_step.standard_normal(
            model.noise_shape(IMAGES_SHAPE[0]), tf.constant([SEED, step])
        )
        scalars = learner.step({"image": images[:, None] / np.float32(255)}, noise)
    return scalars


def values(variables):
    return {key: variable.numpy() for key, variable in variables.items()}


def moved(after, before):
    """How far all parameters have moved, one vector."""
    return np.concatenate([(after[key] - before[key]).ravel() for key in sorted(before)])


@pytest.fixture(scope="module")
def artefact(tmp_path_factory):
    """Directory of an artefact that resumes from a checkpoint of step 1, with its runner."""
    directory = tmp_path_factory.mktemp("artefact")
    model, optimizer = parts()
    train(model, optimizer, [np.full(IMAGES_SHAPE, 128, np.uint8)])
    checkpoints.CheckpointWriter(
        str(directory / "start"),
        {},
        model=model,
        optimizer=optimizer,
        progress=Progress(model, SEED),
    ).save(1)
    process = tiny.start_module(
        "export.export_step",
        "tetrominoes",
        *OVERRIDES,
        "seed=0",
        "--checkpoint",
        str(directory / "start"),
        "--out",
        str(directory / "tiny"),
        "--images",
        "2",
    )
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    shutil.copy(run_step.__file__, directory / "tiny")
    return directory / "tiny"


@pytest.fixture(scope="module")
def trained(artefact):
    """Directory of parameter files: two steps in one run, then one more in another."""
    words = [".", "--data", "images.npy", "--log-every", "1", "--save-every", "1", "--out", "runs"]
    for more in (["--steps", "2"], ["--steps", "1", "--params", "runs/params-0000003.npz"]):
        code, _, stderr = run_alone(artefact, *words, *more)
        assert code == 0, stderr
    return artefact / "runs"


def test_the_runner_alone_gives_the_parameters_and_metrics_of_training(artefact, trained):
    images = np.load(artefact / "images.npy")
    assert images.shape == (2, 35, 35, 3) and images.dtype == np.uint8 and images.max() > 0
    batches = [images[run_step.choose_batch(SEED, step, 2, 2)] for step in (1, 2, 3)]
    model, optimizer = parts()
    start = checkpoints.latest_checkpoint(artefact.parent / "start")
    checkpoints.restore(start, model=model, optimizer=optimizer)
    expected_params, expected_m, expected_v = pure_step.state_variables(model, optimizer)
    before = values(expected_params)
    scalars = train(model, optimizer, batches)

    params, m, v, step, seed = run_step.load_state(trained / "params-0000004.npz")
    assert (step, seed) == (4, SEED)
    assert relative_error(moved(params, before), moved(values(expected_params), before)) < 1e-3
    for key in params:
        assert relative_error(m[key], expected_m[key].numpy()) < 1e-3
        assert relative_error(v[key], expected_v[key].numpy()) < 1e-3
    metrics = json.loads((trained / "report.json").read_text())["metrics"]
    assert metrics["loss"] == pytest.approx(float(scalars["loss/total"]), rel=1e-4)
    assert metrics["mse"] == pytest.approx(float(scalars["loss/mse"]), rel=1e-4)
    norm = float(scalars["debug/global_grad_norm"])
    assert metrics["grad_norm"] == pytest.approx(norm, rel=1e-3)


def test_the_pure_step_reads_no_variable_even_where_it_rematerializes():
    images = np.random.default_rng(0).integers(0, 256, IMAGES_SHAPE, np.uint8)
    model, optimizer = parts(rematerialize=True)
    before = values(pure_step.trainable_variables(model))
    zeros = {key: np.zeros_like(value) for key, value in before.items()}
    step = pure_step.training_step(model, optimizer, tf.TensorSpec(IMAGES_SHAPE, tf.uint8))
    # Other values than the variables', so that a variable that is still read would show.
    params = {key: value + np.float32(0.01) for key, value in before.items()}
    state = tf.nest.map_structure(tf.constant, (params, zeros, zeros, np.int32(0)))
    params_after = tf.function(step, autograph=False)(*state, tf.constant(SEED), images)[0]
    for key, value in values(pure_step.trainable_variables(model)).items():
        np.testing.assert_array_equal(value, before[key])

    plain, plain_optimizer = parts()
    for key, variable in pure_step.trainable_variables(plain).items():
        variable.assign(params[key])
    train(plain, plain_optimizer, [images])
    after = values(pure_step.trainable_variables(plain))
    assert relative_error(moved(values(params_after), params), moved(after, params)) < 1e-3


def test_noise_is_standard_normal_and_new_in_each_step():
    noise = pure_step.standard_normal([100000], tf.constant([1, 2])).numpy()
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1.0) < 0.01
    assert abs(np.mean(noise**4) - 3.0) < 0.15
    other = pure_step.standard_normal([100000], tf.constant([1, 3])).numpy()
    assert abs(np.corrcoef(noise, other)[0, 1]) < 0.02


def test_the_artefact_is_for_cpu_and_cuda(artefact):
    exported = jax.export.deserialize(bytearray((artefact / "step.jaxexp").read_bytes()))
    assert exported.platforms == ("cpu", "cuda")


def test_parameters_come_back_as_a_checkpoint_to_train_on(trained, tmp_path):
    import_params.import_params(
        str(trained / "params-0000004.npz"),
        "tetrominoes",
        [*OVERRIDES, f"checkpoint_dir={tmp_path / 'imported'}"],
    )
    model, optimizer = parts()
    progress = Progress(model, 0)
    path = checkpoints.latest_checkpoint(tmp_path / "imported")
    checkpoints.restore(path, model=model, optimizer=optimizer, progress=progress)

    *state, step, seed = run_step.load_state(trained / "params-0000004.npz")
    assert int(optimizer.step) == step == 4 and int(progress.seed) == seed == SEED
    record = checkpoints.read_record(path)
    assert (record["seed"], record["refinement_batch_size"]) == (SEED, 2)
    assert record["config"]["model"]["n_z"] == 4 and record["data"][0]["content"]
    for variables, arrays in zip(pure_step.state_variables(model, optimizer), state):
        assert variables.keys() == arrays.keys()
        for key, value in arrays.items():
            np.testing.assert_array_equal(variables[key], value)


def test_an_imported_checkpoint_remembers_its_stage_and_the_data_of_what_it_began_with(
    trained, tmp_path
):
    before = {"content": "of another file", "held_out": 3}
    before |= {"min_num_objects": None, "max_num_objects": None}
    writer = checkpoints.CheckpointWriter(
        str(tmp_path / "before"), {"data": [before]}, v=tf.Variable(1.0)
    )
    writer.save(1)
    stages = '[{"until": 3, "kl_weight": 0.5}, {"until": 9, "batch_size": 1}]'
    words = [*OVERRIDES, f"stages={stages}", f"checkpoint_dir={tmp_path / 'imported'}"]
    params = str(trained / "params-0000004.npz")
    path = import_params.import_params(params, "tetrominoes", words, 2, tmp_path / "before")
    record = checkpoints.read_record(path)
    assert record["stage"] == 2 and record["refinement_batch_size"] == 1
    assert record["config"]["data"]["batch_size"] == 1
    assert record["data"][0] == before and record["data"][1]["content"] != before["content"]


def test_parameters_of_another_model_are_refused_and_nothing_is_written(trained, tmp_path):
    directory = tmp_path / "imported"
    overrides = [*OVERRIDES, "n_z=5", f"checkpoint_dir={directory}"]
    with pytest.raises(UserError, match="of another model"):
        import_params.import_params(str(trained / "params-0000004.npz"), "tetrominoes", overrides)
    assert not directory.exists()


def test_images_of_another_size_are_refused_in_one_line(artefact):
    np.save(artefact / "other.npy", np.zeros([2, 16, 16, 3], np.uint8))
    words = (".", "--data", "other.npy", "--steps", "100", "--out", "other")
    code, _, stderr = run_alone(artefact, *words)
    assert code == 1
    assert stderr == "error: other.npy is uint8 (2, 16, 16, 3), not uint8 (N, 35, 35, 3)\n"
    assert not pathlib.Path(artefact / "other").exists()


@pytest.mark.parametrize(
    "name, override, message",
    [
        ("tetrominose", "seed=1", "there is no config 'tetrominose'"),
        ("tetrominoes", "batchsize=2", "did you mean 'batch_size'"),
        ("tetrominoes", "batch_size=x", "has to be of type int"),
        ("tetrominoes", "strange", "write key=value"),
    ],
)
def test_a_wrong_config_is_refused(name, override, message):
    with pytest.raises(UserError, match=message):
        export_step.read_config(name, [override])


def test_a_stage_of_a_config_can_be_exported():
    config = export_step.read_config("tetrominoes_fast", ["batch_size=2"], stage=1)
    assert config["data"]["image_dim"] == [14, 14] and config["data"]["batch_size"] == 2
    assert config["model"]["kl_weight"] == 0.16
    with pytest.raises(UserError, match="has stages 1 to 8"):
        export_step.read_config("tetrominoes_fast", [], stage=9)
