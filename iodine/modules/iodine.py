"""IODINE: iterative refinement of the posterior over a set of slots (Greff et al. 2019)."""

import numpy as np
import sonnet as snt
import tensorflow as tf
import tensorflow_probability as tfp

from iodine.modules import overview, utils
from multi_object_datasets.segmentation_metrics import adjusted_rand_index

SPATIAL_INPUTS = (
    "image",
    "log_prob",
    "mask",
    "pred_mask",
    "components",
    "dmask",
    "dcomponents",
    "posterior",
    "capacity",
    "coordinates",
    "counterfactual",
)
FLAT_INPUTS = ("zp", "dzp", "flat_capacity")
ALL_INPUTS = SPATIAL_INPUTS + FLAT_INPUTS

# Together these keep second derivatives out of training: whatever is a gradient, or would make the
# likelihood's gradient depend on one, enters the refinement network as a constant.
STOP_GRADIENTS = ("dzp", "dmask", "dcomponents", "log_prob", "counterfactual")

# Gradients and likelihoods differ by orders of magnitude, so these are layer-normalised.
PREPROCESS = ("dcomponents", "dmask", "dzp", "log_prob", "counterfactual")


def leave_one_out_logsumexp(x):
    """Log-sum-exp over all slots but one, for each slot.

    Prefix and suffix sums make it linear in K; subtracting a slot from the full sum would lose all
    digits where that slot dominates.

    Args:
      x: float32 [B, K, ...], K at least 2.

    Returns:
      float32 [B, K, ...].
    """
    slots = tf.unstack(x, axis=1)
    before, after = [slots[0]], [slots[-1]]
    for slot in slots[1:-1]:
        before.append(tfp.math.log_add_exp(before[-1], slot))
    for slot in slots[-2:0:-1]:
        after.append(tfp.math.log_add_exp(after[-1], slot))
    after.reverse()  # after[k] sums the slots above k, before[k] those up to k
    between = [tfp.math.log_add_exp(b, a) for b, a in zip(before[:-1], after[1:])]
    return tf.stack([after[0], *between, before[-1]], axis=1)


class IODINE(snt.Module):
    """The model: decoder, refinement core and the loop that alternates them.

    Args:
      decoder: `ComponentDecoder`.
      refinement_core: `RefinementCore`.
      latent_dist: distribution of the latents.
      output_dist: `MaskedMixture` over pixels.
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
      num_background: number of true entities, the first ones, that are no objects; ari_nobg leaves
        their pixels out.

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
        num_background=1,
        name="iodine",
    ):
        super().__init__(name=name)
        self.decoder = decoder
        self.refinement_core = refinement_core
        self.latent_dist = latent_dist
        self.output_dist = output_dist
        self.factor_evaluator = factor_evaluator
        self.n_z = n_z
        self.num_components = num_components
        self.num_iters = num_iters
        self.sequential = sequential
        self.coord_type = coord_type
        self.coord_freqs = coord_freqs
        self.num_background = num_background
        preprocess = PREPROCESS if preprocess is None else preprocess
        self.inputs = self._check_names("inputs", inputs)
        self.stop_gradients = self._check_names("stop_gradients", stop_gradients)
        self.preprocess = self._check_names("preprocess", preprocess)
        if num_components < 2:
            raise utils.UserError(f"num_components is {num_components}, at least 2 are needed")
        if num_iters < 1:
            raise utils.UserError(f"num_iters is {num_iters}, at least 1 is needed")
        if coord_type not in ("linear", "cos"):
            raise utils.UserError(f"coord_type is '{coord_type}', use 'linear' or 'cos'")
        self.iter_loss_weights = self._iter_loss_weights(iter_loss_weight)

        self.layer_norms = {
            key: snt.LayerNorm(
                axis=slice(1, None), create_scale=True, create_offset=True,
                name=f"layer_norm_{key}",
            )
            for key in self.preprocess
        }
        num_params = latent_dist.num_params(n_z)
        # Glorot-uniform for a vector takes its length for both fan-in and fan-out.
        limit = np.sqrt(3.0 / num_params)
        self.initial_sample_distribution = tf.Variable(
            tf.random.uniform([num_params], -limit, limit), name="initial_sample_distribution"
        )

    @staticmethod
    def _check_names(what, names):
        for name in names:
            if name not in ALL_INPUTS:
                raise utils.UserError(
                    f"{what}: unknown input '{name}'{utils.did_you_mean(name, ALL_INPUTS)}"
                )
        return tuple(names)

    def _iter_loss_weights(self, weight):
        """Returns the weight of each of the num_iters + 1 loss terms as a list."""
        num_terms = self.num_iters + 1
        if weight == "linspace":
            return np.linspace(0.0, 1.0, num_terms).tolist()
        if isinstance(weight, (int, float)):
            return [float(weight)] * num_terms
        if isinstance(weight, str) or len(weight) != num_terms:
            raise utils.UserError(
                f"iter_loss_weight is {weight}, use 'linspace', a number, or a list of "
                f"num_iters + 1 = {num_terms} numbers"
            )
        return [float(w) for w in weight]

    # ---------------------------------------------------------------- one iteration

    def draw_noise(self, batch_size):
        """Standard-normal noise for all iterations, [num_iters + 1, B, K, Z]."""
        return tf.random.normal([self.num_iters + 1, batch_size, self.num_components, self.n_z])

    def decode(self, z, image_shape):
        """Decodes slots to an image.

        Args:
          z: float32 [B, K, Z].
          image_shape: (H, W, C).

        Returns:
          Dict of components (pixel parameters [B, K, H, W, Cp]), pred_mask_logits and pred_mask
          [B, K, H, W, 1], and recons (the expected image) [B, 1, H, W, C].
        """
        height, width, channels = image_shape
        num_params = self.output_dist.num_params(channels)
        components, mask_logits = self.decoder(z, (height, width, num_params))
        pred_mask = tf.exp(self.output_dist.log_masks(mask_logits))
        return {
            "components": components,
            "pred_mask_logits": mask_logits,
            "pred_mask": pred_mask,
            "recons": self.output_dist.mean(components, pred_mask),
        }

    def sample_prior(self, num_scenes, image_shape, noise=None):
        """Decodes draws from the prior.

        Args:
          num_scenes: B.
          image_shape: (H, W, C).
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
        component_log_probs = self.output_dist.component_log_probs(out["components"], image)
        log_masks = self.output_dist.log_masks(out["pred_mask_logits"])
        log_prob = tf.reduce_logsumexp(log_masks + component_log_probs, axis=1, keepdims=True)
        return {
            "zp": zp,
            "z": z,
            "component_log_probs": component_log_probs,
            "log_prob": log_prob,
            "re": -tf.reduce_sum(log_prob, axis=[1, 2, 3, 4]),
            "kl": self.latent_dist.kl_to_prior(zp),
            **out,
        }

    def _explain_with_gradients(self, image, zp, noise, batch_size):
        """As `_explain`, with the gradients that the refinement network gets as inputs.

        They are those of the mean loss over the batch, so their size depends on the batch size,
        and, through the layer norm's epsilon, so does what the refinement network sees.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(zp)
            step = self._explain(image, zp, noise)
            loss = (tf.reduce_sum(step["re"]) + tf.reduce_sum(step["kl"])) / batch_size
        sources = [zp, step["components"], step["pred_mask_logits"]]
        return step, tape.gradient(loss, sources)

    def _coordinates(self, height, width):
        if self.coord_type == "cos":
            return utils.cosine_coordinates(height, width, self.coord_freqs)
        over_height, over_width = utils.linear_coordinates(height, width)
        return np.concatenate([over_width, over_height], axis=-1)

    def _counterfactual(self, step):
        """Log-likelihood lost at each pixel if a slot were not there, [B, K, H, W, 1].

        log p(x) - log Σ_{j≠k} m_j p_j(x) / Σ_{j≠k} m_j: the others' masks are renormalised.
        """
        log_masks = self.output_dist.log_masks(tf.stop_gradient(step["pred_mask_logits"]))
        log_joint = log_masks + tf.stop_gradient(step["component_log_probs"])
        without_slot = leave_one_out_logsumexp(log_joint) - leave_one_out_logsumexp(log_masks)
        return tf.stop_gradient(step["log_prob"]) - without_slot

    def _refinement_inputs(self, image, step, gradients):
        """Builds the inputs of the refinement network.

        Args:
          image: [B, 1, H, W, C].
          step: dict that `_explain` returned.
          gradients: of the loss with respect to zp, components and mask logits.

        Returns:
          {"spatial": {name: [B, K or 1, H, W, ·]}, "flat": {name: [B, K, ·]}}.
        """
        batch_size, num_components, height, width, _ = step["pred_mask"].shape
        dzp, dcomponents, dmask = gradients
        probs = tf.exp(step["component_log_probs"])
        values = {
            "image": lambda: image,
            "log_prob": lambda: step["log_prob"],
            "mask": lambda: step["pred_mask_logits"],
            "pred_mask": lambda: step["pred_mask"],
            "components": lambda: step["components"],
            "dmask": lambda: dmask,
            "dcomponents": lambda: dcomponents,
            "posterior": lambda: probs / (tf.reduce_sum(probs, axis=1, keepdims=True) + 1e-6),
            # The two capacities are constants left over from an earlier model; the published
            # weights expect them.
            "capacity": lambda: tf.fill([batch_size, num_components, height, width, 1], 0.5),
            "flat_capacity": lambda: tf.fill([batch_size, num_components, 1], 0.5),
            "coordinates": lambda: tf.tile(
                self._coordinates(height, width)[None], [batch_size, 1, 1, 1, 1]
            ),
            "counterfactual": lambda: self._counterfactual(step),
            "zp": lambda: step["zp"],
            "dzp": lambda: dzp,
        }
        inputs = {"spatial": {}, "flat": {}}
        for name in self.inputs:
            value = values[name]()
            if name in self.stop_gradients:
                value = tf.stop_gradient(value)
            if name in self.preprocess:
                value = snt.BatchApply(self.layer_norms[name])(value)
            inputs["spatial" if name in SPATIAL_INPUTS else "flat"][name] = value
        return inputs

    def initialize(self, image_shape):
        """Creates all variables by refining a blank scene once.

        Args:
          image_shape: (H, W, C).
        """
        image = tf.zeros([1, 1, *image_shape])
        zp = tf.tile(self.initial_sample_distribution[None, None], [1, self.num_components, 1])
        noise = tf.zeros([1, self.num_components, self.n_z])
        step, gradients = self._explain_with_gradients(image, zp, noise, batch_size=1)
        inputs = self._refinement_inputs(image, step, gradients)
        self.refinement_core(inputs, self.refinement_core.initial_state(self.num_components))
        if self.factor_evaluator is not None:
            self.factor_evaluator.predict(step["z"])

    # ---------------------------------------------------------------- inference

    def _infer(self, data, noise, batch_size):
        """Runs all iterations.

        Returns:
          List of num_iters + 1 dicts: what `_explain` returns, and from the second one on the
          `inputs` of the refinement that led there.
        """
        image = tf.convert_to_tensor(data["image"])
        local_batch_size = image.shape[0]
        num_frames = self.num_iters + 1 if self.sequential else 1
        if image.shape[1] != num_frames:
            raise utils.UserError(
                f"the data has {image.shape[1]} frames, the model needs {num_frames}"
                + (" (num_iters + 1)" if self.sequential else " unless sequential=True")
            )
        if noise is None:
            noise = self.draw_noise(local_batch_size)
        if batch_size is None:
            batch_size = local_batch_size * utils.num_replicas()

        zp = tf.tile(
            self.initial_sample_distribution[None, None],
            [local_batch_size, self.num_components, 1],
        )  # [B, K, 2Z]
        state = self.refinement_core.initial_state(local_batch_size * self.num_components)
        iterations, inputs = [], None
        for t in range(self.num_iters):
            frame = self._frame(image, t)
            step, gradients = self._explain_with_gradients(frame, zp, noise[t], batch_size)
            iterations.append({**step, "inputs": inputs})
            inputs = self._refinement_inputs(frame, step, gradients)
            zp, state = self.refinement_core(inputs, state)
        frame = self._frame(image, self.num_iters)
        step = self._explain(frame, zp, noise[self.num_iters])
        return [*iterations, {**step, "inputs": inputs}]

    def _frame(self, images, t):
        """Frame that iteration t looks at, [B, frames, ...] -> [B, 1, ...]."""
        return images[:, t : t + 1] if self.sequential else images

    def _metrics(self, data, step, t):
        """Metrics of iteration t: {mse, ari, ari_nobg}, each [B]; no ARI without true masks."""
        image = self._frame(tf.convert_to_tensor(data["image"]), t)
        metrics = {"mse": tf.reduce_mean(tf.square(step["recons"] - image), axis=[1, 2, 3, 4])}
        if "mask" not in data:
            return metrics
        true_mask = self._frame(tf.convert_to_tensor(data["mask"]), t)[:, 0]  # [B, L, H, W, 1]

        def points(mask):  # [B, G, H, W, 1] -> [B, H * W, G]
            mask = tf.stop_gradient(mask)
            return tf.transpose(tf.reshape(mask, [*mask.shape[:2], -1]), [0, 2, 1])

        true_groups, pred_groups = points(true_mask), points(step["pred_mask"])
        metrics["ari"] = adjusted_rand_index(true_groups, pred_groups)
        # The paper's figure leaves the background's pixels out.
        objects = true_groups[..., self.num_background :]
        metrics["ari_nobg"] = adjusted_rand_index(objects, pred_groups)
        return metrics

    def _regress_factors(self, data, step, t, update_statistics):
        """Runs the factor regressor on iteration t, None where there is nothing to regress."""
        if self.factor_evaluator is None or "factors" not in data:
            return None
        return self.factor_evaluator(
            z=tf.stop_gradient(step["z"]),
            true_mask=self._frame(tf.convert_to_tensor(data["mask"]), t)[:, 0],
            pred_mask=tf.stop_gradient(step["pred_mask"]),
            visibility=tf.convert_to_tensor(data["visibility"]),
            factors=data["factors"],
            update_statistics=update_statistics,
        )

    def _weighted_sum(self, terms):
        weights = self.iter_loss_weights
        return tf.add_n([w * tf.reduce_mean(term) for w, term in zip(weights, terms)])

    def _losses(self, iterations):
        """Weighted sums over iterations of mean_B(re) and mean_B(Σ_K kl)."""
        recons = self._weighted_sum([step["re"] for step in iterations])
        kl = self._weighted_sum([tf.reduce_sum(step["kl"], axis=1) for step in iterations])
        return recons, kl

    def __call__(self, data, noise=None, batch_size=None):
        """Computes the training loss.

        L = Σ_t w_t·mean_B(re_t) + Σ_t w_t·mean_B(Σ_k kl_tk) + factor loss (paper, equation 6).

        Args:
          data: dict of image [B, frames, H, W, C] in [0, 1] and, where there is ground truth, mask
            [B, frames, L, H, W, 1], visibility [B, L] and factors {name: [B, L, n]}.
          noise: standard-normal draws [num_iters + 1, B, K, Z], drawn if None.
          batch_size: number of scenes that the loss is averaged over whose gradients the refinement
            network sees; those in data, over all replicas, if None.

        Returns:
          (loss [], scalars {name: []}, iterations): the scalars are loss/total, loss/recons (the
          weighted sum), loss/kl (the unweighted one), loss/mse, loss/ari, loss/ari_nobg,
          factor/loss and factor/NAME; iterations is a list of num_iters + 1 dicts with zp, z,
          components, pred_mask, pred_mask_logits, recons, re [B], kl [B, K] and inputs.

        Raises:
          UserError: for data with a wrong number of frames, or without a factor.
        """
        iterations = self._infer(data, noise, batch_size)
        recons, kl = self._losses(iterations)
        total = recons + kl
        scalars = {
            "loss/recons": recons,
            "loss/kl": tf.add_n(
                [tf.reduce_mean(tf.reduce_sum(step["kl"], axis=1)) for step in iterations]
            ),
        }
        for name, value in self._metrics(data, iterations[-1], self.num_iters).items():
            scalars[f"loss/{name}"] = tf.reduce_mean(value)
        factors = self._regress_factors(data, iterations[-1], self.num_iters, True)
        if factors is not None:
            total += factors["loss"]
            scalars["factor/loss"] = factors["loss"]
            for name, value in factors["metrics"].items():
                scalars[f"factor/{name}"] = value
        scalars["loss/total"] = total
        return total, scalars, iterations

    def eval(self, data, noise=None, batch_size=None):
        """Everything about every iteration; changes no variable.

        Args:
          data: as for `__call__`.
          noise: as for `__call__`.
          batch_size: as for `__call__`; give the training batch size to run a trained model on
            fewer scenes, so that its refinement network sees gradients of the size it knows.

        Returns:
          Nested dict (T = num_iters + 1; what needs ground truth is there only if data has it):
            data {image, true_mask, visibility, factors};
            inputs {spatial {name: [B, T, ...]}, flat {name: [B, T, ...]}}, entry 0 all zeros;
            latent {z, z_mean, z_std} [B, T, K, Z];
            outputs {recons [B, T, 1, H, W, C], pred_mask, pred_mask_logits [B, T, K, H, W, 1],
              components [B, T, K, H, W, Cp]};
            losses {total [], recons [B, T], kl [B, T, K], factor [T]};
            metrics {mse, ari, ari_nobg} [B, T];
            factor_regressor {assignment [B, T, L, K], metrics {name: [T]},
              predictions {name: [B, T, L, n]}}.
        """
        iterations = self._infer(data, noise, batch_size)
        recons, kl = self._losses(iterations)
        losses = {"total": recons + kl}

        def stack(values, axis=1):
            return tf.nest.map_structure(lambda *v: tf.stack(v, axis=axis), *values)

        latent_dists = [self.latent_dist(step["zp"]) for step in iterations]
        no_inputs = tf.nest.map_structure(tf.zeros_like, iterations[-1]["inputs"])
        output_names = ("recons", "pred_mask", "pred_mask_logits", "components")
        result = {
            "data": {"image": data["image"]},
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
        if "mask" in data:
            result["data"]["true_mask"] = data["mask"]
        for name in ("visibility", "factors"):
            if name in data:
                result["data"][name] = data[name]
        factors = [self._regress_factors(data, s, t, False) for t, s in enumerate(iterations)]
        if factors[0] is not None:
            losses["factor"] = tf.stack([f["loss"] for f in factors])
            losses["total"] += losses["factor"][-1]
            result["factor_regressor"] = {
                "assignment": stack([f["assignment"] for f in factors]),
                "metrics": stack([f["metrics"] for f in factors], axis=0),
                "predictions": stack([f["predictions"] for f in factors]),
            }
        return result

    def get_overview_images(self, data, nr_images=4, batch_size=None):
        """Pictures of the first scenes, for TensorBoard.

        Args:
          data: dict with image [B, frames, H, W, C].
          nr_images: number of scenes to show, fewer if B is smaller.
          batch_size: as for `eval`, B if None.

        Returns:
          {"overview", "sequence", "samples"}, each float32 [1, H', W', 3] in [0, 1]: image,
          reconstruction, masks and components of the scenes; what the iterations make of two of
          them; 16 decoded draws from the prior.
        """
        batch_size = data["image"].shape[0] if batch_size is None else batch_size
        image = tf.convert_to_tensor(data["image"])[:nr_images]
        iterations = self._infer({"image": image}, None, batch_size)
        final, num_steps = iterations[-1], len(iterations)
        frames = tf.concat([self._frame(image, t) for t in range(num_steps)], axis=1)
        components = self.output_dist.component_dist.mean(final["components"])
        recons = tf.concat([step["recons"] for step in iterations], axis=1)
        masks = tf.stack([step["pred_mask"] for step in iterations], axis=1)
        samples = self.sample_prior(16, image.shape[2:])["recons"]
        return {
            "overview": overview.draw_overview(
                frames[:, -1:], final["recons"], final["pred_mask"], components
            ),
            "sequence": overview.draw_sequence(frames[:2], recons[:2], masks[:2]),
            "samples": overview.draw_samples(samples),
        }
