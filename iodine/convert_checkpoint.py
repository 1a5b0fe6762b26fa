"""Reading the reference's TensorFlow 1 checkpoints into our models."""

import re

import tensorflow as tf

from iodine.checkpoints import shape_differences
from iodine.modules.utils import UserError

# What the reference's training keeps beside the model's own variables.
TRAINING_VARIABLES = re.compile(r"global_step|beta[12]_power|.*/Adam(_1)?")


def reference_variables(model):
    """Maps the reference's names to the model's variables.

    Args:
      model: an `IODINE` whose variables have been created.

    Returns:
      {name in the reference's checkpoints: tf.Variable of the same shape and meaning}.
    """
    names = {"model/iodine/initial_sample_distribution": model.initial_sample_distribution}

    def add(prefix, module, attributes):
        for name, attribute in attributes.items():
            names[f"{prefix}/{name}"] = getattr(module, attribute)

    def add_layers(prefix, network):
        if network is not None:
            for i, layer in enumerate(network.layers):
                add(f"{prefix}_{i}", layer, {"w": "w", "b": "b"})

    for key, layer_norm in model.layer_norms.items():
        add(
            f"model/iodine/preprocess/layer_norm_{key}",
            layer_norm,
            {"gamma": "scale", "beta": "offset"},
        )

    pixel_decoder = model.decoder.pixel_decoder
    prefix = f"pixel_decoder/{pixel_decoder.name}"
    add_layers(f"{prefix}/mlp/linear", pixel_decoder.mlp)
    add_layers(f"{prefix}/conv_net_2d/conv_2d", pixel_decoder.cnn)
    component_dist = model.output_dist.component_dist
    if isinstance(getattr(component_dist, "scale_val", None), tf.Variable):
        names["component_dist/pixel_distribution/scale"] = component_dist.scale_val

    core = model.refinement_core
    add_layers("encoder_net/cnn/conv_net_2d/conv_2d", core.encoder_net.cnn)
    add_layers("encoder_net/cnn/mlp/linear", core.encoder_net.mlp)
    for i, layer in enumerate(core.recurrent_net.layers):
        suffix = f"_{i}" if i else ""
        add(
            f"recurrent_net/lstm/lstm{suffix}",
            layer,
            {"w_gates": "w_gates", "b_gates": "b_gates"},
        )
    head = core.refinement_head
    for attribute, name in (("linear", "linear"), ("update", "linear"), ("gate", "linear_1")):
        if hasattr(head, attribute):
            layer = getattr(head, attribute)
            add(f"refinement_head/{head.name}/{name}", layer, {"w": "w", "b": "b"})
    if hasattr(head, "predictor"):
        add_layers(f"refinement_head/{head.name}/mlp/linear", head.predictor)

    if model.factor_evaluator is not None:
        prefix = "factor_evaluator/repres_content"
        layer = model.factor_evaluator.predict_latents
        add(f"{prefix}/predict_latents", layer, {"w": "w", "b": "b"})
        for factor, statistics in model.factor_evaluator.mean_var.items():
            attributes = {"total": "total", "mean": "mean", "M2": "M2"}
            add(f"{prefix}/{factor}_mean_var", statistics, attributes)
    return names


def _image_shape(model, shapes):
    """Finds an image shape (H, W, C) that gives the checkpoint's variable shapes, or None.

    Args:
      model: an `IODINE`.
      shapes: {name: shape} of the checkpoint.
    """
    biases = [n for n in shapes if re.fullmatch(r"pixel_decoder/.*/conv_2d_\d+/b", n)]
    if not biases:
        return None
    last = max(biases, key=lambda name: int(re.search(r"_(\d+)/b$", name).group(1)))
    num_params = shapes[last][0] - 1
    channels = num_params // model.output_dist.num_params(1)
    encoder = model.refinement_core.encoder_net
    size = 1
    if encoder.mode == "flatten" and encoder.mlp is not None:
        # The MLP's input is the last feature map: square, and as small as the strides make it.
        conv = f"encoder_net/cnn/conv_net_2d/conv_2d_{len(encoder.cnn.layers) - 1}/b"
        flat_size = shapes.get("encoder_net/cnn/mlp/linear_0/w", [1])[0]
        size = round((flat_size / shapes.get(conv, [1])[0]) ** 0.5)
    for stride in encoder.cnn.strides:
        size *= stride
    return size, size, channels


def load_reference_checkpoint(model, prefix):
    """Fills a model from a TensorFlow 1 checkpoint of the reference.

    Args:
      model: an `IODINE`; if its variables have not been created yet, they are.
      prefix: the checkpoint's path without `.index`.

    Raises:
      UserError: if there is no such checkpoint, or if any variable is missing, left over (optimizer
        slots, beta powers and global_step aside) or of another shape; nothing is loaded then.
    """
    try:
        reader = tf.train.load_checkpoint(str(prefix))
    except (ValueError, tf.errors.OpError) as error:
        raise UserError(f"no TensorFlow checkpoint at '{prefix}': {error}") from error
    found = reader.get_variable_to_shape_map()
    if len(model.trainable_variables) <= 1 + len(model.layer_norms):
        image_shape = _image_shape(model, found)
        if image_shape is not None:
            model.initialize(image_shape)
    variables = reference_variables(model)
    wanted = {name: variable.shape.as_list() for name, variable in variables.items()}
    found = {n: shape for n, shape in found.items() if not TRAINING_VARIABLES.fullmatch(n)}
    differences = shape_differences(wanted, found)
    if differences:
        raise UserError(f"'{prefix}' does not fit the model:\n" + "\n".join(differences))
    for name, variable in variables.items():
        variable.assign(reader.get_tensor(name))
