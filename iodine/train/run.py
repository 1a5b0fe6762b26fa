"""A training run: the directory that is its own, what it begins with, and its stages in turn."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import filelock
import tensorflow as tf
from sacred.utils import iterate_flattened

from iodine import checkpoints
from iodine.build import build, build_model
from iodine.data.provenance import with_entry
from iodine.entries import of_computation
from iodine.errors import UserError
from iodine.train import devices, loop
from iodine.train.output import say
from iodine.train.stages import stages_after
from iodine.train.workers import is_chief, noticing_lost_workers, told_by_chief, value_of_chief

MAX_TOLD = 6  # differences from a checkpoint's config that are named


@contextlib.contextmanager
def claimed(config, run_id, strategy):
    """Makes the directory of a run and keeps other runs out of it until the block is left.

    Of several workers the chief alone chooses it, and tells the others.

    Args:
      config: with `checkpoint_dir`, `continue_run` and `initial_weights`. A `continue_run` of True
        takes checkpoint_dir itself, which has to hold a checkpoint; "auto" takes it too, whether it
        holds one or not; False takes checkpoint_dir_RUNID, which must hold none.
      run_id: of the Sacred run, 1 if no observer gives it one.
      strategy: the distribution strategy.

    Yields:
      (directory, whether to resume from its latest checkpoint).

    Raises:
      UserError: if the directory cannot be made, another run has it, it holds what it must not or
        lacks what it should hold, or there are no such initial_weights; on every worker.
      WorkerLost: if another worker is gone.
    """
    with contextlib.ExitStack() as stack:

        def claim():
            directory = _directory_of(config["checkpoint_dir"], config["continue_run"], run_id)
            # Before anything is made. What counts is how the directory looks once it is claimed.
            resumes = _resumes(directory, config["continue_run"])
            if config["initial_weights"] and not resumes:
                checkpoints.checkpoint_prefix(config["initial_weights"])
            stack.enter_context(_locked(directory))
            return directory, _resumes(directory, config["continue_run"])

        with noticing_lost_workers(strategy, None):
            directory, resumes = told_by_chief(strategy, claim)
        yield directory, resumes


def _directory_of(checkpoint_dir, continue_run, run_id):
    """Directory of a run's checkpoints, see `claimed`."""
    if continue_run not in (True, False, "auto"):
        raise UserError(f"continue_run={continue_run!r}: use True, False or auto")
    if not isinstance(checkpoint_dir, str):
        raise UserError(f"checkpoint_dir={checkpoint_dir!r}: name one directory to train in")
    directory = os.path.normpath(os.path.expanduser(checkpoint_dir))
    if continue_run is False:
        directory = f"{directory}_{run_id}"
    checkpoints.check_directory(directory)
    return directory


def _resumes(directory, continue_run):
    """Whether a run resumes from a checkpoint in its directory, see `claimed`."""
    if continue_run is True:
        checkpoints.checkpoint_prefix(directory)
        return True
    found = bool(checkpoints.checkpoints_in(directory))
    if found and continue_run is False:
        raise UserError(
            f"'{directory}' holds a run already: resume it with continue_run=True "
            f"checkpoint_dir={directory}, or choose another checkpoint_dir"
        )
    return found


@contextlib.contextmanager
def _locked(directory):
    """Makes a directory and holds its lock until the block is left, see `claimed`."""
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
    """How a config differs from that of the checkpoint that a run resumes from, as lines of text.

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
            if key.split(".")[0] in of_computation() and key != "data.cache"
        }

    if not recorded:
        return []
    before, now = flat(recorded), flat(config)
    keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    told = [f"{key}={now.get(key)} (was {before.get(key)})" for key in keys[:MAX_TOLD]]
    if len(keys) > MAX_TOLD:
        told.append(f"and {len(keys) - MAX_TOLD} more")
    return [", ".join(told)] if keys else []


def record_to_share(record):
    """What a checkpoint remembers, without what belongs to the machine that trained it.

    Args:
      record: as of `checkpoints.read_record`.

    Returns:
      The same without the config's housekeeping and caches; its files of scenes are where configs
      have them.
    """
    if "config" not in record:
        return record
    kept = of_computation()
    config = {key: value for key, value in record["config"].items() if key in kept}
    data = {key: value for key, value in config["data"].items() if key != "cache"}

    def shared(path):
        return f"multi_object_datasets/{Path(path).name}"

    path = data["path"]
    data["path"] = shared(path) if isinstance(path, str) else [shared(p) for p in path]
    return {**record, "config": {**config, "data": data}}


class Origin(NamedTuple):
    """What a stage begins with.

    Attributes:
      path: of a checkpoint; None for new weights.
      step: number of steps made before.
      stage: number of the stage that the checkpoint is of, None if it does not say.
      refinement_batch_size: of the checkpoint, None if it does not say.
      trained_on: history of the data that the weights were trained on, see `provenance.with_entry`.
    """

    path: str | None = None
    step: int = 0
    stage: int | None = None
    refinement_batch_size: int | None = None
    trained_on: tuple | list = ()


def find_origin(stages, directory, go_on, seed):
    """Looks for what a run begins with, and says how it differs from what the run was asked for.

    Args:
      stages: see `train`.
      directory: of the run's checkpoints.
      go_on: whether to resume from the latest one.
      seed: that the user chose, None for none.

    Returns:
      The `Origin`.

    Raises:
      UserError: if the checkpoint cannot be read.
    """
    source = directory if go_on else stages[0][1]["initial_weights"]
    if not source:
        return Origin()
    path = checkpoints.latest_checkpoint(source)
    record = checkpoints.read_record(path)
    origin = Origin(
        path,
        checkpoints.step_of(path) if go_on else 0,
        record.get("stage"),
        record.get("refinement_batch_size"),
        record.get("data", [None]),
    )
    if not go_on:
        return origin
    if seed is not None and record.get("seed", seed) != seed:
        say(f"warning: the checkpoint's seed={record['seed']} is kept, not seed={seed}", "stderr")
    if "config" in record:
        configs = {stage.number: config for stage, config in stages}
        config = configs.get(origin.stage, stages[-1][1])
        for line in differences_from(record["config"], config):
            say(f"warning: the config differs from the checkpoint's: {line}", "stderr")
    return origin


class Run(NamedTuple):
    """What all stages of a run have in common.

    Attributes:
      strategy: the distribution strategy.
      seed: of batches and noise.
      directory: of the checkpoints.
      last_step: number of the last step of the last stage.
      log_scalar: see `loop.train`.
    """

    strategy: tf.distribute.Strategy
    seed: int
    directory: str
    last_step: int
    log_scalar: Callable


def train_stage(run, stage, config, origin, resumes):
    """Trains through one stage.

    Args:
      run: the `Run`.
      stage: the `Stage`.
      config: with the stage's differences in it.
      origin: the `Origin`.
      resumes: whether to resume from the origin's step, rather than to begin with its weights.

    Returns:
      (what `loop.train` returns, the `Origin` of the next stage).
    """
    tf.random.set_seed(run.seed)
    with devices.replica_local_variables(run.strategy):
        allowed = config["allow_constructors"]
        dataset = build(config["data"], "data", allowed)
        model = build_model(config["model"], dataset, allowed)
        optimizer = build(config["optimizer"], "optimizer", allowed)
    if origin.refinement_batch_size and (not resumes or stage.number == origin.stage):
        model.refinement_batch_size = origin.refinement_batch_size
    trained_on = with_entry(list(origin.trained_on), as_json(dataset.provenance()))
    options = loop.Options(
        run.seed,
        run.directory,
        stage.until,
        resume_from=origin.path if resumes else None,
        initial_weights=None if resumes else origin.path,
        save_summaries_steps=config["save_summaries_steps"],
        save_images_steps=config["save_images_steps"],
        save_checkpoint_steps=config["save_checkpoint_steps"],
        steps_per_call=config["steps_per_call"],
        xla=config["xla"],
        record=as_json(
            {
                "stage": stage.number,
                "config": config,
                "overridden": stage.overridden,
                "data": trained_on,
            }
        ),
        last_step=run.last_step,
        stage=stage.number if stage.count > 1 else None,
    )
    means = loop.train(dataset, model, optimizer, run.strategy, options, run.log_scalar)
    path = os.path.join(run.directory, f"ckpt-{stage.until}")
    batch_size = model.refinement_batch_size
    return means, Origin(path, stage.until, stage.number, batch_size, trained_on)


def as_json(value):
    """A value as JSON would give it back, what it cannot hold as text."""
    return json.loads(json.dumps(value, default=str))


def train(stages, strategy, seed_given, directory, go_on, log_scalar):
    """Trains through all stages of a config, or those that are left.

    Args:
      stages: [(`Stage`, the resolved config with the stage's differences in it), ...], all of them.
      strategy: the distribution strategy.
      seed_given: whether the user chose the seed.
      directory: of the checkpoints.
      go_on: whether to resume from the latest one there, see `claimed`.
      log_scalar: see `loop.train`.

    Returns:
      What `loop.train` returns of the last stage.

    Raises:
      UserError: as `loop.train`, and if there is nothing left to do.
      Interrupted: as `loop.train`.
      WorkerLost: if another worker is gone.
    """
    with noticing_lost_workers(strategy, directory):
        seed = value_of_chief(strategy, stages[0][1]["seed"])
        chosen = seed if seed_given else None
        told = told_by_chief(strategy, lambda: find_origin(stages, directory, go_on, chosen))
        origin = Origin(*told)
        left = stages_after([stage for stage, _ in stages], origin.step)
        if not left:
            raise UserError(
                f"'{directory}' has been trained for {origin.step} steps already: "
                + (
                    "raise `until` of the last stage"
                    if stages[0][0].count > 1
                    else "set stop_after_steps"
                )
                + " above that"
            )
        begins = f"resuming from step {origin.step}" if go_on else "training from the beginning"
        if is_chief(strategy):
            say(f"{begins}, checkpoints go to '{directory}'")
        run = Run(strategy, seed, directory, left[-1].until, log_scalar)
        try:
            for stage, config in stages[-len(left) :]:
                if stage.count > 1:
                    say(str(stage))
                means, origin = train_stage(run, stage, config, origin, go_on)
                go_on = True
        finally:
            if is_chief(strategy):
                say_where_it_is(directory)
        return means


def say_where_it_is(directory):
    """Says at the end of a run, however it came, where its latest checkpoint is."""
    for path in checkpoints.checkpoints_in(directory)[:1]:
        say(f"the latest checkpoint is '{path}'")
