"""AIR's inference: one object after the other, each attended to, encoded, decoded and put back."""

import sonnet as snt
import tensorflow as tf

from iodine.baselines import normal
from iodine.baselines.attention import attend, put
from iodine.modules.inference import PRECISIONS
from iodine.modules.model import Model
from iodine.modules.utils import UserError

PLACE = 3  # (s, x, y)


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
          copies: number of draws of each scene, which follow each other: B = copies * scenes, and
            the images of the first draws are as good as those of all.

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


def _draw(name, mean, raw_std, noise):
    """A latent and its posterior's parameters, {name, name_mean, name_std: [B, D]}."""
    std = tf.nn.softplus(raw_std)
    return {name: normal.draw(mean, std, noise), f"{name}_mean": mean, f"{name}_std": std}
