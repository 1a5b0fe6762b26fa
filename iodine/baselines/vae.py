"""A variational autoencoder of whole scenes, without slots (Kingma & Welling 2014).

What the paper compares IODINE with in its figures 5 and 6: one latent for all of a scene, with the
same spatial broadcast decoder (Watters et al. 2019).
"""

import sonnet as snt
import tensorflow as tf

from iodine import errors
from iodine.figures import summary_images
from iodine.model import Model, metric_scalars, with_ground_truth
from iodine.modules.inference import PRECISIONS
from iodine.modules.networks import MLP


class VAE(Model):
    """The model: as `Model` sees it, one slot that all pixels belong to, K = 1 and T = 1.

    L = mean_B(-log p(x|z) + kl_weight · KL(q(z|x) || p(z))), z ~ q(z|x).

    Args:
      encoder: network for images, [B, H, W, C] -> [B, O]; a linear layer to the posterior follows.
      decoder: network that maps [N, Z] and an output shape (H, W, C) to [N, H, W, C].
      latent_dist: `LocScaleDistribution` of the latent.
      pixel_dist: distribution of pixels, a `LocScaleDistribution` or a `BernoulliOutput`.
      n_z: Z, size of the latent.
      kl_weight: weight of the KL divergence, 1 for the ELBO.
      num_background: as in `Model`.
      precision: "float32", or "mixed_bfloat16" for the networks' convolutions and matrix products.
      rematerialize: has to be False: without iterations no memory needs to be spared.

    Raises:
      UserError: for a precision that is none, and for rematerialize=True.
    """

    num_components = 1

    def __init__(
        self,
        encoder,
        decoder,
        latent_dist,
        pixel_dist,
        n_z,
        kl_weight=1.0,
        num_background=1,
        precision="float32",
        rematerialize=False,
        name="vae",
    ):
        super().__init__(name=name)
        if precision not in PRECISIONS:
            raise errors.UserError(
                f"precision is '{precision}'{errors.did_you_mean(precision, PRECISIONS)}, "
                f"use {' or '.join(PRECISIONS)}"
            )
        if rematerialize:
            raise errors.UserError("a VAE has no use for rematerialize=True: leave it out")
        self.n_z = errors.size(n_z, "n_z")
        self.encoder = encoder
        self.decoder = decoder
        self.latent_dist = latent_dist
        self.pixel_dist = pixel_dist
        self.kl_weight = kl_weight
        self.num_background = num_background
        self.precision = precision
        self.posterior = MLP([latent_dist.num_params(self.n_z)], name="posterior")

    def _networks_precision(self):
        return snt.mixed_precision.scope(PRECISIONS[self.precision])

    @snt.once
    def initialize(self, image_shape):
        """Creates all variables; `image_shape` is (H, W, C)."""
        self.image_shape = tuple(image_shape)
        zp = self.encode(tf.zeros([1, 1, *image_shape]))
        self.decode(self.latent_dist.sample(zp, tf.zeros([1, 1, self.n_z])))

    def noise_shape(self, batch_size):
        """Shape of the noise of the latent, [1, B, 1, Z]."""
        return [1, batch_size, 1, self.n_z]

    def encode(self, image):
        """The posterior's parameters, [B, 1, H, W, C] -> [B, 1, num_params(Z)]."""
        with self._networks_precision():
            return self.posterior(self.encoder(image[:, 0]))[:, None]

    def decode(self, z, image_shape=None):
        """Decodes latents to images.

        Args:
          z: float32 [B, 1, Z].
          image_shape: (H, W, C); that of the pictures that the model was first called with if None.

        Returns:
          Dict of components (pixel parameters [B, 1, H, W, Cp]), recons [B, 1, H, W, C], and
          pred_mask and pred_mask_logits [B, 1, H, W, 1], which are 1 and 0 everywhere.
        """
        height, width, channels = image_shape or self.image_shape
        num_params = self.pixel_dist.num_params(channels)
        with self._networks_precision():
            params = self.decoder(z[:, 0], (height, width, num_params))[:, None]
        mask_logits = tf.zeros([z.shape[0], 1, height, width, 1])
        return {
            "components": params,
            "recons": self.pixel_dist.mean(params),
            "pred_mask_logits": mask_logits,
            "pred_mask": tf.ones_like(mask_logits),
        }

    def sample_prior(self, num_scenes, image_shape=None):
        """Decodes num_scenes draws from the prior; as `decode`."""
        params = tf.zeros([num_scenes, 1, self.latent_dist.num_params(self.n_z)])
        noise = tf.random.normal([num_scenes, 1, self.n_z])
        return self.decode(self.latent_dist.sample(params, noise), image_shape)

    def infer(self, data, noise=None):
        """Infers the latents of scenes and decodes them.

        Args:
          data: as in `Model`.
          noise: of `noise_shape(B)`, drawn if None.

        Returns:
          Dict: zp [B, 1, num_params(Z)], z [B, 1, Z], what `decode` returns, re = -log p(x|z) [B]
          and kl [B, 1], both in nats.
        """
        image = tf.convert_to_tensor(data["image"])
        if image.shape[1] != 1:
            raise errors.UserError(f"the data has {image.shape[1]} frames, a VAE takes one")
        self.initialize(image.shape[2:])
        noise = self.draw_noise(image.shape[0]) if noise is None else noise
        zp = self.encode(image)
        z = self.latent_dist.sample(zp, noise[0])
        decoded = self.decode(z, image.shape[2:])
        log_prob = self.pixel_dist.log_prob(decoded["components"], image)  # [B, 1, H, W, 1]
        return {
            "zp": zp,
            "z": z,
            **decoded,
            "re": -tf.reduce_sum(log_prob, axis=[1, 2, 3, 4]),
            "kl": self.latent_dist.kl_to_prior(zp),
        }

    def _metrics(self, data, inferred):
        true_mask = tf.convert_to_tensor(data["mask"])[:, 0] if "mask" in data else None
        image = tf.convert_to_tensor(data["image"])
        return self.image_metrics(image, inferred["recons"], true_mask, inferred["pred_mask"])

    def _losses(self, inferred):
        """Means over the batch: (re, the unweighted kl, the training loss)."""
        recons, kl = tf.reduce_mean(inferred["re"]), tf.reduce_mean(inferred["kl"])
        return recons, kl, recons + self.kl_weight * kl

    def __call__(self, data, noise=None):
        """Computes the training loss, as `Model` says; what it passed through is as `infer`."""
        inferred = self.infer(data, noise)
        recons, kl, total = self._losses(inferred)
        scalars = {"loss/total": total, "loss/recons": recons, "loss/kl": kl}
        scalars |= metric_scalars(self._metrics(data, inferred))
        return total, scalars, inferred

    def eval(self, data, noise=None):
        """Everything about the latents of scenes, as `Model` says."""
        inferred = self.infer(data, noise)
        posterior = self.latent_dist(inferred["zp"])
        outputs = {n: inferred[n] for n in ("recons", "pred_mask", "pred_mask_logits")}
        outputs["components"] = self.pixel_dist.mean(inferred["components"])
        per_state = {
            "latent": {"z": inferred["z"], "z_mean": posterior.mean(), "z_std": posterior.stddev()},
            "outputs": outputs,
            "losses": {"recons": inferred["re"], "kl": inferred["kl"]},
            "metrics": self._metrics(data, inferred),
        }
        result = tf.nest.map_structure(lambda x: x[:, None], per_state)  # [B, ...] -> [B, T, ...]
        result["losses"]["total"] = self._losses(inferred)[-1]
        return {"data": with_ground_truth(data), **result}

    def get_overview_images(self, data, nr_images=4):
        """Image and reconstruction of the first scenes, and 16 decoded draws from the prior."""
        image = tf.convert_to_tensor(data["image"])[:nr_images]
        inferred = self.infer({"image": image}, tf.zeros(self.noise_shape(image.shape[0])))
        recons, samples = inferred["recons"], self.sample_prior(16)["recons"]
        return {
            "overview": summary_images.draw_overview(image, recons, inferred["pred_mask"], recons),
            "samples": summary_images.draw_samples(samples),
        }
