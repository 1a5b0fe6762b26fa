"""Where generated data files lie, and how those that configs name come to be there."""

import os
import sys
from pathlib import Path

from iodine.errors import UserError
from multi_object_datasets import files, generate
from multi_object_datasets.progress import duration

FOLDER = "multi_object_datasets"  # As configs write it, in the working directory.


def folder():
    """Returns the folder of generated data files: that of IODINE_DATA, or FOLDER."""
    return Path(files.expand_home(os.environ.get("IODINE_DATA") or FOLDER))


def resolve(path):
    """Returns a data path, or list of these, with the folder that counts in place of FOLDER."""
    if isinstance(path, (list, tuple)):
        return [resolve(entry) for entry in path]
    if not os.environ.get("IODINE_DATA") or not isinstance(path, (str, os.PathLike)):
        return path
    first, *rest = Path(path).parts or ("",)
    return str(folder().joinpath(*rest)) if first == FOLDER and rest else path


def generate_file(path, name, num_scenes, **options):
    """Generates a default file, with seed 0, unless another process has done so meanwhile.

    A line on stderr says how many scenes it makes, and about how long that takes.

    Args:
      path: `Path` of the file.
      name, num_scenes: data set and number of scenes, as for `generate.generate`.
      **options: further ones of `generate.generate`, variant and split.

    Raises:
      UserError: the file cannot be written where it belongs.
      DatasetError: the generation fails.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.only_one_process(path):
            if path.exists():
                return
            time = duration(generate.estimated_seconds(name, num_scenes, **options))
            print(f"no {path} yet: generating {num_scenes} scenes, {time}", file=sys.stderr)
            generate.generate(name, num_scenes=num_scenes, path=path, seed=0, **options)
    except (OSError, NotImplementedError) as error:  # The latter of file systems without locks.
        raise UserError(
            f"{path} does not exist, and scenes cannot be generated there "
            f"({getattr(error, 'strerror', None) or error}): set data.path to a file of scenes, or "
            "IODINE_DATA to a folder that can be written to"
        ) from None


def generate_first(file_name, name, num_scenes, **options):
    """Generates the first scenes of a default file, in a file of their own beside it.

    Args:
      file_name: name of the default file.
      name, num_scenes, **options: as for `generate_file`.

    Returns:
      The path.

    Raises:
      UserError, DatasetError: as `generate_file`.
    """
    path = folder() / file_name
    path = path.with_name(f"{path.stem}_first_{num_scenes}{path.suffix}")
    generate_file(path, name, num_scenes, **options)
    return str(path)
