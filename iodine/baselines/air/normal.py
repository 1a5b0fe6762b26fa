"""Independent normal variables, along the last axis; divergences in nats."""

import tensorflow as tf


def draw(mean, std, noise):
    """The draw that the standard-normal noise stands for, through which gradients flow."""
    return mean + std * noise


def kl(mean, std, prior_mean, prior_std):
    """KL(N(mean, std²) || N(prior_mean, prior_std²)), [..., D] -> [...]."""
    ratio = tf.square(std / prior_std)
    distance = tf.square((mean - prior_mean) / prior_std)
    return 0.5 * tf.reduce_sum(ratio + distance - 1.0 - tf.math.log(ratio), axis=-1)


def log_ratio(value, mean, std, prior_mean, prior_std):
    """log N(value; prior_mean, prior_std²) - log N(value; mean, std²), [..., D] -> [...]."""
    under_prior = tf.square((value - prior_mean) / prior_std)
    here = tf.square((value - mean) / std)
    return tf.reduce_sum(0.5 * (here - under_prior) + tf.math.log(std / prior_std), axis=-1)
