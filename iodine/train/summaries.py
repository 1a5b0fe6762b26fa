"""Scalars and summary images of a run for TensorBoard."""

import glob

import tensorflow as tf

from iodine.train.output import say
from multi_object_datasets import files


class Summaries:
    """Writes event files. What cannot be written costs a warning, never the run.

    Args:
      directory: where the event files go.
      model: the `Model` to show.
      batch: the fixed batch whose first scenes the images show.
      step: number of steps made before. What event files there say of later ones is removed.
      num_images: how many scenes of it.
    """

    def __init__(self, directory, model, batch, step, num_images=4):
        self.directory = directory
        self.scenes = tf.nest.map_structure(lambda x: x[:num_images], batch)
        self.draw = tf.function(lambda: model.get_overview_images(self.scenes), autograph=False)
        self.warned = False
        self.writer = None
        self._guarded(lambda: forget_after(directory, step))
        self._guarded(lambda: setattr(self, "writer", tf.summary.create_file_writer(directory)))

    def write_scalars(self, scalars, step):
        """Writes the scalars {name: value} of a step."""
        self._write({name: (tf.summary.scalar, value) for name, value in scalars.items()}, step)

    def write_images(self, step):
        """Writes the model's summary images at a step."""
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
                say(f"warning: cannot write summaries to '{self.directory}': {error}", "stderr")
            self.warned = True


def forget_after(directory, step):
    """Removes what the event files in a directory say of later steps than `step`.

    A run that was killed wrote it after its last checkpoint, and the resumed one makes these steps
    again. TensorBoard, which knows an event for this, heeds it for TensorFlow 1's summaries alone,
    and would show both.

    Args:
      directory: of the event files.
      step: number of steps made before.
    """
    for path in glob.glob(f"{glob.escape(directory)}/events.out.tfevents.*"):
        # A kill may have cut the last record off. TensorFlow remarks on a missing buffer size.
        records = tf.data.TFRecordDataset(path, buffer_size=2**18).ignore_errors()
        records = list(records.as_numpy_iterator())
        events = [(tf.compat.v1.Event.FromString(record).step, record) for record in records]
        if any(of_step > step for of_step, _ in events):
            with tf.io.TFRecordWriter(f"{path}.part") as writer:
                for of_step, record in events:
                    if of_step <= step:
                        writer.write(record)
            files.sync_paths(f"{path}.part")
            files.replace(f"{path}.part", path)
