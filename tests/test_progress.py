"""Progress bars: where there is a terminal, where there is none, and where there is no stderr."""

import os
import pty
import subprocess
import sys
import termios

import pytest

from tests.helpers import tiny, trained

BAR = """
from multi_object_datasets.progress import progress_bar
with progress_bar(3, "scene", {log_seconds}) as bar:
    for _ in range(3):
        bar.update()
"""


def shown(log_seconds, **options):
    """Runs a bar to its end in a process of its own; returns what its stderr, a pipe, got."""
    command = [sys.executable, "-c", BAR.format(log_seconds=log_seconds)]
    return subprocess.run(command, cwd=tiny.ROOT, check=True, capture_output=True).stderr


def test_a_bar_is_on_a_terminal_and_lines_are_elsewhere_if_asked_for():
    terminal, process_side = pty.openpty()
    command = [sys.executable, "-c", BAR.format(log_seconds=None)]
    termios.tcsetwinsize(process_side, (40, 140))  # rows and columns
    subprocess.run(command, cwd=tiny.ROOT, check=True, stderr=process_side)
    assert b"3/3" in os.read(terminal, 4096)
    os.close(process_side)
    os.close(terminal)
    assert shown(None) == b"" and b"3/3" in shown(0)


@pytest.mark.parametrize("closed", ["2>&-", ">&-"])
def test_commands_without_stderr_run_to_their_end(tmp_path, closed):
    scenes = tmp_path / "scenes.tfrecords"
    generate = ["-m", "multi_object_datasets.generate", "tetrominoes", "--num-scenes", "3"]
    generate += ["--out", str(scenes), "--workers", "1"]
    pack = ["-m", "multi_object_datasets.pack", str(scenes)]
    evaluate = ["-m", "iodine.main", "evaluate"]
    evaluate += tiny.arguments(checkpoint_dir=trained.checkpoint_dir(), eval_images=1)
    evaluate += [f"data.path={scenes}", "data.held_out=1", f"out={tmp_path / 'figures.json'}"]
    for words in (generate, pack, evaluate):
        command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, *words]
        process = subprocess.run(command, cwd=tiny.ROOT, stdout=subprocess.PIPE, text=True)
        assert process.returncode == 0, process.stdout
        assert "Traceback" not in process.stdout
    assert scenes.exists() and (tmp_path / "figures.json").exists()
