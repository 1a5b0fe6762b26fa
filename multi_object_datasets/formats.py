"""The formats of all known data sets: which one a file has, and its scenes."""

from multi_object_datasets import (
    balls,
    cater_with_masks,
    clevr_with_masks,
    multi_dsprites,
    multi_mnist,
    objects_room,
    records,
    shapes,
    tetrominoes,
)
from multi_object_datasets.errors import DatasetError

# Those with most features first, as a scene may have further features.
KNOWN_FORMATS = sorted(
    [
        tetrominoes.SCENE_FORMAT,
        clevr_with_masks.SCENE_FORMAT,
        shapes.SCENE_FORMAT,
        *balls.SCENE_FORMATS.values(),
        cater_with_masks.SCENE_FORMAT,
        *multi_dsprites.SCENE_FORMATS.values(),
        *multi_mnist.SCENE_FORMATS.values(),
        *objects_room.SCENE_FORMATS.values(),
    ],
    key=lambda scene_format: -len(scene_format.features),
)


def recognise(path):
    """Returns the SceneFormat of a known data set that the file's first scene has.

    Raises:
      DatasetError: the file is damaged, or its scenes are of no known format.
    """
    file, number, record = next(records.read_numbered_records(path))
    found = _matching_format(record)
    if found is None:
        raise DatasetError(f"{file}: record {number}: not a scene of any known data set")
    return found


def read_scenes(path, scene_format, progress=None):
    """Yields the scenes of a file as dicts of arrays, see `read_numbered_scenes`."""
    for _, _, scene in read_numbered_scenes(path, scene_format, progress):
        yield scene


def read_numbered_scenes(path, scene_format, progress=None):
    """Yields (file, number of the record in it, scene as a dict of arrays).

    Args:
      path: TFRecord file, glob or list of these, see `files.expand`.
      scene_format: their SceneFormat.
      progress: text for a progress bar, None for none.

    Raises:
      DatasetError: a file is damaged, or a scene in it has another format; names the file, the
        record, counted from 0, and the known format that the scene has.
    """
    for file, number, record in records.read_numbered_records(path, progress=progress):
        try:
            scene = scene_format.parse(record)
        except ValueError as error:
            found = _matching_format(record)
            hint = f" (it is a scene of {found.name})" if found else ""
            raise DatasetError(
                f"{file}: record {number}: not a scene of {scene_format.name}{hint}: {error}"
            ) from None
        yield file, number, scene


def _matching_format(record):
    """Returns the known SceneFormat that a serialised scene has, or None."""
    for scene_format in KNOWN_FORMATS:
        try:
            scene_format.parse(record)
            return scene_format
        except ValueError:
            continue
    return None
