"""What a file of scenes holds: its features, and how one scene is parsed.

The reader modules (`tetrominoes`, `multi_dsprites`, ...) describe their files as a `SceneFormat`;
`formats` knows them all.
"""

from typing import NamedTuple

import numpy as np

from multi_object_datasets import records
from multi_object_datasets.errors import DatasetError

# First scenes of a file that are for testing, unless one says otherwise: as many as the paper
# evaluates on.
HELD_OUT = 320


class Feature(NamedTuple):
    """One feature of a scene.

    Attributes:
      shape: its shape as returned.
      dtype: np.uint8 (stored as one-byte strings) or np.float32.
      stored_axes: if the axes are stored in another order, the stored axis that each returned
        axis comes from.
    """

    shape: tuple
    dtype: type = np.float32
    stored_axes: tuple = None

    @property
    def stored_shape(self):
        """The shape as stored."""
        if self.stored_axes is None:
            return self.shape
        return tuple(self.shape[self.stored_axes.index(axis)] for axis in range(len(self.shape)))


class SceneFormat(NamedTuple):
    """The format of a file of scenes.

    Attributes:
      name: data set and variant, for messages.
      features: {name: Feature}.
    """

    name: str
    features: dict

    def parse(self, record):
        """Parses a serialised scene.

        Args:
          record: bytes of a `tf.Example`.

        Returns:
          {name: array} of the features.

        Raises:
          ValueError: the record does not have this format; says in what.
        """
        values = records.parse_example(record)
        scene = {}
        for name, feature in self.features.items():
            if name not in values:
                raise ValueError(f"has no feature '{name}'")
            value = values[name]
            if value.dtype != feature.dtype or value.size != np.prod(feature.shape, dtype=int):
                raise ValueError(
                    f"'{name}' has {value.size} {value.dtype} values, wanted "
                    f"{'x'.join(map(str, feature.shape))} {np.dtype(feature.dtype)}"
                )
            value = value.reshape(feature.stored_shape)
            axes = feature.stored_axes
            scene[name] = value if axes is None else value.transpose(axes)
        return scene

    def dataset(self, tfrecords_path, read_buffer_size=None, map_parallel_calls=None):
        """Reads a file of scenes as a `tf.data.Dataset`.

        Args:
          tfrecords_path: TFRecord file, glob or list of these, see `files.expand`.
          read_buffer_size: bytes to read at a time, default 1 MiB.
          map_parallel_calls: number of scenes to parse at a time, default 1.

        Returns:
          Unbatched `tf.data.Dataset` of dicts of tensors, see the data set's module. Where a record
          cannot be read, iterating raises a `tf.errors.OpError` whose text holds that of the
          DatasetError.
        """
        # Here, because what packs and generates scenes does without: it would take seconds, and
        # the GPU.
        import tensorflow as tf

        features = self.features

        def parse(file, number, record):
            try:
                scene = self.parse(record)
            except ValueError as error:
                raise DatasetError(
                    f"{file.decode()}: record {number}: not a scene of {self.name}: {error}"
                ) from None
            return [np.ascontiguousarray(scene[name]) for name in features]

        def parse_graph(*record):
            types = [feature.dtype for feature in features.values()]
            values = tf.numpy_function(parse, record, types)
            return {
                name: tf.ensure_shape(value, feature.shape)
                for value, (name, feature) in zip(values, features.items(), strict=True)
            }

        serialised = tf.data.Dataset.from_generator(
            lambda: records.read_numbered_records(tfrecords_path, read_buffer_size),
            output_signature=tuple(
                tf.TensorSpec([], dtype) for dtype in (tf.string, tf.int64, tf.string)
            ),
        )
        return serialised.map(parse_graph, map_parallel_calls)

    def feature_descriptions(self):
        """Returns what `tf.io.parse_single_example` takes to read a scene as it is stored.

        Of one-byte strings, where files have these, so this is the slow way to read them.
        """
        import tensorflow as tf  # As in `dataset`.

        def description(feature):
            if feature.dtype == np.uint8:
                return tf.io.FixedLenFeature(feature.stored_shape, tf.string)
            return tf.io.FixedLenFeature(feature.stored_shape, tf.float32)

        return {name: description(feature) for name, feature in self.features.items()}


def variant_format(name, variant, formats):
    """Returns the format of a variant.

    Args:
      name: of the data set.
      variant: the one wanted.
      formats: {variant: SceneFormat}.

    Raises:
      DatasetError: there is no such variant.
    """
    if variant not in formats:
        raise DatasetError(f"{name} has no variant {variant!r}; there are: {', '.join(formats)}")
    return formats[variant]
