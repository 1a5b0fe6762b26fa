"""A model's decoder in the form that the page of `explore` computes.

The page knows stacks of convolutions behind a slot that is broadcast over a grid; what its
`decoder.js` takes is described by `describe`.
"""

import numpy as np
import sonnet as snt
import tensorflow as tf
import tensorflow_probability as tfp

from iodine.baselines import monet, slot_attention, vae
from iodine.errors import UserError
from iodine.modules.decoder import ComponentDecoder
from iodine.modules.distribution import BernoulliOutput, LocScaleDistribution
from iodine.modules.iodine import IODINE
from iodine.modules.networks import BroadcastConv

tfd = tfp.distributions
MEAN_IS_LOCATION = (tfd.Normal, tfd.Laplace, tfd.Logistic)
ACTIVATIONS = {tf.nn.elu: "elu", tf.nn.relu: "relu", tf.identity: "identity"}


def describe(model):
    """Describes the decoder of a model.

    Args:
      model: a `Model` whose variables exist.

    Returns:
      (description, weights float32 [n]). The weights are those of the position embedding if there
      is one, w [4, D] and b [D], then those of each layer, w [k_h, k_w, I, O] and b [O]. The
      description is a dict for JSON:
        n_z: Z. constant: list of numbers that are appended to each slot.
        coordinates: {type: linear, cos, position or none, freqs, channels}, of the grid.
        sum: whether the coordinates are added to the slot; else they are appended to it.
        layers: list of {kernel [k_h, k_w], inputs, outputs, stride, transposed, padding}.
        activation: between layers.
        channels: C. logit: the output channel of the mask logit, -1 for none.
        first_pixel: the first output channel of the pixel parameters.
        mean_function, mean [a, b]: a pixel's mean is a·function(parameter) + b.

    Raises:
      UserError: if the page cannot compute the decoder.
    """
    makers = {
        IODINE: _of_iodine,
        vae.VAE: _of_vae,
        slot_attention.SlotAttentionAutoEncoder: _of_slot_attention,
        monet.MONet: _of_monet,
    }
    if type(model) not in makers:
        raise _refused(f"{type(model).__name__} has no decoder of slots that it knows")
    description, arrays, cnn = makers[type(model)](model)
    layers = []
    for layer, stride in zip(cnn.layers, cnn.strides):
        transposed = isinstance(layer, snt.Conv2DTranspose)
        w = layer.w.numpy()
        # Transposed convolutions have [k_h, k_w, O, I].
        w = w.transpose(0, 1, 3, 2) if transposed else w
        layers.append(_layer(w, stride, transposed, layer))
        arrays += [w, layer.b.numpy()]
    if cnn.activation not in ACTIVATIONS or cnn.activate_final:
        known = ", ".join(ACTIVATIONS.values())
        raise _refused(f"its decoder's activation is none of {known}, or follows the last layer")
    description = {
        "n_z": model.n_z,
        "channels": model.image_shape[-1],
        "activation": ACTIVATIONS[cnn.activation],
        "layers": layers,
        **description,
    }
    return description, np.concatenate([np.ravel(a) for a in arrays]).astype(np.float32)


def _refused(why):
    return UserError(f"explore cannot show this model: {why}")


def _layer(w, stride, transposed, layer):
    """Describes a convolution with weights w [k_h, k_w, I, O]."""
    kernel = list(w.shape[:2])
    padding = layer._padding if transposed else layer.conv_padding
    if not transposed and stride != 1:
        raise _refused(f"a convolution of its decoder has a stride of {stride}")
    if transposed and (padding != "SAME" or min(kernel) < stride):
        raise _refused(
            f"a transposed convolution of its decoder has kernel {kernel}, stride {stride} and "
            f"padding {padding}"
        )
    return {
        "kernel": kernel,
        "inputs": w.shape[2],
        "outputs": w.shape[3],
        "stride": stride,
        "transposed": transposed,
        "padding": padding,
    }


def _mean(pixel_dist):
    """Describes how a pixel's mean follows from its parameters."""
    if isinstance(pixel_dist, BernoulliOutput):
        return {"mean_function": "sigmoid", "mean": [1.0, 0.0]}
    if not isinstance(pixel_dist, LocScaleDistribution) or pixel_dist.dist not in MEAN_IS_LOCATION:
        raise _refused("it does not know the mean of its pixels' distribution")
    functions = {tf.identity: "identity", tf.sigmoid: "sigmoid", tf.nn.sigmoid: "sigmoid"}
    if pixel_dist.loc_act not in functions:
        raise _refused("it does not know the loc_act of its pixels' distribution")
    return {"mean_function": functions[pixel_dist.loc_act], "mean": [1.0, 0.0]}


def _broadcast(decoder):
    """Describes the grid of a `BroadcastConv` or a `BroadcastDeConv`."""
    if not isinstance(decoder, BroadcastConv):
        raise _refused(f"its decoder is a {type(decoder).__name__}, which makes one size only")
    if decoder.mlp is not None:
        raise _refused("its decoder has an MLP before the convolutions")
    kind = decoder.coord_type or "none"
    return {"coordinates": {"type": kind, "freqs": decoder.coord_freqs}, "sum": False}


def _of_iodine(model):
    if not isinstance(model.decoder, ComponentDecoder):
        raise _refused(f"its decoder is a {type(model.decoder).__name__}")
    if model.output_dist.mask_activation is not tf.identity:
        raise _refused("its mask logits have an activation")
    pixel_decoder = model.decoder.pixel_decoder
    described = {**_broadcast(pixel_decoder), **_mean(model.output_dist.component_dist)}
    # `ComponentDecoder` appends 5.0 to every slot, and the mask logit comes first.
    described |= {"constant": [5.0], "logit": 0, "first_pixel": 1}
    return described, [], pixel_decoder.cnn


def _of_vae(model):
    described = {**_broadcast(model.decoder), **_mean(model.pixel_dist)}
    return {**described, "constant": [], "logit": -1, "first_pixel": 0}, [], model.decoder.cnn


def _of_slot_attention(model):
    linear = model.decoder.position.linear
    described = {
        "coordinates": {"type": "position", "channels": model.n_z},
        "sum": True,
        "constant": [],
        "logit": model.image_shape[-1],
        "first_pixel": 0,
        # Its pixels are from -1 to 1.
        "mean_function": "identity",
        "mean": [0.5, 0.5],
    }
    return described, [linear.w.numpy(), linear.b.numpy()], model.decoder.cnn


def _of_monet(model):
    described = {
        "coordinates": {"type": "linear"},
        "sum": False,
        "constant": [],
        "logit": model.image_shape[-1],
        "first_pixel": 0,
        "mean_function": "identity",
        "mean": [1.0, 0.0],
    }
    return described, [], model.decoder.cnn
