"""RNN-NEM: neural expectation maximisation with a learned M step (Greff et al. 2017).

K copies of one recurrent network each explain the pixels that the E step gives them, for binary
images. There is no prior of a slot, and a slot's latent is the network's state.

As in the authors' command for static Shapes, the loss is that of the last iteration alone. Unlike
there, no gradient flows through γ, as in their commands for sequences.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine import errors
from iodine.model import Model, Scalars, State
from iodine.modules.networks import CNN, MLP, DeConv
from iodine.modules.utils import shape_of

FIRST_PROB = 1e-6  # ψ before the first iteration: black, as the prior is, with a finite logit


def uniform(noise):
    """Standard-normal noise as uniform noise from 0 to 1."""
    return 0.5 * (1.0 + tf.math.erf(noise / np.sqrt(2.0)))


class RNNNEM(Model):
    """The model.

    With x an image and x̃ the same with each pixel flipped with a probability of `flip_prob`,
    iteration t is, for each slot k,

        θ_k = sigmoid(W encoder(γ_k (ψ_k - x̃)) + R θ_k + b),  ψ_k = sigmoid(decoder(θ_k)),
        γ_k = p(x | ψ_k) / Σ_j p(x | ψ_j),

    and its loss, summed over pixels i,

        Σ_i Σ_k γ_ik (-log p(x_i | ψ_ik)) + (1 - γ_ik) KL(prior || p(x_i | ψ_ik)),

    through whose γ no gradient flows. The prior says that a pixel is black, so that the divergence
    is -log(1 - ψ_ik): a slot pays for the white that it paints where other slots explain the
    pixels. The loss is that of the last iteration.

    What the paper leaves open: flips are drawn anew at each iteration, in training alone; at first
    θ is 0, ψ is FIRST_PROB and γ a share of standard-normal magnitudes.

    Args:
      num_components: K.
      n_z: M, size of θ.
      num_iters: number of iterations.
      encoder_channels: of convolutions 4×4 of stride 2 with ELUs, which transposed ones mirror in
        the decoder; without any, encoder and decoder are the linear maps from and to pixels.
      mlp_size: of a layer between convolutions and θ, on both sides.
      flip_prob: in training.
      factor_evaluator, precision: as in `Model`.

    Raises:
      UserError: if a value is invalid.
    """

    METRICS: ClassVar[tuple[str, ...]] = tuple(
        n for n in Model.METRICS if n not in ("recons", "kl")
    )
    max_gradient_norm: float | None = None  # as published
    has_one_size = True
    fewest_components = 2

    def __init__(
        self,
        num_components: int,
        n_z: int = 250,
        num_iters: int = 15,
        encoder_channels: Sequence[int] = (),
        mlp_size: int = 512,
        flip_prob: float = 0.1,
        factor_evaluator: snt.Module | None = None,
        precision: str = "float32",
        name: str = "rnn_nem",
    ):
        super().__init__(num_components, n_z, factor_evaluator, precision, name)
        self.num_iters = errors.size(num_iters, "num_iters")
        self.channels = errors.sizes(encoder_channels, "encoder_channels")
        self.mlp_size = errors.size(mlp_size, "mlp_size")
        self.flip_prob = errors.number(
            flip_prob, "flip_prob", lambda p: 0 <= p < 1, "from 0 to below 1"
        )
        self.encoder = self.decoder = None
        self.from_encoder = MLP([self.n_z], name="from_encoder")
        self.recurrent = snt.Linear(self.n_z, with_bias=False, name="recurrent")

    def _make_networks(self, num_outputs):
        """Makes encoder and decoder."""
        if not self.channels:
            self.encoder = snt.Flatten()
            self.decoder = MLP([num_outputs], name="decoder")
            return
        options = {"kernel_shapes": 4, "strides": 2, "activation": "elu"}
        mlp_opt = {"output_sizes": [self.mlp_size], "activation": "elu"}
        cnn_opt = {**options, "output_channels": self.channels}
        self.encoder = CNN(cnn_opt, {**mlp_opt, "activate_final": True})
        *others, last = self.channels
        cnn_opt = {**options, "output_channels": [*reversed(others), None]}
        self.decoder = DeConv(cnn_opt, mlp_opt, seed_channels=last)

    def noise_shape(self, batch_size: int) -> list[int]:
        """Shape of the noise of the first γ and of all flips, [1, B, H, W, K + num_iters·C]."""
        height, width, channels = self.image_shape
        depth = self.num_components + self.num_iters * channels
        return [1, batch_size, height, width, depth]

    def _maximize(self, deltas, theta):
        """The network's part of an iteration, in place of an M step.

        Args:
          deltas: γ_k (ψ_k - x̃), [B, K, H, W, C].
          theta: [B, K, M].

        Returns:
          (next θ [B, K, M], logits of ψ [B, K, H, W, C]).
        """
        image_shape = deltas.shape[2:]
        flat = tf.reshape(theta, [-1, self.n_z])  # [B * K, M]
        with self.networks_precision():
            encoded = self.encoder(tf.reshape(deltas, [-1, *image_shape]))
            flat = tf.sigmoid(self.from_encoder(encoded) + self.recurrent(flat))
            logits = self.decoder(flat, image_shape) if self.channels else self.decoder(flat)
        return (
            tf.reshape(flat, [-1, *theta.shape[1:]]),
            tf.reshape(logits, [-1, *deltas.shape[1:]]),
        )

    def _state(self, image, theta, logits, log_gamma=None):
        """A state of `infer`; γ is the E step's if log_gamma [B, K, H, W, 1] is None."""
        probs, labels = tf.sigmoid(logits), tf.broadcast_to(image[:, None], tf.shape(logits))
        wrong = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)  # -log p(x | ψ)
        wrong = tf.reduce_sum(wrong, axis=-1, keepdims=True)  # [B, K, H, W, 1]
        # -log(1 - ψ) of the logits, which is finite where ψ is 1 in float32.
        kl = tf.reduce_sum(tf.nn.softplus(logits), axis=-1, keepdims=True)
        if log_gamma is None:
            log_gamma = tf.nn.log_softmax(-wrong, axis=1)
        gamma = tf.stop_gradient(tf.exp(log_gamma))
        loss = tf.reduce_sum(gamma * wrong + (1.0 - gamma) * kl, axis=[1, 2, 3, 4])
        return {
            "z": theta,
            "z_mean": theta,
            "components": probs,
            "pred_mask": gamma,
            "pred_mask_logits": log_gamma,
            "recons": tf.reduce_sum(gamma * probs, axis=1, keepdims=True),
            "losses": {"total": loss},
        }

    def loss(self, states: list[State]) -> tuple[tf.Tensor, Scalars]:
        """The last iteration's loss, the mean over scenes."""
        return tf.reduce_mean(states[-1]["losses"]["total"]), {}

    def create_variables(self, image: tf.Tensor) -> None:
        """Makes the networks for the size of a blank scene, and their variables."""
        self._make_networks(image.shape[2:].num_elements())
        super().create_variables(image)

    def infer(self, image: tf.Tensor, noise: tf.Tensor, is_training: bool = False) -> list[State]:
        """Explains images as `Model` describes it: the first state, one for each iteration."""
        image = image[:, 0]  # [B, H, W, C]
        batch_size, *image_shape = shape_of(image)
        share, *flips = tf.split(
            noise[0], [self.num_components, *[image_shape[-1]] * self.num_iters], axis=-1
        )
        share = tf.transpose(tf.abs(share), [0, 3, 1, 2])[..., None]  # [B, K, H, W, 1]
        log_gamma = tf.math.log(share + 1e-6)
        log_gamma -= tf.reduce_logsumexp(log_gamma, axis=1, keepdims=True)
        theta = tf.zeros([batch_size, self.num_components, self.n_z])
        first_logit = float(np.log(FIRST_PROB) - np.log1p(-FIRST_PROB))
        logits = tf.fill([batch_size, self.num_components, *image_shape], first_logit)
        states = [self._state(image, theta, logits, log_gamma)]
        for flip in flips:
            flipped = tf.cast(uniform(flip) < self.flip_prob, tf.float32) if is_training else 0.0
            shown = image + flipped * (1.0 - 2.0 * image)
            last = states[-1]
            deltas = last["pred_mask"] * (last["components"] - shown[:, None])
            theta, logits = self._maximize(deltas, last["z"])
            states.append(self._state(image, theta, logits))
        return states
