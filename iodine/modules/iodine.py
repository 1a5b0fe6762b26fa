"""IODINE: iterative refinement of the posterior over a set of slots (Greff et al. 2019).

This file leads from the image to the slots to the loss. `infer` starts from a guess at the
posterior that is the same for every slot. Each iteration draws slots from the guess, decodes them
and compares the result with the image (`_explain`), and refines the guess in the light of its
errors (`_refine`). `loss` weighs how well each guess explains the image.
"""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine import errors
from iodine.model import Data, Model, Scalars, State
from iodine.modules import rematerialization, utils
from iodine.modules.decoder import ComponentDecoder
from iodine.modules.distribution import LocScaleDistribution, MaskedMixture
from iodine.modules.refinement import RefinementCore
from iodine.modules.refinement_inputs import (
    ALL_INPUTS,
    PREPROCESS,
    STOP_GRADIENTS,
    RefinementInputs,
)


class IODINE(Model):
    """The model: decoder, refinement core and the loop that alternates them (paper, section 2.2).

    zp are the parameters of the slots' posterior, 2Z of each slot.

    Args:
      decoder: `ComponentDecoder`.
      refinement_core: `RefinementCore`.
      latent_dist: distribution of the latents.
      output_dist: distribution of pixels.
      n_z: Z, size of a slot.
      num_components: K, number of slots.
      num_iters: number of refinements; the loss has one term more.
      sequential: whether iteration t sees frame t of a sequence of num_iters + 1 frames, instead of
        always the one image.
      factor_evaluator: `FactorRegressor`, or None.
      stop_gradients: names of the inputs through which no gradient flows.
      iter_loss_weight: weights of the num_iters + 1 loss terms: "linspace" from 0 to 1, one number
        for all, or a list.
      inputs: names of the refinement inputs.
      preprocess: names of the inputs that are layer-normalised, `PREPROCESS` if None.
      coord_type: coordinates among the inputs, "linear" or "cos".
      coord_freqs: number of frequencies of "cos".
      precision: as in `Model`.
      rematerialize: whether to forget each refinement's intermediate results and compute them again
        for the gradient, which then needs the memory of one iteration instead of all (the paper's
        appendix A.2 names that memory as what limits the model).
      kl_weight: weight of the KL divergence, 1 for the ELBO. Scenes shrunk to a fraction of their
        pixels have that fraction of their log-likelihood; the same fraction here keeps the balance.
      refinement_batch_size: as in `Model`.

    Attributes:
      refinement_inputs: `RefinementInputs`.
      initial_sample_distribution: zp before the first iteration, [2Z].

    Raises:
      UserError: if a name or a value is invalid.
    """

    fewest_components = 2
    # As the reference prints it, with the factor regressor's part.
    PRINTED: ClassVar = {**Model.PRINTED, "loss": ("Loss", "loss/total")}

    def __init__(
        self,
        decoder: ComponentDecoder,
        refinement_core: RefinementCore,
        latent_dist: LocScaleDistribution,
        output_dist: MaskedMixture,
        n_z: int,
        num_components: int,
        num_iters: int,
        sequential: bool = False,
        factor_evaluator: snt.Module | None = None,
        stop_gradients: Sequence[str] = STOP_GRADIENTS,
        iter_loss_weight: str | float | Sequence[float] = "linspace",
        inputs: Sequence[str] = ALL_INPUTS,
        preprocess: Sequence[str] | None = None,
        coord_type: str = "linear",
        coord_freqs: int = 3,
        precision: str = "float32",
        rematerialize: bool = False,
        kl_weight: float = 1.0,
        refinement_batch_size: int | None = None,
        name: str = "iodine",
    ):
        super().__init__(num_components, n_z, factor_evaluator, precision, name)
        errors.instance_of(latent_dist, LocScaleDistribution, "latent_dist")
        errors.instance_of(output_dist, MaskedMixture, "output_dist")
        if output_dist.num_components != num_components:
            raise errors.UserError(
                f"output_dist.num_components is {output_dist.num_components}, "
                f"but the model's num_components {num_components}"
            )
        if refinement_batch_size is not None and not refinement_batch_size >= 1:
            raise errors.UserError(
                f"refinement_batch_size is {refinement_batch_size!r}, use a number of scenes"
            )
        self.decoder = decoder
        self.refinement_core = refinement_core
        self.latent_dist = latent_dist
        self.output_dist = output_dist
        self.num_iters = errors.size(num_iters, "num_iters")
        self.sequential = errors.truth(sequential, "sequential")
        self.num_frames = self.num_iters + 1 if sequential else 1
        self.rematerialize = errors.truth(rematerialize, "rematerialize")
        self.kl_weight = errors.number(kl_weight, "kl_weight", lambda w: w >= 0, "of 0 or more")
        self.refinement_batch_size = refinement_batch_size
        self.iter_loss_weights = iter_loss_weights(iter_loss_weight, self.num_iters + 1)
        self.refinement_inputs = RefinementInputs(
            output_dist,
            inputs,
            stop_gradients,
            PREPROCESS if preprocess is None else preprocess,
            coord_type,
            coord_freqs,
        )
        num_params = latent_dist.num_params(self.n_z)
        # Glorot-uniform for a vector takes its length for both fan-in and fan-out.
        limit = np.sqrt(3.0 / num_params)
        self.initial_sample_distribution = tf.Variable(
            tf.random.uniform([num_params], -limit, limit), name="initial_sample_distribution"
        )

    def noise_shape(self, batch_size: int) -> list[int]:
        """Shape of the noise for all iterations, [num_iters + 1, B, K, Z]."""
        return [self.num_iters + 1, batch_size, self.num_components, self.n_z]

    def create_variables(self, image: tf.Tensor) -> None:
        """Creates the variables by one refinement of a blank scene [1, frames, H, W, C]."""
        noise = tf.zeros([1, self.num_components, self.n_z])
        self._refine(self.frame(image, 0), noise, 1, *self._initial_posterior(batch_size=1))

    # ---------------------------------------------------------------- from image to slots

    def infer(self, image: tf.Tensor, noise: tf.Tensor, is_training: bool = False) -> list[State]:
        """Explains images by running all iterations, as `Model` describes it.

        The states are the num_iters + 1 guesses. Each also has zp [B, K, 2Z] and, from the second
        one on, the `inputs` of the refinement that led there; losses are recons, -log p(x|z) [B],
        and kl [B, K], in nats.
        """
        batch_size = utils.shape_of(image)[0]
        mean_over = self.refinement_batch_size or batch_size * utils.num_replicas()
        zp, memory = self._initial_posterior(batch_size)
        states, inputs = [], None
        for t in range(self.num_iters):
            refine = functools.partial(self._refine, self.frame(image, t), noise[t], mean_over)
            if is_training and self.rematerialize:
                step, next_inputs, zp, memory = rematerialization.rematerialize(refine, zp, memory)
            else:
                (step, next_inputs, zp, memory), _ = refine(zp, memory)
            states.append(self._state(step, inputs))
            inputs = next_inputs
        last = self._explain(self.frame(image, self.num_iters), zp, noise[self.num_iters])
        return [*states, self._state(last, inputs)]

    def _initial_posterior(self, batch_size):
        """Returns zp [B, K, 2Z] and the state of the refinement core before the first iteration."""
        zp = tf.tile(
            self.initial_sample_distribution[None, None], [batch_size, self.num_components, 1]
        )
        return zp, self.refinement_core.initial_state(batch_size * self.num_components)

    def _explain(self, image, zp, noise):
        """Samples z, decodes it and compares the result with the image.

        Args:
          image: [B, 1, H, W, C].
          zp: [B, K, 2Z].
          noise: [B, K, Z].

        Returns:
          Dict: zp, z, what `_decode` returns, component_log_probs [B, K, H, W, 1], log_prob
          [B, 1, H, W, 1], re = -log p(x|z) [B] and kl [B, K], both in nats.
        """
        z = self.latent_dist.sample(zp, noise)
        out = self._decode(z, image.shape[2:])
        out["component_log_probs"] = self.output_dist.component_log_probs(out["components"], image)
        log_prob = self.output_dist.log_prob(out)
        return {
            "zp": zp,
            "z": z,
            "log_prob": log_prob,
            "re": -tf.reduce_sum(log_prob, axis=[1, 2, 3, 4]),
            "kl": self.latent_dist.kl_to_prior(zp),
            **out,
        }

    def _explain_with_gradients(self, image, zp, noise, mean_over):
        """As `_explain`, with the gradients by zp, components and mask logits that `_refine` needs.

        They are those of the mean loss over `mean_over` scenes, so their size depends on that
        number, and, through the layer norm's epsilon, so does what the refinement network sees.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(zp)
            step = self._explain(image, zp, noise)
            loss = tf.reduce_sum(step["re"]) + self.kl_weight * tf.reduce_sum(step["kl"])
            loss /= tf.cast(mean_over, tf.float32)
        sources = [zp, step["components"], step["pred_mask_logits"]]
        return step, tape.gradient(loss, sources)

    def _refine(self, image, noise, mean_over, zp, memory, gradients=None):
        """One iteration.

        Args:
          image: [B, 1, H, W, C].
          noise: [B, K, Z].
          mean_over: number of scenes that the loss is averaged over.
          zp: [B, K, 2Z].
          memory: state of the refinement core.
          gradients: those that this iteration found when it was computed before, if it was.

        Returns:
          (what `_explain` returns, refinement inputs, next zp, next memory), and the gradients if
          they are constants to the loss, else None.
        """
        if gradients is None:
            step, gradients = self._explain_with_gradients(image, zp, noise, mean_over)
        else:
            step = self._explain(image, zp, noise)
        inputs = self.refinement_inputs(image, step, gradients)
        with self.networks_precision():
            next_zp, next_memory = self.refinement_core(inputs, memory)
        constant = {"dzp", "dcomponents", "dmask"} <= set(self.refinement_inputs.stop_gradients)
        return (step, inputs, next_zp, next_memory), gradients if constant else None

    def _state(self, step, inputs):
        """The state that `Model` describes, of what `_explain` returned and what led there."""
        posterior = self.latent_dist(step["zp"])
        return {
            **{name: step[name] for name in ("zp", "z", "recons", "pred_mask", "pred_mask_logits")},
            "z_mean": posterior.mean(),
            "z_std": posterior.stddev(),
            "components": self.output_dist.component_dist.mean(step["components"]),
            "losses": {"recons": step["re"], "kl": step["kl"]},
            "inputs": inputs,
        }

    # ---------------------------------------------------------------- from slots to images

    def decode(self, z: tf.Tensor, image_shape: Sequence[int] | None = None) -> State:
        """Decodes slots to an image.

        Args:
          z: float32 [B, K, Z]. B may be unknown in a `tf.function`.
          image_shape: (H, W, C); that of the images that the model was first called with if None.

        Returns:
          Dict of components (the means of their pixels) [B, K, H, W, C], pred_mask_logits and
          pred_mask [B, K, H, W, 1], and recons (the expected image) [B, 1, H, W, C].
        """
        decoded = self._decode(self._as_slots(z), image_shape or self.image_shape)
        means = self.output_dist.component_dist.mean(decoded["components"])
        return {**decoded, "components": means}

    def _decode(self, z, image_shape):
        """As `decode`, but components are the parameters of their pixels, [B, K, H, W, Cp]."""
        height, width, channels = image_shape
        num_params = self.output_dist.num_params(channels)
        with self.networks_precision():
            components, mask_logits = self.decoder(z, (height, width, num_params))
        pred_mask = tf.exp(self.output_dist.log_masks(mask_logits))
        return {
            "components": components,
            "pred_mask_logits": mask_logits,
            "pred_mask": pred_mask,
            "recons": self.output_dist.mean(components, pred_mask),
        }

    def sample_prior(
        self,
        num_scenes: int,
        image_shape: Sequence[int] | None = None,
        noise: tf.Tensor | None = None,
    ) -> State:
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

    # ---------------------------------------------------------------- from slots to the loss

    def loss(self, states: list[State]) -> tuple[tf.Tensor, Scalars]:
        """The training loss (paper, equation 6), without the factor regressor's.

        L = Σ_t w_t·mean_B(-log p(x|z_t) + kl_weight·Σ_k kl_tk).

        Args:
          states: what `infer` returned.

        Returns:
          (L [], {loss/recons: the weighted sum over iterations, loss/kl: the unweighted one}).
        """
        recons = [tf.reduce_mean(state["losses"]["recons"]) for state in states]
        kl = [tf.reduce_mean(tf.reduce_sum(state["losses"]["kl"], axis=1)) for state in states]
        weighted_recons, weighted_kl = (
            tf.add_n([w * term for w, term in zip(self.iter_loss_weights, terms)])
            for terms in (recons, kl)
        )
        scalars = {"loss/recons": weighted_recons, "loss/kl": tf.add_n(kl)}
        return weighted_recons + self.kl_weight * weighted_kl, scalars

    def details(self, data: Data, states: list[State]) -> dict[str, Any]:
        """The refinement inputs of `eval`'s info, {spatial, flat: {name: [B, T, ...]}}.

        Entry 0 is zeros, since nothing led to the first state.
        """
        inputs = [state["inputs"] for state in states[1:]]
        inputs = [tf.nest.map_structure(tf.zeros_like, inputs[-1]), *inputs]
        return {"inputs": tf.nest.map_structure(lambda *x: tf.stack(x, axis=1), *inputs)}


def iter_loss_weights(given: str | float | Sequence[float], num_terms: int) -> list[float]:
    """The weight of each loss term, of what `IODINE` takes as iter_loss_weight."""
    if given == "linspace":
        return np.linspace(0.0, 1.0, num_terms).tolist()
    if isinstance(given, (int, float)):
        return [float(given)] * num_terms
    is_list = isinstance(given, (list, tuple)) and len(given) == num_terms
    if not is_list or not all(isinstance(w, (int, float)) for w in given):
        raise errors.UserError(
            f"iter_loss_weight is {given!r}, use 'linspace', a number, or a list of "
            f"num_iters + 1 = {num_terms} numbers"
        )
    return [float(w) for w in given]
