"""Likelihoods of a picture's pixels, given the sum of the placed patches."""

import numpy as np
import tensorflow as tf

STD = 0.3
EPSILON = 1e-6  # keeps a wrong pixel of a Bernoulli picture at 14 nats


def normal(image, canvas):
    """log N(x; canvas, 0.3²) of each pixel, in nats."""
    return -0.5 * tf.square((image - canvas) / STD) - np.log(STD * np.sqrt(2.0 * np.pi))


def bernoulli(image, canvas):
    """x log p + (1 - x) log(1 - p) of each pixel, p being the canvas clipped to [0, 1]."""
    p = tf.clip_by_value(canvas, EPSILON, 1.0 - EPSILON)
    return image * tf.math.log(p) + (1.0 - image) * tf.math.log(1.0 - p)


PIXELS = {"normal": normal, "bernoulli": bernoulli}
