"""The scripts of docs/library.md and docs/cluster.md run as they stand there."""

import os
import re
import runpy
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from iodine.evaluate import metrics
from multi_object_datasets import balls
from multi_object_datasets.generate import generate
from tests.helpers import tiny

PAGE = (tiny.ROOT / "docs" / "library.md").read_text()
CLUSTER = (tiny.ROOT / "docs" / "cluster.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = {"pixel_mlp", "squares", "write_squares", "demo_wide"}
MAX_LINES = 25  # without blank ones


def scripts(section):
    """Returns [(language, text)] of a section, in order."""
    return BLOCK.findall(SECTIONS[section])


def file_name(script):
    """Returns the name that a Python script is to be saved under."""
    return re.match(r"# (\w+\.py)\n", script)[1]


def free_ports(count):
    """Returns numbers of ports that nothing listens to."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def first_of_two_free_ports():
    """Returns the number of a port that nothing listens to, nor to the next one."""
    while True:
        (first,) = free_ports(1)
        with socket.socket() as second:
            try:
                second.bind(("localhost", first + 1))
            except OSError:
                continue
            return first


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A directory with what the page takes for granted: scenes, and a folder of image files."""
    scenes = tmp_path / "balls.tfrecords"
    generate("balls", 360, seed=0, path=scenes, workers=1)
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, scene in enumerate(balls.dataset(str(scenes)).take(3).as_numpy_iterator()):
        Image.fromarray(np.uint8(scene["image"])).save(photos / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("PYTHONPATH", f"{tiny.ROOT}{os.pathsep}{tmp_path}")
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable), prepend=os.pathsep)
    monkeypatch.setattr(metrics, "METRICS", dict(metrics.METRICS))  # A script adds a line to it.
    for module in ("pixel_mlp", "squares"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return tmp_path


def in_a_process(*command):
    """Runs a command to its end, which has to be a good one; returns what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("section", SECTIONS)
def test_scripts_of_a_section_run(section, desk, capsys):
    blocks = scripts(section)
    for language, text in blocks:
        if language == "python":
            (desk / file_name(text)).write_text(text)
    for language, text in blocks:
        if language == "sh":
            for fixed, free in zip(("12345", "12346"), free_ports(2)):
                text = text.replace(fixed, str(free))
            in_a_process("bash", "-ec", text)
            assert "with demo " not in text or list(desk.glob("checkpoints/*/ckpt-*.index"))
        elif "set_logical_device_configuration" in text:
            assert "loss" in in_a_process(sys.executable, file_name(text))
        elif file_name(text)[:-3] not in SHELL:  # What the shell runs or imports need not run here.
            runpy.run_path(file_name(text), run_name="__main__")
            assert capsys.readouterr().out


def test_tasks_of_a_slurm_job_train_together(desk):
    # Slurm's variables of two tasks on one machine.
    (script,) = [text for language, text in BLOCK.findall(CLUSTER) if language == "python"]
    (desk / "train_slurm.py").write_text(script.replace("12345", str(first_of_two_free_ports())))
    words = ["with", "demo", "data.path=balls.tfrecords", "stop_after_steps=2", "seed=0"]
    slurm = {
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_TASKS_PER_NODE": "2",
        "SLURM_STEP_NUM_TASKS": "2",
    }
    tasks = [
        subprocess.Popen(
            [sys.executable, "train_slurm.py", *words],
            env={**os.environ, **slurm, "SLURM_PROCID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]
    printed = [task.communicate(timeout=300)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], printed
    assert len(list(desk.glob("checkpoints/*/ckpt-2.index"))) == 1


def test_scripts_are_short_and_fit_the_page():
    for section in SECTIONS:
        for language, text in scripts(section):
            lines = [line for line in text.splitlines() if line]
            assert len(lines) <= MAX_LINES, section
            assert all(len(line) <= 100 for line in lines), section
            assert language == "sh" or file_name(text)
