"""Scalars and pictures of a run for TensorBoard."""

import sys

import tensorflow as tf


class Summaries:
    """Writes event files. What cannot be written costs a warning, never the run.

    Args:
      directory: where the event files go.
      model: the `Model` to show.
      batch: the fixed batch that the pictures show the first scenes of.
      num_images: how many scenes of it.
    """

    def __init__(self, directory, model, batch, num_images=4):
        self.directory = directory
        self.scenes = tf.nest.map_structure(lambda x: x[:num_images], batch)
        self.draw = tf.function(lambda: model.get_overview_images(self.scenes), autograph=False)
        self.warned = False
        self.writer = None
        self._guarded(lambda: setattr(self, "writer", tf.summary.create_file_writer(directory)))

    def write_scalars(self, scalars, step):
        """Writes the scalars {name: value} of a step."""
        self._write({name: (tf.summary.scalar, value) for name, value in scalars.items()}, step)

    def write_pictures(self, step):
        """Writes the model's pictures at a step."""
        self._write({name: (tf.summary.image, image) for name, image in self.draw().items()}, step)

    def _write(self, entries, step):
        def write():
            with self.writer.as_default(step=step):
                for name, (summary, value) in entries.items():
                    summary(name, value)
            self.writer.flush()

        if self.writer is not None:
            self._guarded(write)

    def _guarded(self, write):
        try:
            write()
        except (tf.errors.OpError, OSError) as error:
            if not self.warned:
                print(
                    f"warning: cannot write summaries to '{self.directory}': {error}",
                    file=sys.stderr,
                )
            self.warned = True
