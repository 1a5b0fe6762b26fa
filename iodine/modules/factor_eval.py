"""Linear regression of the true factors of objects from their slots, trained along."""

import sonnet as snt
import tensorflow as tf

from iodine import errors
from iodine.modules import utils

FACTOR_TYPES = ("scalar", "angle", "categorical")


class RunningVariance(snt.Module):
    """Weighted mean and variance of a stream of vectors (Welford's method, batch by batch).

    Args:
      size: length of the vectors.
    """

    def __init__(self, size, name="mean_var"):
        super().__init__(name=name)
        self.total = tf.Variable(tf.zeros([size]), trainable=False, name="total")
        self.mean = tf.Variable(tf.zeros([size]), trainable=False, name="mean")
        self.M2 = tf.Variable(tf.zeros([size]), trainable=False, name="M2")

    def update(self, values, weights):
        """Takes in more vectors, those of all replicas.

        Args:
          values: float32 [B, L, n].
          weights: float32 [B, L, 1].
        """
        total = self.total + utils.replica_sum(tf.reduce_sum(weights, axis=[0, 1]))
        difference = values - self.mean
        mean = self.mean + utils.replica_sum(
            tf.reduce_sum(weights * difference, axis=[0, 1])
        ) / tf.maximum(total, 1e-6)
        M2 = self.M2 + utils.replica_sum(
            tf.reduce_sum(weights * difference * (values - mean), axis=[0, 1])
        )
        self.total.assign(total)
        self.mean.assign(mean)
        self.M2.assign(M2)

    @property
    def variance(self):
        """Variance with one degree of freedom taken off, [n]; 0 before the first update."""
        return tf.math.divide_no_nan(self.M2, self.total - 1.0)


def is_factor(entry):
    """Whether an entry of a mapping is (name, size, type)."""
    is_triple = isinstance(entry, (list, tuple)) and len(entry) == 3
    return is_triple and [type(value) for value in entry] == [str, int, str] and entry[1] > 0


class FactorRegressor(snt.Module):
    """Predicts the factors of each object from its slot by one linear layer.

    Each entity (the background counts as one) is matched to the slot whose mask covers it best.

    Args:
      mapping: list of (name, size, type), in the order of the layer's outputs. Type "scalar"
        predicts `size` numbers, "angle" cosine and sine of one angle (size 2), "categorical" logits
        of `size` classes.
    """

    def __init__(self, mapping, name="repres_content"):
        super().__init__(name=name)
        if not isinstance(mapping, (list, tuple)) or not all(map(is_factor, mapping)):
            raise errors.UserError(
                f'the factors are {mapping!r}, use a list such as [["position", 2, "scalar"]]'
            )
        for factor, _, kind in mapping:
            if kind not in FACTOR_TYPES:
                raise errors.UserError(
                    f"factor '{factor}' has type '{kind}', use {', '.join(FACTOR_TYPES)}"
                )
        self.mapping = [tuple(entry) for entry in mapping]
        self.predict_latents = snt.Linear(
            sum(size for _, size, _ in mapping), name="predict_latents"
        )
        self.mean_var = {
            factor: RunningVariance(size, name=f"{factor}_mean_var")
            for factor, size, kind in mapping
            if kind != "categorical"
        }

    def predict(self, z):
        """Predictions of every slot, [B, K, Z] -> {name: [B, K, n]}."""
        predictions = self.predict_latents(tf.convert_to_tensor(z))
        sizes = [size for _, size, _ in self.mapping]
        return dict(
            zip([factor for factor, _, _ in self.mapping], tf.split(predictions, sizes, axis=-1))
        )

    def target(self, factor, kind, size, factors):
        """The true values of a factor in the form that is predicted, [B, L, n].

        Args:
          factor, kind, size: an entry of `mapping`.
          factors: {name: [B, L, ·]}.

        Raises:
          UserError: if the factor is missing or of another size.
        """
        if factor not in factors:
            raise errors.UserError(
                f"the factor regressor's '{factor}' is not in the data, "
                f"which has {', '.join(sorted(factors))}"
            )
        values = factors[factor]
        if kind == "categorical":
            return tf.one_hot(tf.cast(values[..., 0], tf.int32), size)
        values = tf.cast(values, tf.float32)
        if kind == "angle":
            values = tf.concat([tf.cos(values), tf.sin(values)], axis=-1)
        if values.shape[-1] != size:
            raise errors.UserError(
                f"factor '{factor}' has {values.shape[-1]} values in the data, but the factor "
                f"regressor's mapping says {size}"
            )
        return values

    def observe(self, factors, visibility):
        """Takes true factors into the running variances, those of all replicas.

        Args:
          factors: {name: [B, L, n]}.
          visibility: [B, L], 1 for entities that count.

        Returns:
          Number of entities that count, averaged over replicas, float32 []. A loss that each
          replica divides by it averages to the one of the whole batch.

        Raises:
          UserError: if a factor is missing or of another size.
        """
        weights = visibility[..., None]  # [B, L, 1]
        for factor, size, kind in self.mapping:
            true = self.target(factor, kind, size, factors)
            if kind != "categorical":
                self.mean_var[factor].update(true, weights)
        return utils.replica_sum(tf.reduce_sum(weights)) / utils.num_replicas()

    def __call__(self, z, true_mask, pred_mask, visibility, factors, num_visible=None):
        """Compares the predictions with the true factors.

        Args:
          z: slots [B, K, Z].
          true_mask: [B, L, H, W, 1].
          pred_mask: [B, K, H, W, 1].
          visibility: [B, L], 1 for entities that count.
          factors: {name: [B, L, n]}.
          num_visible: what `observe` returned for them in training, None to count those at hand.

        Returns:
          Dict of loss [], metrics {name: []}, assignment [B, L, K] (one-hot, zeros
          for what is invisible) and predictions
          {name: [B, L, n]} of the matched slots. The metric of a categorical factor is the
          accuracy over visible entities; that of the others is the mean over all entities and
          values of 1 - squared error / running variance, which counts invisible entities as 1.
        """
        overlap = tf.einsum("blhwc,bkhwc->blk", true_mask, pred_mask)
        weights = visibility[..., None]  # [B, L, 1]
        assignment = tf.one_hot(tf.argmax(overlap, axis=-1), overlap.shape[-1])  # [B, L, K]
        assignment *= weights
        if num_visible is None:
            num_visible = tf.reduce_sum(weights)

        loss, metrics, predictions = 0.0, {}, {}
        slot_predictions = self.predict(z)
        for factor, size, kind in self.mapping:
            true = self.target(factor, kind, size, factors)
            pred = tf.matmul(assignment, slot_predictions[factor])  # [B, L, n]
            predictions[factor] = pred
            if kind == "categorical":
                error = tf.nn.softmax_cross_entropy_with_logits(true, pred)[..., None]
                hit = tf.cast(tf.equal(tf.argmax(pred, -1), tf.argmax(true, -1)), tf.float32)
                metrics[factor] = tf.reduce_sum(hit[..., None] * weights) / num_visible
            else:
                squared = weights * tf.square(true - pred)  # [B, L, n]
                error = tf.reduce_sum(squared, axis=-1, keepdims=True)
                variance = self.mean_var[factor].variance
                metrics[factor] = tf.reduce_mean(1.0 - tf.math.divide_no_nan(squared, variance))
            loss += tf.reduce_sum(error * weights) / num_visible
        return {
            "loss": loss,
            "metrics": metrics,
            "assignment": assignment,
            "predictions": predictions,
        }
