"""Saving and restoring training state, with errors that a user can act on."""

import contextlib
import glob
import json
import os
import re
import shutil
import sys
import tempfile

import tensorflow as tf

from iodine.entries import ENTRIES, PLANS, checkpoint_root
from iodine.errors import UserError
from multi_object_datasets import files

MAX_TO_KEEP = 5
# Shipped models whose weights exceed 5 MB: in the repository, not in the installed package.
LEFT_OUT = ("air", "air_small")
# The entry that tells TensorFlow 2's checkpoints from TensorFlow 1's.
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
RECORD_KEY = "record/.ATTRIBUTES/py_state"
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


def step_of(path):
    """Number of the step in the name of one of our checkpoints, DIR/ckpt-STEP; -1 for others."""
    match = re.fullmatch(r"ckpt-(\d+)", os.path.basename(path))
    return int(match[1]) if match else -1


def checkpoints_in(directory):
    """Prefixes of the checkpoints in a directory, the latest first.

    The directory counts, not its file `checkpoint`, which may be missing or hold the path of the
    machine that it was written on.
    """
    files = filter(os.path.isfile, glob.glob(f"{glob.escape(directory)}/*.index"))
    prefixes = [path.removesuffix(".index") for path in files]
    return sorted(prefixes, key=step_of, reverse=True)


def shipped_directories():
    """Paths of the directories of the models that come with this project, in their names' order."""
    # Beside the package in a checkout, within it where it is installed.
    package = os.path.dirname(os.path.abspath(__file__))
    for root in (os.path.join(package, "shipped"), os.path.join(package, "..", "checkpoints")):
        found = sorted(glob.glob(f"{glob.escape(os.path.normpath(root))}/*/*.index"))
        if found:
            return list(dict.fromkeys(map(os.path.dirname, found)))
    return []


def _shipped(path):
    """Returns the directory of the shipped model that a path names, None if it names none.

    A name does, and what configs have for it, checkpoints/NAME.

    Raises:
      UserError: if the model is too large for the installed package.
    """
    root, name = os.path.split(os.path.normpath(path))
    if root not in ("", "checkpoints", os.path.normpath(checkpoint_root())):
        return None
    directories = shipped_directories()
    found = next((d for d in directories if os.path.basename(d) == name), None)
    if found is None and name in LEFT_OUT and directories:
        raise UserError(
            f"the weights of {name} are too large for the installed package: take the folder "
            f"checkpoints/{name} from the repository and set checkpoint_dir to it"
        )
    return found


def own_prefix(path):
    """Returns the prefix of the checkpoint that a path names itself, or by one of its files.

    Args:
      path: a string, such as DIR/ckpt-58 or DIR/ckpt-58.index.

    Returns:
      DIR/ckpt-58, or None if there is no such checkpoint: the path may be a directory of some.
    """
    prefix = re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path)
    return prefix if os.path.isfile(f"{prefix}.index") else None


def checkpoint_prefix(path):
    """Returns the prefix of the checkpoint that a path names.

    Args:
      path: a checkpoint's prefix, one of its files, the directory that holds it, or the name of a
        shipped model. A checkpoint wins over a directory of the same name.

    Raises:
      UserError: if there is none, or several in the directory without a latest one.
    """
    path = os.path.expanduser(str(path))
    if not os.path.exists(path) and own_prefix(path) is None:
        path = _shipped(path) or path
    if os.path.basename(path) == "checkpoint" and os.path.isfile(path):
        path = os.path.dirname(path) or "."
    prefix = own_prefix(path)
    if prefix is None and os.path.isdir(path):
        prefixes = checkpoints_in(path)
        if not prefixes:
            raise UserError(f"there is no checkpoint at '{path}'")
        if len(prefixes) > 1 and step_of(prefixes[0]) < 0:
            raise UserError(f"'{path}' holds {len(prefixes)} checkpoints: name one of their files")
        return prefixes[0]
    if prefix is None:
        raise UserError(f"there is no checkpoint at '{path}'")
    return prefix


def is_pattern(path):
    """Returns whether TensorFlow takes a path for a pattern, as it does wherever it reads one."""
    return glob.has_magic(path) or (os.sep == "/" and "\\" in path)


def check_directory(directory):
    """Raises a `UserError` if checkpoints cannot be saved to a directory of this name.

    Args:
      directory: path, which need not exist.
    """
    if own_prefix(directory):
        parent = os.path.dirname(directory) or "."
        raise UserError(
            f"'{directory}' is a checkpoint, no directory: name the directory of its run, "
            f"checkpoint_dir={parent}, or begin with its weights, initial_weights={directory}"
        )
    if is_pattern(directory):
        raise UserError(
            f"'{directory}' is no name for a directory of checkpoints, because TensorFlow takes *, "
            "?, [ and \\ for a pattern: choose another one"
        )


@contextlib.contextmanager
def name_for_tensorflow(prefix):
    """Gives a name by which TensorFlow can read a checkpoint until the `with` block is left.

    TensorFlow would find nothing in a directory `run [1]`, which is therefore read through a link.
    """
    prefix = os.fspath(prefix)
    if not is_pattern(prefix):
        yield prefix
        return
    directory, name = os.path.split(os.path.abspath(prefix))
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, "link")
        os.symlink(directory, link, target_is_directory=True)
        yield os.path.join(link, name)


def read_checkpoint(prefix):
    """Reads a whole checkpoint, {name: array}.

    Args:
      prefix: of the checkpoint.

    Raises:
      UserError: if it cannot be read.
    """
    try:
        with name_for_tensorflow(prefix) as name:
            reader = tf.compat.v1.train.NewCheckpointReader(name)
            return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    # TensorFlow's reader turns some of its errors into Python's.
    except (tf.errors.OpError, RuntimeError, ValueError, IndexError) as error:
        raise UserError(f"the checkpoint '{prefix}' cannot be read: {error}") from error


def latest_checkpoint(path):
    """Returns the prefix of one of our checkpoints, one that can be read as a whole.

    Args:
      path: as for `checkpoint_prefix`. The latest checkpoint of a directory that can be read is
        taken; a line says so where that is not the latest.

    Raises:
      UserError: if there is none, or it is one of the original IODINE.
    """
    prefix = checkpoint_prefix(path)
    candidates = [prefix]
    if own_prefix(os.path.expanduser(str(path))) is None:
        candidates = checkpoints_in(os.path.dirname(prefix))
    for number, candidate in enumerate(candidates):
        try:
            values = read_checkpoint(candidate)
        except UserError as error:
            if number == len(candidates) - 1:
                raise
            print(f"{error}; taking the one before", file=sys.stderr)
            continue
        if OBJECT_GRAPH not in values:
            raise UserError(
                f"'{candidate}' is a checkpoint of the original IODINE: convert it by `python -m "
                f"iodine.main convert with CONFIG reference_checkpoint={candidate} "
                "checkpoint_dir=DIR`"
            )
        return candidate


def check_vacant(directory):
    """Raises a `UserError` if there are checkpoints in a directory."""
    if os.path.exists(f"{directory}/checkpoint") or glob.glob(f"{glob.escape(directory)}/*.index"):
        raise UserError(f"'{directory}' holds checkpoints already: choose another directory")


def restore(path, may_lack=(), **objects):
    """Restores the variables of some of the objects that a checkpoint holds.

    Args:
      path: the checkpoint.
      may_lack: keys, as of `variable_keys`, of variables that stay as they are where the checkpoint
        lacks them.
      **objects: trackable objects under the names that they were saved with. Their variables must
        have been created.

    Returns:
      Those of `may_lack` that the checkpoint lacks, a list.

    Raises:
      UserError: if an object is missing as a whole, or any other variable of the objects is
        missing, left over or of another shape, or the checkpoint cannot be read; no variable is
        changed but in the last case.
    """
    checkpoint = tf.train.Checkpoint(**objects)
    try:
        with name_for_tensorflow(path) as name:
            found = tf.compat.v1.train.NewCheckpointReader(name).get_variable_to_shape_map()
            variables = variable_keys(checkpoint)
            lacking = [
                key for key in may_lack if key in variables and key + VALUE_SUFFIX not in found
            ]
            wanted = {key: v for key, v in variables.items() if key not in lacking}
            _check_fits(path, found, wanted, objects)
            checkpoint.restore(name).expect_partial()
    except (tf.errors.OpError, RuntimeError) as error:
        reason = _without_operations(error)
        raise UserError(f"the checkpoint '{path}' cannot be read: {reason}") from error
    return lacking


def _without_operations(error):
    """Returns the text of an error without the names of TensorFlow's operations around it."""
    return re.sub(r"^\{\{.*?\}\} | \[Op:\w+\]$", "", str(error))


def _check_fits(path, found, variables, objects):
    """Raises a `UserError`, see `restore`, unless a checkpoint holds just the objects' variables.

    Args:
      path: the checkpoint.
      found: {key: shape} of everything in it.
      variables: {key: tf.Variable} of the objects that the checkpoint has to hold.
      objects: names of the objects.
    """
    found = {
        key.removesuffix(VALUE_SUFFIX): shape
        for key, shape in found.items()
        if key.endswith(VALUE_SUFFIX) and key.split("/")[0] in objects
    }
    absent = set(objects) - {key.split("/")[0] for key in found}
    if absent:
        raise UserError(
            f"the checkpoint '{path}' holds no {' and no '.join(sorted(absent))}: it serves "
            "`evaluate`, `visualize` and `initial_weights`, but not to resume or to export a run"
        )
    wanted = {
        key: variable.shape.as_list()
        for key, variable in variables.items()
        if key.split("/")[0] in objects
    }
    differences = shape_differences(wanted, found)
    if differences:
        raise UserError(
            f"the checkpoint '{path}' is of another architecture than the config:\n  "
            + "\n  ".join(differences)
        )


def restore_model(path, model, image_shape):
    """Restores a model alone, and what its checkpoint remembers of how it infers.

    Args:
      path: the checkpoint.
      model: a `Model`, new.
      image_shape: (H, W, C) of its images.

    Returns:
      What the checkpoint remembers, as `read_record`.

    Raises:
      UserError: as `restore`.
    """
    model.initialize(image_shape)
    restore(path, model=model)
    record = read_record(path)
    model.refinement_batch_size = record.get("refinement_batch_size", model.refinement_batch_size)
    return record


class Record(tf.train.experimental.PythonState):
    """What a checkpoint remembers of how its model was trained, beside variables.

    Args:
      values: a dict for JSON.
    """

    def __init__(self, values):
        super().__init__()
        self.values = values

    def serialize(self):
        return json.dumps(self.values)

    def deserialize(self, string_value):
        self.values = json.loads(string_value)


def read_record(path):
    """Returns what a checkpoint remembers, the dict of its `Record`; empty if it has none.

    Raises:
      UserError: if the checkpoint cannot be read, or this is no record of ours.
    """
    try:
        with name_for_tensorflow(path) as name:
            reader = tf.compat.v1.train.NewCheckpointReader(name)
            if not reader.has_tensor(RECORD_KEY):
                return {}
            record = json.loads(reader.get_tensor(RECORD_KEY))
    except (tf.errors.OpError, RuntimeError, ValueError, IndexError) as error:
        raise UserError(f"the checkpoint '{path}' cannot be read: {error}") from error
    if wrong := _wrong_in_record(record):
        raise UserError(
            f"the checkpoint '{path}' remembers no {wrong} that this program can use: it was "
            "changed since it was saved, or is of another program"
        )
    return record


def _wrong_in_record(record):
    """Returns what is wrong in what a checkpoint remembers, by its name; None if nothing is."""
    if not isinstance(record, dict):
        return "record"
    config, history = record.get("config", {}), record.get("data", [])
    if not isinstance(config, dict) or not isinstance(record.get("overridden", {}), dict):
        return "config"
    if "config" in record and not all(isinstance(config.get(plan), dict) for plan in PLANS):
        return f"config with {', '.join(PLANS)}"
    for name in config.keys() & ENTRIES.keys() - set(PLANS):
        if ENTRIES[name].feeds or name == "named_config":
            try:
                ENTRIES[name].check(config[name])
            except UserError:
                return name
    if not isinstance(history, list) or not all(map(_is_provenance, history)):
        return "data"
    for name in ("refinement_batch_size", "stage", "seed"):
        if type(record.get(name)) not in (int, type(None)):
            return name
    return None


def _is_provenance(entry):
    """Whether this is what `SceneDataset.provenance` returned, or None for unknown data."""
    return entry is None or (
        isinstance(entry, dict)
        and isinstance(entry.get("content"), str)
        and isinstance(entry.get("held_out"), int)
        and {"min_num_objects", "max_num_objects"} <= entry.keys()
    )


class CheckpointWriter:
    """Saves checkpoints of a run and keeps the last five.

    Args:
      directory: where to, made if need be.
      record: what checkpoints are to remember, a dict for JSON.
      **objects: trackable objects to save.

    Raises:
      UserError: if there is no such directory and it cannot be made, or checkpoints cannot be saved
        to one of this name.
    """

    def __init__(self, directory, record, **objects):
        directory = os.fspath(directory)
        check_directory(directory)
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make checkpoint_dir={directory}: {error}") from error
        self.directory = directory
        self._remove_unfinished("*")  # of a run that was killed while it saved
        self.manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(record=Record(record), **objects),
            directory,
            max_to_keep=MAX_TO_KEEP,
        )
        self.objects = objects

    @property
    def latest(self):
        """Path of the latest good checkpoint, None if there is none yet."""
        return next(iter(checkpoints_in(self.directory)), None)

    def drop_from(self, step):
        """Takes the checkpoints of a step and of later ones back, at the end of a run."""
        found = checkpoints_in(self.directory)[::-1]
        kept = [prefix for prefix in found if step_of(prefix) < step]
        for prefix in found[len(kept) :]:
            for file in glob.glob(f"{glob.escape(prefix)}.*"):
                os.remove(file)
        # For those who ask TensorFlow for the latest one.
        if kept:
            tf.compat.v1.train.update_checkpoint_state(self.directory, kept[-1], kept)
        elif found:
            os.remove(os.path.join(self.directory, "checkpoint"))

    def _remove_unfinished(self, step):
        """Removes the folder in which TensorFlow gathers the parts of a step's checkpoint."""
        for folder in glob.glob(f"{glob.escape(self.directory)}/ckpt-{step}_temp"):
            shutil.rmtree(folder, ignore_errors=True)

    def save(self, step):
        """Writes a checkpoint and returns its path.

        Raises:
          UserError: if it cannot be written, or weights are not finite; the checkpoints before it
            are left as they are.
        """
        for key, variable in variable_keys(tf.train.Checkpoint(**self.objects)).items():
            if variable.dtype.is_floating and not key.startswith("progress/"):
                if not tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(variable))):
                    raise UserError(
                        f"after step {step} the variable {key} is not finite: nothing is saved "
                        f"(last good checkpoint: {self.latest})"
                    )
        try:
            if not os.path.isdir(self.directory):
                raise FileNotFoundError("the directory is gone")
            path = self.manager.save(checkpoint_number=step)
            files.sync_paths(*glob.glob(f"{glob.escape(path)}.*"), self.directory)
            return path
        except (tf.errors.OpError, OSError) as error:
            self._remove_unfinished(step)
            raise UserError(
                f"cannot write the checkpoint of step {step} to '{self.directory}': "
                f"{_without_operations(error)} "
                f"(last good checkpoint: {self.latest})"
            ) from error
