"""MONet: an image taken apart by attention, slot after slot (Burgess et al. 2019).

An attention network hands each slot a part of what the ones before have left over, and a
variational autoencoder explains the image within each slot's mask, and the mask itself.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine import errors
from iodine.baselines.monet_networks import ComponentDecoder, ComponentEncoder, UNet
from iodine.model import Model, State
from iodine.modules.distribution import normal_kl


class MONet(Model):
    """The model.

    With s_0 = 1 and α_k the attention network's output for the image and log s_(k-1),

        m_k = s_(k-1) α_k,  s_k = s_(k-1) (1 - α_k),  m_K = s_(K-1),

    and with x_k and the decoded masks m̃ (a softmax over slots) made of draws z_k ~ q(z_k | x, m_k),

        loss = -Σ log Σ_k m_k N(x; x_k, σ_k²) + β Σ_k KL(q(z_k | x, m_k) || N(0, 1))
               + γ Σ Σ_k m_k log(m_k / m̃_k),

    summed over pixels, channels within N (equation 3). There is one state.

    What the paper leaves open: x_k is linear in the decoder's last layer, and a standard deviation
    is a softplus, since the logarithm of a mask that is almost nothing may make of an exp what is
    beyond all numbers.

    Args:
      num_components: K.
      n_z: Z.
      attention_channels: of the U-Net's blocks; each one but the first halves the image.
      attention_mlp_size: of its MLP's hidden layers.
      encoder_channels, encoder_mlp_size: of the component encoder.
      decoder_channels: of the component decoder's convolutions but the last.
      sigma_bg, sigma_fg: σ_1, and σ_k of all other slots.
      kl_weight: β.
      mask_kl_weight: γ.
      factor_evaluator, precision: as in `Model`.

    Raises:
      UserError: if a value is invalid.
    """

    METRICS: ClassVar[tuple[str, ...]] = (*Model.METRICS, "mask_kl")
    max_gradient_norm: float | None = None  # as published
    has_one_size = True  # of what the MLPs of attention and encoder take
    fewest_components = 2

    def __init__(
        self,
        num_components: int,
        n_z: int = 16,
        attention_channels: Sequence[int] = (32, 32, 64, 64, 64),
        attention_mlp_size: int = 128,
        encoder_channels: Sequence[int] = (32, 32, 64, 64),
        encoder_mlp_size: int = 256,
        decoder_channels: Sequence[int] = (32, 32, 32, 32),
        sigma_bg: float = 0.09,
        sigma_fg: float = 0.11,
        kl_weight: float = 0.5,
        mask_kl_weight: float = 0.5,
        factor_evaluator: snt.Module | None = None,
        precision: str = "float32",
        name: str = "monet",
    ):
        super().__init__(num_components, n_z, factor_evaluator, precision, name)
        attention_channels = errors.layer_sizes(attention_channels, "attention_channels")
        encoder_channels = errors.layer_sizes(encoder_channels, "encoder_channels")
        for what, given in (("sigma_bg", sigma_bg), ("sigma_fg", sigma_fg)):
            errors.number(given, what, lambda sigma: sigma > 0, "above 0")
        for what, given in (("kl_weight", kl_weight), ("mask_kl_weight", mask_kl_weight)):
            errors.number(given, what, lambda weight: weight >= 0, "of 0 or more")
        self.log_sigmas = np.log([sigma_bg, *[sigma_fg] * (self.num_components - 1)])
        self.kl_weight = kl_weight
        self.mask_kl_weight = mask_kl_weight
        self.attention = UNet(attention_channels, attention_mlp_size)
        self.encoder = ComponentEncoder(encoder_channels, encoder_mlp_size, self.n_z)
        self.decoder_channels = errors.layer_sizes(decoder_channels, "decoder_channels")
        self.decoder = None

    def noise_shape(self, batch_size: int) -> list[int]:
        """Shape of the noise of the latents, [1, B, K, Z]."""
        return [1, batch_size, self.num_components, self.n_z]

    def attend(self, image: tf.Tensor) -> tf.Tensor:
        """Logarithms of the masks, [B, H, W, C] -> [B, K, H, W, 1]; the masks sum to 1."""
        log_scope, log_masks = tf.zeros_like(image[..., :1]), []
        for _ in range(self.num_components - 1):
            logits = self.attention(tf.concat([image, log_scope], axis=-1))
            log_masks.append(log_scope + tf.math.log_sigmoid(logits))
            log_scope += tf.math.log_sigmoid(-logits)
        return tf.stack([*log_masks, log_scope], axis=1)

    def _decode(self, z, image_shape):
        """(components [B, K, H, W, C], logits of the decoded masks [B, K, H, W, 1])."""
        height, width, channels = image_shape
        if self.decoder is None:
            self.decoder = ComponentDecoder(self.decoder_channels, channels + 1)
        with self.networks_precision():
            pixels = self.decoder(tf.reshape(z, [-1, self.n_z]), height, width)
        pixels = tf.reshape(pixels, [-1, self.num_components, height, width, channels + 1])
        return pixels[..., :channels], pixels[..., channels:]

    def decode(self, z: tf.Tensor, image_shape: Sequence[int] | None = None) -> State:
        """Decodes slots to an image, with the masks m̃ that they say themselves.

        Args:
          z: [B, K, Z]. B may be unknown in a `tf.function`.
          image_shape: (H, W, C); that of the images that the model was first called with if None.

        Returns:
          Dict of components [B, K, H, W, C], pred_mask_logits and pred_mask [B, K, H, W, 1], and
          recons [B, 1, H, W, C].
        """
        components, logits = self._decode(self._as_slots(z), image_shape or self.image_shape)
        return _outputs(components, tf.nn.log_softmax(logits, axis=1))

    def sample_prior(self, num_scenes: int, image_shape: Sequence[int] | None = None) -> State:
        """Decodes draws from the prior, a unit normal; as `decode`."""
        shape = [num_scenes, self.num_components, self.n_z]
        return self.decode(tf.random.normal(shape), image_shape)

    def infer(self, image: tf.Tensor, noise: tf.Tensor, is_training: bool = False) -> list[State]:
        """Explains images as `Model` describes it; the masks are those of the attention, m."""
        del is_training
        image = image[:, 0]  # [B, H, W, C]
        with self.networks_precision():
            log_masks = self.attend(image)  # [B, K, H, W, 1]
            mean, std = self.encoder(image, log_masks)
        z = mean + std * noise[0]  # [B, K, Z]
        components, logits = self._decode(z, image.shape[1:])
        log_sigmas = tf.constant(self.log_sigmas, tf.float32)[:, None, None, None]
        error = tf.square((image[:, None] - components) * tf.exp(-log_sigmas))
        log_probs = -0.5 * error - log_sigmas - 0.5 * np.log(2.0 * np.pi)
        log_joint = log_masks + tf.reduce_sum(log_probs, axis=-1, keepdims=True)
        log_ratios = log_masks - tf.nn.log_softmax(logits, axis=1)
        losses = {
            "recons": -tf.reduce_sum(tf.reduce_logsumexp(log_joint, axis=1), axis=[1, 2, 3]),
            "kl": normal_kl(mean, std, 0.0, 1.0),
            "mask_kl": tf.reduce_sum(tf.exp(log_masks) * log_ratios, axis=[1, 2, 3, 4]),
        }
        losses["total"] = (
            losses["recons"]
            + self.kl_weight * tf.reduce_sum(losses["kl"], axis=1)
            + self.mask_kl_weight * losses["mask_kl"]
        )
        latent = {"z": z, "z_mean": mean, "z_std": std}
        return [{**_outputs(components, log_masks), **latent, "losses": losses}]


def _outputs(components, log_masks):
    """The outputs of the contract for components [B, K, H, W, C] that masks [B, K, H, W, 1] mix."""
    masks = tf.exp(log_masks)
    return {
        "components": components,
        "pred_mask_logits": log_masks,
        "pred_mask": masks,
        "recons": tf.reduce_sum(masks * components, axis=1, keepdims=True),
    }
