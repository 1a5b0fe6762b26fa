"""The contract of every model: what training, evaluation, pictures and exports need of one.

The learner, the loop, `evaluate`, `visualize`, `segment`, `compare` and `export.export_step`
take any model that keeps it and never ask which one they hold.

B is the number of scenes in a batch, T the number of states that inference passes through (for
IODINE the start and each refinement; 1 where there is just a result), K the number of slots, Z the
size of a slot's latent, L the number of true entities, H, W and C the image's height, width and
channels.
"""

import abc
from typing import ClassVar

import sonnet as snt
import tensorflow as tf

from multi_object_datasets.segmentation_metrics import adjusted_rand_index


class Model(snt.Module, abc.ABC):
    """A model of scenes as sets of slots.

    Data is a dict of image [B, frames, H, W, C] in [0, 1] and, where there is ground truth, mask
    [B, frames, L, H, W, 1], visibility [B, L] and factors {name: [B, L, n]}. What needs ground
    truth is left out of all results where data has none.

    Models that make pictures of slots also have `decode(z [B, K, Z], image_shape=None)` and, where
    there is a prior, `sample_prior(num_scenes, image_shape=None)`, which return {recons, pred_mask}
    at least, shaped as `eval`'s without T. Pictures that need them are left out for other models.

    Attributes:
      num_components: K.
      num_background: number of true entities, the first ones, that are no objects; ari_nobg leaves
        their pixels out.
      factor_evaluator: `FactorRegressor` that is trained along, or None.
      refinement_batch_size: number of scenes that the loss is averaged over whose gradients the
        model looks at while it infers; None takes the batch at hand, over all replicas, as the
        reference does. Training sets it where it is None and its checkpoints remember it, so that a
        trained model makes the same of a scene in a batch of any size. Models that infer without
        gradients have no use for it.
      image_shape: (H, W, C) of the pictures that `initialize` was called with.
      max_gradient_norm: what the gradients' joint norm is clipped to, None for no clipping.
      PRINTED: {name of the mean that is logged: (its label, scalar of `__call__`)} of the figures
        that the loop prints, where the scalar is there.
      METRICS: names of its metrics in the table of `iodine.evaluate.metrics`, in the order in which
        tables and plots show them.
    """

    num_background = 1
    factor_evaluator = None
    refinement_batch_size = None
    image_shape = None
    max_gradient_norm = 5.0
    PRINTED: ClassVar = {"loss": ("Loss", "loss/total"), "ari": ("ARI-nobg", "loss/ari_nobg")}
    METRICS: ClassVar = (
        "ari",
        "ari_nobg",
        "miou",
        "miou_nobg",
        "mbo",
        "mbo_nobg",
        "sc",
        "sc_nobg",
        "msc",
        "msc_nobg",
        "mse",
        "recons",
        "kl",
    )

    @abc.abstractmethod
    def initialize(self, image_shape):
        """Creates all variables and sets `image_shape`; a second call changes nothing.

        Args:
          image_shape: (H, W, C).
        """

    @abc.abstractmethod
    def noise_shape(self, batch_size):
        """Shape of the standard-normal noise that a call takes, with B as its second axis."""

    @abc.abstractmethod
    def __call__(self, data, noise=None):
        """Computes the training loss.

        Args:
          data: as described above.
          noise: standard-normal draws of `noise_shape(B)`, drawn if None.

        Returns:
          (loss [], scalars {name: []}, what inference passed through, of the model's own form). The
          scalars have loss/total, loss/mse and, with true masks, loss/ari and loss/ari_nobg.
        """

    @abc.abstractmethod
    def eval(self, data, noise=None):
        """Everything about what the model infers; changes no variable.

        Args:
          data: as described above.
          noise: as for `__call__`.

        Returns:
          Nested dict, to which models may add:
            data {image, true_mask, visibility, factors}: what was given;
            latent {z, z_mean, z_std} [B, T, K, Z];
            outputs {recons [B, T, 1, H, W, C], pred_mask, pred_mask_logits [B, T, K, H, W, 1],
              components [B, T, K, H, W, C] (the means of the components' pixels)};
            losses {total [], recons [B, T], kl [B, T, K]};
            metrics {mse, ari, ari_nobg} [B, T];
            counts {true, predicted} [B], of models that count objects.
        """

    def bounds(self, data, seeds):
        """Metrics that take many draws, so that `evaluate` alone asks for them.

        Args:
          data: as described above.
          seeds: int32 [B, 2], of each scene's draws.

        Returns:
          {name in METRICS: [B, T]}, none if a model has none.
        """
        del data, seeds
        return {}

    @abc.abstractmethod
    def get_overview_images(self, data, nr_images=4):
        """Pictures of the first scenes, for TensorBoard.

        Args:
          data: as described above.
          nr_images: number of scenes to show, fewer if B is smaller.

        Returns:
          {name: float32 [1, H', W', 3] in [0, 1]}.
        """

    def figures(self, info):
        """Figures of a model's own for `visualize`'s report.

        Args:
          info: what `eval` returned for a few scenes, as NumPy arrays.

        Returns:
          List of (name, `matplotlib.figure.Figure`, caption), none if a model has none.
        """
        del info
        return []

    def observe(self, data):
        """Takes in what the loss needs to know of the whole batch, over all replicas.

        The learner calls it in replica context before each step, outside of what XLA compiles,
        since XLA cannot compile sums over replicas.

        Returns:
          The data, with what `__call__` is to know added.
        """
        if self.factor_evaluator is None or not data.get("factors"):
            return data
        visibility = tf.convert_to_tensor(data["visibility"])
        return {**data, "num_visible": self.factor_evaluator.observe(data["factors"], visibility)}

    def draw_noise(self, batch_size):
        """Standard-normal noise for one call, of `noise_shape(batch_size)`."""
        return tf.random.normal(self.noise_shape(batch_size))

    def initialize_factors(self, n_z):
        """Creates the variables of the factor regressor, if there is one, for slots of size n_z."""
        if self.factor_evaluator is not None:
            self.factor_evaluator.predict(tf.zeros([1, self.num_components, n_z]))

    def regress_factors(self, data, true_mask, z, pred_mask):
        """Runs the factor regressor, which changes nothing else: no gradient flows through slots.

        Args:
          data: as in `Model`, perhaps with what `observe` added.
          true_mask: [B, L, H, W, 1], or None.
          z: slots [B, K, Z].
          pred_mask: [B, K, H, W, 1].

        Returns:
          What `FactorRegressor` returns, None where there is nothing to regress.
        """
        if self.factor_evaluator is None or not data.get("factors"):
            return None
        return self.factor_evaluator(
            z=tf.stop_gradient(z),
            true_mask=true_mask,
            pred_mask=tf.stop_gradient(pred_mask),
            visibility=tf.convert_to_tensor(data["visibility"]),
            factors=data["factors"],
            num_visible=data.get("num_visible"),
        )

    def image_metrics(self, image, recons, true_mask, pred_mask):
        """Metrics of a result.

        Args:
          image, recons: [B, 1, H, W, C].
          true_mask: [B, L, H, W, 1], or None.
          pred_mask: [B, K, H, W, 1].

        Returns:
          {mse, ari, ari_nobg}, each [B]; no ARI without true masks. An ARI is NaN for a scene of
          which no pixel counts: the foreground's for one without an object.
        """
        metrics = {"mse": tf.reduce_mean(tf.square(recons - image), axis=[1, 2, 3, 4])}
        if true_mask is None:
            return metrics

        def points(mask):  # [B, G, H, W, 1] -> [B, H * W, G]
            mask = tf.stop_gradient(mask)
            return tf.transpose(tf.reshape(mask, [*mask.shape[:2], -1]), [0, 2, 1])

        true_groups, pred_groups = points(true_mask), points(pred_mask)

        def ari(groups):
            # As published it is 1 where nothing is to be told apart, which nobody has earned.
            counts = tf.reduce_any(groups > 0, axis=[1, 2])
            return tf.where(counts, adjusted_rand_index(groups, pred_groups), float("nan"))

        metrics["ari"] = ari(true_groups)
        # The paper's figure leaves the background's pixels out.
        metrics["ari_nobg"] = ari(true_groups[..., self.num_background :])
        return metrics


def with_ground_truth(data):
    """The part of data that `Model.eval` gives back: image, true_mask, visibility and factors."""
    given = {"image": data["image"]}
    if "mask" in data:
        given["true_mask"] = data["mask"]
    given |= {name: data[name] for name in ("visibility", "factors") if name in data}
    return given


def metric_scalars(metrics):
    """Scalars of what `Model.image_metrics` returned, {loss/NAME: mean over scenes}.

    An ARI's leaves out the scenes where it is undefined, and is NaN if it is so for all.
    """

    def mean(name, values):
        if not name.startswith("ari"):  # A NaN elsewhere is a scene that broke, and is to be seen.
            return tf.reduce_mean(values)
        defined = tf.logical_not(tf.math.is_nan(values))
        total = tf.reduce_sum(tf.where(defined, values, 0.0))
        return total / tf.reduce_sum(tf.cast(defined, values.dtype))

    return {f"loss/{name}": mean(name, values) for name, values in metrics.items()}


def factor_scalars(factors):
    """Scalars of what `Model.regress_factors` returned, factor/loss and factor/NAME."""
    scalars = {f"factor/{name}": value for name, value in factors["metrics"].items()}
    return {"factor/loss": factors["loss"], **scalars}


def stack_factors(results):
    """Joins what `Model.regress_factors` returned for T states.

    Returns:
      (losses [T], dict of assignment [B, T, L, K], metrics {name: [T]} and predictions
      {name: [B, T, L, n]}).
    """

    def stack(key, axis):
        return tf.nest.map_structure(lambda *v: tf.stack(v, axis), *[r[key] for r in results])

    return stack("loss", 0), {
        "assignment": stack("assignment", 1),
        "metrics": stack("metrics", 0),
        "predictions": stack("predictions", 1),
    }
