"""Converting checkpoints of the reference to ours and back."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from iodine import checkpoints, reference_checkpoints
from iodine.errors import UserError
from iodine.main import build, ex, get_config
from iodine.train import devices
from iodine.train.learner import Learner, Progress
from tests.helpers import tiny
from tests.helpers.parity_cases import CASES, NUM_STEPS, ROOT, ParityCase, relative_error

pytestmark = pytest.mark.usefixtures("eagerly")

DATA_SUFFIX = ".data-00000-of-00001"


def save_with_tf1(prefix, values):
    """Writes a checkpoint as the reference did: TensorFlow 1 variables, saved by its Saver."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in values.items():
            tf.compat.v1.get_variable(name, initializer=value, use_resource=False)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(prefix), write_meta_graph=False)


def restore_with_tf1(prefix, shapes):
    """Reads the variables of these shapes, {name: shape}, by the reference's Saver."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = {
            name: tf.compat.v1.get_variable(
                name, shape, tf.int64 if name == "global_step" else tf.float32, use_resource=False
            )
            for name, shape in shapes.items()
        }
        tf.compat.v1.train.Saver().restore(session, str(prefix))
        return session.run(variables)


def random_values(shapes, step):
    """Made-up contents of a checkpoint with variables of these shapes, {name: array}."""
    rng = np.random.default_rng(0)
    values = {n: rng.normal(0, 0.1, size=shape).astype(np.float32) for n, shape in shapes.items()}
    values["global_step"] = np.int64(step)
    for name, beta in (("beta1_power", 0.95), ("beta2_power", 0.999)):
        if name in values:
            power = np.float32(beta)
            for _ in range(step):
                power *= np.float32(beta)
            values[name] = power
    return values


def new_parts(named_config, updates=None):
    """(model, optimizer) of a config, with all their variables."""
    config = get_config(named_config, updates)
    model, optimizer = build(config["model"]), build(config["optimizer"])
    model.initialize(build(config["data"]).image_shape)
    optimizer.initialize(model.trainable_variables)
    return model, optimizer


def case_settings(name):
    """(named config, updates, {variable: shape}) of a parity case."""
    case = json.loads((ROOT / name / "case.json").read_text())
    return case["named_config"], case["config_updates"], case["variables"]


def run_in_process(command, *words):
    """Runs a command line in this process; returns what it exits with, None where it succeeds."""
    try:
        ex.run_commandline(["iodine", command, *map(str, words)])
    except SystemExit as error:
        return error.code
    return None


def words_of(updates):
    return [f"{key}={value}" for key, value in updates.items()]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A checkpoint of the reference for the tiny config: its values, and the prefix."""
    model, optimizer = new_parts("tetrominoes", tiny.UPDATES)
    variables = reference_checkpoints.training_variables(model, optimizer)
    shapes = {name: variable.shape.as_list() for name, variable in variables.items()}
    values = random_values({**shapes, "beta1_power": [], "beta2_power": []}, step=40)
    for name, value in values.items():
        if name.endswith(("/Adam_1", "/M2", "/total")):  # sums of squares, and a count
            values[name] = np.square(value) + np.float32(1)
    prefix = tmp_path_factory.mktemp("reference") / "model.ckpt"
    save_with_tf1(prefix, values)
    return values, prefix


def convert_small(reference_checkpoint, checkpoint_dir):
    """Runs `convert` with the tiny config in this process."""
    return run_in_process(
        "convert",
        *tiny.arguments(reference_checkpoint=reference_checkpoint, checkpoint_dir=checkpoint_dir),
    )


# ---------------------------------------------------------------- what is converted


@pytest.mark.parametrize("case", CASES)
def test_a_round_trip_changes_no_name_and_no_bit(case, tmp_path):
    named_config, updates, shapes = case_settings(case)
    values = random_values(shapes, step=1234)
    save_with_tf1(tmp_path / "theirs" / "model.ckpt", values)
    ours = reference_checkpoints.convert(
        *new_parts(named_config, updates),
        tmp_path / "theirs",
        tmp_path / "ours",
        seed=3,
        refinement_batch_size=32,
    )
    assert checkpoints.read_record(ours) == {"refinement_batch_size": 32}
    model, optimizer = new_parts(named_config, updates)
    checkpoints.restore(ours, model=model, optimizer=optimizer)
    reference_checkpoints.export_reference(model, optimizer, tmp_path / "again" / "model.ckpt")

    exported = checkpoints.read_checkpoint(str(tmp_path / "again" / "model.ckpt"))
    assert exported.keys() == values.keys()
    for name, value in values.items():
        assert exported[name].dtype == value.dtype, name
        assert exported[name].tobytes() == value.tobytes(), name


@pytest.mark.parametrize("case", CASES)
def test_training_on_from_a_converted_checkpoint_makes_the_references_steps(case, tmp_path):
    parity = ParityCase(case)
    ours = reference_checkpoints.convert(
        parity.model, parity.optimizer, ROOT / case, tmp_path, seed=3, refinement_batch_size=2
    )
    named_config, updates, _ = case_settings(case)
    model, optimizer = new_parts(named_config, updates)
    progress = Progress(model, seed=99)
    checkpoints.restore(ours, model=model, optimizer=optimizer, progress=progress)
    assert int(progress.seed) == 3
    variables = reference_checkpoints.reference_variables(model)
    start = {name: variable.numpy() for name, variable in variables.items()}
    strategy = devices.create_strategy("one_device")
    learner = Learner(model, optimizer, progress, strategy)
    batch = tf.nest.map_structure(tf.constant, parity.data)
    for step in range(NUM_STEPS):
        golden = {k.removeprefix(f"train/{step}/"): v for k, v in parity.golden.items()}
        scalars = learner.step(batch, tf.constant(golden["noise"]))
        assert relative_error(scalars["loss/total"], golden["loss"]) < 1e-4
        norm = scalars["debug/global_grad_norm"]
        assert relative_error(norm, golden["global_norm"]) < 1e-3
    for name, variable in variables.items():
        moved = parity.golden[f"after/{name}"] - start[name]
        assert relative_error(variable.numpy() - start[name], moved) < 1e-3, name


def test_a_checkpoint_of_the_published_clevr6s_names_and_shapes_converts(tmp_path):
    shapes = json.loads((ROOT / "clevr6_full_variables.json").read_text())
    values = random_values(shapes, step=1_000_000)
    save_with_tf1(tmp_path / "published" / "model.ckpt", values)
    assert not run_in_process(
        "convert",
        "with",
        "clevr6",
        f"reference_checkpoint={tmp_path}/published/model.ckpt",
        f"checkpoint_dir={tmp_path}/clevr6",
    )
    model, optimizer = new_parts("clevr6")
    ours = checkpoints.latest_checkpoint(tmp_path / "clevr6")
    checkpoints.restore(ours, model=model, optimizer=optimizer)
    variables = reference_checkpoints.training_variables(model, optimizer)
    for name, value in values.items():
        assert variables[name].numpy().tobytes() == value.tobytes(), name
    assert all(not moment.numpy().any() for moment in (*optimizer.m, *optimizer.v))


def test_tf1_restores_an_exported_checkpoint(small, tmp_path):
    values, prefix = small
    assert convert_small(prefix, tmp_path / "ours") is None
    assert not run_in_process(
        "export_reference",
        *tiny.arguments(checkpoint_dir=tmp_path / "ours", out=tmp_path / "exported" / "model.ckpt"),
    )
    assert tf.train.latest_checkpoint(tmp_path / "exported") == f"{tmp_path}/exported/model.ckpt"
    restored = restore_with_tf1(
        tmp_path / "exported" / "model.ckpt", {name: v.shape for name, v in values.items()}
    )
    for name, value in values.items():
        assert restored[name].tobytes() == value.tobytes(), name


def test_beta_powers_are_what_float32_multiplication_gives_and_never_denormal():
    assert reference_checkpoints.beta_power(0.95, 0) == np.float32(0.95)
    assert reference_checkpoints.beta_power(0.95, 1) == np.float32(0.95) * np.float32(0.95)
    assert reference_checkpoints.beta_power(0.95, 1700) > 0
    assert reference_checkpoints.beta_power(0.95, 1_000_000) == 0


def test_training_and_evaluation_go_on_from_a_converted_checkpoint(small, tmp_path):
    updates = {"checkpoint_dir": tmp_path / "ours", "data__cache": tmp_path}
    code, stdout, stderr = tiny.run_here(
        "convert", *tiny.arguments(reference_checkpoint=small[1], **updates)
    )
    assert code == 0, stderr
    assert f"of step 40 to '{tmp_path}/ours/ckpt-40'" in stdout
    code, stdout, stderr = tiny.run_here(
        *tiny.arguments(continue_run=True, stop_after_steps=42, **updates)
    )
    assert code == 0, stderr
    assert [line.split()[0] for line in stdout.splitlines() if "Loss:" in line] == ["41", "42"]
    # What was converted, since two steps more have seen all scenes of the file.
    updates["checkpoint_dir"] = tmp_path / "ours" / "ckpt-40"
    code, stdout, stderr = tiny.run_here("evaluate", *tiny.arguments(eval_images=2, **updates))
    assert code == 0, stderr
    assert "ari_nobg" in stdout


# ---------------------------------------------------------------- which checkpoint is meant


def test_a_directory_a_prefix_or_any_file_names_a_checkpoint(small, tmp_path):
    _, prefix = small
    for path in ("", "checkpoint", "model.ckpt", "model.ckpt.index", f"model.ckpt{DATA_SUFFIX}"):
        found = checkpoints.checkpoint_prefix(prefix.parent / path)
        assert found == str(prefix), path
    # Without the state file, and with one that names a place on another machine.
    shutil.copytree(prefix.parent, tmp_path / "copy")
    (tmp_path / "copy" / "checkpoint").write_text('model_checkpoint_path: "/other/model.ckpt"\n')
    assert checkpoints.checkpoint_prefix(tmp_path / "copy") == f"{tmp_path}/copy/model.ckpt"
    (tmp_path / "copy" / "checkpoint").unlink()
    assert checkpoints.checkpoint_prefix(tmp_path / "copy") == f"{tmp_path}/copy/model.ckpt"


def test_a_directory_of_two_checkpoints_and_none_latest_is_refused(small, tmp_path):
    for name in ("a", "b"):
        shutil.copy(f"{small[1]}.index", tmp_path / f"{name}.index")
    message = convert_small(tmp_path, tmp_path / "ours")
    assert message == f"error: '{tmp_path}' holds 2 checkpoints: name one of their files"


@pytest.mark.parametrize("path", ["", "nothing", "nothing/model.ckpt"])
def test_no_checkpoint_is_refused(path, tmp_path):
    message = convert_small(tmp_path / path, tmp_path / "ours")
    assert message == f"error: there is no checkpoint at '{tmp_path / path}'"
    assert not (tmp_path / "ours").exists()


def test_no_reference_checkpoint_and_no_out_are_refused(tmp_path):
    assert run_in_process("convert", "with", "tetrominoes") == (
        "error: say which checkpoint to convert: reference_checkpoint=PATH"
    )
    message = run_in_process("export_reference", "with", "tetrominoes_fast")
    assert message.startswith("error: say where to write: out=PREFIX")


# ---------------------------------------------------------------- what is refused


def test_missing_left_over_and_misshapen_variables_are_listed_and_nothing_written(small, tmp_path):
    values = dict(small[0])
    del values["factor_evaluator/repres_content/predict_latents/b"]
    values["recurrent_net/lstm/lstm/b_gates"] = np.zeros(16, np.float32)
    values["encoder_net/cnn/mlp/linear_0/b"] = np.zeros(9, np.float32)
    save_with_tf1(tmp_path / "model.ckpt", values)
    message = convert_small(tmp_path / "model.ckpt", tmp_path / "ours")
    head, *table = message.splitlines()
    assert head == f"error: '{tmp_path}/model.ckpt' does not fit the config's model:"
    assert [line.split(maxsplit=1)[0] for line in table] == [
        "name",
        "encoder_net/cnn/mlp/linear_0/b",
        "factor_evaluator/repres_content/predict_latents/b",
        "recurrent_net/lstm/lstm/b_gates",
    ]
    assert [line.split()[1:] for line in table] == [
        ["found", "wanted"],
        ["[9]", "[8]"],
        ["missing", "[25]"],
        ["[16]", "unknown"],
    ]
    assert not (tmp_path / "ours").exists()


def test_a_lack_of_some_moments_is_listed(small, tmp_path):
    values = dict(small[0])
    del values["model/iodine/initial_sample_distribution/Adam_1"]
    save_with_tf1(tmp_path / "model.ckpt", values)
    message = convert_small(tmp_path / "model.ckpt", tmp_path / "ours")
    (line,) = message.splitlines()[2:]
    assert line.split() == ["model/iodine/initial_sample_distribution/Adam_1", "missing", "[8]"]


@pytest.mark.parametrize("ending", [".index", DATA_SUFFIX])
@pytest.mark.parametrize("damage", ["truncated", "garbage", "flipped"])
def test_a_damaged_checkpoint_is_refused(small, tmp_path, ending, damage):
    _, prefix = small
    for suffix in (".index", DATA_SUFFIX):
        shutil.copy(f"{prefix}{suffix}", tmp_path / f"model.ckpt{suffix}")
    file = tmp_path / f"model.ckpt{ending}"
    content = bytearray(file.read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    elif damage == "garbage":
        content = b"garbage"
    else:
        content[len(content) // 2] ^= 1
    file.write_bytes(content)
    message = convert_small(tmp_path / "model.ckpt", tmp_path / "ours")
    assert message.startswith(f"error: the checkpoint '{tmp_path}/model.ckpt' cannot be read: ")
    assert not (tmp_path / "ours").exists()


def test_checkpoints_that_are_there_are_not_overwritten(small, tmp_path):
    assert convert_small(small[1], tmp_path / "ours") is None
    before = {path: path.read_bytes() for path in (tmp_path / "ours").iterdir()}
    message = f"error: '{tmp_path}/ours' holds checkpoints already: choose another directory"
    assert convert_small(small[1], tmp_path / "ours") == message
    export = tiny.arguments(checkpoint_dir=tmp_path / "ours", out=tmp_path / "ours" / "model.ckpt")
    assert run_in_process("export_reference", *export) == message
    assert {path: path.read_bytes() for path in (tmp_path / "ours").iterdir()} == before


def test_a_checkpoint_of_ours_is_not_converted_again(small, tmp_path):
    assert convert_small(small[1], tmp_path / "ours") is None
    message = convert_small(tmp_path / "ours", tmp_path / "twice")
    assert message == f"error: '{tmp_path}/ours' is a checkpoint of ours and needs no conversion"


def test_a_place_that_cannot_be_written_is_refused(small, tmp_path):
    (tmp_path / "file").touch()
    message = convert_small(small[1], tmp_path / "file" / "ours")
    assert message.startswith(f"error: cannot make checkpoint_dir={tmp_path}/file/ours: ")
    assert convert_small(small[1], tmp_path / "ours") is None
    message = run_in_process(
        "export_reference",
        *tiny.arguments(checkpoint_dir=tmp_path / "ours", out=tmp_path / "file" / "model.ckpt"),
    )
    assert message.startswith(f"error: cannot write the checkpoint '{tmp_path}/file/model.ckpt': ")


def test_a_network_that_the_reference_has_no_names_for_is_not_exported(tmp_path):
    config = get_config("tetrominoes", tiny.UPDATES)
    pixel_decoder = config["model"]["decoder"]["pixel_decoder"]
    pixel_decoder["constructor"] = "iodine.modules.networks.DeConv"
    del pixel_decoder["coord_type"]
    model, optimizer = build(config["model"]), build(config["optimizer"])
    model.initialize((35, 35, 3))
    with pytest.raises(UserError, match="no place for"):
        reference_checkpoints.export_reference(model, optimizer, tmp_path / "model.ckpt")
    assert not list(tmp_path.iterdir())
