"""AIR's networks: the recurrent one that looks at the whole image, and those of a patch."""

import sonnet as snt
import tensorflow as tf

from iodine.modules.networks import MLP, lstm_update, mixed_precision


class RecurrentNet(snt.Module):
    """An LSTM over the image and what was inferred last, and an MLP on its state.

    i, g, f, o = image·w_image + last·w_last + h·w_hidden + b, then `lstm_update`. The image is the
    same at each step, and by far the largest input: its product is `look`'s, once for all steps.

    Args:
      num_outputs: size of the output.
      lstm_size: size of h and c.
      hidden_size: of the MLP's one hidden layer, of ReLUs.
    """

    def __init__(self, num_outputs, lstm_size=256, hidden_size=200, name="recurrent_net"):
        super().__init__(name=name)
        self.lstm_size = lstm_size
        # As wide as an LSTM's weights usually start, whatever the size of the input.
        limit = lstm_size**-0.5
        init = snt.initializers.RandomUniform(-limit, limit)
        self.image_gates = snt.Linear(4 * lstm_size, w_init=init, name="image_gates")
        self.gates = snt.Linear(4 * lstm_size, with_bias=False, w_init=init, name="gates")
        self.mlp = MLP([hidden_size, num_outputs], activation="relu")

    def initial_state(self, batch_size):
        """All-zero `snt.LSTMState` before the first step, [batch_size, lstm_size] each."""
        zeros = tf.zeros([batch_size, self.lstm_size])
        return snt.LSTMState(hidden=zeros, cell=zeros)

    @mixed_precision
    def look(self, image):
        """The image's part in the gates, [B, H·W] -> [B, 4·lstm_size]."""
        return self.image_gates(image)

    @mixed_precision
    def _other_gates(self, inputs):
        return self.gates(inputs)

    def __call__(self, seen, last, state):
        """One step.

        Args:
          seen: what `look` returned, [B, 4·lstm_size].
          last: what was inferred in the step before, [B, I].
          state: `snt.LSTMState`.

        Returns:
          (outputs [B, num_outputs], next state).
        """
        gates = seen + self._other_gates(tf.concat([last, state.hidden], axis=-1))
        state = lstm_update(gates, state.cell)
        return self.mlp(state.hidden), state


class PatchDecoder(snt.Module):
    """Appearance to patch: σ(MLP(z) - 2).

    It starts dark. A bright first reconstruction is worse than none, so that presence would fall to
    no object before the decoder has learned any.

    Args:
      patch_shape: (h, w).
      hidden_size: of the MLP's one hidden layer, of ReLUs.
    """

    def __init__(self, patch_shape, hidden_size=200, name="patch_decoder"):
        super().__init__(name=name)
        self.patch_shape = patch_shape
        height, width = patch_shape
        self.mlp = MLP([hidden_size, height * width], activation="relu")

    def __call__(self, what):
        """Decodes [B, n_z] to [B, h, w] in (0, 1)."""
        return tf.reshape(tf.sigmoid(self.mlp(what) - 2.0), [-1, *self.patch_shape])
