"""The command line: `python -m iodine.main [COMMAND] with CONFIG key=value ...`."""

import json
import logging
import os
import signal
import sys

import tensorflow as tf
from sacred import SETTINGS, Experiment
from sacred.initialize import create_run
from sacred.utils import (
    ConfigAddedError,
    SacredError,
    SacredInterrupt,
    convert_to_nested_dict,
    create_basic_stream_logger,
    get_by_dotted_path,
    iterate_flattened,
)

from iodine import configurations
from iodine.modules.utils import UserError, build, did_you_mean
from multi_object_datasets.errors import DatasetError, dataset_error_within

__all__ = ["build", "ex", "get_config"]

# Sacred's default would turn stdout into a pipe, and a progress bar needs to see the terminal.
SETTINGS.CAPTURE_MODE = "sys"
SETTINGS.CONFIG.READ_ONLY_CONFIG = False
# Sacred shows what any library logs; TensorFlow's notes at every checkpoint say nothing to users.
logging.getLogger("absl").setLevel(logging.WARNING)

NAMED_CONFIGS = ", ".join(config.name for config in configurations.NAMED_CONFIGS)


class Terminated(SacredInterrupt):
    """SIGTERM ended the run."""


class CommandLineExperiment(Experiment):
    """An experiment whose command line answers a user's mistake with one line and exit code 1.

    Called from Python, `run` raises as usual.
    """

    def run(self, *args, **kwargs):
        if kwargs.get("options") is None:
            return super().run(*args, **kwargs)
        _, updates, named_configs = args
        try:
            check_types(updates, create_run(self, "main", {}, named_configs).config)
            return super().run(*args, **kwargs)
        except ConfigAddedError as error:
            sys.exit(f"error: {unknown_key(error)}")
        except (UserError, DatasetError) as error:
            sys.exit(f"error: {error}")
        except tf.errors.OpError as error:
            if (cause := dataset_error_within(error)) is None:
                raise
            sys.exit(f"error: {cause}")
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        except Terminated:
            sys.exit(128 + signal.SIGTERM)
        except SacredError as error:
            if error.print_traceback:
                raise
            sys.exit(f"error: {error}")


def check_types(updates, defaults):
    """Refuses updates of another type than the entries that they replace.

    Args:
      updates: nested dict of the user's values.
      defaults: the config without them.

    Raises:
      UserError: for the first such entry. None is always taken, a whole number for a float, and a
        list for a number, as the networks take one a layer. A string's place may be taken by
        anything, since `iter_loss_weight` is one or a number.
    """
    for key, value in iterate_flattened(updates):
        default = get_by_dotted_path(defaults, key)
        kind = type(default)
        if value is None or kind in (str, type(None)) or isinstance(value, kind):
            fits = not (kind is int and isinstance(value, bool))
        elif kind is float:
            fits = isinstance(value, int)
        else:
            fits = isinstance(value, (list, tuple)) and kind in (int, list, tuple)
        if not fits:
            raise UserError(f"{key} has to be of type {kind.__name__}, not {value!r}")


def unknown_key(error):
    """Says in one line which config entry is unknown."""
    known = [key for key in error.__config__ if key not in error.__conflicting_configs__]
    key = ", ".join(error.__conflicting_configs__)
    return f"unknown config entry '{key}'{did_you_mean(key, known)}"


ex = CommandLineExperiment("iodine")
# A named config fills the base's empty plans, which Sacred would report entry by entry.
ex.logger = create_basic_stream_logger()
ex.logger.addFilter(lambda record: not record.getMessage().startswith("Added new config entry"))
ex.config(configurations.base)
ex.named_configs |= {config.name: config for config in configurations.NAMED_CONFIGS}


@ex.config_hook
def feed_model(config, command_name, logger):
    """Hands the entries that every model takes to the plan of any named config."""
    model = config["model"]
    options = {key: config[key] for key in ("precision", "rematerialize") if key not in model}
    return {"model": options} if model else {}


def get_config(named_config, updates=None):
    """Returns the config that Sacred would run with.

    Args:
      named_config: name of a named config.
      updates: {dotted key: value}, as given on the command line.
    """
    run = create_run(ex, "main", convert_to_nested_dict(updates or {}), [named_config])
    return run.config


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


@ex.capture
def build_parts(data, model, optimizer, gpu_memory_growth):
    """Builds (dataset, model, optimizer) from the config's plans."""
    from iodine import devices

    devices.set_memory_growth(gpu_memory_growth)
    if not (data and model and optimizer):
        raise UserError(
            f"no config given: `python -m iodine.main with NAME`, NAME being one of {NAMED_CONFIGS}"
        )
    return build(data, "data"), build(model, "model"), build(optimizer, "optimizer")


@ex.capture
def restored_model(checkpoint_dir):
    """Builds (dataset, model), the model restored from the latest checkpoint."""
    from iodine import checkpoints

    path = checkpoints.latest_checkpoint(checkpoint_dir)
    dataset, model, _ = build_parts()
    model.initialize(dataset.image_shape)
    checkpoints.restore(path, model=model)
    model.refinement_batch_size = checkpoints.read_record(path).get(
        "refinement_batch_size", model.refinement_batch_size
    )
    return dataset, model


@ex.capture
def run_directory(checkpoint_dir, continue_run, _run):
    """Directory of this run's checkpoints."""
    if continue_run:
        return checkpoint_dir
    run_id = _run._id
    if run_id is None:
        run_id = 1
        _run.run_logger.warning("No observer gives this run an id, so its directory ends in _1")
    directory = f"{checkpoint_dir}_{run_id}"
    if os.path.exists(os.path.join(directory, "checkpoint")):
        raise UserError(
            f"'{directory}' holds a run already: go on with it by continue_run=True "
            f"checkpoint_dir={directory}, or choose another checkpoint_dir"
        )
    return directory


@ex.main
def main(
    strategy,
    seed,
    continue_run,
    save_summaries_steps,
    save_images_steps,
    save_checkpoint_steps,
    stop_after_steps,
    steps_per_call,
    xla,
    _run,
):
    """Trains a model."""
    from iodine import checkpoints, devices, training

    directory = run_directory()
    if continue_run:
        checkpoints.latest_checkpoint(directory)
    strategy = devices.create_strategy(strategy)
    tf.random.set_seed(seed)
    with devices.replica_local_variables(strategy):
        dataset, model, optimizer = build_parts()
    _run.info["checkpoint_dir"] = os.path.abspath(directory)
    _run.info["tensorflow"] = {"logdirs": [os.path.abspath(directory)]}
    try:
        means = training.train(
            dataset,
            model,
            optimizer,
            strategy,
            seed,
            directory,
            continue_run,
            stop_after_steps,
            _run.log_scalar,
            save_summaries_steps,
            save_images_steps,
            save_checkpoint_steps,
            steps_per_call,
            xla,
        )
        return means.get("loss")  # Sacred's SqlObserver takes no result but a number.
    except training.Interrupted as interrupted:
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

    factor_regression=True also fits linear models of the factors to the latents.
    """
    from iodine import evaluation

    if out and not os.path.isdir(os.path.dirname(os.path.abspath(out))):
        raise UserError(f"the directory of out={out} does not exist")
    dataset, model = restored_model()
    report = evaluation.evaluate(model, dataset, eval_images, seed, factor_regression)
    print(evaluation.format_report(report, model.METRICS))
    if out:
        temporary = f"{out}.part"
        with open(temporary, "w") as file:
            json.dump(report, file, indent=1)
        os.replace(temporary, out)
    return report["ari_nobg"]["mean"] if "ari_nobg" in report else report["mse"]["mean"]


@ex.command(unobserved=True)
def export_weights(checkpoint_dir, out):
    """Writes the latest checkpoint's model alone, without optimizer, as a checkpoint in out=DIR."""
    from iodine import checkpoints

    if out is None:
        raise UserError("say where to write: out=DIR, for example out=exported")
    path = checkpoints.latest_checkpoint(checkpoint_dir)
    _, model = restored_model()
    checkpoints.check_vacant(out)
    writer = checkpoints.CheckpointWriter(out, checkpoints.read_record(path), model=model)
    print(f"exported '{path}' to '{writer.save(checkpoints.step_of(path))}'")


@ex.command(unobserved=True)
def convert(reference_checkpoint, reference_batch_size, checkpoint_dir, batch_size, seed):
    """Converts reference_checkpoint=PATH of the original IODINE to one in checkpoint_dir=DIR."""
    from iodine import convert_checkpoint

    if reference_checkpoint is None:
        raise UserError("say which checkpoint to convert: reference_checkpoint=PATH")
    dataset, model, optimizer = build_parts()
    model.initialize(dataset.image_shape)
    path = convert_checkpoint.convert(
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
    from iodine import checkpoints, convert_checkpoint

    if out is None:
        raise UserError("say where to write: out=PREFIX, for example out=exported/model.ckpt")
    path = checkpoints.latest_checkpoint(checkpoint_dir)
    dataset, model, optimizer = build_parts()
    model.initialize(dataset.image_shape)
    optimizer.initialize(model.trainable_variables)
    checkpoints.restore(path, model=model, optimizer=optimizer)
    convert_checkpoint.export_reference(model, optimizer, out)
    print(f"exported '{path}' of step {int(optimizer.step)} to '{out}'")


@ex.command(unobserved=True)
def visualize(checkpoint_dir, image, out, eval_images, seed):
    """Writes figures of a trained model, and report.html; image=FILE shows a picture of your own.

    image= also takes a folder, a glob, or a list: 'image=["a.png", "b.png"]'. out=DIR is where the
    files go.
    """
    from iodine import checkpoints, visualization

    path = checkpoints.latest_checkpoint(checkpoint_dir)
    dataset, model = restored_model()
    visualization.visualize(model, dataset, path, image, out, eval_images, seed)


@ex.command(unobserved=True)
def segment(checkpoint_dir, image, out, seed):
    """Writes what each slot holds of pictures to out=DIR; image=FILE, FOLDER, GLOB or a list."""
    from iodine import checkpoints, segment

    if image is None:
        raise UserError("say which pictures: image=FILE, FOLDER or GLOB, or a list of these")
    if out is None:
        raise UserError("say where to write: out=DIR, for example out=slots")
    path = checkpoints.latest_checkpoint(checkpoint_dir)
    dataset, model = restored_model()
    segment.segment(model, dataset, path, image, out, seed)


if __name__ == "__main__":
    ex.run_commandline()
