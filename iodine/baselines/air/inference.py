"""AIR's inference: one object after the other, each attended to, encoded, decoded and put back.

And what follows from that alone: draws from the prior, and the importance-weighted bound.
"""

import sys

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine.baselines.air import normal, presence
from iodine.baselines.air.spatial_transformer import PLACE, attend, put
from iodine.errors import UserError
from iodine.model import Model
from iodine.modules.inference import PRECISIONS

BOUND_CHUNK = 10  # draws of the importance-weighted bound at a time, for its memory


class AIRInference(Model):
    """The part of `AIR` that infers; its attributes are `AIR`'s arguments, and its networks.

    B is the number of scenes, N that of steps; `Model` has the rest.
    """

    @snt.once
    def initialize(self, image_shape):
        """Creates all variables; raises `UserError` for pictures of several channels."""
        if image_shape[-1] != 1:
            raise UserError(
                f"AIR takes pictures of one channel, not {image_shape[-1]}: set data.grayscale=True"
            )
        self.image_shape = tuple(image_shape)
        self.infer(tf.zeros([1, *image_shape[:2]]), tf.zeros(self.noise_shape(1)))

    def noise_shape(self, batch_size):
        """Shape of the noise of places and appearances, and of drawn presence where it is drawn."""
        return [self.num_steps, batch_size, PLACE + self.n_z + (self.baseline is not None)]

    def draw_objects(self, place, what):
        """Draws objects.

        Args:
          place: [B, N, 3].
          what: appearances, [B, N, n_z].

        Returns:
          (patches [B, N, h, w], the same in their places [B, N, H, W]).
        """
        num_objects, canvas_shape = place.shape[1], self.image_shape[:2]
        with self._networks_precision():
            patches = self.decoder(tf.reshape(what, [-1, self.n_z]))  # [B * N, h, w]
        placed = put(patches, tf.reshape(place, [-1, PLACE]), canvas_shape)
        return (
            tf.reshape(patches, [-1, num_objects, *self.patch_shape]),
            tf.reshape(placed, [-1, num_objects, *canvas_shape]),
        )

    def infer(self, image, noise, copies=1):
        """Looks for all N objects, as if each were present.

        Args:
          image: [B, H, W].
          noise: of `noise_shape(B)`.
          copies: number of draws of each scene, whose images follow each other in the batch; what
            all draws share is computed once.

        Returns:
          Dict of logits (of presence) [B, N]; place, place_mean, place_std [B, N, 3]; what,
          what_mean, what_std [B, N, n_z]; kl (of place and appearance, in nats) [B, N]; attended
          and patches [B, N, h, w]; placed [B, N, H, W]; with a baseline, that [B, N].
        """
        batch_size = image.shape[0]
        flat = tf.reshape(image, [batch_size, -1])[::copies]
        with self._networks_precision():
            seen = tf.repeat(self.recurrent_net.look(flat), copies, axis=0)
            if self.baseline is not None:
                seen_by_baseline = tf.repeat(self.baseline.look(flat), copies, axis=0)
        last = tf.zeros([batch_size, 1 + PLACE + self.n_z])
        state, baseline_state = (self.recurrent_net.initial_state(batch_size),) * 2
        steps = []
        for t in range(self.num_steps):
            with self._networks_precision():
                outputs, state = self.recurrent_net(seen, last, state)
                logit, mean, raw_std = tf.split(outputs + self.start, [1, PLACE, PLACE], axis=-1)
                step = {"logits": logit[:, 0]}
                if self.baseline is not None:
                    cost, baseline_state = self.baseline(
                        seen_by_baseline, tf.stop_gradient(last), baseline_state
                    )
                    step["baseline"] = cost[:, 0]
            step |= _draw("place", mean, raw_std, noise[t, :, :PLACE])
            step["attended"] = attend(image, step["place"], self.patch_shape)
            with self._networks_precision():
                encoded = self.encoder(tf.reshape(step["attended"], [batch_size, -1]))
            mean, raw_std = tf.split(encoded, 2, axis=-1)
            step |= _draw("what", mean, raw_std, noise[t, :, PLACE : PLACE + self.n_z])
            last = tf.concat([tf.ones([batch_size, 1]), step["place"], step["what"]], axis=-1)
            steps.append(step)
        inferred = {name: tf.stack([s[name] for s in steps], axis=1) for name in steps[0]}
        inferred["kl"] = sum(
            normal.kl(inferred[f"{name}_mean"], inferred[f"{name}_std"], *prior)
            for name, prior in self.priors().items()
        )
        patches, placed = self.draw_objects(inferred["place"], inferred["what"])
        return {**inferred, "patches": patches, "placed": placed}

    def priors(self):
        """(mean, standard deviation) of each latent but presence."""
        return {"place": self.place_prior, "what": (0.0, 1.0)}

    def _networks_precision(self):
        """Scope in which the networks' matrix products have `precision`."""
        return snt.mixed_precision.scope(PRECISIONS[self.precision])

    def log_likelihoods(self, image, placed):
        """log p(x) given the first 0 .. N objects, [B, N + 1] in nats.

        Args:
          image: [B, H, W].
          placed: [B, N, H, W].
        """
        canvases = tf.cumsum(placed, axis=1)
        canvases = tf.concat([tf.zeros_like(canvases[:, :1]), canvases], axis=1)
        return tf.reduce_sum(self.pixels(image[:, None], canvases), axis=[2, 3])

    def images(self, data):
        """The pictures [B, H, W] of data, which has one frame; creates the variables."""
        image = tf.convert_to_tensor(data["image"])
        if image.shape[1] != 1:
            raise UserError(f"the data has {image.shape[1]} frames, AIR takes one")
        self.initialize(image.shape[2:])
        if image.shape[2:] != self.image_shape:
            raise UserError(
                f"pictures of {list(image.shape[2:])}, but the model was made for "
                f"{list(self.image_shape)}: set data.image_dim"
            )
        num_objects = data["mask"].shape[2] - self.num_background if "mask" in data else 0
        if num_objects > self.num_steps and not self.said_too_many:
            self.said_too_many = True
            print(
                f"scenes have up to {num_objects} objects, and AIR sees {self.num_steps} at "
                f"most: set num_components={num_objects + 1} to count them all",
                file=sys.stderr,
            )
        return image[:, 0, ..., 0]

    def sample(self, counts):
        """Draws pictures of so many objects, their places and appearances from the prior.

        Args:
          counts: number of objects in each, [B].

        Returns:
          [B, H, W, 1].
        """
        shape = [counts.shape[0], self.num_steps]
        mean, std = self.place_prior
        place = normal.draw(mean, std, tf.random.normal([*shape, PLACE]))
        _, placed = self.draw_objects(place, tf.random.normal([*shape, self.n_z]))
        there = tf.sequence_mask(counts, self.num_steps, tf.float32)
        return tf.einsum("bn,bnhw->bhw", there, placed)[..., None]

    def bounds(self, data, seeds):
        """The importance-weighted bound of Burda et al. 2016, of `bound_draws` draws a scene.

        log mean_s w_s <= log p(x), w_s as in `presence.log_marginal_weights`. The draws come in
        chunks, so that memory does not grow with their number.

        Args:
          data: as in `Model`.
          seeds: int32 [B, 2], of each scene's draws.

        Returns:
          {iwae: [B, 1], in nats}.
        """
        image = tf.repeat(self.images(data), BOUND_CHUNK, axis=0)
        shape = self.noise_shape(BOUND_CHUNK)

        def log_weights(chunk):  # -> [B, BOUND_CHUNK]
            chunk_seeds = [
                tf.random.experimental.stateless_fold_in(seed, chunk) for seed in tf.unstack(seeds)
            ]
            noise = [tf.random.stateless_normal(shape, seed) for seed in chunk_seeds]
            inferred = self.infer(image, tf.concat(noise, axis=1), copies=BOUND_CHUNK)
            log_ratios = sum(
                normal.log_ratio(*(inferred[name + part] for part in ("", "_mean", "_std")), *prior)
                for name, prior in self.priors().items()
            )
            weights = presence.log_marginal_weights(
                inferred["logits"],
                self.prior_logit,
                self.log_likelihoods(image, inferred["placed"]),
                log_ratios,
            )
            return tf.reshape(weights, [-1, BOUND_CHUNK])

        chunks = tf.range(self.bound_draws // BOUND_CHUNK)
        weights = tf.map_fn(
            log_weights, chunks, parallel_iterations=1, fn_output_signature=tf.float32
        )  # [chunks, B, BOUND_CHUNK]
        bound = tf.reduce_logsumexp(weights, axis=[0, 2]) - np.log(self.bound_draws)
        return {"iwae": bound[:, None]}


def _draw(name, mean, raw_std, noise):
    """A latent and its posterior's parameters, {name, name_mean, name_std: [B, D]}."""
    std = tf.nn.softplus(raw_std)
    return {name: normal.draw(mean, std, noise), f"{name}_mean": mean, f"{name}_std": std}
