"""Several workers that train together, as processes on this machine."""

import json
import re
import shutil
import signal
import socket
import time

import numpy as np
import pytest
import tensorflow as tf

from iodine.checkpoints import checkpoints_in, read_record, step_of
from tests.helpers import tiny, trained
from tests.test_training_process import metrics_of, wait_for_step

WORKERS = [("worker", 0), ("worker", 1)]
CHIEF_AND_WORKER = [("chief", 0), ("worker", 0)]  # as Vertex AI and Kubeflow call them


def environments(tasks):
    """TF_CONFIG of each task of a cluster on free ports of this machine."""
    sockets = [socket.socket() for _ in tasks]
    cluster = {}
    for (kind, _), free in zip(tasks, sockets):
        free.bind(("127.0.0.1", 0))
        cluster.setdefault(kind, []).append(f"127.0.0.1:{free.getsockname()[1]}")
    for free in sockets:
        free.close()
    return [
        {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}
        for kind, index in tasks
    ]


def start_all(tasks, directory, *options, **updates):
    """Starts the training command as each of the tasks; they share directory/c."""
    words = tiny.arguments(checkpoint_dir=directory / "c", num_iters=1, **updates)
    words = [word for word in words if word != "seed=None"]
    return [
        tiny.start(*(options if number == 0 else ()), *words, environment=environment)
        for number, environment in enumerate(environments(tasks))
    ]


def test_two_workers_end_with_equal_variables_and_with_those_of_one(tmp_path):
    processes = [
        tiny.start_module(
            "tests.helpers.train_worker", str(tmp_path / f"{index}.npz"), environment=environment
        )
        for index, environment in enumerate(environments(WORKERS))
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert not (tmp_path / "1.npz.checkpoints").exists()  # the chief alone writes
    first, second = (np.load(tmp_path / f"{index}.npz") for index in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    together = tf.train.load_checkpoint(str(tmp_path / "0.npz.checkpoints" / "ckpt-3"))
    alone = tf.train.load_checkpoint(f"{trained.checkpoint_dir()}/ckpt-3")
    for name in alone.get_variable_to_shape_map():
        if name.startswith("model/"):
            np.testing.assert_allclose(
                together.get_tensor(name), alone.get_tensor(name), rtol=1e-4, atol=1e-6
            )


def check_losses(directory, **updates):
    """Checks the losses that the chief recorded: those of one process with its seed."""
    recorded = metrics_of(directory / "runs", 1)["loss"]
    seed = read_record(checkpoints_in(str(directory / "c_1"))[0])["seed"]
    alone = directory / "alone"
    words = tiny.arguments(checkpoint_dir=alone / "c", num_iters=1, seed=seed, **updates)
    code, _, stderr = tiny.run_here("-F", alone / "runs", *words)
    assert code == 0, stderr
    expected = metrics_of(alone / "runs", 1)["loss"]
    for step, loss in expected.items():
        assert recorded[step] == pytest.approx(loss, rel=1e-4), step


def test_one_task_writes_and_all_take_its_seed_through_all_stages(tmp_path):
    stages = '[{"until": 2, "image_dim": [14, 14]}, {"until": 4}]'
    options = ["-F", str(tmp_path / "runs")]
    processes = start_all(WORKERS, tmp_path, *options, seed=None, stages=stages)
    (chief_lines, chief_error), (other_lines, other_error) = (
        process.communicate(timeout=300) for process in processes
    )
    assert [process.returncode for process in processes] == [0, 0], chief_error + other_error
    assert "Loss:" in chief_lines and "Loss:" not in other_lines
    assert list(metrics_of(tmp_path / "runs", 1)["loss"]) == [1, 2, 3, 4]
    check_losses(tmp_path, stages=stages)


def test_sigterm_of_one_task_stops_all_after_the_same_step_and_the_chief_saves(tmp_path):
    options = ["-F", str(tmp_path / "runs")]
    periods = {"stop_after_steps": 10**6, "save_checkpoint_steps": 10**6}
    chief, other = start_all(CHIEF_AND_WORKER, tmp_path, *options, seed=None, **periods)
    wait_for_step(chief, 3)
    other.send_signal(signal.SIGTERM)
    lines, chief_error = chief.communicate(timeout=120)
    other_lines, other_error = other.communicate(timeout=120)
    assert (chief.returncode, other.returncode) == (143, 143), chief_error + other_error
    assert "Traceback" not in chief_error + other_error
    assert "Loss:" not in other_lines
    (checkpoint,) = checkpoints_in(str(tmp_path / "c_1"))
    last = re.findall(r"^ *(\d+) Loss:", lines, re.MULTILINE)
    assert step_of(checkpoint) == int(last[-1] if last else 3)
    check_losses(tmp_path, stop_after_steps=3)


@pytest.mark.parametrize("save_checkpoint_steps", [2, 10**6])
def test_a_worker_that_is_killed_leaves_one_line_that_says_how_to_go_on(
    tmp_path, save_checkpoint_steps
):
    periods = {"stop_after_steps": 10**6, "save_checkpoint_steps": save_checkpoint_steps}
    chief, other = start_all(WORKERS, tmp_path, **periods)
    wait_for_step(chief, 3)
    other.kill()
    _, error = chief.communicate(timeout=180)
    other.communicate()
    assert chief.returncode == 75, error
    assert "Traceback" not in error
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert "another worker is gone" in line
    saved = checkpoints_in(str(tmp_path / "c_1"))
    assert line.endswith(saved[0] if saved else "nothing was saved yet, start all again")
    assert bool(saved) == (save_checkpoint_steps == 2)


@pytest.mark.parametrize("second", ["nothing", "another step", "other weights"])
def test_workers_that_see_different_checkpoints_are_refused_in_a_line_each(tmp_path, second):
    disks = [tmp_path / "first", tmp_path / "second"]
    updates = {"num_iters": 1, "continue_run": "auto", "save_checkpoint_steps": 2}
    words = tiny.arguments(checkpoint_dir=disks[0] / "c", stop_after_steps=4, **updates)
    code, _, stderr = tiny.run_here(*words)
    assert code == 0, stderr
    (disks[1] / "c").mkdir(parents=True)
    if second == "another step":
        for path in (disks[0] / "c").glob("ckpt-2.*"):
            shutil.copy(path, disks[1] / "c" / path.name.replace("ckpt-2", "ckpt-4"))
    if second == "other weights":
        words = tiny.arguments(checkpoint_dir=disks[1] / "c", stop_after_steps=4, **updates)
        assert tiny.run_here(*[*words, "learn_rate=0.1"])[0] == 0
    before = [sorted(disk.rglob("ckpt*")) for disk in disks]
    words = tiny.arguments(checkpoint_dir="c", stop_after_steps=8, **updates)
    processes = [
        tiny.start(*words, environment=environment, cwd=disk)
        for environment, disk in zip(environments(WORKERS), disks)
    ]
    for number, process in enumerate(processes):
        stdout, stderr = process.communicate(timeout=180)
        assert process.returncode == 1 and "Traceback" not in stderr, stderr
        assert "Loss:" not in stdout
        (line,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
        if second == "nothing" and number == 1:
            assert "'c/ckpt-4' cannot be read" in line
        else:
            assert "do not begin with the same step and weights: worker 0 at step 4" in line
            other = {
                "nothing": "with nothing that it could read",
                "another step": "at step 2",
                "other weights": "at step 4 with other weights",
            }
            assert f"worker 1 {other[second]};" in line
    assert [sorted(disk.rglob("ckpt*")) for disk in disks] == before


def test_the_chief_alone_chooses_the_directory_and_tells_why_it_takes_none(tmp_path):
    options = ["-F", str(tmp_path / "runs")]
    for run_id in (1, 2):  # which the other worker, without an observer, does not know
        processes = start_all(WORKERS, tmp_path, *options, stop_after_steps=1)
        errors = [process.communicate(timeout=300)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], errors
        assert checkpoints_in(str(tmp_path / f"c_{run_id}"))
    # Without an observer it is c_1 again.
    processes = start_all(WORKERS, tmp_path, stop_after_steps=1)
    for process in processes:
        _, stderr = process.communicate(timeout=300)
        assert process.returncode == 1 and "Traceback" not in stderr, stderr
        assert f"error: '{tmp_path}/c_1' holds a run already" in stderr


def test_ctrl_c_ends_a_worker_that_waits_for_the_others(tmp_path):
    # Alone it would wait for an hour, in C++.
    words = tiny.arguments(checkpoint_dir=tmp_path / "c")
    process = tiny.start(*words, environment=environments(WORKERS)[0])
    try:
        assert any("joining the cluster" in line for line in process.stdout)
        time.sleep(1)  # until it waits
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == -signal.SIGINT
    finally:
        process.kill()
