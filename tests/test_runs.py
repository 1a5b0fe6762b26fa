"""What a run resumes from, whose its directory is, and what its checkpoints remember."""

import json
import os
import re
import shutil
import signal
import subprocess

import filelock
import numpy as np
import pytest
import tensorflow as tf

from iodine import checkpoints
from iodine.errors import UserError
from iodine.train import run as runs
from multi_object_datasets.generate import generate
from tests.helpers import tiny
from tests.test_command_line import error_line, run
from tests.test_training_process import metrics_of, wait_for_step


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Directory of a run of six steps, with checkpoints of steps 3 and 6."""
    directory = tmp_path_factory.mktemp("trained")
    words = tiny.arguments(
        checkpoint_dir=directory / "c", num_iters=1, stop_after_steps=6, data__cache=directory
    )
    code, _, stderr = tiny.run_here(*words)
    assert code == 0, stderr
    return directory / "c_1"


@pytest.fixture
def copied(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copy")


def words_for(directory, **updates):
    place = {"checkpoint_dir": directory, "data.cache": directory.parent}
    return tiny.arguments(**{**place, "num_iters": 1, **updates})


# ---------------------------------------------------------------- which checkpoint


def test_a_checkpoint_is_named_by_its_directory_its_prefix_or_any_of_its_files(trained):
    latest, older = str(trained / "ckpt-6"), str(trained / "ckpt-3")
    for path in (trained, f"{trained}/", trained / "checkpoint", latest, f"{latest}.index"):
        assert checkpoints.latest_checkpoint(path) == latest
    for path in (older, f"{older}.data-00000-of-00001"):
        assert checkpoints.latest_checkpoint(path) == older


@pytest.mark.parametrize("state", [None, 'model_checkpoint_path: "/elsewhere/ckpt-6"\n'])
def test_a_directory_that_was_moved_needs_no_state_file(copied, state):
    (copied / "checkpoint").unlink()
    if state:
        (copied / "checkpoint").write_text(state)
    assert checkpoints.latest_checkpoint(copied) == str(copied / "ckpt-6")


@pytest.mark.parametrize("length", [0, 1, 500, -1])
def test_a_checkpoint_cut_short_gives_way_to_the_one_before_and_says_so(copied, capsys, length):
    data = copied / "ckpt-6.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:length])
    assert checkpoints.latest_checkpoint(copied) == str(copied / "ckpt-3")
    assert "ckpt-6' cannot be read" in capsys.readouterr().err
    with pytest.raises(UserError, match="ckpt-6' cannot be read"):
        checkpoints.latest_checkpoint(copied / "ckpt-6")


def test_a_run_whose_last_checkpoint_is_damaged_goes_on_from_the_one_before(copied, tmp_path):
    data = copied / "ckpt-6.data-00000-of-00001"
    data.write_bytes(b"x" * data.stat().st_size)
    words = words_for(copied, continue_run=True, stop_after_steps=7)
    code, stdout, stderr = tiny.run_here(*words)
    assert code == 0, stderr
    assert [line.split()[0] for line in stdout.splitlines() if "Loss" in line] == [*"4567"]


@pytest.mark.parametrize("command", ["evaluate", "visualize", "load_checkpoint", "main"])
def test_a_checkpoint_of_the_original_is_to_be_converted_first(capsys, command):
    original = tiny.ROOT / "tests" / "parity" / "tetrominoes_small"
    line = error_line(capsys, command, *words_for(original, continue_run=True))
    assert "is a checkpoint of the original IODINE" in line and "convert with" in line


# ---------------------------------------------------------------- what is remembered


def test_a_checkpoint_remembers_seed_batch_size_config_and_data(trained):
    record = checkpoints.read_record(str(trained / "ckpt-6"))
    assert record["seed"] == 7
    assert record["refinement_batch_size"] == 2
    assert record["config"]["model"]["n_z"] == 4
    (data,) = record["data"]
    assert data["held_out"] == 0 and data["content"]


def test_going_on_with_another_batch_size_keeps_the_gradients_that_the_model_sees(copied):
    words = words_for(copied, continue_run=True, batch_size=4, stop_after_steps=7)
    code, _, stderr = tiny.run_here(*words)
    assert code == 0, stderr
    assert checkpoints.read_record(str(copied / "ckpt-7"))["refinement_batch_size"] == 2


def test_another_seed_or_config_than_the_checkpoints_is_told_in_a_line(capsys, copied):
    words = words_for(copied, continue_run=True, stop_after_steps=7, seed=8, learn_rate=0.5)
    code, _, stderr = run(capsys, *words)
    assert code == 0, stderr
    assert "warning: the checkpoint's seed=7 is kept, not seed=8" in stderr
    (line,) = [line for line in stderr.splitlines() if "the config differs" in line]
    assert "learn_rate=0.5 (was " in line and "seed=" not in line and "stop_after" not in line


def test_what_differs_is_named_up_to_a_number():
    before = {"model": {f"a{i}": i for i in range(9)}, "seed": 1}
    assert runs.differences_from(before, before) == []
    now = {"model": {f"a{i}": i + 1 for i in range(9)}, "seed": 2}
    (line,) = runs.differences_from(before, now)
    assert "model.a0=1 (was 0)" in line and line.endswith("and 3 more")
    assert runs.differences_from({}, now) == []


def test_of_stages_those_are_told_that_differ():
    before = {"stages": [{"until": 5, "n_z": 2}, {"until": 8}]}
    now = {"stages": [{"until": 5, "n_z": 2}, {"until": 9}, {"until": 12}]}
    (line,) = runs.differences_from(before, now)
    assert line == "stages.2.until=9 (was 8), stages.3.until=12 (was None)"


def test_scenes_that_a_model_was_trained_on_do_not_test_it(capsys, tmp_path):
    scenes = tmp_path / "scenes.tfrecords"
    generate("tetrominoes", num_scenes=12, seed=0, path=str(scenes), workers=1)
    words = {
        "data.path": scenes,
        "data.held_out": 4,
        "checkpoint_dir": tmp_path / "c",
        "num_iters": 1,
    }
    code, _, stderr = run(capsys, *tiny.arguments(**words, stop_after_steps=1))
    assert code == 0, stderr
    words |= {"checkpoint_dir": tmp_path / "c_1", "eval_images": 4}
    assert run(capsys, "evaluate", *tiny.arguments(**words))[0] == 0
    words |= {"data.held_out": 8, "eval_images": 8}
    line = error_line(capsys, "evaluate", *tiny.arguments(**words))
    assert "was trained on scenes of" in line and "--split test" in line
    line = error_line(capsys, "visualize", *tiny.arguments(**words))
    assert "was trained on scenes of" in line


def test_scenes_that_a_model_or_its_ancestors_were_trained_on_do_not_test_it(capsys, tmp_path):
    paths = [tmp_path / f"{number}.tfrecords" for number in range(2)]
    for seed, path in enumerate(paths):
        generate("tetrominoes", num_scenes=12, seed=seed, path=str(path), workers=1)
    words = {"num_iters": 1, "eval_images": 4}
    stages = [
        # A model that leaves four scenes alone, then a resumed run that leaves eight alone, then
        # one that begins with its weights, on other scenes.
        {"data.path": paths[0], "data.held_out": 4, "checkpoint_dir": tmp_path / "a"},
        {"data.path": paths[0], "data.held_out": 8, "checkpoint_dir": tmp_path / "a"},
        {
            "data.path": paths[1],
            "data.held_out": 4,
            "checkpoint_dir": tmp_path / "b",
            "initial_weights": tmp_path / "a",
        },
    ]
    for stop, stage in enumerate(stages, 1):
        updates = {**words, **stage, "continue_run": "auto", "stop_after_steps": stop}
        code, _, stderr = tiny.run_here(*tiny.arguments(**updates))
        assert code == 0, stderr
    latest = checkpoints.latest_checkpoint(tmp_path / "b")
    data = checkpoints.read_record(latest)["data"]
    assert [entry["held_out"] for entry in data] == [4, 8, 4]
    assert data[0]["content"] == data[1]["content"] != data[2]["content"]
    place = {**words, "checkpoint_dir": tmp_path / "b"}
    for path, held_out in zip(paths, (4, 4)):
        own = {**place, "data.path": path, "data.held_out": held_out}
        assert run(capsys, "evaluate", *tiny.arguments(**own))[0] == 0
        more = {**place, "data.path": path, "data.held_out": 6, "eval_images": 6}
        line = error_line(capsys, "evaluate", *tiny.arguments(**more))
        assert "left alone the first 4" in line


# ---------------------------------------------------------------- one run, one directory


@pytest.mark.parametrize("continue_run", [True, "auto"])
def test_a_checkpoint_is_no_directory_to_train_in(capsys, copied, continue_run):
    before, cache = sorted(os.listdir(copied)), {"data.cache": copied.parent}
    for name in ("ckpt-6", "ckpt-6.index"):
        words = words_for(copied / name, continue_run=continue_run, stop_after_steps=9, **cache)
        line = error_line(capsys, *words)
        assert f"'{copied}/{name}' is a checkpoint" in line
        assert f"checkpoint_dir={copied}," in line and "initial_weights=" in line
    assert sorted(os.listdir(copied)) == before
    words = words_for(copied, out=copied / "ckpt-6", **cache)
    assert "is a checkpoint" in error_line(capsys, "export_weights", *words)
    assert sorted(os.listdir(copied)) == before


def test_a_checkpoint_wins_over_a_directory_of_its_name(copied):
    (copied / "ckpt-3").mkdir()
    path = checkpoints.latest_checkpoint(copied / "ckpt-3")
    assert path == str(copied / "ckpt-3") and checkpoints.read_record(path)["seed"] == 7
    code, _, stderr = tiny.run_here("load_checkpoint", *words_for(copied / "ckpt-3"))
    assert code == 0, stderr


@pytest.mark.parametrize("name", ["run [1]", "run*", "a\\b"])
def test_a_directory_whose_name_tensorflow_takes_for_a_pattern_is_refused(capsys, tmp_path, name):
    words = words_for(tmp_path / name, **{"data.cache": tmp_path / "cache"})
    assert "is no name for a directory of checkpoints" in error_line(capsys, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_checkpoint_below_a_directory_of_any_name_can_be_read(trained, tmp_path):
    directory = shutil.copytree(trained, tmp_path / "run [1]" / "c")
    code, stdout, stderr = tiny.run_here("load_checkpoint", *words_for(directory))
    assert code == 0 and "iodine/initial_sample_distribution" in stdout, stderr
    path = checkpoints.latest_checkpoint(directory)
    assert path == str(directory / "ckpt-6") and checkpoints.read_record(path)["seed"] == 7


@pytest.mark.parametrize("continue_run", ["auto", False])
def test_whether_to_go_on_is_decided_once_no_other_run_has_the_directory(
    copied, monkeypatch, continue_run
):
    # Another run begins, saves and ends between the first look and the lock.
    acquire, directory = filelock.FileLock.acquire, copied.parent / "c_1"

    def acquire_late(lock):
        shutil.copytree(copied, directory, dirs_exist_ok=True)
        return acquire(lock)

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire_late)
    name = directory if continue_run == "auto" else copied.parent / "c"
    config = {"checkpoint_dir": str(name), "continue_run": continue_run, "initial_weights": None}
    strategy = tf.distribute.get_strategy()
    if continue_run == "auto":
        with runs.claimed(config, 1, strategy) as claimed:
            assert claimed == (str(directory), True)
    else:
        with pytest.raises(UserError, match="holds a run already"):
            with runs.claimed(config, 1, strategy):
                pass


def test_a_second_run_in_the_same_directory_is_refused_while_the_first_one_lasts(tmp_path):
    words = tiny.arguments(checkpoint_dir=tmp_path / "c", num_iters=1, save_checkpoint_steps=10**6)
    first = tiny.start(*words, "stop_after_steps=1000000")
    wait_for_step(first, 1)
    code, _, stderr = tiny.run_here(*words)
    assert code == 1
    assert f"error: another run is training in '{tmp_path / 'c_1'}'" in stderr
    first.send_signal(signal.SIGTERM)
    assert first.wait() == 143
    words = words_for(tmp_path / "c_1", continue_run=True)
    going_on = tiny.start(*words, "stop_after_steps=1000000")
    step = checkpoints.step_of(checkpoints.latest_checkpoint(tmp_path / "c_1"))
    wait_for_step(going_on, step + 1)
    code, _, stderr = tiny.run_here(*words)
    assert code == 1 and "another run is training" in stderr
    going_on.kill()
    going_on.wait()


def test_continue_run_auto_starts_and_then_goes_on(tmp_path):
    losses = {}
    for stop_after_steps, run_id in ((3, 1), (6, 2)):
        words = tiny.arguments(
            checkpoint_dir=tmp_path / "c/",
            num_iters=1,
            continue_run="auto",
            stop_after_steps=stop_after_steps,
            data__cache=tmp_path,
        )
        code, _, stderr = tiny.run_here("-F", str(tmp_path / "runs"), *words)
        assert code == 0, stderr
        losses[run_id] = metrics_of(tmp_path / "runs", run_id)["loss"]
    assert list(losses[1]) == [1, 2, 3] and list(losses[2]) == [4, 5, 6]
    assert checkpoints.checkpoints_in(str(tmp_path / "c"))


def test_weights_are_not_exported_over_a_run(capsys, copied):
    before = sorted(os.listdir(copied))
    line = error_line(capsys, "export_weights", *words_for(copied, out=copied))
    assert "holds checkpoints already" in line
    assert sorted(os.listdir(copied)) == before


def test_exported_weights_remember_no_places_of_the_machine_that_trained_them(trained, tmp_path):
    config = checkpoints.read_record(str(trained / "ckpt-6"))["config"]
    words = words_for(trained, out=tmp_path / "exported")
    code, _, stderr = tiny.run_here("export_weights", *words)
    assert code == 0, stderr
    record = checkpoints.read_record(str(tmp_path / "exported" / "ckpt-6"))
    assert str(tiny.ROOT) not in json.dumps(record)
    assert str(trained) not in json.dumps(record)
    # But what they were made of.
    assert record["seed"] == 7 and record["data"][0]["content"]
    assert config["data"].pop("cache") and config["data"].pop("path") == str(tiny.SCENES)
    assert record["config"]["data"] == {
        **config["data"],
        "path": "multi_object_datasets/scenes.tfrecords",
    }
    assert record["config"]["model"] == config["model"]
    assert "checkpoint_dir" not in record["config"]


def test_weights_of_several_files_remember_the_names_of_each():
    data = {"path": ["/home/me/a.tfrecords", "b/pictures/"], "cache": "/tmp", "held_out": 2}
    shared = runs.record_to_share({"seed": 1, "config": {"out": "/tmp/o", "n_z": 4, "data": data}})
    folder = "multi_object_datasets"
    data = {"path": [f"{folder}/a.tfrecords", f"{folder}/pictures"], "held_out": 2}
    assert shared == {"seed": 1, "config": {"n_z": 4, "data": data}}


# ---------------------------------------------------------------- weights to begin with


def test_a_run_begins_with_the_weights_of_another_at_step_0(trained, tmp_path):
    out = tmp_path / "exported"
    code, _, stderr = tiny.run_here("export_weights", *words_for(trained, out=out))
    assert code == 0, stderr
    still = words_for(
        tmp_path / "c", initial_weights=out, learn_rate=0.0, batch_size=4, stop_after_steps=1
    )
    code, _, stderr = tiny.run_here(*still)
    assert code == 0, stderr
    before = checkpoints.read_checkpoint(str(trained / "ckpt-6"))
    after = checkpoints.read_checkpoint(str(tmp_path / "c_1" / "ckpt-1"))
    weights = [
        name
        for name in after
        if re.match(r"model/(?!.*/mean_var/).*VARIABLE_VALUE", name)  # but means of factors seen
    ]
    assert len(weights) > 20
    for name in weights:
        np.testing.assert_array_equal(after[name], before[name], name)
    # The gradients that the refinement network sees are scaled as those that it learnt from.
    assert checkpoints.read_record(str(tmp_path / "c_1" / "ckpt-1"))["refinement_batch_size"] == 2


def test_a_run_that_goes_on_does_not_begin_again(trained, tmp_path):
    words = {"initial_weights": trained, "data__cache": tmp_path, "num_iters": 1}
    for name, stops in {"whole": [4], "parts": [2, 4]}.items():
        for stop in stops:
            place = {"checkpoint_dir": tmp_path / name, "continue_run": "auto"}
            code, _, stderr = tiny.run_here(
                *tiny.arguments(**words, **place, stop_after_steps=stop)
            )
            assert code == 0, stderr
    whole, parts = (
        checkpoints.read_checkpoint(str(tmp_path / name / "ckpt-4")) for name in ("whole", "parts")
    )
    for name in whole:
        if "VARIABLE_VALUE" in name:
            np.testing.assert_array_equal(whole[name], parts[name], name)


def test_weights_that_no_run_can_begin_with_get_a_line(capsys, trained, tmp_path):
    words = {"checkpoint_dir": tmp_path / "c", "data__cache": tmp_path, "num_iters": 1}
    missing = tiny.arguments(**words, initial_weights=tmp_path / "nowhere")
    assert f"there is no checkpoint at '{tmp_path}/nowhere'" in error_line(capsys, *missing)
    assert not (tmp_path / "c_1").exists()
    number = tiny.arguments(**words, initial_weights=5)
    assert "initial_weights=5 is no path" in error_line(capsys, *number)
    other = tiny.arguments(**words, initial_weights=trained, n_z=5)
    assert "is of another architecture than the config:" in error_line(capsys, *other)


# ---------------------------------------------------------------- weights that are spoiled


def test_weights_that_spoil_the_next_step_are_taken_back(capsys, tmp_path):
    words = tiny.arguments(
        checkpoint_dir=tmp_path / "c", num_iters=1, learn_rate=1e30, save_checkpoint_steps=1
    )
    line = error_line(capsys, *words)
    assert "the loss of step 2 is nan" in line and "last good checkpoint: None" in line
    assert not list((tmp_path / "c_1").glob("ckpt*"))


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    variable = tf.Variable([1.0, 2.0])
    model = tf.train.Checkpoint(v=variable)
    writer = checkpoints.CheckpointWriter(str(tmp_path), {}, model=model)
    first = writer.save(1)
    variable.assign([np.inf, 2.0])
    with pytest.raises(UserError, match="after step 2 the variable model/v is not finite.*ckpt-1"):
        writer.save(2)
    assert checkpoints.latest_checkpoint(tmp_path) == first


def test_an_event_file_that_cannot_be_written_costs_a_warning_alone(tmp_path):
    (tmp_path / "c_1").mkdir()
    # TensorBoard's writer makes its files in the run's directory: a limit on the size of any file
    # that still lets checkpoints through is not to be had, so a full device takes their place.
    words = tiny.arguments(checkpoint_dir=tmp_path / "c", num_iters=1, stop_after_steps=3)
    process = tiny.start(*words)
    wait_for_step(process, 1)
    for path in (tmp_path / "c_1").glob("events*"):
        path.unlink()
        path.symlink_to("/dev/full")
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert (tmp_path / "c_1" / "ckpt-3.index").exists()


def test_each_line_is_in_the_file_as_soon_as_it_is_printed(tmp_path):
    with open(tmp_path / "log", "w") as log:
        words = tiny.arguments(checkpoint_dir=tmp_path / "c", num_iters=1, stop_after_steps=10**6)
        process = tiny.start(*words, stdout=log, environment={"PYTHONUNBUFFERED": ""})
        for line in process.stderr:
            if "Started" in line:
                break
        for _ in range(600):
            if "Loss:" in (tmp_path / "log").read_text():
                break
            try:
                process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
    assert process.poll() is None and "Loss:" in (tmp_path / "log").read_text()
    process.kill()
    process.wait()


def test_a_config_file_that_is_not_there_is_named(capsys):
    assert "demo.json is not there" in error_line(capsys, "with", "demo.json")


@pytest.mark.parametrize(
    "words, said",
    [
        (["with", "demo", "out=2024"], "out=2024 is no path"),
        (["with", "demo", "seed=-1"], "seed=-1"),
        (["with", "demo", "seed=99999999999"], "seed=99999999999"),
        (["with", "demo", "continue_run=maybe"], "True, False, auto"),
        (["with", "demo", "xla=perhaps"], "auto, True, False"),
        (["with", "shapes", "pixel_scale=0.1"], "pixel_scale means nothing to this config"),
        (["with", "demo", "batch_size.x=3"], "batch_size has no entries of its own"),
        (["with", "demo", "image_dim.0=3"], "image_dim has no entries of its own"),
    ],
)
def test_values_that_no_run_can_use_get_a_line(capsys, words, said):
    assert said in error_line(capsys, *words)


def test_a_whole_float_passes_for_an_integer(capsys):
    code, stdout, _ = run(capsys, "print_config", "with", "demo", "stop_after_steps=1e5")
    assert code == 0 and "stop_after_steps = 100000" in stdout


def test_a_plan_takes_the_place_of_none(capsys):
    regressor = '{"constructor": "iodine.modules.nowhere.Nothing", "mapping": []}'
    words = ("with", "multi_dsprites_fast", f"model.factor_evaluator={regressor}")
    assert "iodine.modules.nowhere" in error_line(capsys, *words)


def test_a_missing_observer_package_is_named(tmp_path):
    blocker = tmp_path / "sitecustomize.py"
    blocker.write_text("import sys\nsys.modules['pymongo'] = None\n")
    process = tiny.start(
        "-m", "127.0.0.1:1:x", "with", "demo", environment={"PYTHONPATH": str(tmp_path)}
    )
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1 and "Traceback" not in stderr
    assert ".[observers]" in stderr


def test_a_broken_cluster_description_gets_a_line(tmp_path, monkeypatch):
    cluster = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}
    first = {"type": "worker", "index": 0}
    senseless = (
        {"cluster": cluster, "task": {"type": "worker", "index": 2}},
        {"cluster": cluster},
        {"cluster": {"worker": ["localhost"]}, "task": first},
        {"cluster": {"worker": "localhost:1"}, "task": first},
        {"cluster": {"ps": ["localhost:1"]}, "task": {"type": "ps", "index": 0}},
    )
    for broken in ("{", "[3]", '{"cluster": 3}', *map(json.dumps, senseless)):
        monkeypatch.setenv("TF_CONFIG", broken)
        code, _, stderr = tiny.run_here(*tiny.arguments(checkpoint_dir=tmp_path / "c"))
        assert code == 1 and "Traceback" not in stderr, stderr
        assert "TF_CONFIG describes no cluster with this task" in stderr
