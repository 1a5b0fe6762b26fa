"""Generations that are killed, interrupted or started twice, and parts that a crash spoils."""

import json
import os
import signal
import subprocess
import time

import pytest

from multi_object_datasets.generate import generate
from multi_object_datasets.generators import tetrominoes
from tests.helpers.generator_process import ROOT, assert_refused, command


def test_killed_generation_continues_to_the_same_bytes(tmp_path, capsys):
    three_parts = tmp_path / "three_parts"
    generate("tetrominoes", 5100, 7, three_parts, workers=2)
    capsys.readouterr()
    path, parts = tmp_path / "killed", tmp_path / "killed.parts"
    arguments = "tetrominoes", "--num-scenes", 5100, "--seed", 7, "--workers", 1, "--out", path
    process = subprocess.Popen(command(*arguments), cwd=ROOT, stderr=subprocess.DEVNULL)
    while not list(parts.glob("*.tfrecords")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not path.exists()
    finished = len(list(parts.glob("*.tfrecords")))
    assert 1 <= finished < 3
    generate("tetrominoes", 5100, 7, path, workers=1)
    assert not parts.exists()
    drawn = capsys.readouterr().err.splitlines()  # Only the unfinished parts.
    assert drawn == [f"killed: {count} of 5100 scenes" for count in (2500, 5000, 5100)[finished:]]
    assert path.read_bytes() == three_parts.read_bytes()


@pytest.mark.parametrize(
    ("scenes", "length", "problem"),
    [(10, 0, "holds no records"), (10, 0.5, "is truncated"), (7, 1, "7 scenes, not 10")],
)
def test_a_part_that_a_crash_spoiled_is_drawn_again(
    tmp_path, monkeypatch, capsys, scenes, length, problem
):
    monkeypatch.setattr(tetrominoes, "CHUNK_SIZE", 10)
    generate("tetrominoes", 25, 7, tmp_path / "whole", workers=1)
    parts = tmp_path / "crashed.parts"
    parts.mkdir()
    plan = {"name": "tetrominoes", "variant": "standard", "seed": 7, "split": "train"}
    (parts / "plan.json").write_text(json.dumps({**plan, "num_scenes": 25, "shard": None}))
    generate("tetrominoes", scenes, 7, parts / "000000000.tfrecords", workers=1)
    part = parts / "000000000.tfrecords"
    os.truncate(part, int(length * part.stat().st_size))
    generate("tetrominoes", 25, 7, tmp_path / "crashed", workers=1)
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "drawing it again" in line)
    assert line.startswith(f"{part}: ") and problem in line
    assert (tmp_path / "crashed").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_second_generation_into_the_same_file_is_refused(tmp_path):
    path = tmp_path / "scenes"
    arguments = "tetrominoes", "--num-scenes", 60000, "--workers", 1, "--out", path
    process = subprocess.Popen(command(*arguments), cwd=ROOT, stderr=subprocess.DEVNULL)
    while not (tmp_path / "scenes.parts" / "plan.json").exists():
        assert process.poll() is None
        time.sleep(0.02)
    assert_refused(arguments, "another process is making", f"{path}.parts")
    process.kill()
    process.wait()


def test_every_file_is_synced_before_it_is_renamed_and_its_directory_after(tmp_path, monkeypatch):
    # A crash of the machine cannot be tried, but the order of the calls can.
    calls, fsync, replace = [], os.fsync, os.replace

    def noted_fsync(number):
        calls.append(("fsync", os.readlink(f"/proc/self/fd/{number}")))
        fsync(number)

    def noted_replace(old, new):
        calls.append(("replace", str(old), str(new)))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    generate("shapes", 3, 0, tmp_path / "scenes", workers=1)
    renamed = [i for i, call in enumerate(calls) if call[0] == "replace"]
    assert [calls[i][2] for i in renamed] == [
        str(tmp_path / "scenes.parts" / "000000000.tfrecords"),
        str(tmp_path / "scenes"),
    ]
    for i in renamed:
        _, old, new = calls[i]
        assert calls[i - 1] == ("fsync", old) and calls[i + 1] == ("fsync", os.path.dirname(new))


def test_interrupt_ends_with_one_line_and_leaves_no_file(tmp_path):
    path = tmp_path / "interrupted"
    arguments = "tetrominoes", "--num-scenes", 60000, "--workers", 1, "--out", path
    process = subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs, and so all that they start, deaf to SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list(tmp_path.glob("*.parts/*.tfrecords")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert (
        errors.splitlines()[-1] == "interrupted; the same command continues from the finished parts"
    )
    assert "Traceback" not in errors
    assert not path.exists()
