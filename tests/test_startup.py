"""How a command's process begins: with git or without, and with what TensorFlow says of itself."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.helpers import tiny

PRINT_CONFIG = ["-m", "iodine.main", "print_config", "with", "demo"]


def run(*words, cwd=tiny.ROOT, **environment):
    """Runs Python as a process: (exit code, stdout, lines of stderr)."""
    environment = {**os.environ, "PYTHONPATH": str(cwd), **environment}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    process = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True
    )
    return process.returncode, process.stdout, process.stderr.splitlines()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout of the packages that is not yet a repository."""
    root = tmp_path_factory.mktemp("checkout")
    for package in ("iodine", "multi_object_datasets"):
        ignored = shutil.ignore_patterns("__pycache__", "*.tfrecords", "*.packed", "*.png")
        shutil.copytree(tiny.ROOT / package, root / package, ignore=ignored)
    return root


def check_one_line_about_git(code, stdout, lines):
    assert code == 0, lines
    assert "num_components = 4" in stdout
    about_git = [line for line in lines if "git" in line]
    assert len(about_git) == 1 and "recorded without a git commit" in about_git[0]


def test_a_command_runs_where_there_is_no_git(checkout):
    check_one_line_about_git(*run(*PRINT_CONFIG, cwd=checkout, PATH="/nowhere"))


def test_a_command_runs_in_a_repository_without_a_commit(checkout):
    subprocess.run(["git", "init", "--quiet", checkout], check=True)
    try:
        check_one_line_about_git(*run(*PRINT_CONFIG, cwd=checkout))
    finally:
        shutil.rmtree(checkout / ".git")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a checkout to another user")
def test_a_command_runs_in_a_checkout_of_another_user(checkout):
    commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message=a"]
    subprocess.run(["git", "init", "--quiet", checkout], check=True)
    subprocess.run(["git", "-C", checkout, "add", "iodine/errors.py"], check=True)
    subprocess.run(["git", "-C", checkout, *commit], check=True)
    subprocess.run(["chown", "--recursive", "12345", checkout], check=True)
    try:
        check_one_line_about_git(*run(*PRINT_CONFIG, cwd=checkout, GIT_CONFIG_GLOBAL="/dev/null"))
    finally:
        subprocess.run(["chown", "--recursive", "0", checkout], check=True)
        shutil.rmtree(checkout / ".git")


def test_a_command_begins_without_tensorflows_notes():
    code, _, lines = run(*PRINT_CONFIG)
    assert code == 0
    assert all(" - iodine - " in line for line in lines), lines


@pytest.mark.parametrize("streams", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_command_runs_without_streams(streams, tmp_path):
    words = f"{sys.executable} -m iodine.main load_checkpoint with demo {streams}; echo $? > code"
    environment = {**os.environ, "PYTHONPATH": str(tiny.ROOT)}
    subprocess.run(["bash", "-c", words], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "code").read_text() == "0\n"


def test_tensorflows_last_words_are_shown(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'I0000 a note\\nF0000 this processor lacks AVX\\n')\nos.abort()\n"
    )
    script = "from iodine import startup; startup.import_tensorflow()"
    path = os.pathsep.join([str(tmp_path), str(tiny.ROOT)])
    code, _, lines = run("-c", script, PYTHONPATH=path)
    assert code != 0
    assert "F0000 this processor lacks AVX" in lines and "I0000 a note" not in lines


def test_a_commands_start_leaves_large_modules_alone_that_can_be_imported_later():
    script = """
import sys
from iodine import startup
startup.import_tensorflow()
import iodine.main
large = ("jax", "keras", "tf_keras", "tensorflow_probability", "scipy.optimize", "matplotlib")
print([name for name in large if name in sys.modules])
import tensorflow as tf
from tensorflow.keras.optimizers.schedules import CosineDecay
import tensorflow_probability as tfp
print(CosineDecay is tf.keras.optimizers.schedules.CosineDecay, CosineDecay.__module__[:8])
print(float(tfp.distributions.Normal(2.0, 1.0).mean()))
"""
    code, stdout, lines = run("-c", script)
    assert code == 0, lines
    assert stdout.splitlines() == ["[]", "True tf_keras", "2.0"]
