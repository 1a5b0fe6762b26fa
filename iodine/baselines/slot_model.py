"""What models have in common that explain one picture by K slots in a forward pass."""

import abc
from typing import ClassVar

import sonnet as snt
import tensorflow as tf

from iodine.errors import UserError, did_you_mean, size
from iodine.figures import summary_images
from iodine.model import Model, factor_scalars, metric_scalars, stack_factors, with_ground_truth
from iodine.modules.inference import PRECISIONS

OUTPUTS = ("recons", "pred_mask", "pred_mask_logits", "components")
LATENT = ("z", "z_mean", "z_std")


class SlotModel(Model):
    """A model that says in `infer` what it makes of pictures; all that the contract asks follows.

    B is the number of scenes, T that of states that inference passes through; `Model` has the rest.

    Args:
      num_components: K.
      n_z: Z.
      factor_evaluator: `FactorRegressor` that is trained along, or None.
      precision: "float32", or "mixed_bfloat16" for the networks' convolutions and matrix products
        in bfloat16.
      rematerialize: has to be False: inference takes no gradients, whose memory could be spared.
      num_background: as in `Model`.

    Attributes:
      has_one_size: whether networks are made for the size of the pictures.

    Raises:
      UserError: for a value that is none of these.
    """

    has_one_size = False
    # Next to an error of pixels, that of positions would hide all.
    PRINTED: ClassVar = {**Model.PRINTED, "loss": ("Loss", "loss/slots")}

    def __init__(
        self,
        num_components,
        n_z,
        factor_evaluator=None,
        precision="float32",
        rematerialize=False,
        num_background=1,
        name=None,
    ):
        super().__init__(name=name)
        self.num_components = size(num_components, "num_components")
        if self.num_components < 2:
            raise UserError(f"num_components is {num_components}, at least 2 are needed")
        if precision not in PRECISIONS:
            raise UserError(
                f"precision is '{precision}'{did_you_mean(precision, PRECISIONS)}, "
                f"use {' or '.join(PRECISIONS)}"
            )
        if rematerialize:
            raise UserError(
                f"{type(self).__name__} has no use for rematerialize=True: leave it out"
            )
        self.n_z = size(n_z, "n_z")
        self.factor_evaluator = factor_evaluator
        self.precision = precision
        self.num_background = num_background

    @abc.abstractmethod
    def infer(self, image, noise, is_training=False):
        """Explains pictures.

        Args:
          image: [B, H, W, C].
          noise: of `noise_shape(B)`.
          is_training: whether just what `total` needs is asked for, and not each of the T states.

        Returns:
          List of dicts, last state last, of recons [B, 1, H, W, C], pred_mask and pred_mask_logits
          [B, K, H, W, 1], components [B, K, H, W, C], z, z_mean and perhaps z_std [B, K, Z], and
          losses {total [B], others in `METRICS` [B], kl [B, K]}.
        """

    def total(self, states):
        """The loss of each scene, [B], of what `infer` returned: here the last state's."""
        return states[-1]["losses"]["total"]

    @snt.once
    def initialize(self, image_shape):
        """Creates all variables by a look at a blank scene."""
        self.image_shape = tuple(image_shape)
        self.infer(tf.zeros([1, *image_shape]), tf.zeros(self.noise_shape(1)))
        self.initialize_factors(self.n_z)

    def networks_precision(self):
        """Scope in which the networks' convolutions and matrix products have `precision`."""
        return snt.mixed_precision.scope(PRECISIONS[self.precision])

    def _images(self, data):
        """The pictures [B, H, W, C] of data, which has one frame; creates the variables."""
        image = tf.convert_to_tensor(data["image"])
        if image.shape[1] != 1:
            raise UserError(
                f"the data has {image.shape[1]} frames, {type(self).__name__} takes one"
            )
        # Sonnet runs a module's first call in float32, whatever the precision.
        self.initialize(image.shape[2:])
        if self.has_one_size and image.shape[2:] != self.image_shape:
            raise UserError(
                f"pictures of {list(image.shape[2:])}, but the model was made for "
                f"{list(self.image_shape)}: set data.image_dim"
            )
        return image[:, 0]

    def _metrics(self, data, state):
        """Metrics of a state, {mse, ari, ari_nobg}, each [B]; no ARI without true masks."""
        image = tf.convert_to_tensor(data["image"])
        return self.image_metrics(image, state["recons"], _true_mask(data), state["pred_mask"])

    def __call__(self, data, noise=None):
        """Computes the training loss, the mean of `total`, and the factor regressor's beside it.

        Args:
          data: as in `Model`.
          noise: of `noise_shape(B)`, drawn if None.

        Returns:
          (loss [], scalars {name: []}, what `infer` returns). The scalars are those of `Model`, the
          last state's other losses, summed over slots, loss/slots (without the regressor's),
          factor/loss and factor/NAME.
        """
        image = self._images(data)
        noise = self.draw_noise(image.shape[0]) if noise is None else noise
        states = self.infer(image, noise, is_training=True)
        last, total = states[-1], tf.reduce_mean(self.total(states))
        losses = dict(last["losses"])
        if "kl" in losses:
            losses["kl"] = tf.reduce_sum(losses["kl"], axis=1)
        scalars = {f"loss/{name}": tf.reduce_mean(value) for name, value in losses.items()}
        scalars |= metric_scalars(self._metrics(data, last))
        scalars["loss/slots"] = total
        factors = self.regress_factors(data, _true_mask(data), last["z"], last["pred_mask"])
        if factors is not None:
            total += factors["loss"]
            scalars |= factor_scalars(factors)
        scalars["loss/total"] = total
        return total, scalars, states

    def eval(self, data, noise=None):
        """Everything about every state; changes no variable.

        Args:
          data: as in `Model`.
          noise: of `noise_shape(B)`, drawn if None.

        Returns:
          As `Model.eval`, and factor_regressor as `IODINE.eval`. There is a z_std where the model
          infers distributions.
        """
        image = self._images(data)
        noise = self.draw_noise(image.shape[0]) if noise is None else noise
        states = self.infer(image, noise)

        def stack(names, dicts):
            names = [name for name in names if name in dicts[-1]]
            return {name: tf.stack([d[name] for d in dicts], axis=1) for name in names}

        losses = [state["losses"] for state in states]
        losses = stack([name for name in losses[-1] if name != "total"], losses)
        losses["total"] = tf.reduce_mean(self.total(states))
        metrics = [self._metrics(data, state) for state in states]
        result = {
            "data": with_ground_truth(data),
            "latent": stack(LATENT, states),
            "outputs": stack(OUTPUTS, states),
            "losses": losses,
            "metrics": stack(metrics[-1], metrics),
        }
        true_mask = _true_mask(data)
        factors = [self.regress_factors(data, true_mask, s["z"], s["pred_mask"]) for s in states]
        if factors[0] is not None:
            losses["factor"], result["factor_regressor"] = stack_factors(factors)
            losses["total"] += losses["factor"][-1]
        return result

    def get_overview_images(self, data, nr_images=4):
        """Pictures of the first scenes, for TensorBoard.

        Args:
          data: as in `Model`.
          nr_images: number of scenes to show, fewer if B is smaller.

        Returns:
          {"overview", "sequence"}, each float32 [1, H', W', 3] in [0, 1]: image, reconstruction,
          masks and components of the scenes; where there are several states, what they are of two
          scenes.
        """
        image = tf.convert_to_tensor(data["image"])[:nr_images]
        outputs = self.eval({"image": image})["outputs"]
        recons, masks = outputs["recons"], outputs["pred_mask"]  # [B, T, 1 or K, H, W, ·]
        last = [recons[:, -1], masks[:, -1], outputs["components"][:, -1]]
        pictures = {"overview": summary_images.draw_overview(image, *last)}
        if (num_states := recons.shape[1]) > 1:
            frames = tf.repeat(image[:2], num_states, axis=1)  # [2, T, H, W, C]
            pictures["sequence"] = summary_images.draw_sequence(frames, recons[:2, :, 0], masks[:2])
        return pictures


def _true_mask(data):
    """True masks [B, L, H, W, 1] of data of one frame, None where there are none."""
    return tf.convert_to_tensor(data["mask"])[:, 0] if "mask" in data else None
