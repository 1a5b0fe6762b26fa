"""AIR: Attend, Infer, Repeat (Eslami et al. 2016).

An image is explained by one object after the other, up to N: whether there is one more (presence),
where it is (a place: scale and shift of a window), and what it looks like (an appearance, decoded
to the window's pixels).

B is the number of scenes, N that of steps; `Model` has the rest. The contract's K slots are the
black background, which has no latents, and the N objects.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from iodine import errors
from iodine.baselines.air import presence
from iodine.baselines.air.networks import PatchDecoder, RecurrentNet
from iodine.baselines.air.spatial_transformer import PLACE, attend, put
from iodine.figures import summary_images
from iodine.model import Data, Model, Scalars, State
from iodine.modules.distribution import normal_kl, normal_log_ratio
from iodine.modules.networks import MLP
from iodine.modules.utils import shape_of

ESTIMATORS = ("exact", "reinforce")
# Where the place's standard deviations start. Means start at the prior's. From a place elsewhere,
# its KL divergence costs more than an image's likelihood gains, and presence, which learns faster,
# falls to no object and never comes back.
START_STD = (0.2, 0.3, 0.3)

PIXEL_STD = 0.3  # of an image's pixels around the sum of the placed patches
SHOWN = 0.25  # from this brightness on, a pixel is an object's, as in Multi-MNIST's true masks
BOUND_CHUNK = 10  # draws of the importance-weighted bound at a time, for its memory


class AIR(Model):
    """The model, for images of one channel.

    The loss is the negative ELBO, with log p(x | objects) = log N(x; sum of patches, PIXEL_STD²).

    Args:
      num_components: K, number of slots: the background, and N = K - 1 objects at most, one a step.
      n_z: size of an appearance.
      patch_dim: (h, w), pixels of a window.
      place_prior_mean, place_prior_std: of (s, x, y), independent normal variables. s is the
        image's side by the window's.
      presence_prior: probability of one more object.
      learned_presence_prior: whether that is learned by the ELBO, one for each step, from
        presence_prior on. This is for a trained model, whose posterior counts already.
      estimator: of the gradient of presence, "exact" (`presence.exact_terms`) or "reinforce"
        (`presence.reinforce_terms`, as published, with a learned baseline).
      lstm_size, hidden_size: of all networks.
      bound_draws: number of draws of the importance-weighted bound.
      precision: as in `Model`.

    Attributes:
      num_steps: N.
      prior_logits: of one more object at each step under the prior, [N]; a variable if it is
        learned.

    Raises:
      UserError: if a name or a value is invalid.
    """

    # In the order in which tables show them.
    METRICS: ClassVar[tuple[str, ...]] = ("count_accuracy", "elbo", "iwae", *Model.METRICS)
    PRINTED: ClassVar = {
        "loss": ("Loss", "loss/total"),
        "count_accuracy": ("count accuracy", "count/accuracy"),
    }
    # The baseline's gradient would take all of a joint norm, and so slow the rest down.
    max_gradient_norm: float | None = None
    ADDED: ClassVar[tuple[str, ...]] = ("prior_logits",)
    has_one_size = True
    fewest_components = 2

    def __init__(
        self,
        num_components: int = 4,
        n_z: int = 50,
        patch_dim: Sequence[int] = (28, 28),
        place_prior_mean: Sequence[float] = (3.0, 0.0, 0.0),
        place_prior_std: Sequence[float] = (0.2, 1.0, 1.0),
        presence_prior: float = 0.01,
        learned_presence_prior: bool = False,
        estimator: str = "exact",
        lstm_size: int = 256,
        hidden_size: int = 200,
        bound_draws: int = 100,
        precision: str = "float32",
        name: str = "air",
    ):
        super().__init__(num_components, n_z, precision=precision, name=name)
        errors.one_of(estimator, ESTIMATORS, "estimator")
        errors.number(presence_prior, "presence_prior", lambda p: 0 < p < 1, "between 0 and 1")
        if bound_draws % BOUND_CHUNK:
            raise errors.UserError(f"bound_draws is {bound_draws}, use a multiple of {BOUND_CHUNK}")
        self.num_steps = self.num_components - 1
        self.patch_shape = tuple(patch_dim)
        self.place_prior = tuple(
            tf.constant(value, tf.float32) for value in (place_prior_mean, place_prior_std)
        )
        prior_logit = np.log(presence_prior) - np.log1p(-presence_prior)
        self.prior_logits = tf.fill([self.num_steps], tf.cast(prior_logit, tf.float32))
        if learned_presence_prior:
            self.prior_logits = tf.Variable(self.prior_logits, name="prior_logits")
        self.bound_draws = bound_draws
        # Presence logit, means of the place, its standard deviations before their softplus.
        start = [0.0, *place_prior_mean, *np.log(np.expm1(START_STD))]
        self.start = tf.constant(start, tf.float32)
        self.recurrent_net = RecurrentNet(1 + 2 * PLACE, lstm_size, hidden_size)
        self.encoder = MLP([hidden_size, 2 * self.n_z], activation="relu", name="patch_encoder")
        self.decoder = PatchDecoder(self.patch_shape, hidden_size)
        self.baseline = None
        if estimator == "reinforce":
            self.baseline = RecurrentNet(1, lstm_size, hidden_size, name="baseline")
        self.said_too_many = False

    def noise_shape(self, batch_size: int) -> list[int]:
        """Shape of the noise of places and appearances, and of drawn presence where it is drawn."""
        return [self.num_steps, batch_size, PLACE + self.n_z + (self.baseline is not None)]

    def initialize(self, image_shape: Sequence[int]) -> None:
        """Creates all variables, as in `Model`; raises `UserError` for images of many channels."""
        if image_shape[-1] != 1:
            raise errors.UserError(
                f"AIR takes images of one channel, not {image_shape[-1]}: set data.grayscale=True"
            )
        super().initialize(image_shape)

    def images(self, data: Data) -> tf.Tensor:
        """As `Model`; says in a line if scenes have more objects than N."""
        num_objects = data["mask"].shape[2] - self.num_background if "mask" in data else 0
        if num_objects > self.num_steps and not self.said_too_many:
            self.said_too_many = True
            print(
                f"scenes have up to {num_objects} objects, and AIR sees {self.num_steps} at "
                f"most: set num_components={num_objects + 1} to count them all",
                file=sys.stderr,
            )
        return super().images(data)

    # ---------------------------------------------------------------- from image to objects

    def find_objects(self, image: tf.Tensor, noise: tf.Tensor, copies: int = 1) -> State:
        """Looks for all N objects, as if each were present.

        Args:
          image: [B, H, W].
          noise: of `noise_shape(B)`.
          copies: number of draws of each scene, whose images follow each other in the batch; what
            all draws share is computed once.

        Returns:
          Dict of logits (of presence) [B, N]; place, place_mean, place_std [B, N, 3]; what,
          what_mean, what_std [B, N, n_z]; kl (of place and appearance, in nats) [B, N]; attended
          and patches [B, N, h, w]; placed [B, N, H, W]; log_likelihoods (of the image, given the
          first 0 .. N objects, in nats) [B, N + 1]; with a baseline, that [B, N].
        """
        batch_size, height, width = shape_of(image)
        flat = tf.reshape(image, [-1, height * width])[::copies]
        with self.networks_precision():
            seen = tf.repeat(self.recurrent_net.look(flat), copies, axis=0)
            if self.baseline is not None:
                seen_by_baseline = tf.repeat(self.baseline.look(flat), copies, axis=0)
        last = tf.zeros([batch_size, 1 + PLACE + self.n_z])
        state = baseline_state = self.recurrent_net.initial_state(batch_size)
        steps = []
        for t in range(self.num_steps):
            with self.networks_precision():
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
            with self.networks_precision():
                patch = tf.reshape(step["attended"], [-1, np.prod(self.patch_shape)])
                encoded = self.encoder(patch)
            mean, raw_std = tf.split(encoded, 2, axis=-1)
            step |= _draw("what", mean, raw_std, noise[t, :, PLACE : PLACE + self.n_z])
            last = tf.concat([tf.ones([batch_size, 1]), step["place"], step["what"]], axis=-1)
            steps.append(step)
        found = {name: tf.stack([s[name] for s in steps], axis=1) for name in steps[0]}
        found["kl"] = sum(
            normal_kl(found[f"{name}_mean"], found[f"{name}_std"], *prior)
            for name, prior in self.priors().items()
        )
        found["patches"], found["placed"] = self.draw_objects(found["place"], found["what"])
        found["log_likelihoods"] = self.log_likelihoods(image, found["placed"])
        return found

    def priors(self) -> dict[str, tuple]:
        """(mean, standard deviation) of each latent but presence."""
        return {"place": self.place_prior, "what": (0.0, 1.0)}

    def draw_objects(self, place: tf.Tensor, what: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws objects.

        Args:
          place: [B, N, 3].
          what: appearances, [B, N, n_z].

        Returns:
          (patches [B, N, h, w], the same in their places [B, N, H, W]).
        """
        num_objects, canvas_shape = place.shape[1], self.image_shape[:2]
        with self.networks_precision():
            patches = self.decoder(tf.reshape(what, [-1, self.n_z]))  # [B * N, h, w]
        placed = put(patches, tf.reshape(place, [-1, PLACE]), canvas_shape)
        return (
            tf.reshape(patches, [-1, num_objects, *self.patch_shape]),
            tf.reshape(placed, [-1, num_objects, *canvas_shape]),
        )

    def log_likelihoods(self, image: tf.Tensor, placed: tf.Tensor) -> tf.Tensor:
        """log p(x) given the first 0 .. N objects, [B, H, W] and [B, N, H, W] -> [B, N + 1]."""
        canvases = tf.cumsum(placed, axis=1)
        canvases = tf.concat([tf.zeros_like(canvases[:, :1]), canvases], axis=1)
        error = tf.square((image[:, None] - canvases) / PIXEL_STD)
        log_probs = -0.5 * error - np.log(PIXEL_STD * np.sqrt(2.0 * np.pi))
        return tf.reduce_sum(log_probs, axis=[2, 3])

    def infer(self, image: tf.Tensor, noise: tf.Tensor, is_training: bool = False) -> list[State]:
        """Explains images as `Model` describes it, by the most probable number of objects.

        z is a place and the appearance there, Z = 3 + n_z; the background's is 0. A pixel is shared
        by its brightness in each object, and the background counts as one of brightness `SHOWN`.
        The losses recons and kl are expectations over presence, those of a drawn presence where
        the loss of a model with a baseline is asked for.

        The state also has count_probs q(n) [B, N + 1], count (the most probable) [B], steps (what
        `find_objects` returns), and score and baseline_error [B] of `presence.reinforce_terms`
        where presence was drawn.
        """
        found = self.find_objects(image[:, 0, ..., 0], noise)
        terms = (found["logits"], self.prior_logits, found["log_likelihoods"], found["kl"])
        drawn = {}
        if is_training and self.baseline is not None:
            present = presence.draw_present(found["logits"], tf.transpose(noise[..., -1]))
            log_likelihood, kl, score, error = presence.reinforce_terms(
                *terms, present, found["baseline"]
            )
            drawn = {"score": score, "baseline_error": error}
        else:
            log_likelihood, kl = presence.exact_terms(*terms)
        losses = {
            "recons": -log_likelihood,
            "kl": _with_background(kl),
            "total": tf.reduce_sum(kl, axis=1) - log_likelihood,
        }
        latents = {"z": "", "z_mean": "_mean", "z_std": "_std"}
        for name, part in latents.items():
            both = tf.concat([found[f"place{part}"], found[f"what{part}"]], axis=-1)
            latents[name] = _with_background(both)
        return [{**latents, **self._outputs(found), "losses": losses, "steps": found, **drawn}]

    def _outputs(self, found):
        """The image that the most probable number of objects makes, part of a state of `infer`."""
        count_probs = tf.exp(presence.count_log_probs(found["logits"]))
        count = tf.argmax(count_probs, axis=1, output_type=tf.int32)
        is_there = tf.sequence_mask(count, self.num_steps, tf.float32)
        objects = (is_there[..., None, None] * found["placed"])[..., None]  # [B, N, H, W, 1]
        recons = tf.reduce_sum(objects, axis=1, keepdims=True)
        brightness = tf.concat([SHOWN * tf.ones_like(recons), objects], axis=1)
        masks = brightness / tf.reduce_sum(brightness, axis=1, keepdims=True)
        return {
            "count_probs": count_probs,
            "count": count,
            "recons": recons,
            "components": _with_background(objects),
            "pred_mask": masks,
            "pred_mask_logits": tf.math.log(tf.maximum(masks, 1e-6)),
        }

    def loss(self, states: list[State]) -> tuple[tf.Tensor, Scalars]:
        """The mean negative ELBO; with a baseline, the gradient that learns both is added.

        Returns:
          (loss [], scalars): as in `Model`, with count/mean (expected), count/prior (expected under
          the prior), and loss/baseline (the root of the baseline's mean squared error) where
          presence was drawn.
        """
        loss, scalars = super().loss(states)
        (state,) = states
        counts = tf.range(self.num_steps + 1, dtype=tf.float32)
        expected = tf.reduce_sum(state["count_probs"] * counts, axis=1)
        scalars["count/mean"] = tf.reduce_mean(expected)
        scalars["count/prior"] = tf.reduce_sum(tf.exp(self.prior_log_probs()) * counts)
        if "score" in state:
            scalars["loss/baseline"] = tf.sqrt(tf.reduce_mean(state["baseline_error"]))
            # Their gradients are wanted, and their values mean nothing.
            extra = tf.reduce_mean(state["score"] + state["baseline_error"])
            loss += extra - tf.stop_gradient(extra)
        return loss, scalars

    # ---------------------------------------------------------------- what is said of it

    def metrics(self, data: Data, state: State, t: int) -> dict[str, tf.Tensor]:
        """As in `Model`, with elbo and, where objects are known, count_accuracy [B]."""
        metrics = {"elbo": -state["losses"]["total"], **super().metrics(data, state, t)}
        if "visibility" in data:
            correct = tf.equal(self._true_count(data), state["count"])
            metrics["count_accuracy"] = tf.cast(correct, tf.float32)
        return metrics

    def details(self, data: Data, states: list[State]) -> dict[str, Any]:
        """Entries of `eval`'s info: counts and steps.

        Returns:
          counts {probs q(n) and prior p(n) [B, N + 1], predicted (the most probable) [B],
            true [B]};
          steps: what `find_objects` returns.
        """
        (state,) = states
        probs = state["count_probs"]
        prior = tf.zeros_like(probs) + tf.exp(self.prior_log_probs())
        counts = {"probs": probs, "prior": prior, "predicted": state["count"]}
        if "visibility" in data:
            counts["true"] = self._true_count(data)
        return {"counts": counts, "steps": state["steps"]}

    def _true_count(self, data):
        objects = tf.convert_to_tensor(data["visibility"])[:, self.num_background :]
        return tf.cast(tf.reduce_sum(objects, axis=1), tf.int32)

    def __call__(
        self, data: Data, noise: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, Scalars, list[State]]:
        """As `Model`; of the scalars, loss/count_accuracy is called count/accuracy."""
        loss, scalars, states = super().__call__(data, noise)
        if "loss/count_accuracy" in scalars:
            scalars["count/accuracy"] = scalars.pop("loss/count_accuracy")
        return loss, scalars, states

    def prior_log_probs(self) -> tf.Tensor:
        """Logarithms of the prior's p(0) .. p(N), [N + 1]."""
        return presence.count_log_probs(tf.convert_to_tensor(self.prior_logits)[None])[0]

    def sample_counts(self, num_scenes: int) -> tf.Tensor:
        """Draws numbers of objects from the prior, int32 [num_scenes]."""
        log_probs = self.prior_log_probs()[None]
        return tf.random.categorical(log_probs, num_scenes, dtype=tf.int32)[0]

    def sample(self, counts: tf.Tensor) -> tf.Tensor:
        """Draws images of so many objects, their places and appearances from the prior.

        Args:
          counts: number of objects in each, [B].

        Returns:
          [B, H, W, 1].
        """
        shape = [counts.shape[0], self.num_steps]
        mean, std = self.place_prior
        place = mean + std * tf.random.normal([*shape, PLACE])
        _, placed = self.draw_objects(place, tf.random.normal([*shape, self.n_z]))
        there = tf.sequence_mask(counts, self.num_steps, tf.float32)
        return tf.einsum("bn,bnhw->bhw", there, placed)[..., None]

    def bounds(self, data: Data, seeds: tf.Tensor) -> dict[str, tf.Tensor]:
        """The importance-weighted bound of Burda et al. 2016, of `bound_draws` draws a scene.

        log mean_s w_s <= log p(x), w_s as in `presence.log_marginal_weights`. The draws come in
        chunks, so that memory does not grow with their number.

        Args:
          data: as in `Model`.
          seeds: int32 [B, 2], of each scene's draws.

        Returns:
          {iwae: [B, 1], in nats}.
        """
        image = tf.repeat(self.images(data)[:, 0, ..., 0], BOUND_CHUNK, axis=0)
        shape = self.noise_shape(BOUND_CHUNK)

        def log_weights(chunk):  # -> [B, BOUND_CHUNK]
            chunk_seeds = [
                tf.random.experimental.stateless_fold_in(seed, chunk) for seed in tf.unstack(seeds)
            ]
            noise = [tf.random.stateless_normal(shape, seed) for seed in chunk_seeds]
            found = self.find_objects(image, tf.concat(noise, axis=1), copies=BOUND_CHUNK)
            log_ratios = sum(
                normal_log_ratio(*(found[name + part] for part in ("", "_mean", "_std")), *prior)
                for name, prior in self.priors().items()
            )
            weights = presence.log_marginal_weights(
                found["logits"], self.prior_logits, found["log_likelihoods"], log_ratios
            )
            return tf.reshape(weights, [-1, BOUND_CHUNK])

        chunks = tf.range(self.bound_draws // BOUND_CHUNK)
        weights = tf.map_fn(
            log_weights, chunks, parallel_iterations=1, fn_output_signature=tf.float32
        )  # [chunks, B, BOUND_CHUNK]
        bound = tf.reduce_logsumexp(weights, axis=[0, 2]) - np.log(self.bound_draws)
        return {"iwae": bound[:, None]}

    def figures(self, info: Mapping[str, Any]) -> list[tuple]:
        """Counts, attention, traversals and samples, see `iodine.baselines.air.figures`."""
        from iodine.baselines.air import figures  # Of matplotlib, which training does without.

        return figures.figures(self, info)

    def get_overview_images(self, data: Data, nr_images: int = 4) -> dict[str, tf.Tensor]:
        """As in `Model`: {"overview", "attention", "samples"}.

        A row of "overview" is a scene and its reconstruction with the attended windows, and the
        objects; two rows of "attention" are what each step attends to, and what it makes of it;
        "samples" are 16 draws from the prior, the first 8 with as many objects as the model counts
        in scenes of the data, the others with as many as the prior draws.
        """
        image = tf.convert_to_tensor(data["image"])[:nr_images]
        info = self.eval({"image": image})
        steps, outputs = info["steps"], info["outputs"]
        counts = info["counts"]["predicted"]
        there = tf.sequence_mask(counts, self.num_steps)
        tiles = [
            summary_images.draw_windows(images, steps["place"], there)
            for images in (image[:, 0], outputs["recons"][:, 0, 0])
        ]
        tiles += tf.unstack(outputs["components"][:, 0, 1:], axis=1)
        overview = tf.stack([summary_images.frame(tile) for tile in tiles], axis=1)
        attention = tf.stack([steps["attended"], steps["patches"]], axis=1)[..., None]
        attention = summary_images.frame(attention)  # [B, 2, N, h, w, 3]
        samples = self.sample(tf.concat([tf.tile(counts, [8])[:8], self.sample_counts(8)], axis=0))
        return {
            "overview": summary_images.grid(overview),
            "attention": summary_images.grid(tf.reshape(attention, [-1, *attention.shape[2:]])),
            "samples": summary_images.draw_samples(samples[:, None]),
        }


def _draw(name, mean, raw_std, noise):
    """A latent and its posterior's parameters, {name, name_mean, name_std: [B, D]}."""
    std = tf.nn.softplus(raw_std)
    return {name: mean + std * noise, f"{name}_mean": mean, f"{name}_std": std}


def _with_background(values):
    """What belongs to N objects, [B, N, ...], with zeros for the background before: [B, K, ...]."""
    return tf.concat([tf.zeros_like(values[:, :1]), values], axis=1)
