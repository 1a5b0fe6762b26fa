"""Conversion between the reference's TensorFlow 1 checkpoints and ours.

Our variables have the shapes and the meaning of the reference's, so that only names differ.
"""

import math
import os
import re

import numpy as np
import tensorflow as tf

from iodine import checkpoints
from iodine.errors import UserError
from iodine.modules.distribution import MaskedMixture
from iodine.train.learner import Progress

# What the reference's training keeps beside the model's own variables.
STEP = "global_step"
BETA_POWERS = ("beta1_power", "beta2_power")
MOMENT = re.compile(r".*/Adam(_1)?")


def reference_variables(model):
    """Maps the reference's names to the model's variables.

    Args:
      model: an `IODINE` whose variables have been created.

    Returns:
      {name in the reference's checkpoints: tf.Variable of the same shape and meaning}.
    """
    names = {"model/iodine/initial_sample_distribution": model.initial_sample_distribution}
    for key, layer_norm in model.refinement_inputs.layer_norms.items():
        prefix = f"model/iodine/preprocess/layer_norm_{key}"
        names |= _attributes(prefix, layer_norm, {"gamma": "scale", "beta": "offset"})

    pixel_decoder = model.decoder.pixel_decoder
    prefix = f"pixel_decoder/{pixel_decoder.name}"
    names |= _layers(f"{prefix}/mlp/linear", pixel_decoder.mlp)
    names |= _layers(f"{prefix}/conv_net_2d/conv_2d", pixel_decoder.cnn)
    component_dist = model.output_dist.component_dist
    if isinstance(getattr(component_dist, "scale_val", None), tf.Variable):
        names["component_dist/pixel_distribution/scale"] = component_dist.scale_val

    core = model.refinement_core
    names |= _layers("encoder_net/cnn/conv_net_2d/conv_2d", core.encoder_net.cnn)
    names |= _layers("encoder_net/cnn/mlp/linear", core.encoder_net.mlp)
    for i, layer in enumerate(core.recurrent_net.layers):
        prefix = f"recurrent_net/lstm/lstm{f'_{i}' if i else ''}"
        names |= _attributes(prefix, layer, {"w_gates": "w_gates", "b_gates": "b_gates"})
    names |= _head_variables(core.refinement_head)

    if model.factor_evaluator is not None:
        prefix = "factor_evaluator/repres_content"
        layer = model.factor_evaluator.predict_latents
        names |= _attributes(f"{prefix}/predict_latents", layer, {"w": "w", "b": "b"})
        for factor, statistics in model.factor_evaluator.mean_var.items():
            attributes = {"total": "total", "mean": "mean", "M2": "M2"}
            names |= _attributes(f"{prefix}/{factor}_mean_var", statistics, attributes)
    return names


def _attributes(prefix, module, attributes):
    """Variables of a module, {prefix/name: attribute} of {name: attribute's name}."""
    return {f"{prefix}/{name}": getattr(module, attr) for name, attr in attributes.items()}


def _layers(prefix, network):
    """Variables of a network's layers, prefix_0/w, prefix_0/b, ...; none without a network."""
    names = {}
    for i, layer in enumerate(network.layers if network is not None else ()):
        names |= _attributes(f"{prefix}_{i}", layer, {"w": "w", "b": "b"})
    return names


def _head_variables(head):
    """Variables of a refinement head."""
    names, prefix = {}, f"refinement_head/{head.name}"
    for attribute, name in (("linear", "linear"), ("update", "linear"), ("gate", "linear_1")):
        if hasattr(head, attribute):
            names |= _attributes(f"{prefix}/{name}", getattr(head, attribute), {"w": "w", "b": "b"})
    if hasattr(head, "predictor"):
        names |= _layers(f"{prefix}/mlp/linear", head.predictor)
    return names


def training_variables(model, optimizer):
    """Maps the reference's names to all that training needs: variables, Adam's moments, the step.

    Args:
      model: an `IODINE` whose variables have been created.
      optimizer: an `iodine.optimizer.Adam`; its moments are made if need be.

    Returns:
      {name in the reference's checkpoints: tf.Variable of the same shape and meaning}.

    Raises:
      UserError: if the reference has no such network, and thus no names for its variables.
    """
    variables = reference_variables(model)
    names = {id(variable): name for name, variable in variables.items()}
    for variable in model.variables:
        if id(variable) not in names:
            raise UserError(
                f"the reference's checkpoints have no place for {variable.name} {variable.shape}"
            )
    optimizer.initialize(model.trainable_variables)
    for variable, m, v in zip(model.trainable_variables, optimizer.m, optimizer.v):
        variables[f"{names[id(variable)]}/Adam"] = m
        variables[f"{names[id(variable)]}/Adam_1"] = v
    return {STEP: optimizer.step, **variables}


def _image_shape(model, shapes):
    """Finds an image shape (H, W, C) that gives the shapes of a checkpoint's variables.

    Args:
      model: an `IODINE`.
      shapes: {name: shape} of the checkpoint.
    """
    conv, mlp = "encoder_net/cnn/conv_net_2d/conv_2d", "encoder_net/cnn/mlp/linear_0/w"
    biases = [name for name in shapes if re.fullmatch(r"pixel_decoder/.*/conv_2d_\d+/b", name)]
    last = max(biases, key=lambda name: int(re.findall(r"\d+", name)[-1]), default=None)
    num_params = shapes[last][0] - 1 if last else 0  # the mask logit aside
    channels = max(1, num_params // model.output_dist.num_params(1))
    encoder = model.refinement_core.encoder_net
    size = 1
    if encoder.mode == "flatten" and mlp in shapes:
        # The MLP's input is the last feature map: square, and as small as the strides make it.
        num_channels = shapes.get(f"{conv}_{len(encoder.cnn.layers) - 1}/b", [1])[0]
        size = round((shapes[mlp][0] / num_channels) ** 0.5)
    size *= math.prod(encoder.cnn.strides)
    return size, size, channels


def load_reference_checkpoint(model, path, optimizer=None):
    """Fills a model, and an optimizer if one is given, from a checkpoint of the reference.

    Args:
      model: an `IODINE`; its variables are created if they have not been.
      path: as for `checkpoints.checkpoint_prefix`.
      optimizer: an `iodine.optimizer.Adam`, or None. Its moments are left at zero if the checkpoint
        has no moments at all.

    Raises:
      UserError: if there is no such checkpoint, or if any variable is missing, left over or of
        another shape; nothing is loaded then.
    """
    values = checkpoints.read_checkpoint(checkpoints.checkpoint_prefix(path))
    if checkpoints.OBJECT_GRAPH in values:
        raise UserError(f"'{path}' is a checkpoint of ours and needs no conversion")
    if not hasattr(model.refinement_core.encoder_net.cnn.layers[0], "w"):
        model.initialize(_image_shape(model, {name: v.shape for name, v in values.items()}))
    found = {name for name in values if name not in BETA_POWERS}
    if optimizer is None:
        variables = reference_variables(model)
        found = {name for name in found if name != STEP and not MOMENT.fullmatch(name)}
    else:
        variables = training_variables(model, optimizer)
        if not any(map(MOMENT.fullmatch, found)):
            variables = {n: v for n, v in variables.items() if not MOMENT.fullmatch(n)}
    differences = checkpoints.shape_differences(
        {name: variable.shape.as_list() for name, variable in variables.items()},
        {name: list(values[name].shape) for name in found},
    )
    if differences:
        raise UserError(f"'{path}' does not fit the config's model:\n  " + "\n  ".join(differences))
    for name, variable in variables.items():
        variable.assign(values[name])


def convert(model, optimizer, reference_checkpoint, checkpoint_dir, seed, refinement_batch_size):
    """Writes a checkpoint of ours that says what one of the reference says.

    Args:
      model: an `IODINE` whose variables have been created.
      optimizer: an `iodine.optimizer.Adam`.
      reference_checkpoint: path, as for `checkpoints.checkpoint_prefix`.
      checkpoint_dir: where to; must hold no checkpoint yet.
      seed: of batches and noise, for training on.
      refinement_batch_size: number of scenes that the reference's training had on each device.

    Returns:
      Path of the checkpoint.

    Raises:
      UserError: as `load_reference_checkpoint`, or if it cannot be written. Nothing is then.
    """
    checkpoints.check_vacant(checkpoint_dir)
    load_reference_checkpoint(model, reference_checkpoint, optimizer)
    writer = checkpoints.CheckpointWriter(
        checkpoint_dir,
        {"refinement_batch_size": refinement_batch_size},
        model=model,
        optimizer=optimizer,
        progress=Progress(model, seed),
    )
    return writer.save(int(optimizer.step))


def beta_power(beta, num_updates):
    """What TensorFlow 1 has for beta^(num_updates + 1): float32 [], multiplied once an update."""
    power = np.multiply.reduce(np.full(num_updates + 1, beta, np.float32))
    # NumPy multiplies on among denormal numbers, which TensorFlow takes for zero.
    return power if power >= np.finfo(np.float32).tiny else np.float32(0.0)


def export_reference(model, optimizer, prefix):
    """Writes model and optimizer as the reference's training would save them.

    Args:
      model: an `IODINE` whose variables have been created.
      optimizer: its `iodine.optimizer.Adam`.
      prefix: path of the checkpoint; its directory must hold no checkpoint yet.

    Raises:
      UserError: if the reference has no such model, or the checkpoint cannot be written.
    """
    if not isinstance(model.output_dist, MaskedMixture):
        # Its variables have the mixture's names, and the reference would take them for one.
        raise UserError("the reference knows no output distribution but MaskedMixture")
    directory, name = os.path.split(os.path.abspath(prefix))
    checkpoints.check_vacant(directory)
    tensors = {n: variable.value() for n, variable in training_variables(model, optimizer).items()}
    for power, beta in zip(BETA_POWERS, (optimizer.beta1, optimizer.beta2)):
        tensors[power] = beta_power(beta, int(optimizer.step))
    try:
        os.makedirs(directory, exist_ok=True)
        tf.raw_ops.SaveV2(
            prefix=os.path.join(directory, name),
            tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors),
            tensors=list(tensors.values()),
        )
        with open(os.path.join(directory, "checkpoint"), "w") as state:
            state.write(f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n')
    except (tf.errors.OpError, OSError) as error:
        raise UserError(f"cannot write the checkpoint '{prefix}': {error}") from error
