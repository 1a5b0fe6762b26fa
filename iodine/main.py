"""The command line: `python -m iodine.main [COMMAND] with CONFIG key=value ...`."""

import contextlib
import functools
import json
import logging
import os
import signal
import sys

from sacred import SETTINGS
from sacred.initialize import create_run
from sacred.utils import convert_to_nested_dict, create_basic_stream_logger

from iodine import configurations
from iodine.build import build, build_model, check_options, declared_options
from iodine.command_line import NAMED_CONFIGS, CommandLineExperiment, Terminated, checked_updates
from iodine.data.provenance import check_never_trained_on
from iodine.errors import UserError
from iodine.train import loop
from iodine.train.stages import plan_stages

__all__ = ["build", "ex", "get_config", "load_model"]

# Sacred's default would turn stdout into a pipe, and a progress bar needs to see the terminal.
SETTINGS.CAPTURE_MODE = "sys"
SETTINGS.CONFIG.READ_ONLY_CONFIG = False
# Sacred shows what any library logs; TensorFlow's notes at every checkpoint say nothing to users.
logging.getLogger("absl").setLevel(logging.WARNING)

ex = CommandLineExperiment("iodine")
# A named config fills empty plans, which Sacred would report entry by entry, and values of
# other types have been checked.
HUSHED = ("Added new config entry", "Changed type of config entry")
ex.logger = create_basic_stream_logger()
ex.logger.addFilter(lambda record: not record.getMessage().startswith(HUSHED))
ex.config(configurations.base)
ex.named_configs |= {config.name: config for config in configurations.NAMED_CONFIGS}


@ex.config_hook
def feed_model(config, command_name, logger):
    """Hands precision and rematerialize to the plan of a model that declares them."""
    try:
        declared = declared_options(config["model"], config["allow_constructors"])
    except UserError:
        return {}  # Commands that build the model say what is wrong.
    options = {key: config[key] for key in declared if key not in config["model"]}
    return {"model": options} if options else {}


def get_config(named_config, updates=None):
    """Returns the config that Sacred would run with.

    Args:
      named_config: name of a named config.
      updates: {dotted key: value}, as given on the command line.
    """
    run = create_run(ex, "main", convert_to_nested_dict(updates or {}), [named_config])
    return run.config


def load_model(named_config, updates=None):
    """Restores a trained model, for use from Python.

    Args:
      named_config: name of a named config.
      updates: {dotted key: value}, as given on the command line; `checkpoint_dir` among them names
        another model than the one of that config in checkpoints/.

    Returns:
      (model, dataset, config): a `Model`, a `SceneDataset` and the config that describes them.

    Raises:
      UserError: if there is no such checkpoint, or it is of another architecture.
    """
    from iodine import checkpoints

    config = get_config(named_config, updates)
    path = checkpoints.latest_checkpoint(config["checkpoint_dir"])
    dataset = build(config["data"], "data")
    model = build_model(config["model"], dataset)
    checkpoints.restore_model(path, model, dataset.image_shape)
    return model, dataset, config


@ex.pre_run_hook
def check_config(_config):
    """Refuses values that no command could use."""
    for key in (
        "n_z",
        "num_components",
        "num_iters",
        "batch_size",
        "save_summaries_steps",
        "save_images_steps",
        "save_checkpoint_steps",
        "stop_after_steps",
        "steps_per_call",
        "eval_images",
    ):
        if not isinstance(_config[key], int) or _config[key] < 1:
            raise UserError(f"{key} has to be a whole number above 0, not {_config[key]}")
    if _config["model"]:
        check_options(_config)
    loop.check_periods(
        _config["steps_per_call"],
        _config["save_summaries_steps"],
        _config["save_images_steps"],
        _config["save_checkpoint_steps"],
    )


@ex.capture
def build_parts(data, model, optimizer, allow_constructors):
    """Builds (dataset, model, optimizer) from the config's plans."""
    if not (data and model and optimizer):
        raise UserError(
            f"no config given: `python -m iodine.main with NAME`, NAME being one of {NAMED_CONFIGS}"
        )
    dataset = build(data, "data", allow_constructors)
    model = build_model(model, dataset, allow_constructors)
    return dataset, model, build(optimizer, "optimizer", allow_constructors)


@ex.capture
def restored_model(checkpoint_dir, for_testing=False):
    """Builds (dataset, model), the model restored from the latest checkpoint.

    Args:
      checkpoint_dir: of the config.
      for_testing: whether held-out scenes of the data set are to test the model, which must not
        have been trained on them.
    """
    from iodine import checkpoints

    path = checkpoints.latest_checkpoint(checkpoint_dir)
    dataset, model, _ = build_parts()
    record = checkpoints.restore_model(path, model, dataset.image_shape)
    if for_testing and (line := check_never_trained_on(record.get("data"), dataset)):
        print(line, file=sys.stderr)
    return dataset, model


def config_of_stage(run, differences):
    """The config of a run with a stage's differences in it.

    Args:
      run: Sacred's run.
      differences: {entry at the top of the config: value}.
    """
    updates = {**run.meta_info.get("config_updates", {}), **differences}
    named_configs = run.meta_info.get("named_configs", [])
    config = dict(create_run(ex, "main", updates, named_configs).config)
    # Sacred draws a seed for each run that is not given one.
    return {**config, "seed": run.config["seed"], "stages": run.config["stages"]}


def check_stages(config, config_of):
    """Refuses values of a config's stages that would end the training when it comes to them.

    Args:
      config: the resolved config.
      config_of: as for `run.train`.

    Raises:
      UserError: for the first value that cannot be used; says of which stage.
    """
    for stage in plan_stages(config) if config["stages"] else []:
        try:
            of_stage = config_of(checked_updates(stage.differences, config))
            check_config(of_stage)
            build_parts(of_stage["data"], of_stage["model"], of_stage["optimizer"])
        except UserError as error:
            raise UserError(f"stages: stage {stage.number}: {error}") from error


@ex.main
def main(strategy, checkpoint_dir, continue_run, initial_weights, gpu_memory_growth, _config, _run):
    """Trains a model."""
    from iodine import checkpoints
    from iodine.train import devices, run

    devices.set_memory_growth(gpu_memory_growth)
    # SQL observers count from 0.
    run_id = 1 if _run._id is None else _run._id
    directory, go_on = run.checkpoint_directory(checkpoint_dir, continue_run, run_id)
    if _run._id is None and not continue_run:
        _run.run_logger.warning("No observer gives this run an id, so its directory ends in _1")
    strategy = devices.create_strategy(strategy)
    with devices.replica_local_variables(strategy):
        # A mistake in the config, that of a late stage too, shows before anything is made.
        dataset, *_ = build_parts()
        check_stages(_config, functools.partial(config_of_stage, _run))
    dataset.provenance()  # So does a file that is not there.
    if initial_weights and not go_on:
        checkpoints.latest_checkpoint(initial_weights)
    _run.info["checkpoint_dir"] = os.path.abspath(directory)
    _run.info["tensorflow"] = {"logdirs": [os.path.abspath(directory)]}
    claim = run.claimed(directory) if devices.is_chief(strategy) else contextlib.nullcontext()
    try:
        with claim:
            means = run.train(
                _config,
                functools.partial(config_of_stage, _run),
                strategy,
                "seed" in _run.meta_info.get("config_updates", {}),
                directory,
                go_on,
                _run.log_scalar,
            )
        return means.get("loss")  # Sacred's SqlObserver takes no result but a number.
    except loop.Interrupted as interrupted:
        if interrupted.signal_number == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise Terminated from None


@ex.command(unobserved=True)
def load_checkpoint(checkpoint_dir):
    """Restores the latest checkpoint and lists its variables."""
    _, model = restored_model()
    for variable in model.variables:
        print(f"{variable.name:<60}{variable.shape}")


@ex.command
def evaluate(eval_images, factor_regression, out, seed):
    """Evaluates a trained model on held-out scenes; out=FILE writes the figures as JSON.

    factor_regression=True also fits linear models of the factors to the latents; a list of
    [name, size, type] says of which.
    """
    from iodine.evaluate import evaluation
    from iodine.evaluate.factors import choose_regressor

    if out and not os.path.isdir(os.path.dirname(os.path.abspath(out))):
        raise UserError(f"the directory of out={out} does not exist")
    if out and os.path.isdir(out):
        raise UserError(f"out={out} is a directory: name a file in it, out={out}/figures.json")
    dataset, model = restored_model(for_testing=True)
    regressor = choose_regressor(factor_regression, model)
    report = evaluation.evaluate(model, dataset, eval_images, seed, regressor)
    if out:
        temporary = f"{out}.part"
        with open(temporary, "w") as file:
            json.dump(report, file, indent=1)
        os.replace(temporary, out)
    print(evaluation.format_report(report, model.METRICS))
    return report["ari_nobg"]["mean"] if "ari_nobg" in report else report["mse"]["mean"]


@ex.command(unobserved=True)
def export_weights(checkpoint_dir, out):
    """Writes the latest checkpoint's model alone, without optimizer, as a checkpoint in out=DIR."""
    from iodine import checkpoints
    from iodine.train import run

    if out is None:
        raise UserError("say where to write: out=DIR, for example out=exported")
    path = checkpoints.latest_checkpoint(checkpoint_dir)
    _, model = restored_model()
    checkpoints.check_vacant(out)
    record = run.record_to_share(checkpoints.read_record(path))
    writer = checkpoints.CheckpointWriter(out, record, model=model)
    print(f"exported '{path}' to '{writer.save(checkpoints.step_of(path))}'")


@ex.command(unobserved=True)
def convert(reference_checkpoint, reference_batch_size, checkpoint_dir, batch_size, seed):
    """Converts reference_checkpoint=PATH of the original IODINE to one in checkpoint_dir=DIR."""
    from iodine import reference_checkpoints

    if reference_checkpoint is None:
        raise UserError("say which checkpoint to convert: reference_checkpoint=PATH")
    dataset, model, optimizer = build_parts()
    model.initialize(dataset.image_shape)
    path = reference_checkpoints.convert(
        model,
        optimizer,
        reference_checkpoint,
        checkpoint_dir,
        seed,
        model.refinement_batch_size or reference_batch_size or batch_size,
    )
    print(f"converted '{reference_checkpoint}' of step {int(optimizer.step)} to '{path}'")


@ex.command(unobserved=True)
def export_reference(checkpoint_dir, out):
    """Writes the latest checkpoint in checkpoint_dir=DIR as out=PREFIX for the original IODINE."""
    from iodine import checkpoints, reference_checkpoints

    if out is None:
        raise UserError("say where to write: out=PREFIX, for example out=exported/model.ckpt")
    path = checkpoints.latest_checkpoint(checkpoint_dir)
    dataset, model, optimizer = build_parts()
    model.initialize(dataset.image_shape)
    optimizer.initialize(model.trainable_variables)
    checkpoints.restore(path, model=model, optimizer=optimizer)
    reference_checkpoints.export_reference(model, optimizer, out)
    print(f"exported '{path}' of step {int(optimizer.step)} to '{out}'")


@ex.command(unobserved=True)
def visualize(checkpoint_dir, image, out, eval_images, seed):
    """Writes figures of a trained model, and report.html; image=FILE shows a picture of your own.

    image= also takes a folder, a glob, or a list: 'image=["a.png", "b.png"]'. out=DIR is where the
    files go.
    """
    from iodine import checkpoints
    from iodine.evaluate import visualization

    path = checkpoints.latest_checkpoint(checkpoint_dir)
    dataset, model = restored_model(for_testing=image is None)
    visualization.visualize(model, dataset, path, image, out, eval_images, seed)


@ex.command(unobserved=True)
def segment(checkpoint_dir, image, out, seed):
    """Writes what each slot holds of pictures to out=DIR; image=FILE, FOLDER, GLOB or a list."""
    from iodine import checkpoints
    from iodine.evaluate import segment

    if image is None:
        raise UserError("say which pictures: image=FILE, FOLDER or GLOB, or a list of these")
    if out is None:
        raise UserError("say where to write: out=DIR, for example out=slots")
    path = checkpoints.latest_checkpoint(checkpoint_dir)
    dataset, model = restored_model()
    segment.segment(model, dataset, path, image, out, seed)


@ex.command(unobserved=True)
def compare(checkpoint_dir, eval_images, out, seed, _config):
    """Compares models on the same scenes, 'checkpoint_dir=["A", "B"]'; out=DIR is for pictures."""
    from iodine.evaluate import compare

    dataset, _, _ = build_parts()
    models = compare.load_models(checkpoint_dir, dataset, _config["model"])
    compare.compare(models, dataset, out, eval_images, seed)


if __name__ == "__main__":
    ex.run_commandline()
