"""Iterative inference: the posterior of a set of slots, refined in the light of its errors."""

import functools

import sonnet as snt
import tensorflow as tf

from iodine import errors
from iodine.model import Model
from iodine.modules import utils
from iodine.modules.rematerialization import rematerialize

PRECISIONS = {"float32": None, "mixed_bfloat16": tf.bfloat16}


class IterativeInference(Model):
    """Decoder, refinement core and the loop that alternates them (paper, section 2.2).

    The part of `IODINE` that infers; its attributes are `IODINE`'s arguments, and
      refinement_inputs: `RefinementInputs`.
      initial_sample_distribution: the posterior's parameters before the first iteration, [2Z].
    """

    def _networks_precision(self):
        """Scope in which the networks' convolutions and matrix products have `precision`."""
        return snt.mixed_precision.scope(PRECISIONS[self.precision])

    @snt.once
    def initialize(self, image_shape):
        """Creates all variables by refining a blank scene once.

        Args:
          image_shape: (H, W, C).
        """
        self.image_shape = tuple(image_shape)
        image = tf.zeros([1, 1, *image_shape])
        zp, state = self._initial_posterior(batch_size=1)
        noise = tf.zeros([1, self.num_components, self.n_z])
        self._refine(image, noise, 1, zp, state)

    def noise_shape(self, batch_size):
        """Shape of the noise for all iterations, [num_iters + 1, B, K, Z]."""
        return [self.num_iters + 1, batch_size, self.num_components, self.n_z]

    def decode(self, z, image_shape=None):
        """Decodes slots to an image.

        Args:
          z: float32 [B, K, Z].
          image_shape: (H, W, C); that of the pictures that the model was first called with if None.

        Returns:
          Dict of components (pixel parameters [B, K, H, W, Cp]), pred_mask_logits and pred_mask
          [B, K, H, W, 1], and recons (the expected image) [B, 1, H, W, C].
        """
        height, width, channels = image_shape or self.image_shape
        num_params = self.output_dist.num_params(channels)
        with self._networks_precision():
            components, mask_logits = self.decoder(z, (height, width, num_params))
        pred_mask = tf.exp(self.output_dist.log_masks(mask_logits))
        return {
            "components": components,
            "pred_mask_logits": mask_logits,
            "pred_mask": pred_mask,
            "recons": self.output_dist.mean(components, pred_mask),
        }

    def sample_prior(self, num_scenes, image_shape=None, noise=None):
        """Decodes draws from the prior.

        Args:
          num_scenes: B.
          image_shape: as for `decode`.
          noise: standard-normal [B, K, Z], drawn if None.

        Returns:
          As `decode`.
        """
        shape = [num_scenes, self.num_components, self.n_z]
        noise = tf.random.normal(shape) if noise is None else noise
        params = tf.zeros([*shape[:2], self.latent_dist.num_params(self.n_z)])
        return self.decode(self.latent_dist.sample(params, noise), image_shape)

    def _explain(self, image, zp, noise):
        """Samples z, decodes it and compares the result with the image.

        Args:
          image: [B, 1, H, W, C].
          zp: [B, K, 2Z].
          noise: [B, K, Z].

        Returns:
          Dict: zp, z, what `decode` returns, component_log_probs [B, K, H, W, 1], log_prob
          [B, 1, H, W, 1], re = -log p(x|z) [B] and kl [B, K], both in nats.
        """
        z = self.latent_dist.sample(zp, noise)
        out = self.decode(z, image.shape[2:])
        out["component_log_probs"] = self.output_dist.component_log_probs(out["components"], image)
        log_prob = self.output_dist.log_prob(image, out)
        return {
            "zp": zp,
            "z": z,
            "log_prob": log_prob,
            "re": -tf.reduce_sum(log_prob, axis=[1, 2, 3, 4]),
            "kl": self.latent_dist.kl_to_prior(zp),
            **out,
        }

    def _explain_with_gradients(self, image, zp, noise, batch_size):
        """As `_explain`, with the gradients by zp, components and mask logits that `_refine` needs.

        They are those of the mean loss over the batch, so their size depends on the batch size,
        and, through the layer norm's epsilon, so does what the refinement network sees.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(zp)
            step = self._explain(image, zp, noise)
            loss = tf.reduce_sum(step["re"]) + self.kl_weight * tf.reduce_sum(step["kl"])
            loss /= batch_size
        sources = [zp, step["components"], step["pred_mask_logits"]]
        return step, tape.gradient(loss, sources)

    def _refine(self, image, noise, batch_size, zp, state, gradients=None):
        """One iteration.

        Args:
          image: [B, 1, H, W, C].
          noise: [B, K, Z].
          batch_size: number of scenes that the loss is averaged over.
          zp: [B, K, 2Z].
          state: of the refinement core.
          gradients: those that this iteration found when it was computed before, if it was.

        Returns:
          (what `_explain` returns, refinement inputs, next zp, next state), and the gradients if
          they are constants to the loss, else None.
        """
        if gradients is None:
            step, gradients = self._explain_with_gradients(image, zp, noise, batch_size)
        else:
            step = self._explain(image, zp, noise)
        inputs = self.refinement_inputs(image, step, gradients)
        with self._networks_precision():
            next_zp, next_state = self.refinement_core(inputs, state)
        constant = {"dzp", "dcomponents", "dmask"} <= set(self.refinement_inputs.stop_gradients)
        return (step, inputs, next_zp, next_state), gradients if constant else None

    def _initial_posterior(self, batch_size):
        """Returns zp [B, K, 2Z] and the state of the refinement core before the first iteration."""
        zp = tf.tile(
            self.initial_sample_distribution[None, None], [batch_size, self.num_components, 1]
        )
        return zp, self.refinement_core.initial_state(batch_size * self.num_components)

    def encode(self, data, noise=None, rematerialized=False):
        """Infers the slots of scenes by running all iterations.

        Args:
          data: dict with image [B, frames, H, W, C].
          noise: [num_iters + 1, B, K, Z], drawn if None.
          rematerialized: whether each refinement is computed again for the gradient.

        Returns:
          List of num_iters + 1 dicts: what `_explain` returns, and from the second one on the
          `inputs` of the refinement that led there.

        Raises:
          UserError: for data with a wrong number of frames.
        """
        image = tf.convert_to_tensor(data["image"])
        local_batch_size = image.shape[0]
        num_frames = self.num_iters + 1 if self.sequential else 1
        if image.shape[1] != num_frames:
            raise errors.UserError(
                f"the data has {image.shape[1]} frames, the model needs {num_frames}"
                + (" (num_iters + 1)" if self.sequential else " unless sequential=True")
            )
        if noise is None:
            noise = self.draw_noise(local_batch_size)
        batch_size = self.refinement_batch_size or local_batch_size * utils.num_replicas()
        # Sonnet runs a module's first call in float32, whatever the precision.
        self.initialize(image.shape[2:])

        zp, state = self._initial_posterior(local_batch_size)
        iterations, inputs = [], None
        for t in range(self.num_iters):
            refine = functools.partial(self._refine, self._frame(image, t), noise[t], batch_size)
            if rematerialized:
                step, next_inputs, zp, state = rematerialize(refine, zp, state)
            else:
                (step, next_inputs, zp, state), _ = refine(zp, state)
            iterations.append({**step, "inputs": inputs})
            inputs = next_inputs
        step = self._explain(self._frame(image, self.num_iters), zp, noise[self.num_iters])
        return [*iterations, {**step, "inputs": inputs}]

    def _frame(self, images, t):
        """Frame that iteration t looks at, [B, frames, ...] -> [B, 1, ...]."""
        return images[:, t : t + 1] if self.sequential else images
