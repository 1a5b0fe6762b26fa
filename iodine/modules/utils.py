"""Small tensor helpers that several modules share."""

import numpy as np
import tensorflow as tf

from iodine.errors import UserError, did_you_mean, size

ACTIVATIONS = (
    "abs",
    "elu",
    "exp",
    "gelu",
    "leaky_relu",
    "log_sigmoid",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "square",
    "swish",
    "tanh",
)


def activation(given):
    """Returns an activation function.

    Args:
      given: name of one of TensorFlow's, such as "elu", in any case; "identity", "linear" or None
        for the identity; or a function, which is returned as it is.

    Raises:
      UserError: if it is neither a known name nor a function.
    """
    if callable(given):
        return given
    name = "identity" if given is None else str(given).lower()
    if name in ("identity", "linear"):
        return tf.identity
    if name not in ACTIVATIONS:
        raise UserError(
            f"unknown activation '{given}'{did_you_mean(name, ACTIVATIONS)}, "
            f"use identity, {', '.join(ACTIVATIONS)}, or a function"
        )
    return getattr(tf.nn, name, None) or getattr(tf.math, name)


def check_coordinates(coord_type, coord_freqs, known=("linear", "cos")):
    """Raises a `UserError` unless coord_type is one of `known` and coord_freqs makes sense for it.

    Args:
      coord_type: the type of coordinates.
      coord_freqs: number of frequencies of "cos".
      known: the types to choose from.
    """
    if coord_type not in known:
        raise UserError(
            f"coord_type is {coord_type!r}{did_you_mean(coord_type, known)}, "
            f"use {' or '.join(map(repr, known))}"
        )
    if coord_type == "cos" and size(coord_freqs, "coord_freqs") < 2:
        raise UserError(f"coord_freqs is {coord_freqs!r}, use a whole number of 2 or more")


def linear_coordinates(height, width):
    """The two image axes, each running from -1 to 1.

    Returns:
      (over the height, over the width), each float32 [1, height, width, 1].
    """
    over_height, over_width = np.meshgrid(
        np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij"
    )
    return [c[None, :, :, None].astype(np.float32) for c in (over_height, over_width)]


def cosine_coordinates(height, width, freqs):
    """Products of cosines, a 2-D cosine basis without its constant.

    Channel (a, b) is cos(a·x)·cos(b·y), with x over the width and y over the height running from 0
    to π, and a the slower index.

    Returns:
      float32 [1, height, width, freqs² - 1].
    """
    rows = [np.cos(b * np.linspace(0, np.pi, height)) for b in range(int(freqs))]
    columns = [np.cos(a * np.linspace(0, np.pi, width)) for a in range(int(freqs))]
    basis = [np.outer(row, column) for column in columns for row in rows]
    return np.stack(basis[1:], axis=-1)[None].astype(np.float32)


def shape_of(x):
    """Shape of a tensor as a list, of whole numbers where they are known and else of tensors []."""
    return [tf.shape(x)[i] if size is None else size for i, size in enumerate(x.shape)]


def num_replicas():
    """Number of replicas that the running step is split over, 1 outside of such a step."""
    if tf.distribute.in_cross_replica_context():
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_sum(value):
    """Sum of a tensor over all replicas, not differentiated."""
    value = tf.stop_gradient(value)
    if num_replicas() == 1:
        return value
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)
