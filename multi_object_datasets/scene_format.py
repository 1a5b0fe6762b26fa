"""What a file of scenes holds: the features of each data set, and how to read them.

The reader modules (`tetrominoes`, `multi_dsprites`, ...) describe their files as a `SceneFormat`;
reading, packing and recognising files all follow from it.
"""

import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from multi_object_datasets import records
from multi_object_datasets.errors import DatasetError


class Feature(NamedTuple):
    """One feature of a scene.

    Attributes:
      shape: its shape as returned.
      dtype: np.uint8 (stored as one-byte strings, or one string of bytes) or np.float32.
      stored_axes: if the axes are stored in another order, the stored axis that each returned
        axis comes from.
    """

    shape: tuple
    dtype: type = np.float32
    stored_axes: tuple = None


class SceneFormat(NamedTuple):
    """The format of a file of scenes.

    Attributes:
      name: data set and variant, for messages.
      features: {name: Feature}.
    """

    name: str
    features: dict


def check_variant(name, variant, variants):
    """Raises a DatasetError unless `variant` is one of `variants`."""
    if variant not in variants:
        raise DatasetError(f"{name} has no variant {variant!r}; there are: {', '.join(variants)}")


def parse_scene(record, scene_format):
    """Parses a serialised scene.

    Args:
      record: bytes of a `tf.Example`.
      scene_format: its SceneFormat.

    Returns:
      {name: array} of the format's features.

    Raises:
      ValueError: the record does not have this format; says in what.
    """
    values = records.parse_example(record)
    scene = {}
    for name, (shape, dtype, stored_axes) in scene_format.features.items():
        if name not in values:
            raise ValueError(f"has no feature '{name}'")
        value = values[name]
        if value.dtype != dtype or value.size != np.prod(shape, dtype=int):
            raise ValueError(
                f"'{name}' has {value.size} {value.dtype} values, wanted "
                f"{'x'.join(map(str, shape))} {np.dtype(dtype)}"
            )
        if stored_axes is not None:
            stored_shape = np.empty(len(shape), int)
            stored_shape[list(stored_axes)] = shape
            value = value.reshape(stored_shape).transpose(stored_axes)
        scene[name] = value.reshape(shape)
    return scene


def read_scenes(path, scene_format, progress=None):
    """Yields the scenes of a file as dicts of arrays.

    Args:
      path: TFRecord file.
      scene_format: its SceneFormat.
      progress: text for a progress bar, None for none.

    Raises:
      DatasetError: the file is damaged, or a scene in it has another format; names the file and
        the record, counted from 0.
    """
    for number, record in enumerate(records.read_records(path, progress=progress)):
        try:
            yield parse_scene(record, scene_format)
        except ValueError as error:
            raise _wrong_format(path, number, record, scene_format, error) from None


def recognise(path):
    """Returns the SceneFormat of a published data set that the file's first scene has.

    Raises:
      DatasetError: the file is damaged, or its scenes are of no known format.
    """
    record = next(records.read_records(path))
    found = _matching_format(record)
    if found is None:
        raise DatasetError(f"{path}: record 0: not a scene of any known data set")
    return found


def dataset(path, scene_format, read_buffer_size=None, map_parallel_calls=None):
    """Reads a file of scenes as a `tf.data.Dataset`.

    Args:
      path: TFRecord file.
      scene_format: its SceneFormat.
      read_buffer_size: bytes to read at a time, default 1 MiB.
      map_parallel_calls: number of scenes to parse at a time, default 1.

    Returns:
      Unbatched `tf.data.Dataset` of dicts of tensors. Where a record cannot be read, iterating
      raises a `tf.errors.OpError` whose text holds that of the DatasetError.
    """
    features = scene_format.features

    def parse(number, record):
        try:
            scene = parse_scene(record, scene_format)
        except ValueError as error:
            raise _wrong_format(path, number, record, scene_format, error) from None
        return [np.ascontiguousarray(scene[name]) for name in features]

    def parse_graph(number, record):
        values = tf.numpy_function(parse, [number, record], [f.dtype for f in features.values()])
        return {
            name: tf.ensure_shape(value, feature.shape)
            for value, (name, feature) in zip(values, features.items(), strict=True)
        }

    serialised = tf.data.Dataset.from_generator(
        lambda: enumerate(records.read_records(path, read_buffer_size)),
        output_signature=(tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.string)),
    )
    return serialised.map(parse_graph, map_parallel_calls)


def _wrong_format(path, number, record, wanted, error):
    """Returns the DatasetError for a record that is not of the wanted format."""
    found = _matching_format(record)
    hint = f" (it is a scene of {found.name})" if found else ""
    return DatasetError(f"{path}: record {number}: not a scene of {wanted.name}{hint}: {error}")


def _matching_format(record):
    """Returns the known SceneFormat that a serialised scene has, or None."""
    for scene_format in _known_formats():
        try:
            parse_scene(record, scene_format)
            return scene_format
        except ValueError:
            continue
    return None


def _known_formats():
    """All formats, the ones with most features first, as a scene may have further features."""
    # Imported here because the modules describe their formats with this one.
    from multi_object_datasets import (
        balls,
        cater_with_masks,
        clevr_with_masks,
        multi_dsprites,
        objects_room,
        shapes,
        tetrominoes,
    )

    formats = itertools.chain(
        [
            m.scene_format()
            for m in (tetrominoes, clevr_with_masks, shapes, balls, cater_with_masks)
        ],
        *(
            [m.scene_format(variant) for variant in m.MAX_NUM_ENTITIES]
            for m in (multi_dsprites, objects_room)
        ),
    )
    return sorted(formats, key=lambda f: -len(f.features))
