"""The formats of all known data sets: which one a file has, and its scenes."""

from multi_object_datasets import (
    balls,
    clevr_with_masks,
    files,
    hdf5,
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
        *multi_dsprites.SCENE_FORMATS.values(),
        *multi_mnist.SCENE_FORMATS.values(),
        *objects_room.SCENE_FORMATS.values(),
    ],
    key=lambda scene_format: -len(scene_format.features),
)


def recognise(path):
    """Returns the SceneFormat of the first scene: a known data set's, or that of an HDF5 file.

    Raises:
      DatasetError: the file is damaged, or its scenes are of no known format.
    """
    first = files.expand(path)[0]
    if hdf5.is_hdf5(first):
        return hdf5.scene_format(first)
    file, number, record = next(records.read_numbered_records(path))
    found = _matching_format(record)
    if found is None:
        raise DatasetError(f"{file}: record {number}: not a scene of any known data set")
    return found


def read_scenes(path, progress=None):
    """Yields the scenes of a file, of whatever known data set, as dicts of NumPy arrays.

    The features and their shapes are those that the data set's module tells.

    Args:
      path, progress: as for `read_numbered_scenes`.

    Raises:
      DatasetError: as `recognise` and `read_numbered_scenes` do.
    """
    for _, _, scene in read_numbered_scenes(path, recognise(path), progress):
        yield scene


def read_numbered_scenes(path, scene_format, progress=None):
    """Yields (file, number of the scene in it, scene as a dict of arrays).

    Args:
      path: TFRecord or HDF5 file, glob or list of these, see `files.expand`.
      scene_format: their SceneFormat.
      progress: text for a progress bar, None for none.

    Raises:
      DatasetError: a file is damaged, or a scene in it has another format; names the file, the
        record, counted from 0, and the known format that the scene has.
    """
    for file in files.expand(path):
        if hdf5.is_hdf5(file):
            scenes = enumerate(hdf5.read_scenes(file, scene_format, progress))
        else:
            scenes = _parsed_records(file, scene_format, progress)
        for number, scene in scenes:
            yield file, number, scene


def _parsed_records(file, scene_format, progress):
    """Yields (number, scene) of a TFRecord file."""
    for number, record in enumerate(records.read_records(file, progress=progress)):
        try:
            yield number, scene_format.parse(record)
        except ValueError as error:
            found = _matching_format(record)
            hint = f" (it is a scene of {found.name})" if found else ""
            raise DatasetError(
                f"{file}: record {number}: not a scene of {scene_format.name}{hint}: {error}"
            ) from None


def _matching_format(record):
    """Returns the known SceneFormat that a serialised scene has, or None."""
    for scene_format in KNOWN_FORMATS:
        try:
            scene_format.parse(record)
            return scene_format
        except ValueError:
            continue
    return None
