"""Files of results: whole or not at all, through links, into devices; and readers that leave."""

import contextlib
import json
import os
import resource
import stat
import subprocess
import sys
import threading

import pytest

from iodine.errors import UserError
from iodine.evaluate import result_files
from multi_object_datasets.generate import generate
from tests.helpers import tiny, trained


def test_a_file_is_replaced_whole_and_keeps_its_permissions(tmp_path):
    path = tmp_path / "figures.json"
    result_files.write_json(str(path), {"mse": 1.0})
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    path.chmod(0o604)
    before = path.stat().st_ino
    result_files.write_json(str(path), {"mse": None})
    assert json.loads(path.read_text()) == {"mse": None} and path.stat().st_ino != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    assert os.listdir(tmp_path) == ["figures.json"]


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_stays_and_its_target_gets_the_figures(tmp_path, there):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target.json", tmp_path / "link.json"
    if there:
        target.write_text("old")
    link.symlink_to("elsewhere/target.json")
    result_files.write_text(str(link), "new")
    assert link.is_symlink() and target.read_text() == "new"
    assert os.listdir(target.parent) == ["target.json"]


def test_a_fifo_is_written_into(tmp_path):
    fifo, read = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()))
    reader.start()
    result_files.write_text(str(fifo), "figures")
    reader.join()
    assert read == ["figures"] and stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_device_is_written_into_and_a_full_one_is_one_line():
    result_files.write_text("/dev/null", "figures")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(UserError, match="^cannot write '/dev/full': No space left on device$"):
        result_files.write_text("/dev/full", "figures")


@contextlib.contextmanager
def files_of_at_most(num_bytes):
    """Context in which no file can grow beyond a size, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_there_stays_where_the_new_file_does_not_fit(tmp_path):
    path = tmp_path / "figures.json"
    path.write_text("old")
    with files_of_at_most(1000), pytest.raises(UserError, match="cannot write '.*': File too larg"):
        result_files.write_text(str(path), "x" * 100_000)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["figures.json"]


def test_a_path_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    with pytest.raises(UserError, match="is a directory: name a file in it, out=.*/page.html"):
        result_files.check_result_path(str(tmp_path), "page.html")
    with pytest.raises(UserError, match="the directory of out=.* does not exist"):
        result_files.check_result_path(str(tmp_path / "nowhere" / "a.json"), "a.json")
    with pytest.raises(UserError, match="cannot write '/proc/a.html': "):
        result_files.check_result_path("/proc/a.html", "a.html")
    result_files.check_result_path("/dev/null", "a.json")
    result_files.check_result_path("figures.json", "a.json")


def test_a_file_of_another_kind_is_not_replaced(tmp_path):
    for name in ("photo.png", "empty.png", "old.JSON"):
        (tmp_path / name).write_text("" if name == "empty.png" else "kept")
    with pytest.raises(UserError, match="out=.*/photo.png exists and is no .json file"):
        result_files.check_result_path(str(tmp_path / "photo.png"), "figures.json")
    for name in ("empty.png", "old.JSON", "new.png"):
        result_files.check_result_path(tmp_path / name, "figures.json")


@pytest.mark.parametrize("out", ["/dev/stdout", "both"])
def test_what_stdout_goes_to_has_the_figures_below_what_was_printed(out, tmp_path):
    path = tmp_path / "both"
    code = (
        "from iodine.evaluate.result_files import write_text; print('table'); "
        f"write_text({'/dev/stdout' if out == '/dev/stdout' else str(path)!r}, 'figures'); "
        "print(' and more')"
    )
    with open(path, "w") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True, cwd=tiny.ROOT)
    assert path.read_text() == "table\nfigures and more\n"


def test_numbers_that_json_lacks_become_none_and_are_counted():
    nan, inf = float("nan"), float("inf")
    results = {"a": [1.0, nan, {"b": -inf}], "c": (2, "inf"), "d": {}, "e": []}
    expected = {"a": [1.0, None, {"b": None}], "c": [2, "inf"], "d": {}, "e": []}
    assert result_files.for_json(results) == (expected, 2)
    with pytest.raises(ValueError, match="not JSON compliant"):
        result_files.write_json("/dev/null", results)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Words of the command line for a tiny model on scenes that it was not trained on."""
    scenes = tmp_path_factory.mktemp("scenes") / "tetrominoes.tfrecords"
    generate("tetrominoes", num_scenes=2, seed=1, path=str(scenes), workers=1)
    words = {"checkpoint_dir": trained.checkpoint_dir(), "data__path": scenes, "eval_images": 2}
    return ["evaluate", *tiny.arguments(**words)]


def test_the_table_is_printed_where_the_file_cannot_be_written(evaluation):
    code, stdout, stderr = tiny.run_here(*evaluation, "out=/dev/full")
    assert code == 1 and "ari_nobg" in stdout and "2 scenes" in stdout
    assert stderr.splitlines()[-1] == "error: cannot write '/dev/full': No space left on device"
    assert "Traceback" not in stderr


def leave(process):
    """Closes the only reading end of a process's stdout at once: (exit code, stderr)."""
    process.stdout.close()
    with process.stderr as file:
        stderr = file.read()
    return process.wait(timeout=300), stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_command_whose_reader_leaves_ends_quietly_and_writes_its_file(
    evaluation, tmp_path, unbuffered
):
    out = tmp_path / "figures.json"
    environment = {"PYTHONUNBUFFERED": unbuffered}
    process = tiny.start(*evaluation, f"out={out}", environment=environment)
    code, stderr = leave(process)
    assert code == 141, stderr
    assert "Traceback" not in stderr and "BrokenPipe" not in stderr
    assert json.loads(out.read_text())["num_images"] == 2


def test_a_mistake_is_told_where_no_reader_is_left():
    code, stderr = leave(tiny.start("evaluate", "with", "tetrominoes_fst"))
    assert code == 1
    assert "there is no config 'tetrominoes_fst'" in stderr and "BrokenPipe" not in stderr


def test_a_full_stdout_is_one_line():
    with open("/dev/full", "w") as full:
        process = tiny.start(
            "print_named_configs", stdout=full, environment={"PYTHONUNBUFFERED": ""}
        )
        _, stderr = process.communicate(timeout=300)
    assert process.returncode == 1, stderr
    assert stderr.splitlines()[-1] == "error: cannot write to stdout: No space left on device"
    assert "Traceback" not in stderr


def test_files_are_utf8_whatever_the_locale(tmp_path):
    (tmp_path / "own.json").write_bytes('{"out": "é"}'.encode())
    code = (
        "import sys; from iodine.config import resolve; from iodine.evaluate import explore;"
        "from iodine.evaluate.result_files import write_text;"
        "out = resolve([sys.argv[1]]).config['out'];"
        "write_text(sys.argv[2], out + explore.fill_page({}))"
    )
    out = tmp_path / "page.html"
    ascii_locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "own.json", out],
        env={"PYTHONPATH": str(tiny.ROOT), **os.environ, **ascii_locale},
        check=True,
    )
    assert out.read_text(encoding="utf-8").startswith("é<!")
