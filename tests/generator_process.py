"""Runs the generator as a process of its own, for the tests."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def command(*arguments):
    return [sys.executable, "-m", "multi_object_datasets.generate", *map(str, arguments)]


def run(*arguments, **environment):
    """Runs the generator to its end; returns the finished process."""
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def assert_refused(arguments, *words, **environment):
    """The command prints one error line with these words and exits with 1."""
    process = run(*arguments, **environment)
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line
