"""AIR: Attend, Infer, Repeat (Eslami et al. 2016).

A picture is explained by one object after the other, up to N: whether there is one more (presence),
where it is (a place: scale and shift of a window), and what it looks like (an appearance, decoded
to the window's pixels).

B is the number of scenes, N that of steps; `Model` has the rest. The contract's K slots are the
black background, which has no latents, and the N objects.
"""

from typing import ClassVar

import numpy as np
import tensorflow as tf

from iodine.baselines.air import presence, windows
from iodine.baselines.air.inference import BOUND_CHUNK, AIRInference
from iodine.baselines.air.networks import PatchDecoder, RecurrentNet
from iodine.baselines.air.pixels import PIXELS
from iodine.baselines.air.spatial_transformer import PLACE
from iodine.errors import UserError, did_you_mean
from iodine.figures import summary_images
from iodine.model import Model, metric_scalars, with_ground_truth
from iodine.modules.inference import PRECISIONS
from iodine.modules.networks import MLP

ESTIMATORS = ("exact", "reinforce")
# Where the place's standard deviations start. Means start at the prior's. From a place elsewhere,
# its KL divergence costs more than a picture's likelihood gains, and presence, which learns faster,
# falls to no object and never comes back.
START_STD = (0.2, 0.3, 0.3)

SHOWN = 0.25  # from this brightness on, a pixel is an object's, as in Multi-MNIST's true masks


class AIR(AIRInference):
    """The model, for pictures of one channel.

    Args:
      num_components: K, number of slots: the background, and N = K - 1 objects at most, one a step.
      n_z: size of an appearance.
      patch_dim: (h, w), pixels of a window.
      place_prior_mean, place_prior_std: of (s, x, y), independent normal variables. s is the
        picture's side by the window's.
      presence_prior: probability of one more object.
      estimator: of the gradient of presence, "exact" (`presence.exact_terms`) or "reinforce"
        (`presence.reinforce_terms`, as published, with a learned baseline).
      pixel_dist: "normal", of standard deviation 0.3 around the sum of the placed patches, or
        "bernoulli".
      lstm_size, hidden_size: of all networks.
      bound_draws: number of draws of the importance-weighted bound.
      precision: "float32", or "mixed_bfloat16" for the networks' matrix products in bfloat16.
      rematerialize: has to be False: three steps of small networks need no memory spared.

    Attributes:
      num_steps: N.

    Raises:
      UserError: for a name or a value that is none of these.
    """

    # In the order in which tables show them.
    METRICS: ClassVar = ("count_accuracy", "elbo", "iwae", *Model.METRICS)
    PRINTED: ClassVar = {
        "loss": ("Loss", "loss/total"),
        "count_accuracy": ("count accuracy", "count/accuracy"),
    }
    # The baseline's gradient would take all of a joint norm, and so slow the rest down.
    max_gradient_norm = None

    def __init__(
        self,
        num_components=4,
        n_z=50,
        patch_dim=(28, 28),
        place_prior_mean=(3.0, 0.0, 0.0),
        place_prior_std=(0.2, 1.0, 1.0),
        presence_prior=0.01,
        estimator="exact",
        pixel_dist="normal",
        lstm_size=256,
        hidden_size=200,
        bound_draws=100,
        precision="float32",
        rematerialize=False,
        name="air",
    ):
        super().__init__(name=name)
        for label, value, known in (
            ("estimator", estimator, ESTIMATORS),
            ("pixel_dist", pixel_dist, PIXELS),
            ("precision", precision, PRECISIONS),
        ):
            if value not in known:
                raise UserError(
                    f"{label} is '{value}'{did_you_mean(value, known)}, use {' or '.join(known)}"
                )
        if not 0 < presence_prior < 1:
            raise UserError(f"presence_prior is {presence_prior}, use a number between 0 and 1")
        if bound_draws % BOUND_CHUNK:
            raise UserError(f"bound_draws is {bound_draws}, use a multiple of {BOUND_CHUNK}")
        if rematerialize:
            raise UserError("AIR has no use for rematerialize=True: leave it out")
        if num_components < 2:
            raise UserError(f"num_components is {num_components}, at least 2 are needed")
        self.num_components = num_components
        self.num_steps = num_components - 1
        self.n_z = n_z
        self.patch_shape = tuple(patch_dim)
        self.place_prior = tuple(
            tf.constant(value, tf.float32) for value in (place_prior_mean, place_prior_std)
        )
        self.prior_logit = float(np.log(presence_prior) - np.log1p(-presence_prior))
        self.pixels = PIXELS[pixel_dist]
        self.bound_draws = bound_draws
        self.precision = precision
        # Presence logit, means of the place, its standard deviations before their softplus.
        start = [0.0, *place_prior_mean, *np.log(np.expm1(START_STD))]
        self.start = tf.constant(start, tf.float32)
        self.recurrent_net = RecurrentNet(1 + 2 * PLACE, lstm_size, hidden_size)
        self.encoder = MLP([hidden_size, 2 * n_z], activation="relu", name="patch_encoder")
        self.decoder = PatchDecoder(self.patch_shape, hidden_size)
        self.baseline = None
        if estimator == "reinforce":
            self.baseline = RecurrentNet(1, lstm_size, hidden_size, name="baseline")
        self.said_too_many = False

    def __call__(self, data, noise=None):
        """Computes the training loss, the mean negative ELBO; with a baseline, that one's beside.

        Args:
          data: as in `Model`.
          noise: of `noise_shape(B)`, drawn if None.

        Returns:
          (loss [], scalars {name: []}, what `infer` returns). The scalars are those of `Model`,
          loss/recons, loss/kl, count/accuracy, count/mean (expected), and loss/baseline (the root
          of its mean squared error) where there is one.
        """
        image = self.images(data)
        noise = self.draw_noise(image.shape[0]) if noise is None else noise
        inferred = self.infer(image, noise)
        terms = (
            inferred["logits"],
            self.prior_logit,
            self.log_likelihoods(image, inferred["placed"]),
            inferred["kl"],
        )
        extra, scalars = 0.0, {}
        if self.baseline is not None:
            present = presence.draw_present(inferred["logits"], tf.transpose(noise[..., -1]))
            baseline = inferred["baseline"]
            log_likelihood, kl, score, error = presence.reinforce_terms(*terms, present, baseline)
            # Their gradients are wanted, and their values mean nothing.
            extra = tf.reduce_mean(score + error)
            extra -= tf.stop_gradient(extra)
            scalars["loss/baseline"] = tf.sqrt(tf.reduce_mean(error))
        else:
            log_likelihood, kl = presence.exact_terms(*terms)
        recons, kl = -tf.reduce_mean(log_likelihood), tf.reduce_mean(tf.reduce_sum(kl, axis=1))
        outputs = self._outputs(inferred)
        metrics = self._metrics(data, outputs)
        probs = outputs["count_probs"]
        scalars |= metric_scalars(metrics)
        if "loss/count_accuracy" in scalars:
            scalars["count/accuracy"] = scalars.pop("loss/count_accuracy")
        counts = tf.range(self.num_steps + 1, dtype=tf.float32)
        scalars |= {
            "loss/total": recons + kl,
            "loss/recons": recons,
            "loss/kl": kl,
            "count/mean": tf.reduce_mean(tf.reduce_sum(probs * counts, axis=1)),
        }
        return recons + kl + extra, scalars, inferred

    def _outputs(self, inferred):
        """The picture that the most probable number of objects makes.

        Returns:
          Dict of count_probs q(n) [B, N + 1], count [B], recons [B, 1, H, W, 1], components and
          pred_mask [B, K, H, W, 1]. A pixel is shared by its brightness in each object, and the
          background counts as one of brightness `SHOWN`.
        """
        count_probs = tf.exp(presence.count_log_probs(inferred["logits"]))
        count = tf.argmax(count_probs, axis=1, output_type=tf.int32)
        is_there = tf.sequence_mask(count, self.num_steps, tf.float32)
        objects = (is_there[..., None, None] * inferred["placed"])[..., None]
        recons = tf.reduce_sum(objects, axis=1, keepdims=True)
        brightness = tf.concat([SHOWN * tf.ones_like(recons), objects], axis=1)
        return {
            "count_probs": count_probs,
            "count": count,
            "recons": recons,
            "components": _with_background(objects),
            "pred_mask": brightness / tf.reduce_sum(brightness, axis=1, keepdims=True),
        }

    def _metrics(self, data, outputs):
        """{mse, ari, ari_nobg, count_accuracy}, each [B]; mse alone without true masks."""
        true_mask = tf.convert_to_tensor(data["mask"])[:, 0] if "mask" in data else None
        metrics = self.image_metrics(
            tf.convert_to_tensor(data["image"]),
            outputs["recons"],
            true_mask,
            outputs["pred_mask"],
        )
        if "visibility" in data:
            correct = tf.equal(self._true_count(data), outputs["count"])
            metrics["count_accuracy"] = tf.cast(correct, tf.float32)
        return metrics

    def _true_count(self, data):
        objects = tf.convert_to_tensor(data["visibility"])[:, self.num_background :]
        return tf.cast(tf.reduce_sum(objects, axis=1), tf.int32)

    def eval(self, data, noise=None):
        """Everything about what the model infers; changes no variable.

        Args:
          data: as in `Model`.
          noise: of `noise_shape(B)`, drawn if None.

        Returns:
          As `Model.eval`, with T = 1 and Z = 3 + n_z, the place before the appearance, and
            counts {probs q(n) [B, N + 1], predicted (the most probable) [B], true [B]};
            steps: what `infer` returns;
            losses {total [], recons [B, 1], kl [B, 1, K]}, in expectation over presence;
            metrics {elbo, mse, ari, ari_nobg, count_accuracy} [B, 1].
        """
        image = self.images(data)
        inferred = self.infer(image, self.draw_noise(image.shape[0]) if noise is None else noise)
        log_likelihood, kl = presence.exact_terms(
            inferred["logits"],
            self.prior_logit,
            self.log_likelihoods(image, inferred["placed"]),
            inferred["kl"],
        )
        elbo = log_likelihood - tf.reduce_sum(kl, axis=1)
        outputs = self._outputs(inferred)
        metrics = {"elbo": elbo, **self._metrics(data, outputs)}
        counts = {"probs": outputs.pop("count_probs"), "predicted": outputs.pop("count")}
        if "visibility" in data:
            counts["true"] = self._true_count(data)
        outputs["pred_mask_logits"] = tf.math.log(tf.maximum(outputs["pred_mask"], 1e-6))

        def both(suffix):
            parts = [inferred[f"{name}{suffix}"] for name in ("place", "what")]
            return _with_background(tf.concat(parts, axis=-1))

        latent = {"z": both(""), "z_mean": both("_mean"), "z_std": both("_std")}
        losses = {"recons": -log_likelihood, "kl": _with_background(kl)}
        with_t = tf.nest.map_structure(
            lambda x: x[:, None], {"latent": latent, "outputs": outputs, "losses": losses}
        )
        with_t["losses"]["total"] = -tf.reduce_mean(elbo)
        return {
            "data": with_ground_truth(data),
            **with_t,
            "metrics": {name: value[:, None] for name, value in metrics.items()},
            "counts": counts,
            "steps": inferred,
        }

    def figures(self, info):
        """Counts, attention, traversals and samples, see `air_figures`."""
        from iodine.baselines.air import figures  # Of matplotlib, which training does without.

        return figures.figures(self, info)

    def get_overview_images(self, data, nr_images=4):
        """Pictures of the first scenes, for TensorBoard.

        Args:
          data: as in `Model`.
          nr_images: number of scenes to show, fewer if B is smaller.

        Returns:
          {"overview", "attention", "samples"}, each float32 [1, H', W', 3] in [0, 1]: images and
          reconstructions with the attended windows, and the objects; what each step attends to and
          makes of it; 16 draws from the prior, with as many objects as the model counts in scenes
          of the data.
        """
        image = tf.convert_to_tensor(data["image"])[:nr_images]
        info = self.eval({"image": image})
        counts = info["counts"]["predicted"]
        samples = self.sample(tf.tile(counts, [16])[:16])
        return {
            "overview": windows.draw_scenes(image[:, 0], info),
            "attention": windows.draw_attention(info),
            "samples": summary_images.draw_samples(samples[:, None]),
        }


def _with_background(values):
    """What belongs to N objects, [B, N, ...], with zeros for the background before: [B, K, ...]."""
    return tf.concat([tf.zeros_like(values[:, :1]), values], axis=1)
