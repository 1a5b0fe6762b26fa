"""A training run: the directory that is its own, what it goes on from, and its stages in turn."""

import contextlib
import json
import os
import sys
from pathlib import Path

import filelock
import tensorflow as tf
from sacred.utils import iterate_flattened

from iodine import checkpoints
from iodine.build import build, build_model
from iodine.errors import UserError
from iodine.train import devices, loop
from iodine.train.stages import plan_stages, stages_after

# Entries that say how a run is looked after, not what it computes.
HOUSEKEEPING = (
    "continue_run",
    "checkpoint_dir",
    "initial_weights",
    "save_summaries_steps",
    "save_images_steps",
    "save_checkpoint_steps",
    "stop_after_steps",
    "steps_per_call",
    "strategy",
    "xla",
    "gpu_memory_growth",
    "eval_images",
    "factor_regression",
    "out",
    "image",
    "reference_checkpoint",
    "reference_batch_size",
    "seed",
)
MAX_TOLD = 6  # differences from a checkpoint's config that are named


def checkpoint_directory(checkpoint_dir, continue_run, run_id):
    """Directory of a run's checkpoints.

    Args:
      checkpoint_dir: of the config.
      continue_run: True takes checkpoint_dir itself, which has to hold a checkpoint; "auto" takes
        it too, whether it holds one or not; False takes checkpoint_dir_RUNID, which must hold none.
      run_id: of the Sacred run, 1 if no observer gives it one.

    Returns:
      (directory, whether to go on from its latest checkpoint).

    Raises:
      UserError: as said, and for another value of continue_run.
    """
    checkpoint_dir = os.path.normpath(os.path.expanduser(checkpoint_dir))
    if continue_run == "auto":
        return checkpoint_dir, bool(checkpoints.checkpoints_in(checkpoint_dir))
    if continue_run is True:
        checkpoints.latest_checkpoint(checkpoint_dir)
        return checkpoint_dir, True
    if continue_run is not False:
        raise UserError(f"continue_run={continue_run!r}: use True, False or auto")
    directory = f"{checkpoint_dir}_{run_id}"
    if checkpoints.checkpoints_in(directory):
        raise UserError(
            f"'{directory}' holds a run already: go on with it by continue_run=True "
            f"checkpoint_dir={directory}, or choose another checkpoint_dir"
        )
    return directory, False


@contextlib.contextmanager
def claimed(directory):
    """Makes the directory of a run and keeps other runs out of it until the block is left.

    Raises:
      UserError: if it cannot be made, or another run has it.
    """
    lock = filelock.FileLock(os.path.join(directory, ".lock"), timeout=0)
    try:
        os.makedirs(directory, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise UserError(
            f"another run is training in '{directory}': wait for it, or choose another "
            "checkpoint_dir"
        ) from error
    except OSError as error:
        raise UserError(f"cannot make checkpoint_dir={directory}: {error}") from error
    try:
        yield
    finally:
        lock.release()


def differences_from(recorded, config):
    """Lines about how a config differs from that of the checkpoint that a run goes on from.

    Args:
      recorded: config of the checkpoint's record, {} if it has none.
      config: of the run.
    """

    def flat(nested):
        entries = json.loads(json.dumps(nested, default=str))
        if entries.get("stages"):  # each by its number, so that only those are told that differ
            entries["stages"] = {str(i): stage for i, stage in enumerate(entries["stages"], 1)}
        return {
            key: value
            for key, value in iterate_flattened(entries)
            if key.split(".")[0] not in HOUSEKEEPING and key != "data.cache"
        }

    if not recorded:
        return []
    before, now = flat(recorded), flat(config)
    keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    told = [f"{key}={now.get(key)} (was {before.get(key)})" for key in keys[:MAX_TOLD]]
    if len(keys) > MAX_TOLD:
        told.append(f"and {len(keys) - MAX_TOLD} more")
    return ["another config than the checkpoint's: " + ", ".join(told)] if keys else []


def record_to_share(record):
    """What a checkpoint remembers, without what belongs to the machine that trained it.

    Args:
      record: as of `checkpoints.read_record`.

    Returns:
      The same without the config's housekeeping and caches; of its files of scenes the names alone.
    """
    if "config" not in record:
        return record
    config = {key: value for key, value in record["config"].items() if key not in HOUSEKEEPING}
    data = {key: value for key, value in config["data"].items() if key != "cache"}
    path = data["path"]
    data["path"] = Path(path).name if isinstance(path, str) else [Path(p).name for p in path]
    return {**record, "config": {**config, "data": data}}


def train_stage(stage, config, strategy, seed, directory, go_on, log_scalar, last_step, new_stage):
    """Trains through one stage.

    Args:
      stage: the `Stage`.
      config: with the stage's differences in it.
      strategy: the distribution strategy.
      seed: of the run.
      directory: of the checkpoints.
      go_on: whether to go on from the latest one.
      log_scalar: as for `loop.train`.
      last_step: number of the last step of the last stage.
      new_stage: whether the checkpoint to go on from is of an earlier stage.

    Returns:
      As `loop.train`.
    """
    tf.random.set_seed(seed)
    with devices.replica_local_variables(strategy):
        allowed = config["allow_constructors"]
        dataset = build(config["data"], "data", allowed)
        model = build_model(config["model"], dataset, allowed)
        optimizer = build(config["optimizer"], "optimizer", allowed)
    record = {"stage": stage.number, "config": config, "data": dataset.provenance()}
    origin = directory if go_on else config["initial_weights"]
    if origin and not new_stage:
        before = checkpoints.read_record(checkpoints.latest_checkpoint(origin))
        if "refinement_batch_size" in before:
            model.refinement_batch_size = before["refinement_batch_size"]
    return loop.train(
        dataset,
        model,
        optimizer,
        strategy,
        seed,
        directory,
        go_on,
        stage.until,
        log_scalar,
        initial_weights=config["initial_weights"],
        save_summaries_steps=config["save_summaries_steps"],
        save_images_steps=config["save_images_steps"],
        save_checkpoint_steps=config["save_checkpoint_steps"],
        steps_per_call=config["steps_per_call"],
        xla=config["xla"],
        record=json.loads(json.dumps(record, default=str)),
        last_step=last_step,
        stage=stage.number if stage.count > 1 else None,
    )


def train(config, config_of, strategy, seed_given, directory, go_on, log_scalar):
    """Trains through all stages of a config, or those that are left.

    Args:
      config: the resolved config.
      config_of: function of a stage's differences that gives the config with them in it.
      strategy: the distribution strategy.
      seed_given: whether the user chose the seed.
      directory, go_on: as `checkpoint_directory` returned.
      log_scalar: as for `loop.train`.

    Returns:
      As `loop.train`, of the last stage.

    Raises:
      UserError: as `loop.train`, and if there is nothing left to do.
    """
    all_stages, step, stage_before = plan_stages(config), 0, None
    seed = devices.value_of_chief(strategy, config["seed"])
    if go_on:
        path = checkpoints.latest_checkpoint(directory)
        step, record = checkpoints.step_of(path), checkpoints.read_record(path)
        stage_before = record.get("stage")
        if seed_given and record.get("seed", seed) != seed:
            print(f"going on with the checkpoint's seed={record['seed']}, not seed={seed}")
        if "config" in record:
            differences = {}
            if stage_before is not None:
                same = [stage for stage in all_stages if stage.number == stage_before]
                differences = same[0].differences if same else {}
            for line in differences_from(record["config"], config_of(differences)):
                print(line, file=sys.stderr)
    remaining = stages_after(all_stages, step)
    if not remaining:
        raise UserError(
            f"'{directory}' has been trained for {step} steps already: "
            + ("raise `until` of the last stage" if config["stages"] else "set stop_after_steps")
            + " above that"
        )
    means = {}
    for stage in remaining:
        if stage.count > 1:
            print(stage, flush=True)
        means = train_stage(
            stage,
            config_of(stage.differences),
            strategy,
            seed,
            directory,
            go_on,
            log_scalar,
            all_stages[-1].until,
            new_stage=go_on and stage.number != stage_before,
        )
        go_on, stage_before = True, stage.number
    return means
