"""Distributions over latents and pixels, made from the raw parameters that networks put out.

Each has `num_params(n)`, how many parameters describe n values, and functions of a tensor of such
parameters. The latent distribution adds sampling and a KL divergence, those over pixels a
log-probability and a mean. Pixels that K masked components explain together are a
`MaskedMixture`.
"""

import numbers

import sonnet as snt
import tensorflow as tf
import tensorflow_probability as tfp

from iodine import errors
from iodine.modules import utils

tfd = tfp.distributions

LOC_SCALE_DISTRIBUTIONS = {
    "normal": tfd.Normal,
    "log_normal": tfd.LogNormal,
    "laplace": tfd.Laplace,
    "logistic": tfd.Logistic,
}


@snt.allow_empty_variables
class LocScaleDistribution(snt.Module):
    """A distribution with a location and a scale for each value.

    Args:
      dist: "normal", "log_normal", "laplace" or "logistic", or a class of
        `tfp.distributions` that is made from a location and a scale.
      scale: how the scale comes from a = scale_act(second half of the parameters): "stddev" for a,
        "var" for sqrt(a), "prec" for 1 / a, as the reference computes it; "fixed" for one scale for
        all values, so that the parameters are locations alone.
      scale_val: the fixed scale; -1 for a single trainable one, which starts at 0.1.
      scale_act: activation of the scale parameters, as `utils.activation` takes it.
      loc_act: activation of the location parameters.

    Raises:
      UserError: if an argument is invalid; says which.
    """

    def __init__(
        self,
        dist="normal",
        scale="stddev",
        scale_val=1.0,
        scale_act="exp",
        loc_act=None,
        name="loc_scale_distribution",
    ):
        super().__init__(name=name)
        self.dist = LOC_SCALE_DISTRIBUTIONS.get(str(dist).lower(), dist)
        if not callable(self.dist):
            raise errors.UserError(
                f"unknown distribution '{dist}'{errors.did_you_mean(dist, LOC_SCALE_DISTRIBUTIONS)}"
                f", use {', '.join(LOC_SCALE_DISTRIBUTIONS)}"
            )
        if scale not in ("stddev", "var", "prec", "fixed"):
            raise errors.UserError(f"scale is '{scale}', use 'stddev', 'var', 'prec' or 'fixed'")
        is_number = isinstance(scale_val, numbers.Real) and not isinstance(scale_val, bool)
        if not is_number or not (scale_val > 0 or scale_val == -1):
            raise errors.UserError(
                f"scale_val is {scale_val!r}, use a number above 0, or -1 for a trainable scale"
            )
        self.scale = scale
        self.scale_act = utils.activation(scale_act)
        self.loc_act = utils.activation(loc_act)
        self.scale_val = float(scale_val)
        if scale == "fixed" and scale_val == -1:
            self.scale_val = tf.Variable(0.1, name="scale")

    def num_params(self, n):
        """Number of parameters for n values."""
        return n if self.scale == "fixed" else 2 * n

    def __call__(self, params):
        """Makes the distribution.

        Args:
          params: float32 [..., num_params(n)], locations first.

        Returns:
          A `tfp` distribution over [..., n], all values independent.
        """
        if self.scale == "fixed":
            loc, scale = params, self.scale_val
        else:
            loc, scale = tf.split(params, 2, axis=-1)
            scale = self.scale_act(scale)
            if self.scale == "var":
                scale = tf.sqrt(scale)
            elif self.scale == "prec":
                scale = 1.0 / scale
        return self.dist(self.loc_act(loc), scale)

    def sample(self, params, noise):
        """Draws values by moving standard-normal noise, so that gradients reach the parameters.

        Args:
          params: float32 [..., num_params(n)].
          noise: standard-normal draws, float32 [..., n].

        Returns:
          float32 [..., n].
        """
        dist = self(params)
        if self.dist is tfd.Normal:
            return dist.loc + dist.scale * noise
        if self.dist is tfd.LogNormal:
            return tf.exp(dist.loc + dist.scale * noise)
        return dist.quantile(tfd.Normal(0.0, 1.0).cdf(noise))

    def kl_to_prior(self, params):
        """Exact KL divergence from the prior.

        The prior is what parameters of zero describe. For the published latents, normal with
        variance softplus(s), it is thus Normal(0, sqrt(ln 2)) and no unit normal.

        Args:
          params: float32 [..., num_params(n)].

        Returns:
          float32 [...], summed over the n values.

        Raises:
          UserError: if the divergence of this distribution has no closed form.
        """
        try:
            divergence = tfd.kl_divergence(self(params), self(tf.zeros_like(params)))
        except NotImplementedError as error:
            raise errors.UserError(
                f"the KL divergence of {self.dist.__name__} is not known: "
                "latent_dist.dist may be normal, log_normal or laplace"
            ) from error
        return tf.reduce_sum(divergence, axis=-1)

    def log_prob(self, params, values):
        """Log-density summed over the last axis.

        Args:
          params: float32 [..., num_params(n)].
          values: float32 [..., n], broadcast against the parameters.

        Returns:
          float32 [..., 1].
        """
        return tf.reduce_sum(self(params).log_prob(values), axis=-1, keepdims=True)

    def mean(self, params):
        """Mean of each value, [..., num_params(n)] -> [..., n]."""
        return self(params).mean()


@snt.allow_empty_variables
class BernoulliOutput(snt.Module):
    """Independent Bernoulli pixels, for binary images; the parameters are logits."""

    def num_params(self, n):
        """Number of parameters for n values."""
        return n

    def log_prob(self, params, values):
        """Log-probability summed over the last axis, [..., n], [..., n] -> [..., 1]."""
        log_prob = -tf.nn.sigmoid_cross_entropy_with_logits(
            labels=tf.broadcast_to(values, params.shape), logits=params
        )
        return tf.reduce_sum(log_prob, axis=-1, keepdims=True)

    def mean(self, params):
        """Probability of a one, [..., n] -> [..., n]."""
        return tf.sigmoid(params)


def normal_kl(mean, std, prior_mean, prior_std):
    """KL(N(mean, std²) || N(prior_mean, prior_std²)) in nats, summed, [..., D] -> [...]."""
    ratio = tf.square(std / prior_std)
    distance = tf.square((mean - prior_mean) / prior_std)
    return 0.5 * tf.reduce_sum(ratio + distance - 1.0 - tf.math.log(ratio), axis=-1)


def normal_log_ratio(value, mean, std, prior_mean, prior_std):
    """log N(value; prior_mean, prior_std²) / N(value; mean, std²), summed, [..., D] -> [...]."""
    under_prior = tf.square((value - prior_mean) / prior_std)
    here = tf.square((value - mean) / std)
    return tf.reduce_sum(0.5 * (here - under_prior) + tf.math.log(std / prior_std), axis=-1)


def leave_one_out_logsumexp(x):
    """Log-sum-exp over all slots but one, for each slot.

    Adding up what comes before and what comes after is linear in the number of slots; taking a slot
    off the sum of all would lose all digits where that slot dominates.

    Args:
      x: float32 [B, K, ...], K at least 2.

    Returns:
      float32 [B, K, ...].
    """
    items = tf.unstack(x, axis=1)
    before, after = [items[0]], [items[-1]]
    for item in items[1:-1]:
        before.append(tfp.math.log_add_exp(before[-1], item))
    for item in items[-2:0:-1]:
        after.append(tfp.math.log_add_exp(after[-1], item))
    after.reverse()  # after[k] sums the items above k, before[k] those up to k
    between = [tfp.math.log_add_exp(b, a) for b, a in zip(before[:-1], after[1:])]
    return tf.stack([after[0], *between, before[-1]], axis=1)


@snt.allow_empty_variables
class MaskedMixture(snt.Module):
    """Each pixel comes from one of K components, picked by the masks (paper, equation 2).

    p(x) = Π_i Σ_k m_ik p_k(x_i), with masks m that are the softmax of the mask logits over the
    slots.

    Some methods take `decoded`, a dict of what is known of the components: pred_mask_logits and
    component_log_probs [B, K, H, W, 1].

    Args:
      num_components: K, number of slots.
      component_dist: distribution of a pixel within its component.
      mask_activation: activation of the mask logits before the softmax, as `utils.activation` takes
        it; None for none.
    """

    def __init__(self, num_components, component_dist, mask_activation=None, name="masked_mixture"):
        super().__init__(name=name)
        self.num_components = errors.size(num_components, "num_components")
        self.component_dist = component_dist
        self.mask_activation = utils.activation(mask_activation)

    def num_params(self, n):
        """Number of pixel parameters for n channels, the mask logit not counted."""
        return self.component_dist.num_params(n)

    def log_masks(self, mask_logits):
        """Logarithm of the masks, [B, K, H, W, 1] -> [B, K, H, W, 1]."""
        return tf.nn.log_softmax(self.mask_activation(mask_logits), axis=1)

    def component_log_probs(self, params, image):
        """Log-probability of each pixel under each component.

        Args:
          params: pixel parameters [B, K, H, W, Cp].
          image: [B, 1, H, W, C].

        Returns:
          float32 [B, K, H, W, 1].
        """
        return self.component_dist.log_prob(params, image)

    def mean(self, params, masks):
        """Expected image Σ_k m_k·mean_k, [B, K, H, W, Cp], [B, K, H, W, 1] -> [B, 1, H, W, C]."""
        return tf.reduce_sum(masks * self.component_dist.mean(params), axis=1, keepdims=True)

    def log_prob(self, decoded):
        """log Σ_k m_k p_k(x) of each pixel, `decoded` -> [B, 1, H, W, 1]."""
        log_masks = self.log_masks(decoded["pred_mask_logits"])
        log_joint = log_masks + decoded["component_log_probs"]
        return tf.reduce_logsumexp(log_joint, axis=1, keepdims=True)

    def posterior(self, decoded):
        """p_k(x) / (Σ_j p_j(x) + 1e-6), `decoded` -> [B, K, H, W, 1].

        These are the densities without the masks, as in the reference.
        """
        log_probs = decoded["component_log_probs"]
        # Densities beyond exp(80) would overflow; next to them the 1e-6 is nothing.
        excess = tf.reduce_max(log_probs, axis=1, keepdims=True) - 80.0
        probs = tf.exp(log_probs - tf.stop_gradient(tf.nn.relu(excess)))
        return probs / (tf.reduce_sum(probs, axis=1, keepdims=True) + 1e-6)

    def log_prob_without_each(self, decoded):
        """`log_prob` without one slot, for each slot, the others' masks renormalised.

        log Σ_{j≠k} m_j p_j(x) / Σ_{j≠k} m_j, `decoded` -> [B, K, H, W, 1].
        """
        log_masks = self.log_masks(decoded["pred_mask_logits"])
        log_joint = log_masks + decoded["component_log_probs"]
        return leave_one_out_logsumexp(log_joint) - leave_one_out_logsumexp(log_masks)
