"""The refinement core: from the inputs at one iteration to an update of the posterior."""

import sonnet as snt
import tensorflow as tf

from iodine import errors
from iodine.modules import utils
from iodine.modules.networks import MLP, mixed_precision


class RefinementCore(snt.Module):
    """Updates every slot's posterior parameters from its refinement inputs (paper, section 3).

    Args:
      encoder_net: network for the spatial inputs, a list of [B, K or 1, H, W, ·] -> [B * K, O].
      recurrent_net: `LSTM`.
      refinement_head: maps (zp, output of the recurrent net) to the next zp.
    """

    def __init__(self, encoder_net, recurrent_net, refinement_head, name="refinement_core"):
        super().__init__(name=name)
        self.encoder_net = encoder_net
        self.recurrent_net = recurrent_net
        self.refinement_head = refinement_head

    def initial_state(self, num_slots):
        """State of the recurrent network at the first iteration, for num_slots = B * K."""
        return self.recurrent_net.initial_state(num_slots)

    def __call__(self, inputs, state):
        """One refinement.

        Args:
          inputs: dict of `spatial` {name: [B, K or 1, H, W, ·]} and `flat` {name: [B, K, ·]}, the
            latter with the current parameters `zp` among them.
          state: state of the recurrent network.

        Returns:
          (next zp [B, K, 2Z], next state).
        """
        spatial, flat = inputs["spatial"], inputs["flat"]
        zp = flat["zp"]
        _, num_components, num_params = zp.shape

        h = self.encoder_net([spatial[name] for name in sorted(spatial)])  # [B * K, O]
        if all(images.shape[1] == 1 for images in spatial.values()):
            h = tf.repeat(h, num_components, axis=0)  # [B, O] before, the same for all slots

        vectors = [tf.reshape(flat[name], [-1, flat[name].shape[-1]]) for name in sorted(flat)]
        h = tf.concat([h, *vectors], axis=-1)  # [B * K, O + ...]
        h, state = self.recurrent_net(h, state)
        zp = self.refinement_head(tf.reshape(zp, [-1, num_params]), h)
        return tf.reshape(zp, [-1, num_components, num_params]), state


class ResHead(snt.Module):
    """Additive update: zp + Linear(h)."""

    def __init__(self, name="residual_head"):
        super().__init__(name=name)
        self.linear = None

    @mixed_precision
    def _update(self, h):
        return self.linear(h)

    def __call__(self, zp, h):
        """Maps parameters [N, 2Z] and features [N, O] to the next parameters [N, 2Z]."""
        if self.linear is None:
            self.linear = snt.Linear(zp.shape[-1], name="linear")
        return zp + self._update(h)


class PredictorCorrectorHead(snt.Module):
    """Gated correction by the data, then a gated prediction of the next frame (for sequences).

    g = sigmoid(Linear(h) + corrector_gate_bias), u = Linear(h), c = zp + g · (u - zp);
    [pred, gate] = MLP(zp); the result is c + sigmoid(gate + pred_gate_bias) · (pred - c).

    Args:
      hidden_sizes: hidden layers of the predictor.
      pred_gate_bias: added to the predictor's gate before its sigmoid.
      corrector_gate_bias: added to the corrector's gate before its sigmoid.
      activation: the predictor's activation, as `utils.activation` takes it.
    """

    def __init__(
        self,
        hidden_sizes=(64,),
        pred_gate_bias=0.0,
        corrector_gate_bias=0.0,
        activation="elu",
        name="predcorr_head",
    ):
        super().__init__(name=name)
        self.hidden_sizes = errors.sizes(hidden_sizes, "hidden_sizes")
        self.pred_gate_bias = pred_gate_bias
        self.corrector_gate_bias = corrector_gate_bias
        self.activation = utils.activation(activation)

    @snt.once
    def _initialize(self, num_params):
        self.update = snt.Linear(num_params, name="linear")
        self.gate = snt.Linear(num_params, name="linear_1")
        self.predictor = MLP([*self.hidden_sizes, 2 * num_params], self.activation)

    def __call__(self, zp, h):
        """Maps parameters [N, 2Z] and features [N, O] to the next parameters [N, 2Z]."""
        self._initialize(zp.shape[-1])
        gate = tf.sigmoid(self.gate(h) + self.corrector_gate_bias)
        corrected = zp + gate * (self.update(h) - zp)
        prediction, gate = tf.split(self.predictor(zp), 2, axis=-1)
        return corrected + tf.sigmoid(gate + self.pred_gate_bias) * (prediction - corrected)
