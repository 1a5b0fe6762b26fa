"""Runs the generator as a process of its own, for the tests."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def command(*arguments, module="generate"):
    return [sys.executable, "-m", f"multi_object_datasets.{module}", *map(str, arguments)]


def run(*arguments, module="generate", **environment):
    """Runs the generator, or another module, to its end; returns the finished process."""
    return subprocess.run(
        command(*arguments, module=module),
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def assert_refused(arguments, *words, module="generate", **environment):
    """The command prints one error line with these words and exits with 1."""
    process = run(*arguments, module=module, **environment)
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line
