"""Writes the training step of a config for machines that have JAX and no TensorFlow.

    python -m benchmarks.export_step CONFIG [key=value ...] --out DIR [--checkpoint DIR]
        [--images N] [--stage N] [--float32]

TensorFlow traces the step as a pure function, JAX exports it for CPU and GPU in one file, and
`run_step.py`, copied next to it, runs it there. What such a run learned comes back by
`benchmarks.import_params`. DIR gets
- step.jaxexp: (params, m, v, step, seed, images) -> (params, m, v, step, metrics);
- params.npz: parameters and Adam's moments to start from, new ones or those of a checkpoint, under
  the checkpoint's keys ("model/KEY", "m/model/KEY", "v/model/KEY");
- step.json: what the runner reports on;
- images.npy: the first N training scenes, uint8, if asked for.

The step needs images alone: the factor regressor is left out, which changes nothing else, but that
its gradient has no share in the norm that gradients are clipped by. Everything but state and data
is fixed in an artefact: shapes, batch size, the learning rate's schedule, precision.
"""

import argparse
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("JAX_PLATFORMS", "cpu")  # where the artefact is made, not where it runs

import jax  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from jax.experimental import jax2tf  # noqa: E402
from sacred.arg_parser import get_config_updates  # noqa: E402
from sacred.utils import ConfigAddedError, SacredError, convert_to_nested_dict  # noqa: E402
from tensorflow.python.framework.convert_to_constants import (  # noqa: E402
    convert_variables_to_constants_v2,
)

from iodine import checkpoints, command_line, learner, main  # noqa: E402
from iodine.modules.utils import UserError  # noqa: E402
from iodine.stages import plan_stages  # noqa: E402
from multi_object_datasets.errors import DatasetError  # noqa: E402

PLATFORMS = ("cpu", "cuda")
METRICS = ("loss", "recons", "kl", "mse", "grad_norm")


def read_config(name, overrides, stage=None):
    """Returns the config that `iodine.main ... with NAME key=value ...` would run with.

    Args:
      name: of the named config.
      overrides: ["key=value", ...].
      stage: number of the stage whose differences are to be in it, None for none.

    Raises:
      UserError: for an unknown name or key, or a value of the wrong type.
    """
    try:
        updates, positional = get_config_updates(overrides)
        if positional:
            raise UserError(f"'{positional[0]}' is no override: write key=value")
        updates = convert_to_nested_dict(updates)
        updates = command_line.checked_updates(updates, main.get_config(name))
        config = main.get_config(name, updates)
        if stage is None:
            return config
        stages = {planned.number: planned for planned in plan_stages(config)}
        if stage not in stages:
            raise UserError(f"--stage={stage}: '{name}' has stages 1 to {len(stages)}")
        return main.get_config(name, {**updates, **stages[stage].differences})
    except ConfigAddedError as error:
        raise UserError(command_line.unknown_key(error)) from error
    except SacredError as error:
        raise UserError(str(error)) from error


def standard_normal(shape, seed):
    """Standard-normal noise that is the same in TensorFlow and under XLA, up to rounding.

    `tf.random.stateless_normal` is not, but its bits are: Box-Muller, sqrt(-2 ln u)·cos(2π w).

    Args:
      shape: list of ints.
      seed: int32 [2].
    """
    bits = tf.random.stateless_uniform(
        [2, *shape], seed, minval=None, maxval=None, dtype=tf.int32, alg="philox"
    )
    # 23 bits, the most that leave the middle of each interval, and so ln u, exact.
    bits = tf.bitwise.right_shift(tf.bitcast(bits, tf.uint32), tf.constant(9, tf.uint32))
    u, w = tf.unstack((tf.cast(bits, tf.float32) + 0.5) / 2.0**23)
    return tf.sqrt(-2.0 * tf.math.log(u)) * tf.cos(2.0 * np.pi * w)


def trainable_variables(model):
    """Returns {key in checkpoints: variable} of what is trained, the factor regressor aside."""
    keys = checkpoints.variable_keys(tf.train.Checkpoint(model=model))
    return {
        key: variable
        for key, variable in sorted(keys.items())
        if variable.trainable and not key.startswith("model/factor_evaluator/")
    }


def state_variables(model, optimizer):
    """Returns what the exported step trains.

    Args:
      model: a `Model` whose variables have been created.
      optimizer: an `iodine.optimizer.Adam`; its moments are made if need be.

    Returns:
      (parameters, m, v), each {key of the parameter: variable}.
    """
    optimizer.initialize(model.trainable_variables)
    places = {id(variable): i for i, variable in enumerate(model.trainable_variables)}
    params = trainable_variables(model)
    m, v = (
        {key: moments[places[id(variable)]] for key, variable in params.items()}
        for moments in (optimizer.m, optimizer.v)
    )
    return params, m, v


def is_sequential(model):
    """Whether a `Model` takes several frames, as `IODINE` may."""
    return getattr(model, "sequential", False)


def pure_gradients(model, variables, images_spec):
    """Returns the model's gradients as a function of its parameters.

    The model reads variables, some of them deep in functions that recompute or cast. So the
    gradients are traced with the variables, and TensorFlow's tool for freezing models turns every
    read of one into a constant, for which parameters can be put in.

    Args:
      model: a `Model` whose variables have been created.
      variables: {key: variable} to differentiate with respect to.
      images_spec: uint8 [B, H, W, C], or [B, T, H, W, C] of sequences.

    Returns:
      Function of (params {key: tensor}, images, noise) that gives (gradients {key: tensor},
      metrics loss, recons, kl, mse, NaN where the model has none); to be called while tracing.
    """

    def gradients_of_variables(images, noise):
        images = tf.cast(images, tf.float32) / 255.0
        images = images if is_sequential(model) else images[:, None]  # [B, frames, H, W, C]
        with tf.GradientTape() as tape:
            loss, scalars, _ = model({"image": images}, noise)
        gradients = tape.gradient(loss, list(variables.values()), unconnected_gradients="zero")
        nothing = tf.constant(np.nan)
        others = [scalars.get(f"loss/{name}", nothing) for name in METRICS[1:-1]]
        return gradients, [loss, *others]

    noise_spec = tf.TensorSpec(model.noise_shape(images_spec.shape[0]))
    traced = tf.function(gradients_of_variables, autograph=False).get_concrete_function(
        images_spec, noise_spec
    )
    frozen = convert_variables_to_constants_v2(traced, lower_control_flow=False)
    # A frozen variable is a constant of the name that its handle had in the graph.
    handles = {id(handle): inner.name for handle, inner in traced.graph.captures}
    constants = {key: handles.get(id(variable.handle)) for key, variable in variables.items()}
    # XLA knows no placeholders, even unused ones.
    graph_def = frozen.graph.as_graph_def()
    for node in [x.op.node_def for x in frozen.inputs]:
        graph_def.node.remove(node)

    def gradients(params, images, noise):
        inputs = dict(zip([x.name for x in frozen.inputs], (images, noise)))
        inputs |= {name: params[key] for key, name in constants.items() if name is not None}
        outputs = tf.graph_util.import_graph_def(
            graph_def, inputs, [x.name for x in frozen.outputs], name=""
        )
        return dict(zip(variables, outputs)), outputs[len(variables) :]

    return gradients


def training_step(model, optimizer, images_spec):
    """Returns the training step as a pure function, to be called while tracing.

    Args:
      model: a `Model` whose variables have been created.
      optimizer: an `iodine.optimizer.Adam`.
      images_spec: as for `pure_gradients`.

    Returns:
      Function of (params, m, v {key: float32}, step [], seed [] int32, images) that gives
      (params, m, v, step, metrics [5] in the order of METRICS).
    """
    gradients_of = pure_gradients(model, trainable_variables(model), images_spec)

    def step(params, m, v, step, seed, images):
        keys = list(params)
        noise = standard_normal(model.noise_shape(images_spec.shape[0]), tf.stack([seed, step]))
        gradients, metrics = gradients_of(params, images, noise)
        gradients = [gradients[key] for key in keys]
        norm = tf.linalg.global_norm(gradients)
        if model.max_gradient_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, model.max_gradient_norm, norm)
        state = [[values[key] for key in keys] for values in (params, m, v)]
        state = [dict(zip(keys, values)) for values in optimizer.update(gradients, *state, step)]
        return *state, step + 1, tf.stack([*metrics, norm])

    return step


def first_images(dataset, seed, num_images):
    """Returns the first training scenes as uint8 [N, (T,) H, W, C]."""
    scenes = dataset("train", seed=seed).unbatch().take(num_images).as_numpy_iterator()
    images = np.stack([np.rint(scene["image"] * 255.0).astype(np.uint8) for scene in scenes])
    return images[:, 0] if images.shape[1] == 1 else images


def export(name, overrides, out, checkpoint, num_images, float32, stage=None):
    """Writes the artefact of a config into the directory `out`.

    Args:
      name: of the named config.
      overrides: ["key=value", ...].
      out: directory to make.
      checkpoint: directory of the checkpoint to start from, None for new parameters.
      num_images: number of training scenes to write as well, None for none.
      float32: whether to do without TF32 on a GPU.
      stage: as for `read_config`.

    Returns:
      What step.json says.

    Raises:
      UserError: for a wrong config, a checkpoint that does not fit, or if `out` exists.
    """
    config = read_config(name, overrides, stage)
    if os.path.exists(out):
        raise UserError(f"'{out}' exists already: choose another --out=DIR")
    tf.random.set_seed(config["seed"])
    dataset = main.build(config["data"], "data")
    model = main.build(config["model"], "model")
    optimizer = main.build(config["optimizer"], "optimizer")
    progress = learner.Progress(model, config["seed"])
    model.initialize(dataset.image_shape)
    variables = state_variables(model, optimizer)
    if checkpoint is not None:
        path = checkpoints.latest_checkpoint(checkpoint)
        checkpoints.restore(path, model=model, optimizer=optimizer, progress=progress)
    frames = [model.num_iters + 1] if is_sequential(model) else []
    images_spec = tf.TensorSpec([config["batch_size"], *frames, *dataset.image_shape], tf.uint8)
    images = None if num_images is None else first_images(dataset, config["seed"], num_images)

    tf.config.experimental.enable_tensor_float_32_execution(not float32)
    function = jax2tf.call_tf(training_step(model, optimizer, images_spec), has_side_effects=False)
    state = tf.nest.map_structure(lambda variable: variable.numpy(), variables)
    state = (*state, np.int32(optimizer.step.numpy()), np.int32(progress.seed.numpy()))
    specs = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype),
        (*state, np.empty(images_spec.shape, np.uint8)),
    )
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(*specs)
    about = {
        "config": name,
        "overrides": overrides,
        "batch_size": config["batch_size"],
        "images_shape": images_spec.shape.as_list(),
        "metrics": METRICS,
        "float32": float32,
        "flop_per_step": jax.jit(exported.call).lower(*specs).cost_analysis()["flops"],
        # Slots that the decoder makes pictures of, and the kernels [k, k, in, out] it does so with.
        "num_slots": config["batch_size"] * model.num_components,
        "decoder_kernels": [
            w.shape.as_list() for w in model.decoder.trainable_variables if w.shape.rank == 4
        ],
        "jax": jax.__version__,
        "tensorflow": tf.__version__,
    }
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
    return about


def run():
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.export_step", description=__doc__.split("\n")[0]
    )
    parser.add_argument("config", help=f"one of {main.NAMED_CONFIGS}")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as of iodine.main")
    parser.add_argument("--out", required=True, help="directory to make")
    parser.add_argument("--checkpoint", metavar="DIR", help="go on from the latest one there")
    parser.add_argument("--images", type=int, metavar="N", help="write N training scenes as well")
    parser.add_argument("--stage", type=int, metavar="N", help="number of the config's stage")
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
        )
    except (UserError, DatasetError, OSError) as error:
        sys.exit(f"error: {error}")
    gflop = about["flop_per_step"] / about["batch_size"] / 1e9
    print(f"{args.config}: {about['images_shape']}, {gflop:.2f} GFLOP an image, in '{args.out}'")


if __name__ == "__main__":
    run()
