"""Opening a trained model: from a name or a path to a model, its data and its config."""

import atexit
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from typing import Any, NamedTuple

from iodine import checkpoints, config, shipped_models
from iodine.build import build, build_model
from iodine.data.provenance import check_never_trained_on
from iodine.data.scene_dataset import SceneDataset
from iodine.errors import UserError
from iodine.model import Model
from iodine.optimizer import Adam
from iodine.train import devices
from multi_object_datasets import files
from multi_object_datasets.errors import DatasetError


class OpenModel(NamedTuple):
    """A trained model and what belongs to it.

    Attributes:
      model: the `Model`, restored.
      dataset: the data set that it was trained on, or the one that the user names.
      config: the config that both were built from.
      record: what the checkpoint remembers.
      path: prefix of the checkpoint.
    """

    model: Model
    dataset: SceneDataset
    config: dict[str, Any]
    record: dict[str, Any]
    path: str


def build_parts(config: Mapping[str, Any]) -> tuple[SceneDataset, Model, Adam]:
    """Builds the objects that a config's plans describe.

    Args:
      config: a resolved config.

    Returns:
      (dataset, model, optimizer).

    Raises:
      UserError: if the config has no plans, or one of them cannot be built.
    """
    if not all(config[plan] for plan in ("data", "model", "optimizer")):
        raise UserError(
            "no config given: `python -m iodine.main with NAME`, NAME being one of "
            f"{', '.join(known_configs())}"
        )
    allowed = config["allow_constructors"]
    dataset = build(config["data"], "data", allowed)
    model = build_model(config["model"], dataset, allowed)
    return dataset, model, build(config["optimizer"], "optimizer", allowed)


def known_configs() -> list[str]:
    """Returns the names of all named configs."""
    return list(config.NAMED_CONFIGS)


def open_model(
    name: str | os.PathLike,
    updates: Mapping[str, Any] | None = None,
    for_testing: bool = False,
    fallback: str | None = None,
    num_scenes: int | None = 0,
) -> OpenModel:
    """Opens a trained model.

    It is looked at as its checkpoint remembers it: image size, data, likelihood and latents come
    from the checkpoint's record, the number of refinements from the named config, and what the user
    says counts above both.

    Args:
      name: of a shipped model or a named config; or a path, of a directory (its newest checkpoint)
        or of one checkpoint.
      updates: {dotted key: value}, as on the command line; `checkpoint_dir` among them names the
        checkpoint of a named config.
      for_testing: whether the data's held-out scenes are to test the model.
      num_scenes: number of held-out scenes that are wanted, 0 if none is looked at. A shipped model
        whose data file is not there has some beside it; more are generated, if the data set
        makes its file on first use. None takes those beside it, whatever their number.
      fallback: named config of a checkpoint that does not remember its own, as converted ones.

    Returns:
      `OpenModel`.

    Raises:
      UserError: if there is no such checkpoint, it does not fit the config, or it was trained on
        the scenes that are to test it.
    """
    if not isinstance(updates or {}, Mapping):
        raise UserError(f"updates are {{dotted key: value}}, not {updates!r}")
    name, updates = str(name), dict(updates or {})
    updates.setdefault("checkpoint_dir", name)
    path = checkpoints.latest_checkpoint(updates["checkpoint_dir"])
    record = checkpoints.read_record(path)
    named = [name] if name in config.NAMED_CONFIGS else []
    if fallback and "config" not in record:
        named = [fallback]
    resolution = config.resolve(named, updates, record)
    for note in resolution.notes:
        print(note, file=sys.stderr)
    return restore(resolution.config, for_testing, num_scenes)


def restore(
    config: Mapping[str, Any], for_testing: bool = False, num_scenes: int | None = 0
) -> OpenModel:
    """Builds the model and the data of a resolved config and restores the model's weights.

    Args:
      config: what `config.resolve` returned to look at a model with.
      for_testing, num_scenes: as for `open_model`.

    Raises:
      UserError: as `open_model`.
    """
    path = checkpoints.latest_checkpoint(config["checkpoint_dir"])
    devices.set_memory_growth(config["gpu_memory_growth"])
    dataset, model, _ = build_parts(config)
    record = checkpoints.restore_model(path, model, dataset.image_shape)
    if num_scenes != 0 and (scenes := _held_out_scenes(path, config, record, dataset, num_scenes)):
        config = {**config, "data": {**config["data"], **scenes}}
        dataset = build(config["data"], "data", config["allow_constructors"])
        dataset.only_held_out = True
    elif for_testing and (line := check_never_trained_on(record.get("data"), dataset)):
        print(line, file=sys.stderr)
    return OpenModel(model, dataset, dict(config), record, path)


def _held_out_scenes(path, config, record, dataset, num_scenes):
    """Returns what to change in the data's plan for held-out scenes alone, and says so.

    Args:
      path: prefix of the model's checkpoint.
      config: the config to look with.
      record: what the checkpoint remembers.
      dataset: the config's data set.
      num_scenes: as for `open_model`.

    Returns:
      {argument of the data set: value}, of the scenes beside the model, or of a small file that is
      generated if these are too few and can be. None where the data's own file is there, or the
      user names a file.
    """
    trained_on = record.get("config", {}).get("data", {}).get("path")
    scenes = shipped_models.scenes_beside(path)
    if scenes is None or config["data"]["path"] != trained_on or _is_there(dataset.path):
        return None
    count, for_more = shipped_models.num_scenes(scenes), ""
    if num_scenes is not None and num_scenes > count:
        wanted = min(num_scenes, dataset.held_out)
        if generated := dataset.generate_first(wanted):
            return {"path": generated, "held_out": wanted}
        for_more = f" (for more, {dataset.how_to_get_it})"
    own = " and ".join(files.expand(dataset.path))
    print(f"no {own} yet: using the {count} held-out scenes in {scenes}{for_more}", file=sys.stderr)
    cache = tempfile.mkdtemp(prefix="iodine-")  # The package's folder is not for writing.
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    return {"path": scenes, "cache": cache, "held_out": count}


def _is_there(path):
    """Whether all files that a data path names are there."""
    try:
        return all(os.path.exists(file) for file in files.expand(path))
    except DatasetError:
        return False


def load_model(
    name: str | os.PathLike, updates: Mapping[str, Any] | None = None
) -> tuple[Model, SceneDataset, dict[str, Any]]:
    """Returns (model, dataset, config) of a trained model, as `open_model` opens it.

    Args:
      name, updates: as for `open_model`.
    """
    opened = open_model(name, updates, num_scenes=None)
    return opened.model, opened.dataset, opened.config


def list_models(verify: bool = False) -> dict[str, dict[str, Any]]:
    """Lists the shipped models.

    Args:
      verify: whether to compare their files with the list of SHA-256 checksums beside them.

    Returns:
      {name: {"config": the named config, "data": class of its data set, "path": of its directory,
      "figures": what `evaluate` measured, {} if nothing}}.

    Raises:
      UserError: if a file is damaged, or is not the one on the list.
    """
    models = {}
    directories = checkpoints.shipped_directories()
    if verify and directories:
        shipped_models.verify(os.path.dirname(directories[0]))
    for directory in directories:
        record = checkpoints.read_record(checkpoints.checkpoint_prefix(directory))
        plans = record.get("config", {})
        figures = os.path.join(directory, "evaluation.json")
        content = {}
        if os.path.isfile(figures):
            try:
                with open(figures) as file:
                    content = json.load(file)
            except ValueError as error:
                raise UserError(f"{figures} is damaged ({error}): clone it again") from error
        models[os.path.basename(directory)] = {
            "config": plans.get("named_config"),
            "data": plans.get("data", {}).get("constructor", "").rpartition(".")[2] or None,
            "path": directory,
            "figures": content,
        }
    return models
