"""Saving and restoring training state, with errors that a user can act on."""

import os

import tensorflow as tf

from iodine.modules.utils import UserError

MAX_TO_KEEP = 5
VALUE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def variable_keys(root):
    """Names the variables below a trackable object as its checkpoints do.

    Args:
      root: a `tf.train.Checkpoint` or another trackable object.

    Returns:
      {path of attribute names: tf.Variable}, the shortest path where there are several.
    """
    view = tf.train.TrackableView(root)
    keys, seen, queue = {}, {id(root)}, [((), root)]
    while queue:
        path, trackable = queue.pop(0)
        if isinstance(trackable, tf.Variable):
            keys["/".join(path)] = trackable
        for name, child in view.children(trackable).items():
            if id(child) not in seen:
                seen.add(id(child))
                queue.append(((*path, name), child))
    return keys


def shape_differences(wanted, found):
    """Describes how the variables found differ from those wanted.

    Args:
      wanted: {name: shape} of the model.
      found: {name: shape} of the checkpoint.

    Returns:
      Lines of a table with a head: each name that is missing, left over or of another shape, its
      shape in the checkpoint and in the model. None where nothing differs.
    """
    rows = [
        (name, str(found.get(name, "missing")), str(wanted.get(name, "unknown")))
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name)
    ]
    if not rows:
        return []
    rows.insert(0, ("name", "found", "wanted"))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows]


def latest_checkpoint(directory):
    """Returns the path of the latest checkpoint in a directory.

    Raises:
      UserError: if there is none.
    """
    if not os.path.isdir(directory):
        raise UserError(f"there is no checkpoint directory '{directory}': set checkpoint_dir=DIR")
    path = tf.train.latest_checkpoint(directory)
    if path is None:
        raise UserError(f"there is no checkpoint in '{directory}': set checkpoint_dir=DIR")
    return path


def restore(path, **objects):
    """Restores the variables of some of the objects that a checkpoint holds.

    Args:
      path: the checkpoint.
      **objects: trackable objects under the names that they were saved with. Their variables must
        have been created.

    Raises:
      UserError: if an object is missing as a whole, or any variable of the objects is missing, left
        over or of another shape, or the checkpoint cannot be read; no variable is changed but in
        the last case.
    """
    checkpoint = tf.train.Checkpoint(**objects)
    try:
        found = tf.train.load_checkpoint(path).get_variable_to_shape_map()
        found = {
            key.removesuffix(VALUE_SUFFIX): shape
            for key, shape in found.items()
            if key.endswith(VALUE_SUFFIX) and key.split("/")[0] in objects
        }
        wanted = {
            key: variable.shape.as_list()
            for key, variable in variable_keys(checkpoint).items()
            if key.split("/")[0] in objects
        }
        absent = objects.keys() - {key.split("/")[0] for key in found}
        if absent:
            raise UserError(
                f"the checkpoint '{path}' holds no {' and no '.join(sorted(absent))}: it is for "
                "`evaluate` and `visualize`, and training cannot go on from it"
            )
        differences = shape_differences(wanted, found)
        if differences:
            raise UserError(
                f"the checkpoint '{path}' is of another architecture than the config:\n  "
                + "\n  ".join(differences)
            )
        checkpoint.restore(path).expect_partial()
    except (tf.errors.OpError, RuntimeError) as error:
        raise UserError(f"the checkpoint '{path}' cannot be read: {error}") from error


class CheckpointWriter:
    """Saves checkpoints of a run and keeps the last five.

    Args:
      directory: where to, made if need be.
      **objects: trackable objects to save.

    Raises:
      UserError: if there is no such directory and it cannot be made.
    """

    def __init__(self, directory, **objects):
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make checkpoint_dir={directory}: {error}") from error
        self.directory = directory
        self.manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(**objects), directory, max_to_keep=MAX_TO_KEEP
        )

    @property
    def latest(self):
        """Path of the latest good checkpoint, None if there is none yet."""
        return self.manager.latest_checkpoint

    def save(self, step):
        """Writes a checkpoint and returns its path.

        Raises:
          UserError: if it cannot be written; the checkpoints before it are left as they are.
        """
        try:
            if not os.path.isdir(self.directory):
                raise FileNotFoundError("the directory is gone")
            return self.manager.save(checkpoint_number=step)
        except (tf.errors.OpError, OSError) as error:
            raise UserError(
                f"cannot write the checkpoint of step {step} to '{self.directory}': {error} "
                f"(last good checkpoint: {self.latest})"
            ) from error
