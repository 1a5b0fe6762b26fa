"""The files of the shipped models: their checksums, and the scenes beside them.

`python -m iodine.shipped_models` writes checkpoints/SHA256SUMS anew, after weights have changed.
"""

import hashlib
import os
import re
import sys
from pathlib import Path

from iodine import checkpoints
from iodine.errors import UserError
from multi_object_datasets import records

SUMS = "SHA256SUMS"  # In the directory of all models, as sha256sum writes it.
SCENES = "scenes.tfrecords"  # Held-out scenes, beside a model's weights.
SUMMED = ("checkpoint", "ckpt-*.index", "ckpt-*.data-*", SCENES, "*.json")


def checksum(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums() -> Path:
    """Writes the checksums of all shipped models, and returns the path of the list."""
    directories = [Path(directory) for directory in checkpoints.shipped_directories()]
    root = directories[0].parent
    lines = [
        f"{checksum(path)}  {path.relative_to(root).as_posix()}\n"
        for directory in directories
        for pattern in SUMMED
        for path in sorted(directory.glob(pattern))
    ]
    (root / SUMS).write_text("".join(lines))
    return root / SUMS


def verify(root: str | os.PathLike) -> None:
    """Makes sure that the files of the shipped models are those that the list of checksums names.

    Args:
      root: directory of all models. Those that are too large for the installed package may be
        missing.

    Raises:
      UserError: if a file is missing, changed or not on the list, or there is no list.
    """
    root = Path(root)
    listed = _listed(root)
    left_out = {name for name in checkpoints.LEFT_OUT if not (root / name).is_dir()}
    for model in sorted({name.split("/")[0] for name in listed} - left_out):
        expected = {name for name in listed if name.startswith(f"{model}/")}
        found = {f"{model}/{path.name}" for glob in SUMMED for path in root.glob(f"{model}/{glob}")}
        for name in sorted(expected | found):
            if name not in found:
                problem = "is missing"
            elif name not in expected:
                problem = f"is not in {SUMS}"
            elif checksum(root / name) != listed[name]:
                problem = f"is not the file whose SHA-256 is in {SUMS}"
            else:
                continue
            raise UserError(f"{root / name} {problem}: install the package or clone it again")


def _listed(root):
    """Returns {name of a file: its checksum} of the list of a directory of models."""
    try:
        lines = (root / SUMS).read_text().splitlines()
    except (OSError, UnicodeError) as error:
        raise UserError(f"{root / SUMS} cannot be read: {error}") from error
    entries = [re.fullmatch(r"([0-9a-f]{64})  (.+)", line) for line in lines]
    if not all(entries):
        raise UserError(f"{root / SUMS} is no list of SHA-256 checksums: clone it again")
    return {entry[2]: entry[1] for entry in entries}


def scenes_beside(checkpoint: str) -> str | None:
    """Returns the path of the held-out scenes beside a checkpoint, None if there are none.

    Args:
      checkpoint: its prefix. Only those of shipped models have scenes that were never trained on.
    """
    directory = os.path.dirname(os.path.abspath(checkpoint))
    shipped = [os.path.abspath(path) for path in checkpoints.shipped_directories()]
    path = os.path.join(directory, SCENES)
    return path if directory in shipped and os.path.isfile(path) else None


def folder_for_results(checkpoint: str) -> str:
    """Returns the directory that results of a checkpoint go to unless the user names one.

    Args:
      checkpoint: its prefix.

    Returns:
      Its directory; for a model within the installed package, the model's name, in the working
      directory.
    """
    directory = os.path.dirname(checkpoint)
    package = Path(__file__).resolve().parent
    return (
        os.path.basename(directory) if package in Path(directory).resolve().parents else directory
    )


def num_scenes(path: str) -> int:
    """Returns the number of scenes in a file."""
    return sum(1 for _ in records.read_records(path))


if __name__ == "__main__":
    try:
        print(f"wrote {write_checksums()}")
    except OSError as error:
        sys.exit(f"error: cannot write the checksums: {error}")
