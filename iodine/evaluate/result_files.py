"""Writes files of results where users say, whatever is there already."""

import contextlib
import json
import math
import os
import shutil
import stat
import sys
import tempfile

from iodine.errors import UserError
from multi_object_datasets import files


def check_result_path(path, name):
    """Refuses a path that no file can be written to, before the work whose results it is for.

    Args:
      path: of the file.
      name: that such a file might have. A file is replaced if it has the same suffix.

    Raises:
      UserError: if it is a directory, in a directory that does not exist or takes no new file, or
        a file of another kind.
    """
    if os.path.isdir(path):
        raise UserError(f"out={path} is a directory: name a file in it, out={path}/{name}")
    suffix = os.path.splitext(name)[1]
    if not os.fspath(path).lower().endswith(suffix) and _would_lose(path):
        raise UserError(f"out={path} exists and is no {suffix} file: give another name")
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise UserError(f"the directory of out={path} does not exist")
    try:
        if not os.path.exists(path):
            _new_file_beside(path).close()
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror or error}") from error


def write_json(path, results):
    """Writes results as JSON.

    Args:
      path: of the file, as for `write_text`.
      results: what JSON has words for; NaN and infinity are not among that.

    Raises:
      UserError: if it cannot be written.
    """
    write_text(path, json.dumps(results, indent=1, allow_nan=False) + "\n")


def for_json(results):
    """Results with None in the place of each number that is NaN or infinite.

    Args:
      results: nested dicts and lists of what JSON has words for, and of such numbers.

    Returns:
      (the same with None, how many numbers that was).
    """
    if isinstance(results, float) and not math.isfinite(results):
        return None, 1
    if isinstance(results, dict):
        values, counts = zip(*map(for_json, results.values())) if results else ((), ())
        return dict(zip(results, values)), sum(counts)
    if isinstance(results, (list, tuple)):
        values, counts = zip(*map(for_json, results)) if results else ((), ())
        return list(values), sum(counts)
    return results, 0


def write_text(path, text):
    """Writes a file whole or not at all, and nothing else.

    A regular file, or the one that a symbolic link names, is replaced by a rename. What is no
    regular file (a FIFO, /dev/null) is written into, as is the file that stdout or stderr go to,
    after what they have printed.

    Args:
      path: of the file.
      text: its content, written as UTF-8 whatever the locale.

    Raises:
      UserError: if it cannot be written; what was there is as it was.
    """
    try:
        status = os.stat(path) if os.path.exists(path) else None
        if stream := status and _stream_of(status):
            stream.write(text)
            stream.flush()
        elif status and not stat.S_ISREG(status.st_mode):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        else:
            _replace(path, text)
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror or error}") from error


def _would_lose(path):
    """Returns whether a file is at a path whose content a result would replace."""
    return os.path.isfile(path) and os.path.getsize(path) > 0 and not _stream_of(os.stat(path))


def _stream_of(status):
    """Returns which of stdout and stderr goes to the file of this status, or None."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        with contextlib.suppress(OSError):  # It may be closed.
            if stream is not None and os.path.samestat(status, os.fstat(number)):
                return stream
    return None


def _new_file_beside(path, delete=True):
    """Opens the file in which a result is gathered before it takes the place of a path."""
    folder, name = os.path.split(os.path.realpath(path))
    options = {"dir": folder, "prefix": f".{name}.", "encoding": "utf-8", "delete": delete}
    return tempfile.NamedTemporaryFile("w", **options)


def _replace(path, text):
    """Puts a new regular file in the place of a path, with the permissions of the old one."""
    path = os.path.realpath(path)
    with _new_file_beside(path, delete=False) as file:
        try:
            file.write(text)
            files.sync(file)
            if os.path.exists(path):
                shutil.copymode(path, file.name)
            else:
                os.chmod(file.name, 0o666 & ~_umask())
            files.replace(file.name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file.name)
            raise


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
