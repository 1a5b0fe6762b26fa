"""Training in processes of its own: resuming, signals, what a terminal and Sacred see."""

import json
import os
import pty
import signal
import subprocess
import sys
import termios

import pytest
import tensorflow as tf

from tests.helpers import tiny


def metrics_of(observer_directory, run_id):
    """{metric: {step: value}} that a FileStorageObserver recorded."""
    recorded = json.loads((observer_directory / str(run_id) / "metrics.json").read_text())
    return {name: dict(zip(m["steps"], m["values"])) for name, m in recorded.items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of 12 steps that nothing interrupted: its directory."""
    directory = tmp_path_factory.mktemp("finished")
    words = tiny.arguments(checkpoint_dir=directory / "ckpt", num_iters=1)
    code, stdout, stderr = tiny.run("-F", str(directory / "runs"), *words)
    assert code == 0, stderr
    (directory / "stdout").write_text(stdout)
    return directory


def wait_for_step(process, step):
    """Reads a training process's output until it has printed this step."""
    for line in process.stdout:
        if line.split()[:1] == [str(step)]:
            return
    raise AssertionError(process.stderr.read())


def resume(checkpoint_dir, observer_directory):
    """Continues a run to step 12 and returns the losses and ARIs that it logged."""
    code, _, stderr = tiny.run_here(
        "-F",
        str(observer_directory),
        *tiny.arguments(checkpoint_dir=checkpoint_dir, continue_run=True, num_iters=1, seed=99),
    )
    assert code == 0, stderr
    return metrics_of(observer_directory, 1)


def test_a_run_prints_records_and_saves_what_it_should(finished):
    lines = (finished / "stdout").read_text().splitlines()
    recorded = metrics_of(finished / "runs", 1)
    loss, ari = recorded["loss"][12], recorded["ari_nobg"][12]
    assert f"{12:>6d} Loss: {loss: >12.2f}\t\tARI-nobg:{ari: >6.2f}" in lines
    assert list(recorded["loss"]) == list(range(1, 13))
    run = json.loads((finished / "runs" / "1" / "run.json").read_text())
    assert run["status"] == "COMPLETED"
    info = json.loads((finished / "runs" / "1" / "info.json").read_text())
    assert info["checkpoint_dir"] == str(finished / "ckpt_1")
    config = json.loads((finished / "runs" / "1" / "config.json").read_text())
    assert config["n_z"] == config["model"]["n_z"] == 4
    checkpoints = tf.train.get_checkpoint_state(str(finished / "ckpt_1"))
    assert [p.rsplit("-")[-1] for p in checkpoints.all_model_checkpoint_paths] == [
        "3",
        "6",
        "9",
        "12",
    ]


def test_on_a_terminal_a_bar_shows_speed_loss_and_ari_and_in_a_pipe_none(finished, tmp_path):
    assert "images_s" not in (finished / "stdout").read_text()
    terminal, process_side = pty.openpty()
    termios.tcsetwinsize(process_side, (40, 140))  # rows and columns
    words = tiny.arguments(checkpoint_dir=tmp_path / "c", num_iters=1, stop_after_steps=3)
    words = ["-F", str(tmp_path / "runs"), *words]
    process = tiny.start(*words, stdout=process_side, stderr=process_side)
    os.close(process_side)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # what Linux gives where other systems give an end of file
            break
    assert process.wait() == 0
    bar = [line for line in shown.decode().split("\r") if "3/3" in line][-1]
    for part in ("step/s", "loss=", "ari=", "images_s=", "<00:00"):
        assert part in bar or part.replace("step/s", "s/step") in bar
    assert "Loss:" in shown.decode()
    # Sacred keeps the lines alone, not each drawing of the bar.
    kept = (tmp_path / "runs" / "1" / "cout.txt").read_text()
    assert "Loss:" in kept and "images_s" not in kept


def test_tensorflows_notes_come_once_and_jax_is_left_to_those_who_use_it():
    program = "import sys, iodine; print('jax' in sys.modules); import jax.numpy"
    command = [sys.executable, "-c", program]
    notes = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True, check=True)
    assert notes.stdout == "False\n"
    texts = [line.rpartition("] ")[2] for line in notes.stderr.splitlines()]
    assert texts and len(texts) == len(set(texts))


def test_a_killed_run_resumes_bit_for_bit(finished, tmp_path):
    words = tiny.arguments(checkpoint_dir=tmp_path / "c", num_iters=1)
    process = tiny.start("-F", str(tmp_path / "a"), *words)
    wait_for_step(process, 8)
    process.kill()
    process.wait()
    assert tf.train.latest_checkpoint(tmp_path / "c_1").endswith(("ckpt-6", "ckpt-9"))
    resumed = resume(tmp_path / "c_1", tmp_path / "b")
    uninterrupted = metrics_of(finished / "runs", 1)
    assert resumed["loss"]
    for name in ("loss", "ari_nobg"):
        for step, value in resumed[name].items():
            assert value == uninterrupted[name][step], (name, step)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_step_saves_and_ends_the_run(finished, tmp_path, number, code):
    arguments = tiny.arguments(checkpoint_dir=tmp_path / "c", num_iters=1, stop_after_steps=100000)
    process = tiny.start("-F", str(tmp_path / "a"), *arguments)
    wait_for_step(process, 4)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    run = json.loads((tmp_path / "a" / "1" / "run.json").read_text())
    assert run["status"] == "INTERRUPTED"
    last = max(metrics_of(tmp_path / "a", 1)["loss"])
    assert tf.train.latest_checkpoint(tmp_path / "c_1").endswith(f"ckpt-{last}")
