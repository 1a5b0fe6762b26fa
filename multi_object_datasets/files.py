"""Files: which ones a path names, written whole or not at all, by one process at a time."""

import contextlib
import errno
import glob
import os
import pathlib

import filelock

from multi_object_datasets.errors import DatasetError

# What this package puts beside data files, which no glob means: `scenes-*` is not for its cache.
_OWN_SUFFIXES = (".packed", ".partial", ".lock", ".parts")


def expand(path):
    """Returns the files that a path names.

    Brackets in the names of folders and files that exist are no part of a glob.

    Args:
      path: a file, a glob such as "scenes.tfrecords-*", or a list of these; `~` is the user's
        home. A file need not exist, a glob with * or ? has to match.

    Returns:
      List of paths as strings, those of a glob in the order of their names.

    Raises:
      DatasetError: a glob matches no file, or there is no path at all.
    """
    if isinstance(path, (list, tuple)):
        if not path:
            raise DatasetError("no file to read: the list of paths is empty")
        return [file for entry in path for file in expand(entry)]
    path = expand_home(path)
    folder, pattern = _split_at_the_first_pattern(path)
    if not glob.has_magic(pattern):
        return [path]
    # Where "photo [1]*" matches nothing as a glob, its brackets are just brackets.
    for attempt in (pattern, pattern.replace("[", "[[]")):
        found = sorted(glob.glob(os.path.join(glob.escape(folder), attempt)))
        found = [file for file in found if not file.endswith(_OWN_SUFFIXES)]
        if found:
            return found
    if "*" not in pattern and "?" not in pattern:
        return [path]  # A file of a new folder "data [1]".
    raise DatasetError(f"{path}: no file has such a name")


def _split_at_the_first_pattern(path):
    """Splits a path into the leading part that exists as it is written, and the rest."""
    folder, rest = "", list(pathlib.Path(path).parts)
    while rest and os.path.exists(os.path.join(folder, rest[0])):
        folder = os.path.join(folder, rest.pop(0))
    return folder, os.path.join("", *rest)


def expand_home(path):
    """Returns a path as a string, `~` being the user's home; raises DatasetError if it is none."""
    if not isinstance(path, (str, os.PathLike)):
        raise DatasetError(f"a path has to be text, not {path!r}")
    return os.path.expanduser(os.fspath(path))


@contextlib.contextmanager
def only_one_process(path, wait=True):
    """Keeps other processes that make the same file out until the `with` block is left.

    The lock file, .NAME.lock beside it, stays: whoever removed it would let a second one in.

    Args:
      path: the file, which need not exist.
      wait: whether to wait for another process to finish.

    Raises:
      DatasetError: another process holds the lock, and `wait` is false.
    """
    path = pathlib.Path(path)
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"), blocking=wait)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock)
        except filelock.Timeout:
            raise DatasetError(f"another process is making {path}") from None
        yield


def sync(file):
    """Waits until what was written to an open file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_paths(*paths):
    """Waits until files and directories, given by their paths, are on the disk.

    A file system that cannot sync directories (SMB, VirtualBox's shared folders, some of FUSE) says
    so by EINVAL or ENOTSUP; its directories are left to it.
    """
    for path in paths:
        is_directory = os.path.isdir(path)
        if is_directory and os.name != "posix":
            continue  # Elsewhere directories cannot be opened.
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if not is_directory or error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)


def replace(temporary, path):
    """Renames a synced file, and waits until its directory on the disk says so.

    After a crash the path thus names the whole new file, or what it named before.
    """
    os.replace(temporary, path)
    sync_paths(os.path.dirname(os.path.abspath(path)))
