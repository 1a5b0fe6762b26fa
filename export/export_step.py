"""Writes the training step of a config for machines that have JAX and no TensorFlow.

    python -m export.export_step CONFIG [key=value ...] --out DIR
        [--checkpoint DIR | --seeds N [N ...]] [--images N] [--stage N] [--matmuls all|float32]
        [--float32]

TensorFlow traces the step as a pure function, JAX exports it for CPU and GPU in one file, and
`run_step.py`, copied next to it, runs it there. What such a run learned comes back by
`export.import_params`. DIR gets
- step.jaxexp: (params, m, v, step, seed, images) -> (params, m, v, step, metrics);
- params.npz: parameters and Adam's moments to start from, new ones or those of a checkpoint, under
  the checkpoint's keys ("model/KEY", "m/model/KEY", "v/model/KEY");
- step.json: what the runner reports on;
- images.npy: the first N training scenes, uint8, if asked for.

With --seeds the step trains a model for each of them side by side, on batches of its own: state and
images have one more axis in front. Small models are bound by the number of operations, not by their
size, so that several take hardly longer than one. With convolutions it needs --matmuls=all.

--matmuls=all writes convolutions as matrix products (`export.matmul_convolutions`), which XLA
compiles in seconds and TensorFlow can put side by side. --matmuls=float32 leaves those of mixed
precision's bfloat16, which are faster once XLA has found out how.

The step needs images alone: the factor regressor is left out, which changes nothing else, but that
its gradient has no share in the norm that gradients are clipped by. Everything but state and data
is fixed in an artefact: shapes, batch size, the learning rate's schedule, precision.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("JAX_PLATFORMS", "cpu")  # where the artefact is made, not where it runs

import jax
import numpy as np
import tensorflow as tf
from jax.experimental import jax2tf
from sacred.arg_parser import get_config_updates
from sacred.utils import SacredError

from export.pure_step import METRICS, is_sequential, state_variables, training_step
from iodine import checkpoints
from iodine.build import build, build_model
from iodine.config import NAMED_CONFIGS, resolve
from iodine.errors import UserError
from iodine.train import learner
from multi_object_datasets.arguments import Parser
from multi_object_datasets.errors import DatasetError

PLATFORMS = ("cpu", "cuda")


def read_config(name, overrides, stage=None):
    """Returns the config that `iodine.main ... with NAME key=value ...` would run with.

    Args:
      name: of the named config.
      overrides: ["key=value", ...].
      stage: number of the stage whose differences are to be in it, None for none.

    Raises:
      UserError: if a name or key is unknown, or a value has the wrong type.
    """
    try:
        updates, positional = get_config_updates(overrides)
        if positional:
            raise UserError(f"'{positional[0]}' is no override: write key=value")
        resolution = resolve([name], updates)
        if stage is None:
            return resolution.config
        configs = {planned.number: config for planned, config in resolution.stages}
        if stage not in configs:
            raise UserError(f"--stage={stage}: '{name}' has stages 1 to {len(configs)}")
        return configs[stage]
    except SacredError as error:
        raise UserError(str(error)) from error


def first_images(dataset, seed, num_images):
    """Returns the first training scenes as uint8 [N, (T,) H, W, C]."""
    scenes = dataset("train", seed=seed).unbatch().take(num_images).as_numpy_iterator()
    images = np.stack([np.rint(scene["image"] * 255.0).astype(np.uint8) for scene in scenes])
    return images[:, 0] if images.shape[1] == 1 else images


def build_parts(config, dataset, seed):
    """Returns (model, optimizer, progress), new ones of a seed, for a data set's images."""
    tf.random.set_seed(seed)
    model = build_model(config["model"], dataset)
    optimizer = build(config["optimizer"], "optimizer")
    model.initialize(dataset.image_shape)
    optimizer.initialize(model.trainable_variables)
    return model, optimizer, learner.Progress(model, seed)


def export(
    name, overrides, out, checkpoint, num_images, float32, stage=None, seeds=None, matmuls=None
):
    """Writes the artefact of a config into the directory `out`.

    Args:
      name: of the named config.
      overrides: ["key=value", ...].
      out: directory to make.
      checkpoint: directory of the checkpoint to start from, None for new parameters.
      num_images: number of training scenes to write as well, None for none.
      float32: whether to do without TF32 on a GPU.
      stage: as for `read_config`.
      seeds: of the models to train side by side, None for one of the config's seed.
      matmuls: as for `pure_step.pure_gradients`.

    Returns:
      What step.json says.

    Raises:
      UserError: if the config is invalid, the checkpoint does not fit, there are several seeds of a
        model with convolutions, or `out` exists.
    """
    config = read_config(name, overrides, stage)
    check_new(out)
    dataset = build(config["data"], "data")
    model, optimizer, states = _states(config, dataset, checkpoint, seeds)
    kernels = [w for w in model.trainable_variables if w.shape.rank == 4]
    if seeds and kernels and matmuls != "all":
        raise UserError(f"'{name}' has convolutions, so its seeds need --matmuls=all")
    images_shape = [*([model.num_iters + 1] if is_sequential(model) else []), *dataset.image_shape]
    images_spec = tf.TensorSpec([config["batch_size"], *images_shape], tf.uint8)
    images = None if num_images is None else first_images(dataset, config["seed"], num_images)

    tf.config.experimental.enable_tensor_float_32_execution(not float32)
    step = training_step(model, optimizer, images_spec, matmuls, side_by_side=bool(seeds))
    function = jax2tf.call_tf(step, has_side_effects=False)
    *state, seed = jax.tree.map(lambda *x: np.stack(x), *states) if seeds else states[0]
    state = (*state, np.int32(optimizer.step.numpy()), seed)
    batch = np.empty([*seed.shape, *images_spec.shape], np.uint8)
    specs = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (*state, batch))
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(*specs)
    decoder = model.decoder.trainable_variables
    about = {
        "config": name,
        "overrides": overrides,
        "batch_size": config["batch_size"],
        "images_shape": images_spec.shape.as_list(),
        "metrics": METRICS,
        "float32": float32,
        "flop_per_step": jax.jit(exported.call).lower(*specs).cost_analysis()["flops"],
        # Slots that the decoder makes images of, and the kernels [k, k, in, out] it does so with.
        "num_slots": config["batch_size"] * model.num_components,
        "decoder_kernels": [w.shape.as_list() for w in decoder if w.shape.rank == 4],
        "seeds": seeds,
        "jax": jax.__version__,
        "tensorflow": tf.__version__,
    }
    _write(out, exported, state, images, about)
    return about


def check_new(out):
    """Raises UserError if a path exists."""
    if os.path.exists(out):
        raise UserError(f"'{out}' exists already: choose another --out=DIR")


def _states(config, dataset, checkpoint, seeds):
    """Returns (a model, its optimizer, the state of each seed to start from)."""
    states = []
    for seed in seeds or [config["seed"]]:
        model, optimizer, progress = build_parts(config, dataset, seed)
        if checkpoint is not None:
            path = checkpoints.latest_checkpoint(checkpoint)
            checkpoints.restore(path, model=model, optimizer=optimizer, progress=progress)
        state = tf.nest.map_structure(lambda x: x.numpy(), state_variables(model, optimizer))
        states.append((*state, np.int32(progress.seed.numpy())))
    return model, optimizer, states


def _write(out, exported, state, images, about):
    """Writes the files of an artefact to a new directory."""
    os.makedirs(out)
    with open(os.path.join(out, "step.jaxexp"), "wb") as file:
        file.write(exported.serialize())
    params, m, v, step, seed = state
    arrays = params | {f"m/{key}": m[key] for key in m} | {f"v/{key}": v[key] for key in v}
    np.savez(os.path.join(out, "params.npz"), step=step, seed=seed, **arrays)
    if images is not None:
        np.save(os.path.join(out, "images.npy"), images)
    with open(os.path.join(out, "step.json"), "w") as file:
        json.dump(about, file, indent=1)


def run():
    """The command line."""
    parser = Parser(prog="python -m export.export_step", description=__doc__.split("\n")[0])
    parser.add_argument("config", help=f"one of {', '.join(NAMED_CONFIGS)}")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as of iodine.main")
    parser.add_argument("--out", required=True, help="directory to make")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--checkpoint", metavar="DIR", help="start from the latest one there")
    start.add_argument("--seeds", type=int, nargs="+", metavar="N", help="a model for each")
    parser.add_argument("--images", type=int, metavar="N", help="write N training scenes as well")
    parser.add_argument("--stage", type=int, metavar="N", help="number of the config's stage")
    parser.add_argument(
        "--matmuls",
        choices=("all", "float32"),
        help="convolutions to write as matrix products",
    )
    parser.add_argument("--float32", action="store_true", help="no TF32 on the GPU")
    args = parser.parse_intermixed_args()
    try:
        about = export(
            args.config,
            args.overrides,
            args.out,
            args.checkpoint,
            args.images,
            args.float32,
            args.stage,
            args.seeds,
            args.matmuls,
        )
    except (UserError, DatasetError, OSError) as error:
        sys.exit(f"error: {error}")
    num_images = about["batch_size"] * len(about["seeds"] or [None])
    gflop = about["flop_per_step"] / num_images / 1e9
    print(f"{args.config}: {about['images_shape']}, {gflop:.2f} GFLOP an image, in '{args.out}'")


if __name__ == "__main__":
    run()
