"""Turns a parameter file of `run_step.py` into a checkpoint.

    python -m export.import_params PARAMS.npz CONFIG [key=value ...] checkpoint_dir=DIR

Give the config and the overrides that the step was exported with. The checkpoint can be trained on,
evaluated and visualised like any other; the factor regressor, which the exported step leaves out,
is at its initial values. Of a file of several seeds, `seed=N` says which.
"""

import sys
import zipfile

import numpy as np

from export.export_step import build_parts, read_config
from export.pure_step import state_variables
from iodine import checkpoints, main
from iodine.build import build
from iodine.errors import UserError
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


def import_params(path, name, overrides):
    """Writes the checkpoint.

    Args:
      path: the parameter file.
      name: of the named config.
      overrides: ["key=value", ...], checkpoint_dir among them.

    Returns:
      Path of the checkpoint.

    Raises:
      UserError: if the file is of another model or not of this seed, or checkpoint_dir holds
        checkpoints already.
    """
    config = read_config(name, overrides)
    checkpoints.check_vacant(config["checkpoint_dir"])
    values = one_of_several(read_params(path), config["seed"], path)
    seed = int(values.pop("seed", config["seed"]))
    model, optimizer, progress = build_parts(config, build(config["data"], "data"), seed)
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
    writer = checkpoints.CheckpointWriter(
        config["checkpoint_dir"],
        {"refinement_batch_size": model.refinement_batch_size or config["batch_size"]},
        model=model,
        optimizer=optimizer,
        progress=progress,
    )
    return writer.save(int(optimizer.step))


def run():
    """The command line."""
    parser = Parser(prog="python -m export.import_params", description=__doc__.split("\n")[0])
    parser.add_argument("params", metavar="PARAMS.npz")
    parser.add_argument("config", help=f"one of {main.NAMED_CONFIGS}")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()
    try:
        print(f"wrote '{import_params(args.params, args.config, args.overrides)}'")
    except (UserError, DatasetError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    run()
