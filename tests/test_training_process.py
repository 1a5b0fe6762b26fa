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
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

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
    for part in ("step/s", "loss=", "ari_nobg=", "images_s=", "<00:00"):
        assert part in bar or part.replace("step/s", "s/step") in bar
    assert "Loss:" in shown.decode()
    # Sacred keeps the lines alone, not each drawing of the bar.
    kept = (tmp_path / "runs" / "1" / "cout.txt").read_text()
    assert "Loss:" in kept and "images_s" not in kept


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


# A terminal that closes, and Slurm's warning, are told from Ctrl-C alone.
@pytest.mark.parametrize(
    "number, code",
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGUSR1, 143)],
)
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


def start_endless(tmp_path, words=(), **options):
    """Starts a run that does not end by itself."""
    updates = {"checkpoint_dir": tmp_path / "c", "num_iters": 1, "stop_after_steps": 10**6}
    updates |= {"save_checkpoint_steps": 10**6, "data.cache": tmp_path}
    return tiny.start(*words, *tiny.arguments(**updates), **options)


def test_signals_that_come_together_do_not_keep_the_run_from_saving(tmp_path):
    process = start_endless(tmp_path)
    wait_for_step(process, 2)
    for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 143 and "Traceback" not in stderr, stderr
    assert list((tmp_path / "c_1").glob("ckpt-*.index"))


def test_nohup_keeps_a_run_from_heeding_a_terminal_that_closes(tmp_path):
    nohup = [sys.executable, "-c", NOHUP, "-m", "iodine.main"]
    words = tiny.arguments(checkpoint_dir=tmp_path / "c", num_iters=1, stop_after_steps=60)
    process = subprocess.Popen(
        [*nohup, *words], cwd=tiny.ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_for_step(process, 2)
    process.send_signal(signal.SIGHUP)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert tf.train.latest_checkpoint(tmp_path / "c_1").endswith("ckpt-60")


# What `nohup python ...` does, for systems without that command.
NOHUP = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.environ["PYTHONUNBUFFERED"] = "1"
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_a_terminal_that_closes_ends_the_run_after_a_checkpoint(tmp_path):
    terminal, process_side = pty.openpty()
    command = [sys.executable, "-c", ON_TERMINAL, "-m", "iodine.main"]
    words = tiny.arguments(checkpoint_dir=tmp_path / "c", num_iters=1, stop_after_steps=10**6)
    words += ["save_checkpoint_steps=1000000"]
    process = subprocess.Popen(
        [*command, *words],
        cwd=tiny.ROOT,
        stdin=process_side,
        stdout=process_side,
        stderr=process_side,
        start_new_session=True,
    )
    os.close(process_side)
    shown = b""
    while b"Loss:" not in shown:
        shown += os.read(terminal, 4096)
    os.close(terminal)  # The system sends SIGHUP, and nothing can be printed any more.
    assert process.wait(timeout=120) == 143
    assert list((tmp_path / "c_1").glob("ckpt-*.index"))


# Makes the terminal that stdin is the session's, whose end the system then tells by SIGHUP.
ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_a_reader_that_goes_away_does_not_end_the_training(tmp_path):
    words = tiny.arguments(checkpoint_dir=tmp_path / "c", num_iters=1)
    process = tiny.start("-F", str(tmp_path / "runs"), *words)
    wait_for_step(process, 2)
    process.stdout.close()
    stderr = process.stderr.read()
    assert process.wait() == 0, stderr
    assert "Traceback" not in stderr and "BrokenPipeError" not in stderr
    assert stderr.count("warning: stdout takes no more lines") == 1
    assert tf.train.latest_checkpoint(tmp_path / "c_1").endswith("ckpt-12")
    assert list(metrics_of(tmp_path / "runs", 1)["loss"]) == list(range(1, 13))


def test_a_full_disk_for_stdout_does_not_end_the_training(tmp_path):
    words = tiny.arguments(checkpoint_dir=tmp_path / "c", num_iters=1)
    with open("/dev/full", "w") as full:
        process = tiny.start(*words, stdout=full)
    stderr = process.stderr.read()
    assert process.wait() == 0, stderr
    assert "Traceback" not in stderr and "No space left" in stderr
    assert tf.train.latest_checkpoint(tmp_path / "c_1").endswith("ckpt-12")


@pytest.mark.parametrize("closed", ["2>&-", ">&-"])
def test_a_process_without_stdout_or_stderr_trains(tmp_path, closed):
    words = tiny.arguments(checkpoint_dir=tmp_path / "c", num_iters=1, stop_after_steps=2)
    command = f'exec "{sys.executable}" -m iodine.main "$@" {closed}'
    process = subprocess.run(
        ["sh", "-c", command, "sh", *words], cwd=tiny.ROOT, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    assert tf.train.latest_checkpoint(tmp_path / "c_1").endswith("ckpt-2")


def test_a_run_says_where_it_saves_at_its_start_and_at_its_end(finished):
    lines = (finished / "stdout").read_text().splitlines()
    directory = finished / "ckpt_1"
    said = f"training from the beginning, checkpoints go to '{directory}'"
    assert lines.index(said) < min(i for i, line in enumerate(lines) if "Loss:" in line)
    assert lines[-1] == f"the latest checkpoint is '{directory}/ckpt-12'"


def test_after_a_kill_and_a_resume_tensorboard_shows_each_step_once(tmp_path):
    words = tiny.arguments(
        checkpoint_dir=tmp_path / "c",
        num_iters=1,
        continue_run="auto",
        save_checkpoint_steps=6,
        data__cache=tmp_path,
    )
    process = tiny.start(*words)
    wait_for_step(process, 9)
    process.kill()
    process.wait()
    steps = steps_shown(tmp_path / "c")
    assert steps[:8] == list(range(1, 9))
    code, _, stderr = tiny.run_here(*words)
    assert code == 0, stderr
    assert steps_shown(tmp_path / "c") == list(range(1, 13))


def steps_shown(directory):
    """Steps of the loss as TensorBoard shows them."""
    events = EventAccumulator(str(directory), size_guidance={"tensors": 0})
    events.Reload()
    return [event.step for event in events.Tensors("loss/total")]
