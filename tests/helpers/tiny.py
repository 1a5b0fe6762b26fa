"""A tetrominoes model small enough to train for some steps in a second, and how to run it."""

import contextlib
import io
import os
import pathlib
import signal
import subprocess
import sys

from iodine import main

ROOT = pathlib.Path(__file__).parent.parent.parent
SCENES = ROOT / "tests" / "parity" / "tetrominoes_small" / "scenes.tfrecords"

UPDATES = {
    "batch_size": 2,
    "n_z": 4,
    "num_iters": 2,
    "data.path": str(SCENES),
    "model.decoder.pixel_decoder.cnn_opt.output_channels": [4, None],
    "model.refinement_core.encoder_net.cnn_opt.output_channels": [4],
    "model.refinement_core.encoder_net.mlp_opt.output_sizes": [8],
    "save_summaries_steps": 1,
    "save_checkpoint_steps": 3,
    "stop_after_steps": 12,
    "seed": 7,
}


def arguments(**updates):
    """Command-line words of the tiny config with further updates (__ stands for a dot)."""
    updates = {key.replace("__", "."): value for key, value in updates.items()}
    values = {**UPDATES, **updates}
    return ["with", "tetrominoes", *[f"{key}={value}" for key, value in values.items()]]


def start_module(
    module, *words, environment=(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
):
    """Starts `python -m MODULE` as a process of its own, its output in pipes if not elsewhere."""
    quiet = {"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), **os.environ, **quiet, **dict(environment)},
        stdout=stdout,
        stderr=stderr,
        text=True,
        # As from a shell, whatever the tests themselves were started with.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )


def start(*words, **options):
    """Starts `python -m iodine.main` as a process of its own, with options of `start_module`."""
    return start_module("iodine.main", *words, **options)


def run(*words):
    """Runs it to its end: (exit code, stdout, stderr)."""
    process = start(*words)
    stdout, stderr = process.communicate(timeout=300)
    return process.returncode, stdout, stderr


def run_here(*words):
    """As `run`, in this process: for what needs no other, since one takes seconds to start."""
    stdout, stderr, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            main.ex.run_commandline(["iodine", *map(str, words)])
        except SystemExit as error:
            code = error.code
            if isinstance(code, str):  # Python prints it and ends with 1
                print(code, file=sys.stderr)
                code = 1
    return code, stdout.getvalue(), stderr.getvalue()
