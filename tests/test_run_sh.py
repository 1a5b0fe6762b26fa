"""`./run.sh` says what it does, installs once, and its tour ends in one report."""

import json
import os
import shutil
import subprocess

import pytest

from iodine.errors import UserError
from iodine.evaluate import tour
from tests.helpers import tiny

# Stands in for Python, which would install for minutes: it makes environments of itself, notes
# what it is called with, and is of the version that the file VERSION beside it names.
PYTHON = """#!/usr/bin/env bash
here={folder}
case "$*" in
    "-c "*) exit 0 ;;
    --version) cat "$(dirname "$0")/VERSION" ;;
    "-m venv "*) mkdir -p .venv/bin && cp "$here/python" "$here/VERSION" .venv/bin ;;
esac
echo "$*" >> "$here/calls"
"""


@pytest.fixture
def clone(tmp_path):
    """A folder with run.sh and what it reads, and a stand-in for Python in it."""
    for name in ("run.sh", "requirements.txt", "pyproject.toml"):
        shutil.copy(tiny.ROOT / name, tmp_path)
    (tmp_path / "python").write_text(PYTHON.format(folder=tmp_path))
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "VERSION").write_text("Python 3.12.1\n")
    return tmp_path


def run_sh(clone, *words):
    """Runs it and returns (exit code, stdout, stderr, what Python was called with)."""
    (clone / "calls").write_text("")
    done = subprocess.run(
        [clone / "run.sh", *words],
        env={**os.environ, "PYTHON": str(clone / "python")},
        cwd="/",
        capture_output=True,
        text=True,
    )
    calls = [c for c in (clone / "calls").read_text().splitlines() if c != "--version"]
    return done.returncode, done.stdout, done.stderr, calls


def installs(calls):
    return [call.split()[-1] for call in calls if "pip install" in call]


def test_a_second_run_installs_nothing(clone):
    code, stdout, _, calls = run_sh(clone)
    assert code == 0 and installs(calls) == ["."] and "installing into .venv, once" in stdout
    assert calls[-1].startswith("-m iodine.evaluate.tour runs/")
    code, stdout, _, calls = run_sh(clone)
    assert code == 0 and len(calls) == 1 and stdout == ""
    assert run_sh(clone, "test")[3][-2:] == [
        "-m pip install --disable-pip-version-check --editable .[test]",
        "-m pytest",
    ]
    assert run_sh(clone, "test", "-k", "x")[3] == ["-m pytest -k x"]
    assert not installs(run_sh(clone)[3])


def test_what_was_installed_for_other_requirements_is_brought_up_to_date(clone):
    run_sh(clone)
    with open(clone / "requirements.txt", "a") as file:
        file.write("another\n")
    calls = run_sh(clone)[3]
    assert installs(calls) == ["."] and not any("venv" in call for call in calls)
    (clone / "VERSION").write_text("Python 3.13.0\n")
    calls = run_sh(clone)[3]
    assert calls[0] == "-m venv --clear .venv" and installs(calls) == ["."]


def test_help_says_both_commands_and_another_word_is_refused(clone):
    code, stdout, _, calls = run_sh(clone, "--help")
    assert code == 0 and not calls
    assert "./run.sh " in stdout and "./run.sh test" in stdout and "five minutes" in stdout
    code, stdout, stderr, calls = run_sh(clone, "tset")
    assert code == 1 and not calls and "./run.sh test" in stderr


def test_the_tour_ends_in_one_report(tmp_path, monkeypatch, capfd):
    out = tmp_path / "out"
    monkeypatch.setenv("PYTHONPATH", str(tiny.ROOT))
    monkeypatch.chdir(tmp_path)
    path = tour.tour(str(out), [("slot_attention_tetrominoes_fast", "Tetrominoes")], num_steps=2)
    stdout = capfd.readouterr().out
    lines = stdout.splitlines()
    assert lines[0].startswith("1. Three trained models") and "2 steps" in lines[1]
    assert sum("-m iodine.main" in line for line in lines[lines.index("Next:") :]) == 3
    assert f"Report: {path}" in stdout
    names = ["demo_fast.png", "slot_attention_tetrominoes_fast.png"]
    assert sorted(p.name for p in out.glob("*.png")) == names
    page = (out / "report.html").read_text()
    assert page.count("<img") == 2 and page.index("<img") < page.index("<table")
    for name in ("demo_fast", "slot_attention_tetrominoes_fast"):
        figures = json.loads((tiny.ROOT / "checkpoints" / name / "evaluation.json").read_text())
        assert "{mean:.3f} ± {stderr:.3f}".format(**figures["ari_nobg"]) in page
    assert list((out / "checkpoint").glob("ckpt-2.index"))
    with pytest.raises(UserError, match="not empty"):
        tour.tour(str(out))
