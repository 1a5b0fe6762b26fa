"""A variational autoencoder of whole scenes, without slots (Kingma & Welling 2014).

What the paper compares IODINE with in its figures 5 and 6: one latent for all of a scene, with the
same spatial broadcast decoder (Watters et al. 2019).
"""

from collections.abc import Callable, Sequence

import sonnet as snt
import tensorflow as tf

from iodine.errors import number
from iodine.model import Model, State
from iodine.modules.distribution import BernoulliOutput, LocScaleDistribution
from iodine.modules.networks import MLP


class VAE(Model):
    """The model: as `Model` sees it, one slot that all pixels belong to, K = 1 and T = 1.

    L = mean_B(-log p(x|z) + kl_weight · KL(q(z|x) || p(z))), z ~ q(z|x).

    Args:
      encoder: network for images, [B, H, W, C] -> [B, O]; a linear layer to the posterior follows.
      decoder: network that maps [N, Z] and an output shape (H, W, C) to [N, H, W, C].
      latent_dist: distribution of the latent.
      pixel_dist: distribution of pixels.
      n_z: Z, size of the latent.
      kl_weight: weight of the KL divergence, 1 for the ELBO.
      precision: as in `Model`.

    Raises:
      UserError: if a value is invalid.
    """

    def __init__(
        self,
        encoder: snt.Module,
        decoder: Callable,
        latent_dist: LocScaleDistribution,
        pixel_dist: LocScaleDistribution | BernoulliOutput,
        n_z: int,
        kl_weight: float = 1.0,
        precision: str = "float32",
        name: str = "vae",
    ):
        super().__init__(num_components=1, n_z=n_z, precision=precision, name=name)
        self.encoder = encoder
        self.decoder = decoder
        self.latent_dist = latent_dist
        self.pixel_dist = pixel_dist
        self.kl_weight = number(kl_weight, "kl_weight", lambda w: w >= 0, "of 0 or more")
        self.posterior = MLP([latent_dist.num_params(self.n_z)], name="posterior")

    def noise_shape(self, batch_size: int) -> list[int]:
        """Shape of the noise of the latent, [1, B, 1, Z]."""
        return [1, batch_size, 1, self.n_z]

    def infer(self, image: tf.Tensor, noise: tf.Tensor, is_training: bool = False) -> list[State]:
        """Explains images as `Model` describes it, by the latent drawn from its posterior."""
        del is_training
        with self.networks_precision():
            zp = self.posterior(self.encoder(image[:, 0]))[:, None]  # [B, 1, num_params(Z)]
        z = self.latent_dist.sample(zp, noise[0])  # [B, 1, Z]
        params, decoded = self._decode(z, image.shape[2:])
        log_prob = self.pixel_dist.log_prob(params, image)  # [B, 1, H, W, 1]
        losses = {
            "recons": -tf.reduce_sum(log_prob, axis=[1, 2, 3, 4]),
            "kl": self.latent_dist.kl_to_prior(zp),
        }
        losses["total"] = losses["recons"] + self.kl_weight * losses["kl"][:, 0]
        posterior = self.latent_dist(zp)
        latent = {"z": z, "z_mean": posterior.mean(), "z_std": posterior.stddev()}
        return [{**decoded, **latent, "losses": losses}]

    def decode(self, z: tf.Tensor, image_shape: Sequence[int] | None = None) -> State:
        """Decodes latents to images.

        Args:
          z: float32 [B, 1, Z]. B may be unknown in a `tf.function`.
          image_shape: (H, W, C); that of the images that the model was first called with if None.

        Returns:
          Dict of recons and components, which are the same here, [B, 1, H, W, C], and pred_mask and
          pred_mask_logits [B, 1, H, W, 1], which are 1 and 0 everywhere.
        """
        return self._decode(self._as_slots(z), image_shape or self.image_shape)[1]

    def _decode(self, z, image_shape):
        """(parameters of the pixels [B, 1, H, W, Cp], what `decode` returns)."""
        height, width, channels = image_shape
        num_params = self.pixel_dist.num_params(channels)
        with self.networks_precision():
            params = self.decoder(z[:, 0], (height, width, num_params))[:, None]
        recons = self.pixel_dist.mean(params)
        mask_logits = tf.zeros_like(params[..., :1])
        return params, {
            "components": recons,
            "recons": recons,
            "pred_mask_logits": mask_logits,
            "pred_mask": tf.ones_like(mask_logits),
        }

    def sample_prior(self, num_scenes: int, image_shape: Sequence[int] | None = None) -> State:
        """Decodes num_scenes draws from the prior; as `decode`."""
        params = tf.zeros([num_scenes, 1, self.latent_dist.num_params(self.n_z)])
        noise = tf.random.normal([num_scenes, 1, self.n_z])
        return self.decode(self.latent_dist.sample(params, noise), image_shape)
