"""Turns a parameter file of `run_step.py` into a checkpoint.

    python -m export.import_params PARAMS.npz CONFIG [key=value ...] checkpoint_dir=DIR
        [--stage N] [--checkpoint DIR]

Give the config, the overrides, the stage and the checkpoint that the step was exported with. The
new checkpoint remembers them and the data that it was trained on. It can be trained on, evaluated
and visualised like any other; the factor regressor, which the exported step leaves out, is at its
initial values. Of a file of several seeds, `seed=N` says which.
"""

import sys
import zipfile

import numpy as np

from export.export_step import build_parts, read_config
from export.pure_step import state_variables
from iodine import checkpoints
from iodine.build import build
from iodine.config import NAMED_CONFIGS
from iodine.data.provenance import with_entry
from iodine.errors import UserError
from iodine.train.run import as_json
from multi_object_datasets.arguments import Parser
from multi_object_datasets.errors import DatasetError


def read_params(path):
    """Reads a parameter file, {name: array}.

    Raises:
      UserError: if there is none or it cannot be read.
    """
    try:
        with np.load(path) as file:
            return dict(file)
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"'{path}' is no parameter file of run_step.py: {error}") from error


def one_of_several(values, seed, path):
    """Returns {name: array} of one of the models that were trained side by side, or of the only.

    Raises:
      UserError: if several are there, and none of this seed.
    """
    seeds = values.get("seed")
    if np.ndim(seeds) == 0:
        return values
    if seed not in seeds:
        raise UserError(f"'{path}' is of the seeds {', '.join(map(str, seeds))}: add seed=N")
    place = list(seeds).index(seed)
    return {name: x if name == "step" else x[place] for name, x in values.items()}


def history_of_data(dataset, checkpoint):
    """Lists the data that a parameter file was trained on, see `provenance.with_entry`.

    Args:
      dataset: whose training scenes the exported step was trained on.
      checkpoint: directory of the checkpoint that it began with, None for new parameters.
    """
    history = []
    if checkpoint is not None:
        record = checkpoints.read_record(checkpoints.latest_checkpoint(checkpoint))
        history = record.get("data", [None])
    return with_entry(history, as_json(dataset.provenance()))


def import_params(path, name, overrides, stage=None, checkpoint=None):
    """Writes the checkpoint.

    Args:
      path: the parameter file.
      name: of the named config.
      overrides: ["key=value", ...], checkpoint_dir among them.
      stage: number of the config's stage that was exported, None for none.
      checkpoint: directory of the checkpoint that the exported step began with, None for new
        parameters.

    Returns:
      Path of the checkpoint.

    Raises:
      UserError: if the file is of another model or not of this seed, the data is not there, or
        checkpoint_dir holds checkpoints already.
    """
    config = read_config(name, overrides, stage)
    checkpoints.check_vacant(config["checkpoint_dir"])
    values = one_of_several(read_params(path), config["seed"], path)
    seed = int(values.pop("seed", config["seed"]))
    dataset = build(config["data"], "data")
    model, optimizer, progress = build_parts(config, dataset, seed)
    params, m, v = state_variables(model, optimizer)
    targets = {"step": optimizer.step, **params}
    targets |= {f"m/{key}": variable for key, variable in m.items()}
    targets |= {f"v/{key}": variable for key, variable in v.items()}
    differences = checkpoints.shape_differences(
        {key: variable.shape.as_list() for key, variable in targets.items()},
        {key: list(value.shape) for key, value in values.items()},
    )
    if differences:
        raise UserError(
            f"'{path}' is of another model than the config:\n  " + "\n  ".join(differences)
        )
    for key, variable in targets.items():
        variable.assign(values[key])
    record = {
        "stage": stage,
        "config": as_json(config),
        "data": history_of_data(dataset, checkpoint),
        "seed": seed,
        "refinement_batch_size": model.refinement_batch_size or config["batch_size"],
    }
    writer = checkpoints.CheckpointWriter(
        config["checkpoint_dir"],
        record,
        model=model,
        optimizer=optimizer,
        progress=progress,
    )
    return writer.save(int(optimizer.step))


def run():
    """The command line."""
    parser = Parser(prog="python -m export.import_params", description=__doc__.split("\n")[0])
    parser.add_argument("params", metavar="PARAMS.npz")
    parser.add_argument("config", help=f"one of {', '.join(NAMED_CONFIGS)}")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--stage", type=int, metavar="N", help="that was exported")
    parser.add_argument("--checkpoint", metavar="DIR", help="that the exported step began with")
    args = parser.parse_intermixed_args()
    try:
        path = import_params(args.params, args.config, args.overrides, args.stage, args.checkpoint)
        print(f"wrote '{path}'")
    except (UserError, DatasetError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    run()
