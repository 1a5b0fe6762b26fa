"""Reads the scalars that a run wrote for TensorBoard."""

import tensorflow as tf


def read_events(directory, names):
    """Reads the event files of a run, of which each start wrote one.

    Args:
      directory: `Path` of the run.
      names: of the scalars to read.

    Returns:
      ({name: {"steps": whole numbers, "values": floats}}, minutes between the first and the last
      event of each file, summed). A step that was made again after an interruption counts as it was
      made last.
    """
    values, minutes = {name: {} for name in names}, 0.0
    for path in sorted(directory.glob("events.out.tfevents.*")):
        times = []
        # A kill may have cut the last record off.
        records = tf.data.TFRecordDataset(str(path)).ignore_errors()
        for record in records.as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            times.append(event.wall_time)
            for value in event.summary.value:
                if value.tag in values:
                    values[value.tag][event.step] = tf.make_ndarray(value.tensor).item()
        minutes += (times[-1] - times[0]) / 60 if times else 0.0
    curves = {
        name: {"steps": sorted(of_name), "values": [of_name[step] for step in sorted(of_name)]}
        for name, of_name in values.items()
    }
    return curves, minutes
