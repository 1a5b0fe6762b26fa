"""The number of objects: its distribution, and two estimators of its part in the ELBO's gradient.

Presence stops at its first 0, so that N Bernoulli variables have but N + 1 outcomes, the counts
n = 0 .. N. With p_i the probability of an i-th object, given the ones before,

    q(n) = p_1 ... p_n (1 - p_(n+1)),  p_(N+1) = 0.

B is the number of scenes.
"""

import tensorflow as tf


def count_log_probs(logits):
    """Logarithms of q(0) .. q(N).

    Args:
      logits: of p_1 .. p_N, [B, N].

    Returns:
      [B, N + 1].
    """
    reached = tf.cumsum(tf.math.log_sigmoid(logits), axis=1)  # log p_1 ... p_n
    no_object = tf.zeros_like(logits[:, :1])
    stopped = tf.math.log_sigmoid(-logits)  # log 1 - p_(n+1)
    return tf.concat([no_object, reached], axis=1) + tf.concat([stopped, no_object], axis=1)


def at_least(log_probs):
    """Probabilities of at least 0 .. N objects, [B, N + 1], of `count_log_probs`."""
    return tf.cumsum(tf.exp(log_probs), axis=1, reverse=True)


def presence_kl(logits, prior_logits):
    """KL divergence of each presence, given the ones before, from its prior, [B, N] in nats.

    Over scenes, with the posterior as it is, the sum of KL_i where step i is reached is the least
    where the prior's p_i is Σ_b q_b(≥i) / Σ_b q_b(≥i-1): the prior's counts are then, on average,
    the posterior's.

    Args:
      logits: of presence, [B, N].
      prior_logits: of each presence under the prior, [N], or [] for all.
    """
    prior_logits = tf.cast(prior_logits, logits.dtype)
    on = tf.math.log_sigmoid(logits) - tf.math.log_sigmoid(prior_logits)
    off = tf.math.log_sigmoid(-logits) - tf.math.log_sigmoid(-prior_logits)
    return tf.sigmoid(logits) * on + tf.sigmoid(-logits) * off


def exact_terms(logits, prior_logits, log_likelihoods, kl):
    """The ELBO's terms, with the sum over counts carried out.

    Of draws z_1 .. z_N of places and appearances on the path on which every object is present, the
    first n are just what inference draws where there are n objects: up to the n-th one the path is
    the same. So one pass yields all that the N + 1 outcomes need, and

        ELBO = Σ_n q(n) [log p(x | z_1..n) - Σ_(i≤n) KL_i] - KL(q(n) || p(n))
             = Σ_n q(n) log p(x | z_1..n) - Σ_i [q(≥i) KL_i + q(≥i-1) KL(p_i)],

    where KL_i is that of the i-th place and appearance. Its gradient by the logits is exact: there
    is no score function, and no baseline. The draws z remain, whose gradient flows through them.

    Args:
      logits: of presence, [B, N].
      prior_logits: of each presence under the prior, [N], or [] for all.
      log_likelihoods: log p(x | z_1..n) for n = 0 .. N, [B, N + 1].
      kl: KL_i, [B, N].

    Returns:
      (expected log-likelihood [B], the N objects' KL divergences [B, N]), the ELBO being the first
      less the sum of the others.
    """
    log_probs = count_log_probs(logits)
    reached = at_least(log_probs)  # [B, N + 1]
    log_likelihood = tf.reduce_sum(tf.exp(log_probs) * log_likelihoods, axis=1)
    return log_likelihood, reached[:, 1:] * kl + reached[:, :-1] * presence_kl(logits, prior_logits)


def log_marginal_weights(logits, prior_logits, log_likelihoods, log_ratios):
    """Importance weights of draws z_1 .. z_N, with the sum over counts carried out.

    For draws from the path on which every object is present, the mean over draws of

        w = Σ_n p(n) p(x | z_1..n) Π_(i≤n) p(z_i)/q(z_i)

    is p(x), since q(z_1..n | n) is what that path draws. The count's own posterior is not needed;
    weights that draw it too have the same mean and a larger variance.

    Args:
      logits: of presence, [B, N]; only their shape matters.
      prior_logits: of each presence under the prior, [N], or [] for all.
      log_likelihoods: [B, N + 1].
      log_ratios: log p(z_i)/q(z_i), [B, N].

    Returns:
      log w, [B].
    """
    log_prior = count_log_probs(tf.zeros_like(logits) + tf.cast(prior_logits, logits.dtype))
    reached = tf.cumsum(log_ratios, axis=1)
    ratios = tf.concat([tf.zeros_like(reached[:, :1]), reached], axis=1)
    return tf.reduce_logsumexp(log_prior + log_likelihoods + ratios, axis=1)


def draw_present(logits, noise):
    """Draws presence.

    Args:
      logits: [B, N].
      noise: standard-normal [B, N].

    Returns:
      [B, N]: 1 for the objects before the first one that is not there, then 0.
    """
    uniform = 0.5 * (1.0 + tf.math.erf(noise / tf.sqrt(tf.constant(2.0, noise.dtype))))
    drawn = tf.cast(uniform < tf.sigmoid(logits), logits.dtype)
    return tf.math.cumprod(tf.stop_gradient(drawn), axis=1)


def reinforce_terms(logits, prior_logits, log_likelihoods, kl, present, baseline):
    """As `exact_terms`, for one drawn count, and what adds the score function's gradient.

    The score of presence i is weighed by the cost that depends on it,

        C_i = -log p(x | z_1..n) + Σ_(j≥i) present_j KL_j + Σ_(j>i) present_(j-1) KL(p_j),

    less a baseline, and counts where step i is reached (Mnih and Gregor 2014).

    Args:
      logits, prior_logits, log_likelihoods, kl: as for `exact_terms`.
      present: what `draw_present` drew, [B, N].
      baseline: of each step's cost, [B, N].

    Returns:
      (log-likelihood [B], KL divergences [B, N], score [B], the mean of whose gradient is what the
      gradient of the former two lacks, and the baseline's squared error [B]).
    """
    reached = tf.concat([tf.ones_like(present[:, :1]), present[:, :-1]], axis=1)
    count = tf.cast(tf.reduce_sum(present, axis=1), tf.int32)
    log_likelihood = tf.gather(log_likelihoods, count, batch_dims=1)
    kl_of_presence = reached * presence_kl(logits, prior_logits)
    kl = present * kl
    rest = tf.cumsum(kl, axis=1, reverse=True)
    rest += tf.cumsum(kl_of_presence, axis=1, reverse=True, exclusive=True)
    cost = tf.stop_gradient(rest - log_likelihood[:, None])
    log_prob = tf.where(present > 0, tf.math.log_sigmoid(logits), tf.math.log_sigmoid(-logits))
    score = tf.reduce_sum(reached * tf.stop_gradient(cost - baseline) * log_prob, axis=1)
    error = tf.reduce_sum(reached * tf.square(cost - baseline), axis=1)
    return log_likelihood, kl + kl_of_presence, score, error
