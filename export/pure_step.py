"""The training step of a model as a pure function of parameters, moments, seed and images."""

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from export import matmul_convolutions
from iodine import checkpoints

METRICS = ("loss", "recons", "kl", "mse", "grad_norm")


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
      optimizer: its `iodine.optimizer.Adam`, initialized.

    Returns:
      (parameters, m, v), each {key of the parameter: variable}.
    """
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


def pure_gradients(model, variables, images_spec, matmuls=None, side_by_side=False):
    """Returns the model's gradients as a function of its parameters.

    The model reads variables, some of them deep in functions that recompute or cast. So the
    gradients are traced with the variables, and TensorFlow's tool for freezing models turns every
    read of one into a constant, for which parameters can be put in.

    Args:
      model: a `Model` whose variables have been created.
      variables: {key: variable} to differentiate with respect to.
      images_spec: uint8 [B, H, W, C], or [B, T, H, W, C] of sequences.
      matmuls: which convolutions become `matmul_convolutions`, "all" or "float32"; None for none.
      side_by_side: whether the function is to be mapped by `tf.vectorized_map`.

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
    graph_def = frozen.graph.as_graph_def(add_shapes=bool(matmuls))
    placeholders = {x.op.name for x in frozen.inputs}
    for node in [node for node in graph_def.node if node.name in placeholders]:
        graph_def.node.remove(node)

    def gradients(params, images, noise):
        inputs = dict(zip([x.name for x in frozen.inputs], (images, noise)))
        inputs |= {name: params[key] for key, name in constants.items() if name is not None}
        names = [x.name for x in frozen.outputs]
        if matmuls:
            outputs = matmul_convolutions.import_graph(
                graph_def, inputs, names, matmuls, save_memory=not side_by_side
            )
        else:
            outputs = tf.graph_util.import_graph_def(graph_def, inputs, names, name="")
        return dict(zip(variables, outputs)), outputs[len(variables) :]

    return gradients


def training_step(model, optimizer, images_spec, matmuls=None, side_by_side=False):
    """Returns the training step as a pure function, to be called while tracing.

    Args:
      model: a `Model` whose variables have been created.
      optimizer: an `iodine.optimizer.Adam`.
      images_spec, matmuls: as for `pure_gradients`.
      side_by_side: whether it is of several models, whose variables, seeds, images and metrics have
        one more axis in front.

    Returns:
      Function of (params, m, v {key: float32}, step [], seed [] int32, images) that gives
      (params, m, v, step, metrics [5] in the order of METRICS).
    """
    variables = trainable_variables(model)
    keys = list(variables)
    gradients_of = pure_gradients(model, variables, images_spec, matmuls, side_by_side)
    factors = optimizer.rate_factors_of(variables.values())

    def noise_of(seed, step):
        return standard_normal(model.noise_shape(images_spec.shape[0]), tf.stack([seed, step]))

    def clipped_gradients(params, images, noise):
        gradients, metrics = gradients_of(params, images, noise)
        gradients = [gradients[key] for key in keys]
        norm = tf.sqrt(sum(tf.reduce_sum(tf.square(gradient)) for gradient in gradients))
        if model.max_gradient_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, model.max_gradient_norm, norm)
        return gradients, tf.stack([*metrics, norm])

    def step(params, m, v, step, seed, images):
        if side_by_side:
            noise = tf.stack([noise_of(one, step) for one in tf.unstack(seed)])
            gradients, metrics = tf.vectorized_map(
                lambda arguments: clipped_gradients(*arguments),
                (params, images, noise),
                fallback_to_while_loop=False,
            )
        else:
            gradients, metrics = clipped_gradients(params, images, noise_of(seed, step))
        state = [[values[key] for key in keys] for values in (params, m, v)]
        state = optimizer.update(gradients, *state, step, factors)
        return *[dict(zip(keys, values)) for values in state], step + 1, metrics

    return step
