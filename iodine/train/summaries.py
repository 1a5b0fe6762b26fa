"""Scalars and pictures of a run for TensorBoard."""

import glob
import os
import time

import tensorflow as tf

from iodine.train.output import say


class Summaries:
    """Writes event files. What cannot be written costs a warning, never the run.

    Args:
      directory: where the event files go.
      model: the `Model` to show.
      batch: the fixed batch that the pictures show the first scenes of.
      step: number of steps made before. What event files there already say of later ones, which a
        run that was killed made after its last checkpoint, no longer counts.
      num_images: how many scenes of it.
    """

    def __init__(self, directory, model, batch, step, num_images=4):
        self.directory = directory
        self.scenes = tf.nest.map_structure(lambda x: x[:num_images], batch)
        self.draw = tf.function(lambda: model.get_overview_images(self.scenes), autograph=False)
        self.warned = False
        self.writer = None
        if glob.glob(f"{glob.escape(directory)}/events.out.tfevents.*"):
            self._guarded(lambda: write_restart(directory, step + 1))
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
                say(f"warning: cannot write summaries to '{self.directory}': {error}", "stderr")
            self.warned = True


def write_restart(directory, step):
    """Writes an event file by which TensorBoard forgets what files before it say from a step on.

    TensorFlow 2's own writer cannot write such an event.

    Args:
      directory: of the event files, which TensorBoard reads by the order of their names.
      step: the first step that is made again.
    """
    now = time.time()
    start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
    events = [
        tf.compat.v1.Event(wall_time=now, file_version="brain.Event:2"),
        tf.compat.v1.Event(wall_time=now, step=step, session_log=start),
    ]
    # Other names go on with the machine's, which sorts after a hyphen.
    with tf.io.TFRecordWriter(os.path.join(directory, f"events.out.tfevents.{int(now)}.-")) as file:
        for event in events:
            file.write(event.SerializeToString())
