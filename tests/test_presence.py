"""The estimators of presence's gradient: against every outcome, each other, and a closed form.

All in float64, on a model of three steps whose latents depend on all before them.
"""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from iodine.baselines.air import presence
from iodine.modules.distribution import normal_kl, normal_log_ratio

N = 3
PRIOR = 0.2
PRIOR_LOGIT = np.log(PRIOR / (1 - PRIOR))
DATA = tf.constant([[0.3, -0.7, 1.1, 0.4], [1.5, 0.2, -0.4, 0.9]], tf.float64)  # [B, D]
NOISE = tf.constant(np.random.default_rng(0).normal(size=[N, 2]))
PARAMETERS = np.random.default_rng(1).normal(size=[3, 4])
SIGMA = 0.8


def toy(parameters, noise):
    """Scenes of four numbers, objects of one: what `exact_terms` takes, and the latents.

    Each step's presence and latent depend on the latent before, as if that object were there.
    """
    last = tf.zeros([2], tf.float64)
    logits, kl, latents = [], [], []
    for t in range(N):
        seen = tf.linalg.matvec(DATA, parameters[0]) + 0.5 * last
        mean, std = tf.sin(seen) + parameters[1, t], tf.exp(0.3 * parameters[2, t] + 0.1 * last)
        logits.append(1.3 * tf.cos(seen) + parameters[1, 3])
        last = mean + std * noise[t]
        kl.append(normal_kl(mean[:, None], std[:, None], 0.0, 1.0))
        latents.append(last)
    drawn = tf.cumsum(tf.stack(latents, axis=1), axis=1)  # [B, N]
    canvas = tf.concat([tf.zeros([2, 1], tf.float64), drawn], axis=1)  # [B, N + 1]
    error = tf.square(DATA[:, None] - canvas[..., None] * parameters[2])
    log_likelihoods = tf.reduce_sum(-0.5 * error / SIGMA**2, axis=-1)
    return tf.stack(logits, axis=1), PRIOR_LOGIT, log_likelihoods, tf.stack(kl, axis=1)


def exact(parameters):
    log_likelihood, kl = presence.exact_terms(*toy(parameters, NOISE))
    return tf.reduce_sum(log_likelihood) - tf.reduce_sum(kl)


def brute_force(parameters):
    """The sum over all 2³ outcomes of three Bernoulli variables."""
    logits, _, log_likelihoods, kl = toy(parameters, NOISE)
    total = 0.0
    for outcome in itertools.product([0, 1], repeat=N):
        q, log_ratio, inner, present = 1.0, 0.0, 0.0, 1
        for i, drawn in enumerate(outcome):
            p = tf.sigmoid(logits[:, i])
            q *= p if drawn else 1 - p  # the outcomes after the first 0 sum to 1
            if present:
                posterior, prior = (p, PRIOR) if drawn else (1 - p, 1 - PRIOR)
                log_ratio += tf.math.log(posterior) - np.log(prior)
            present *= drawn
            inner += present * kl[:, i]
        count = sum(itertools.takewhile(bool, outcome))
        total += tf.reduce_sum(q * (log_likelihoods[:, count] - inner - log_ratio))
    return total


def value_and_gradient(function):
    parameters = tf.constant(PARAMETERS)
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        value = function(parameters)
    return value.numpy(), tape.gradient(value, parameters).numpy()


def test_the_exact_elbo_and_its_gradient_are_those_of_the_sum_over_all_outcomes():
    value, gradient = value_and_gradient(exact)
    expected_value, expected_gradient = value_and_gradient(brute_force)
    np.testing.assert_allclose(value, expected_value, rtol=1e-13)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-11)


@pytest.mark.parametrize("baseline", [0.0, 7.0])
def test_the_mean_of_reinforces_gradients_is_the_exact_one(baseline):
    draws = 200_000
    noise_of_presence = np.random.default_rng(3).normal(size=[draws, N])

    def sampled(parameters):
        terms = toy(parameters, NOISE)
        logits, prior_logit, log_likelihoods, kl = (
            tf.repeat(x, draws, axis=0) if tf.is_tensor(x) else x for x in terms
        )
        noise = tf.constant(np.tile(noise_of_presence, [2, 1]))
        present = presence.draw_present(logits, noise)
        costs = baseline * tf.ones_like(present)
        log_likelihood, kl, score, _ = presence.reinforce_terms(
            logits, prior_logit, log_likelihoods, kl, present, costs
        )
        elbo = tf.reduce_sum(log_likelihood) - tf.reduce_sum(kl)
        score = tf.reduce_sum(score)
        return (elbo - (score - tf.stop_gradient(score))) / draws

    value, gradient = value_and_gradient(sampled)
    expected_value, expected_gradient = value_and_gradient(exact)
    np.testing.assert_allclose(value, expected_value, rtol=0.01)
    tolerance = 0.02 * np.abs(expected_gradient).max()
    np.testing.assert_allclose(gradient, expected_gradient, atol=tolerance)


def test_presence_stops_at_the_first_zero():
    logits = tf.zeros([1, N], tf.float64)
    for outcome in itertools.product([0, 1], repeat=N):
        noise = tf.constant([[-1.0 if drawn else 1.0 for drawn in outcome]], tf.float64)
        present = presence.draw_present(logits, noise).numpy()[0]
        count = sum(itertools.takewhile(bool, outcome))
        np.testing.assert_array_equal(present, [1.0] * count + [0.0] * (N - count))


def test_counts_have_the_probabilities_of_a_hand_made_case():
    p = np.array([[0.5, 0.25, 0.125]])
    log_probs = presence.count_log_probs(tf.constant(np.log(p / (1 - p))))
    expected = [[0.5, 0.5 * 0.75, 0.125 * 0.875, 0.125 * 0.125]]
    np.testing.assert_allclose(tf.exp(log_probs), expected, rtol=1e-14)
    np.testing.assert_allclose(
        presence.at_least(log_probs), [[1.0, 0.5, 0.125, 0.015625]], rtol=1e-14
    )


def test_the_baselines_error_counts_the_steps_that_were_reached():
    ones = tf.ones([1, N], tf.float64)
    logits = tf.zeros([1, N], tf.float64)
    present = tf.constant([[1.0, 0.0, 0.0]], tf.float64)
    kl_of_presence = 0.5 * np.log(0.5 / PRIOR) + 0.5 * np.log(0.5 / (1 - PRIOR))
    log_likelihood, kl, score, error = presence.reinforce_terms(
        logits,
        PRIOR_LOGIT,
        tf.constant([[0.0, -5.0, 9.0, 9.0]], tf.float64),
        2 * ones,
        present,
        ones,
    )
    first, second = 5.0 + 2.0 + kl_of_presence, 5.0
    np.testing.assert_allclose(log_likelihood, [-5.0])
    np.testing.assert_allclose(kl, [[2 + kl_of_presence, kl_of_presence, 0.0]])
    np.testing.assert_allclose(error, [(first - 1) ** 2 + (second - 1) ** 2])
    np.testing.assert_allclose(score, [np.log(0.5) * (first - 1 + second - 1)])


def test_the_importance_weighted_bound_of_a_linear_gaussian_toy_is_its_log_marginal():
    """x = z_1 + .. + z_n + ε: given n, x is N(0, n + σ²), and so p(x) is a mixture of four."""
    x, draws = 1.7, 400_000
    rng = np.random.default_rng(5)
    mean, std = np.array([0.9, 0.4, 0.1]), np.array([0.9, 1.0, 1.1])  # no posterior, near enough
    z = mean + std * rng.normal(size=[draws, N])
    canvas = np.concatenate([np.zeros([draws, 1]), np.cumsum(z, axis=1)], axis=1)
    log_likelihoods = -0.5 * ((x - canvas) / SIGMA) ** 2 - np.log(SIGMA * np.sqrt(2 * np.pi))
    log_ratios = normal_log_ratio(
        tf.constant(z[..., None]), mean[:, None], std[:, None], np.float64(0.0), np.float64(1.0)
    )
    weights = presence.log_marginal_weights(
        tf.zeros([draws, N], tf.float64), PRIOR_LOGIT, tf.constant(log_likelihoods), log_ratios
    )
    bound = tf.reduce_logsumexp(weights) - np.log(draws)
    variances = np.arange(N + 1) + SIGMA**2
    count_priors = [0.8, 0.2 * 0.8, 0.04 * 0.8, 0.008]
    densities = np.exp(-0.5 * x**2 / variances) / np.sqrt(2 * np.pi * variances)
    np.testing.assert_allclose(bound, np.log(np.dot(count_priors, densities)), atol=0.005)


def test_the_bound_of_the_true_posterior_is_the_log_marginal_of_each_draw():
    """One object for certain, x = z + ε: with q the posterior every weight is p(x)."""
    x = 1.7
    precision = 1 + 1 / SIGMA**2
    mean, std = x / SIGMA**2 / precision, precision**-0.5
    z = mean + std * np.array([-2.0, 0.0, 1.0])
    log_likelihood = -0.5 * ((x - z) / SIGMA) ** 2 - np.log(SIGMA * np.sqrt(2 * np.pi))
    log_likelihoods = np.stack([np.full(3, -1e9), log_likelihood], axis=1)
    log_ratios = normal_log_ratio(
        tf.constant(z[:, None, None]),
        np.float64(mean),
        np.float64(std),
        np.float64(0),
        np.float64(1),
    )
    weights = presence.log_marginal_weights(
        tf.zeros([3, 1], tf.float64), PRIOR_LOGIT, tf.constant(log_likelihoods), log_ratios
    )
    variance = 1 + SIGMA**2
    expected = np.log(PRIOR) - 0.5 * x**2 / variance - 0.5 * np.log(2 * np.pi * variance)
    np.testing.assert_allclose(weights, [expected] * 3, rtol=1e-12)


def test_the_elbo_is_greatest_where_the_priors_counts_are_the_mean_posteriors():
    p = np.array([[0.75, 0.8, 0.5], [0.25, 0.4, 0.1]])
    logits = tf.constant(np.log(p / (1 - p)))
    # Of the two scenes, so many have at least 0, 1, 2, 3 objects.
    reached = np.array([1 + 1, 0.75 + 0.25, 0.6 + 0.1, 0.3 + 0.01])

    def gradient(prior):
        prior_logits = tf.constant(np.log(prior / (1 - prior)))
        zeros = tf.zeros([2, N], tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(prior_logits)
            _, kl = presence.exact_terms(
                logits, prior_logits, tf.zeros([2, N + 1], tf.float64), zeros
            )
            elbo = -tf.reduce_sum(kl)
        return tape.gradient(elbo, prior_logits)

    best = np.array([0.5, 0.7, 0.31 / 0.7])
    np.testing.assert_allclose(gradient(best), np.zeros(N), atol=1e-14)
    np.testing.assert_allclose(best, reached[1:] / reached[:-1])
    np.testing.assert_allclose(gradient(np.full(N, 0.01)), [0.98, 0.69, 0.303], rtol=1e-12)


def test_importance_weights_take_a_prior_of_each_step():
    prior = np.array([0.5, 0.2, 0.1])
    weights = presence.log_marginal_weights(
        tf.zeros([1, N], tf.float64),
        tf.constant(np.log(prior / (1 - prior))),
        tf.constant(np.log([[1.0, 2.0, 3.0, 4.0]])),
        tf.zeros([1, N], tf.float64),
    )
    expected = 0.5 * 1 + 0.5 * 0.8 * 2 + 0.5 * 0.2 * 0.9 * 3 + 0.5 * 0.2 * 0.1 * 4
    np.testing.assert_allclose(weights, [np.log(expected)], rtol=1e-12)
