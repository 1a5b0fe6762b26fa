"""IODINE: iterative refinement of the posterior over a set of slots (Greff et al. 2019)."""

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine import errors
from iodine.figures import summary_images
from iodine.model import factor_scalars, metric_scalars, stack_factors, with_ground_truth
from iodine.modules.distribution import LocScaleDistribution, MaskedOutput
from iodine.modules.inference import PRECISIONS, IterativeInference
from iodine.modules.refinement_inputs import (
    ALL_INPUTS,
    PREPROCESS,
    STOP_GRADIENTS,
    RefinementInputs,
)


class IODINE(IterativeInference):
    """The model: decoder, refinement core and the loop that alternates them.

    Args:
      decoder: `ComponentDecoder`.
      refinement_core: `RefinementCore`.
      latent_dist: `LocScaleDistribution` of the latents.
      output_dist: `MaskedMixture` or `MaskedMean` over pixels.
      n_z: Z, size of a slot.
      num_components: K, number of slots.
      num_iters: number of refinements; the loss has one term more.
      sequential: iteration t sees frame t of a sequence of num_iters + 1 frames, instead of always
        the one image.
      factor_evaluator: `FactorRegressor`, or None.
      stop_gradients: names of the inputs through which no gradient flows.
      iter_loss_weight: weights of the num_iters + 1 loss terms: "linspace" from 0 to 1, one number
        for all, or a list.
      inputs: names of the refinement inputs.
      preprocess: names of the inputs that are layer-normalised.
      coord_type: coordinates among the inputs, "linear" or "cos".
      coord_freqs: number of frequencies of "cos".
      precision: "float32", or "mixed_bfloat16" for convolutions and matrix products in bfloat16;
        likelihoods, layer norms, KL, softmax and weights stay float32.
      rematerialize: forget each refinement's intermediate results and compute them again for the
        gradient, which then needs the memory of one iteration instead of all (the paper's appendix
        A.2 names that memory as what limits the model).
      kl_weight: weight of the KL divergence, 1 for the ELBO. Scenes shrunk to a fraction of their
        pixels have that fraction of their log-likelihood; the same fraction here keeps the balance.
      num_background: number of true entities, the first ones, that are no objects; ari_nobg leaves
        their pixels out.
      refinement_batch_size: as in `Model`.

    Raises:
      UserError: for a name or a value that is none of these.
    """

    def __init__(
        self,
        decoder,
        refinement_core,
        latent_dist,
        output_dist,
        n_z,
        num_components,
        num_iters,
        sequential=False,
        factor_evaluator=None,
        stop_gradients=STOP_GRADIENTS,
        iter_loss_weight="linspace",
        inputs=ALL_INPUTS,
        preprocess=None,
        coord_type="linear",
        coord_freqs=3,
        precision="float32",
        rematerialize=False,
        kl_weight=1.0,
        num_background=1,
        refinement_batch_size=None,
        name="iodine",
    ):
        super().__init__(name=name)
        n_z = errors.size(n_z, "n_z")
        num_components = errors.size(num_components, "num_components")
        num_iters = errors.size(num_iters, "num_iters")
        if num_components < 2:
            raise errors.UserError(f"num_components is {num_components}, at least 2 are needed")
        for what, dist, kind in (
            ("latent_dist", latent_dist, LocScaleDistribution),
            ("output_dist", output_dist, MaskedOutput),
        ):
            if not isinstance(dist, kind):
                raise errors.UserError(
                    f"{what} is a {type(dist).__name__}, but has to be a {kind.__name__}"
                )
        if output_dist.num_components != num_components:
            raise errors.UserError(
                f"output_dist.num_components is {output_dist.num_components}, "
                f"but the model's num_components {num_components}"
            )
        if precision not in PRECISIONS:
            raise errors.UserError(
                f"precision is '{precision}'{errors.did_you_mean(precision, PRECISIONS)}, "
                f"use {' or '.join(PRECISIONS)}"
            )
        if not isinstance(kl_weight, (int, float)) or not 0 <= kl_weight < np.inf:
            raise errors.UserError(f"kl_weight is {kl_weight!r}, use a number of 0 or more")
        if refinement_batch_size is not None and not refinement_batch_size >= 1:
            raise errors.UserError(
                f"refinement_batch_size is {refinement_batch_size!r}, use a number of scenes"
            )
        self.decoder = decoder
        self.refinement_core = refinement_core
        self.latent_dist = latent_dist
        self.output_dist = output_dist
        self.n_z = n_z
        self.num_components = num_components
        self.num_iters = num_iters
        self.sequential = sequential
        self.factor_evaluator = factor_evaluator
        self.precision = precision
        self.rematerialize = rematerialize
        self.kl_weight = kl_weight
        self.num_background = num_background
        self.refinement_batch_size = refinement_batch_size
        self.iter_loss_weights = self._iter_loss_weights(iter_loss_weight)
        self.refinement_inputs = RefinementInputs(
            output_dist,
            inputs,
            stop_gradients,
            PREPROCESS if preprocess is None else preprocess,
            coord_type,
            coord_freqs,
        )
        num_params = latent_dist.num_params(n_z)
        # Glorot-uniform for a vector takes its length for both fan-in and fan-out.
        limit = np.sqrt(3.0 / num_params)
        self.initial_sample_distribution = tf.Variable(
            tf.random.uniform([num_params], -limit, limit), name="initial_sample_distribution"
        )

    def _iter_loss_weights(self, weight):
        """Returns the weight of each of the num_iters + 1 loss terms as a list."""
        num_terms = self.num_iters + 1
        if weight == "linspace":
            return np.linspace(0.0, 1.0, num_terms).tolist()
        if isinstance(weight, (int, float)):
            return [float(weight)] * num_terms
        is_list = isinstance(weight, (list, tuple)) and len(weight) == num_terms
        if not is_list or not all(isinstance(w, (int, float)) for w in weight):
            raise errors.UserError(
                f"iter_loss_weight is {weight!r}, use 'linspace', a number, or a list of "
                f"num_iters + 1 = {num_terms} numbers"
            )
        return [float(w) for w in weight]

    @snt.once
    def initialize(self, image_shape):
        """Creates all variables.

        Args:
          image_shape: (H, W, C).
        """
        super().initialize(image_shape)
        self.initialize_factors(self.n_z)

    def _metrics(self, data, step, t):
        """Metrics of iteration t: {mse, ari, ari_nobg}, each [B]; no ARI without true masks."""
        image = self._frame(tf.convert_to_tensor(data["image"]), t)
        true_mask = self._true_mask(data, t) if "mask" in data else None
        return self.image_metrics(image, step["recons"], true_mask, step["pred_mask"])

    def _true_mask(self, data, t):
        """True masks of the frame of iteration t, [B, L, H, W, 1]."""
        return self._frame(tf.convert_to_tensor(data["mask"]), t)[:, 0]

    def _regress_factors(self, data, step, t):
        """Runs the factor regressor on iteration t, None where there is nothing to regress."""
        true_mask = self._true_mask(data, t) if "mask" in data else None
        return self.regress_factors(data, true_mask, step["z"], step["pred_mask"])

    def _weighted_sum(self, terms):
        weights = self.iter_loss_weights
        return tf.add_n([w * tf.reduce_mean(term) for w, term in zip(weights, terms)])

    def _losses(self, iterations):
        """Weighted sums over iterations of mean_B(re) and kl_weight·mean_B(Σ_K kl)."""
        recons = self._weighted_sum([step["re"] for step in iterations])
        kl = self._weighted_sum([tf.reduce_sum(step["kl"], axis=1) for step in iterations])
        return recons, self.kl_weight * kl

    def __call__(self, data, noise=None):
        """Computes the training loss.

        L = Σ_t w_t·mean_B(re_t + kl_weight·Σ_k kl_tk) + factor loss (paper, equation 6).

        Args:
          data: as in `Model`.
          noise: standard-normal draws [num_iters + 1, B, K, Z], drawn if None.

        Returns:
          (loss [], scalars {name: []}, iterations): the scalars are loss/total, loss/recons (the
          weighted sum), loss/kl (the unweighted one), loss/mse, loss/ari, loss/ari_nobg,
          factor/loss and factor/NAME; iterations is a list of num_iters + 1 dicts with zp, z,
          components, pred_mask, pred_mask_logits, recons, re [B], kl [B, K] and inputs.

        Raises:
          UserError: for data with a wrong number of frames, or without a factor.
        """
        iterations = self.encode(data, noise, self.rematerialize)
        recons, kl = self._losses(iterations)
        total = recons + kl
        scalars = {
            "loss/recons": recons,
            "loss/kl": tf.add_n(
                [tf.reduce_mean(tf.reduce_sum(step["kl"], axis=1)) for step in iterations]
            ),
        }
        scalars |= metric_scalars(self._metrics(data, iterations[-1], self.num_iters))
        factors = self._regress_factors(data, iterations[-1], self.num_iters)
        if factors is not None:
            total += factors["loss"]
            scalars |= factor_scalars(factors)
        scalars["loss/total"] = total
        return total, scalars, iterations

    def eval(self, data, noise=None):
        """Everything about every iteration; changes no variable.

        Args:
          data: as for `__call__`.
          noise: as for `__call__`.

        Returns:
          Nested dict (T = num_iters + 1; what needs ground truth is there only if data has it):
            data {image, true_mask, visibility, factors};
            inputs {spatial {name: [B, T, ...]}, flat {name: [B, T, ...]}}, entry 0 all zeros;
            latent {z, z_mean, z_std} [B, T, K, Z];
            outputs {recons [B, T, 1, H, W, C], pred_mask, pred_mask_logits [B, T, K, H, W, 1],
              components [B, T, K, H, W, C], the means of the components' pixels};
            losses {total [], recons [B, T], kl [B, T, K], factor [T]};
            metrics {mse, ari, ari_nobg} [B, T];
            factor_regressor {assignment [B, T, L, K], metrics {name: [T]},
              predictions {name: [B, T, L, n]}}.
        """
        iterations = self.encode(data, noise)
        recons, kl = self._losses(iterations)
        losses = {"total": recons + kl}

        def stack(values, axis=1):
            return tf.nest.map_structure(lambda *v: tf.stack(v, axis=axis), *values)

        latent_dists = [self.latent_dist(step["zp"]) for step in iterations]
        no_inputs = tf.nest.map_structure(tf.zeros_like, iterations[-1]["inputs"])
        output_names = ("recons", "pred_mask", "pred_mask_logits")
        mean = self.output_dist.component_dist.mean
        result = {
            "data": with_ground_truth(data),
            "inputs": stack([no_inputs, *[step["inputs"] for step in iterations[1:]]]),
            "latent": {
                "z": stack([step["z"] for step in iterations]),
                "z_mean": stack([dist.mean() for dist in latent_dists]),
                "z_std": stack([dist.stddev() for dist in latent_dists]),
            },
            "outputs": {name: stack([step[name] for step in iterations]) for name in output_names},
            "losses": losses,
            "metrics": stack([self._metrics(data, step, t) for t, step in enumerate(iterations)]),
        }
        losses["recons"] = stack([step["re"] for step in iterations])
        losses["kl"] = stack([step["kl"] for step in iterations])
        result["outputs"]["components"] = stack([mean(step["components"]) for step in iterations])
        factors = [self._regress_factors(data, s, t) for t, s in enumerate(iterations)]
        if factors[0] is not None:
            losses["factor"], result["factor_regressor"] = stack_factors(factors)
            losses["total"] += losses["factor"][-1]
        return result

    def get_overview_images(self, data, nr_images=4):
        """Pictures of the first scenes, for TensorBoard.

        Args:
          data: dict with image [B, frames, H, W, C].
          nr_images: number of scenes to show, fewer if B is smaller.

        Returns:
          {"overview", "sequence", "samples"}, each float32 [1, H', W', 3] in [0, 1]: image,
          reconstruction, masks and components of the scenes; what the iterations make of two of
          them; 16 decoded draws from the prior.
        """
        image = tf.convert_to_tensor(data["image"])[:nr_images]
        iterations = self.encode({"image": image})
        final, num_steps = iterations[-1], len(iterations)
        frames = tf.concat([self._frame(image, t) for t in range(num_steps)], axis=1)
        components = self.output_dist.component_dist.mean(final["components"])
        recons = tf.concat([step["recons"] for step in iterations], axis=1)
        masks = tf.stack([step["pred_mask"] for step in iterations], axis=1)
        samples = self.sample_prior(16)["recons"]
        return {
            "overview": summary_images.draw_overview(
                frames[:, -1:], final["recons"], final["pred_mask"], components
            ),
            "sequence": summary_images.draw_sequence(frames[:2], recons[:2], masks[:2]),
            "samples": summary_images.draw_samples(samples),
        }
