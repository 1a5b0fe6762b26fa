"""The inputs of the refinement network: what one iteration tells it about the image and the slots.

They are listed in the paper's section 3.2 and appendix A.
"""

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine import errors
from iodine.modules import utils

SPATIAL_INPUTS = (
    "image",
    "log_prob",
    "mask",
    "pred_mask",
    "components",
    "dmask",
    "dcomponents",
    "posterior",
    "capacity",
    "coordinates",
    "counterfactual",
)
FLAT_INPUTS = ("zp", "dzp", "flat_capacity")
ALL_INPUTS = SPATIAL_INPUTS + FLAT_INPUTS

# Together these keep second derivatives out of training: whatever is a gradient, or would make the
# likelihood's gradient depend on one, enters the refinement network as a constant.
STOP_GRADIENTS = ("dzp", "dmask", "dcomponents", "log_prob", "counterfactual")

# Gradients and likelihoods differ by orders of magnitude, so these are layer-normalised.
PREPROCESS = ("dcomponents", "dmask", "dzp", "log_prob", "counterfactual")


class RefinementInputs(snt.Module):
    """Builds the inputs of the refinement network.

    Args:
      output_dist: the model's `MaskedMixture`.
      names: of the inputs to build, zp and at least one spatial input among them.
      stop_gradients: names of those through which no gradient flows.
      preprocess: names of those that are layer-normalised.
      coord_type: "linear" or "cos"; anything where the coordinates are not among the inputs.
      coord_freqs: number of frequencies of "cos", at least 2.

    Raises:
      UserError: if a name or coord_type is unknown.
    """

    def __init__(
        self,
        output_dist,
        names=ALL_INPUTS,
        stop_gradients=STOP_GRADIENTS,
        preprocess=PREPROCESS,
        coord_type="linear",
        coord_freqs=3,
        name="refinement_inputs",
    ):
        super().__init__(name=name)
        for what, chosen in (
            ("inputs", names),
            ("stop_gradients", stop_gradients),
            ("preprocess", preprocess),
        ):
            if not isinstance(chosen, (list, tuple)):
                raise errors.UserError(f"{what} is {chosen!r}, use a list of names")
            for key in chosen:
                if key not in ALL_INPUTS:
                    raise errors.UserError(
                        f"{what}: unknown input '{key}'{errors.did_you_mean(key, ALL_INPUTS)}"
                    )
        if "zp" not in names or not set(names) & set(SPATIAL_INPUTS):
            raise errors.UserError(
                "inputs has to name zp, which the refinement updates, and one of "
                + ", ".join(SPATIAL_INPUTS)
            )
        if "coordinates" in names:
            utils.check_coordinates(coord_type, coord_freqs)
        self.output_dist = output_dist
        self.names = tuple(names)
        self.stop_gradients = tuple(stop_gradients)
        self.coord_type = coord_type
        self.coord_freqs = coord_freqs
        self.layer_norms = {
            key: snt.LayerNorm(
                axis=slice(1, None),
                create_scale=True,
                create_offset=True,
                name=f"layer_norm_{key}",
            )
            for key in preprocess
        }

    def _coordinates(self, height, width):
        if self.coord_type == "cos":
            return utils.cosine_coordinates(height, width, self.coord_freqs)
        over_height, over_width = utils.linear_coordinates(height, width)
        return np.concatenate([over_width, over_height], axis=-1)

    def _counterfactual(self, step):
        """Log-likelihood lost at each pixel if a slot were not there, [B, K, H, W, 1]."""
        lost = step["log_prob"] - self.output_dist.log_prob_without_each(step)
        return tf.stop_gradient(lost)

    def __call__(self, image, step, gradients):
        """Builds the inputs from what one iteration found.

        Args:
          image: [B, 1, H, W, C].
          step: dict with zp [B, K, 2Z], components [B, K, H, W, Cp], pred_mask, pred_mask_logits
            and component_log_probs [B, K, H, W, 1], and log_prob [B, 1, H, W, 1].
          gradients: of the loss with respect to zp, components and mask logits.

        Returns:
          {"spatial": {name: [B, K or 1, H, W, ·]}, "flat": {name: [B, K, ·]}}.
        """
        batch_size, num_components, height, width, _ = utils.shape_of(step["pred_mask"])
        dzp, dcomponents, dmask = gradients
        values = {
            "image": lambda: image,
            "log_prob": lambda: step["log_prob"],
            "mask": lambda: step["pred_mask_logits"],
            "pred_mask": lambda: step["pred_mask"],
            "components": lambda: step["components"],
            "dmask": lambda: dmask,
            "dcomponents": lambda: dcomponents,
            "posterior": lambda: self.output_dist.posterior(step),
            # The two capacities are constants left over from an earlier model; the published
            # weights expect them.
            "capacity": lambda: tf.fill([batch_size, num_components, height, width, 1], 0.5),
            "flat_capacity": lambda: tf.fill([batch_size, num_components, 1], 0.5),
            "coordinates": lambda: tf.tile(
                self._coordinates(height, width)[None], [batch_size, 1, 1, 1, 1]
            ),
            "counterfactual": lambda: self._counterfactual(step),
            "zp": lambda: step["zp"],
            "dzp": lambda: dzp,
        }
        inputs = {"spatial": {}, "flat": {}}
        for name in self.names:
            value = values[name]()
            if name in self.stop_gradients:
                value = tf.stop_gradient(value)
            if name in self.layer_norms:
                value = snt.BatchApply(self.layer_norms[name])(value)
            inputs["spatial" if name in SPATIAL_INPUTS else "flat"][name] = value
        return inputs
