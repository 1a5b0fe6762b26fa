"""The command line: `python -m iodine.main [COMMAND] with CONFIG key=value ...`."""

# ruff: noqa: E402
import logging
import os
import signal

from iodine import startup

if __name__ == "__main__":
    startup.import_tensorflow()

from sacred import SETTINGS

from iodine.build import build
from iodine.command_line import CommandLineExperiment, Terminated, looks_at_a_model
from iodine.config import get_config
from iodine.errors import Interrupted, UserError
from iodine.loading import build_parts, load_model, open_model, restore
from multi_object_datasets.image_files import image_paths

__all__ = ["build", "ex", "get_config", "load_model"]

# Sacred's default would turn stdout into a pipe, and a progress bar needs to see the terminal.
SETTINGS.CAPTURE_MODE = "sys"
SETTINGS.CONFIG.READ_ONLY_CONFIG = False
# Sacred shows what any library logs; TensorFlow's notes at every checkpoint say nothing to users.
logging.getLogger("absl").setLevel(logging.WARNING)

ex = CommandLineExperiment("iodine", __doc__)


@ex.main
def main(_config, _run):
    """Trains a model."""
    from iodine.train import devices, run, workers

    devices.set_memory_growth(_config["gpu_memory_growth"])
    strategy = devices.create_strategy(_config["strategy"])
    if _run._id is None and not _config["continue_run"] and workers.is_chief(strategy):
        _run.run_logger.warning("No observer gives this run an id, so its directory ends in _1")
    with devices.replica_local_variables(strategy):
        # A mistake in the config shows before anything is made.
        dataset, *_ = build_parts(_config)
    dataset.provenance()  # So does a file that is not there.
    stages = [(stage, {**config, "seed": _config["seed"]}) for stage, config in ex.stages]
    run_id = 1 if _run._id is None else _run._id  # SQL observers count from 0.
    try:
        with run.claimed(_config, run_id, strategy) as (directory, go_on):
            _run.info["checkpoint_dir"] = os.path.abspath(directory)
            _run.info["tensorflow"] = {"logdirs": [os.path.abspath(directory)]}
            means = run.train(
                stages,
                strategy,
                "seed" in _run.meta_info.get("config_updates", {}),
                directory,
                go_on,
                _run.log_scalar,
            )
        return means.get("loss")  # Sacred's SqlObserver takes no result but a number.
    except Interrupted as interrupted:
        if interrupted.signal_number == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise Terminated from None


@ex.command(unobserved=True)
@looks_at_a_model
def load_checkpoint(_config):
    """Restores the latest checkpoint and lists its variables."""
    for variable in restore(_config).model.variables:
        print(f"{variable.name:<60}{variable.shape}")


@ex.command
@looks_at_a_model
def evaluate(eval_images, factor_regression, out, seed, _config):
    """Evaluates a trained model on held-out scenes; out=FILE writes the figures as JSON.

    factor_regression=True also fits linear models of the factors to the latents; a list of
    [name, size, type] says of which.
    """
    from iodine.evaluate import evaluation, result_files
    from iodine.evaluate.factors import choose_regressor

    if out:
        result_files.check_result_path(out, "figures.json")
    # Fitting the factors needs training scenes, of which none lie beside a model.
    num_scenes = 0 if factor_regression else eval_images
    opened = restore(_config, for_testing=True, num_scenes=num_scenes)
    model = opened.model
    regressor = choose_regressor(factor_regression, model)
    report = evaluation.evaluate(model, opened.dataset, eval_images, seed, regressor)
    try:
        if out:
            result_files.write_json(out, report)
    finally:  # A file that cannot be written does not cost the figures.
        print(evaluation.format_report(report, model.METRICS))
    return report["ari_nobg"]["mean"] if "ari_nobg" in report else report["mse"]["mean"]


@ex.command(unobserved=True)
@looks_at_a_model
def export_weights(out, _config):
    """Writes the latest checkpoint's model alone, without optimizer, as a checkpoint in out=DIR."""
    from iodine import checkpoints
    from iodine.train import run

    if out is None:
        raise UserError("say where to write: out=DIR, for example out=exported")
    opened = restore(_config)
    checkpoints.check_vacant(out)
    record = run.record_to_share(opened.record)
    writer = checkpoints.CheckpointWriter(out, record, model=opened.model)
    print(f"exported '{opened.path}' to '{writer.save(checkpoints.step_of(opened.path))}'")


@ex.command(unobserved=True)
def convert(reference_checkpoint, reference_batch_size, checkpoint_dir, batch_size, seed, _config):
    """Converts reference_checkpoint=PATH of the original IODINE to one in checkpoint_dir=DIR."""
    from iodine import reference_checkpoints

    if reference_checkpoint is None:
        raise UserError("say which checkpoint to convert: reference_checkpoint=PATH")
    dataset, model, optimizer = build_parts(_config)
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
@looks_at_a_model
def export_reference(out, checkpoint_dir, _config):
    """Writes the latest checkpoint in checkpoint_dir=DIR as out=PREFIX for the original IODINE."""
    from iodine import checkpoints, reference_checkpoints

    if out is None:
        raise UserError("say where to write: out=PREFIX, for example out=exported/model.ckpt")
    path = checkpoints.latest_checkpoint(checkpoint_dir)
    dataset, model, optimizer = build_parts(_config)
    model.initialize(dataset.image_shape)
    optimizer.initialize(model.trainable_variables)
    checkpoints.restore(path, model=model, optimizer=optimizer)
    reference_checkpoints.export_reference(model, optimizer, out)
    print(f"exported '{path}' of step {int(optimizer.step)} to '{out}'")


def check_images(image):
    """Makes sure that image files are there, before a model is loaded for them.

    Args:
      image: as for `image_paths`, or None for none.

    Raises:
      DatasetError: if one is not there.
    """
    if image is not None:
        image_paths(image)


@ex.command(unobserved=True)
@looks_at_a_model
def visualize(image, out, eval_images, seed, _config):
    """Writes figures of a trained model, and report.html; image=FILE shows an image of your own.

    image= also takes a folder, a glob, or a list: 'image=["a.png", "b.png"]'. out=DIR is where the
    files go.
    """
    from iodine.evaluate import visualization

    check_images(image)
    num_scenes = None if image is None else 0
    opened = restore(_config, for_testing=image is None, num_scenes=num_scenes)
    visualization.visualize(
        opened.model, opened.dataset, opened.path, image, out, eval_images, seed
    )


@ex.command(unobserved=True)
@looks_at_a_model
def segment(image, out, seed, _config):
    """Writes what each slot holds of images to out=DIR; image=FILE, FOLDER, GLOB or a list."""
    from iodine.evaluate import segment

    if image is None:
        raise UserError("say which images: image=FILE, FOLDER or GLOB, or a list of these")
    if out is None:
        raise UserError("say where to write: out=DIR, for example out=slots")
    check_images(image)
    opened = restore(_config)
    segment.segment(opened.model, opened.dataset, opened.path, image, out, seed)


@ex.command(unobserved=True)
@looks_at_a_model
def explore(image, out, seed, _config):
    """Writes out=page.html to play with a model's slots in a browser; image=FILE: your own image.

    image= also takes a folder, a glob, or a list.
    """
    from iodine.evaluate import explore

    if out is None:
        raise UserError("say where to write: out=FILE, for example out=page.html")
    check_images(image)
    num_scenes = None if image is None else 0
    opened = restore(_config, for_testing=image is None, num_scenes=num_scenes)
    explore.explore(opened.model, opened.dataset, opened.path, image, out, seed)


@ex.command(unobserved=True)
def compare(checkpoint_dir, eval_images, out, seed, _run):
    """Compares models on the same scenes, 'checkpoint_dir=["A", "B"]'; out=DIR is for figures."""
    from iodine.evaluate import compare

    if not isinstance(checkpoint_dir, (list, tuple)) or len(checkpoint_dir) < 2:
        raise UserError(
            "compare takes two checkpoints or more: "
            """'checkpoint_dir=["checkpoints/A", "checkpoints/B"]'"""
        )
    words = {k: v for k, v in _run.meta_info["config_updates"].items() if k != "checkpoint_dir"}
    named = next(iter(_run.meta_info["named_configs"]), None)
    opened = [
        open_model(path, words, fallback=named, num_scenes=eval_images) for path in checkpoint_dir
    ]
    compare.check_comparable(opened)
    models = [compare.TrainedModel(each.path, each.model) for each in opened]
    compare.compare(models, opened[0].dataset, out, eval_images, seed)


if __name__ == "__main__":
    ex.run_commandline()
