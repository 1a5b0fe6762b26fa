"""The contract of every model, and what all models share.

A model says how an image becomes slots, in `infer`, and what it learns by, in `loss`. `Model` makes
everything else of these: the training loss with its scalars, `eval`'s info, metrics, summary
images. The learner, the loop, `evaluate`, `visualize`, `segment`, `compare` and
`export.export_step` take any `Model` and never ask which one they hold.

B is the number of scenes in a batch, T the number of states that inference passes through (for
IODINE the start and each refinement; 1 where there is just a result), K the number of slots, Z the
size of a slot's latent, L the number of true entities, H, W and C the image's height, width and
channels.
"""

import abc
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import sonnet as snt
import tensorflow as tf

from iodine import errors
from iodine.data.images import as_data
from iodine.figures import summary_images
from iodine.modules.utils import shape_of
from multi_object_datasets.segmentation_metrics import adjusted_rand_index

PRECISIONS = {"float32": None, "mixed_bfloat16": tf.bfloat16}
OUTPUTS = ("recons", "pred_mask", "pred_mask_logits", "components")
LATENT = ("z", "z_mean", "z_std")

Data = Mapping[str, Any]  # image and ground truth, as `Model` describes them
State = dict[str, Any]  # what inference holds to be true of the scenes at one point, see `infer`
Scalars = dict[str, tf.Tensor]


class Documented(type(snt.Module)):  # type: ignore[misc]
    """Gives methods back the name, docstring and signature that Sonnet's wrapping takes away."""

    def __new__(cls, name, bases, attributes):
        methods = {key: value for key, value in attributes.items() if inspect.isfunction(value)}
        made = super().__new__(cls, name, bases, attributes)
        for key, method in methods.items():
            wrapped = vars(made)[key]
            wrapped.__doc__, wrapped.__name__ = method.__doc__, method.__name__
            wrapped.__qualname__ = method.__qualname__
            wrapped.__signature__ = inspect.signature(method)
        return made


class Model(snt.Module, metaclass=Documented):
    """A model of scenes as sets of slots. A subclass gives `noise_shape`, `infer` and `loss`.

    Data is a dict of image [B, frames, H, W, C] in [0, 1] and, where there is ground truth, mask
    [B, frames, L, H, W, 1], visibility [B, L] and factors {name: [B, L, n]}. What needs ground
    truth is left out of all results where data has none.

    A subclass's constructor takes whatever the model needs. Two arguments are special: the entries
    `precision` and `rematerialize` at the top of a config are handed to the constructors that have
    arguments of these names. A model that has none runs in float32 and keeps what it computes.

    Models that make images of slots also have `decode(z [B, K, Z], image_shape=None)` and, where
    there is a prior, `sample_prior(num_scenes, image_shape=None)`, which return {recons, pred_mask}
    at least, shaped as `eval`'s without T. Figures that need them are left out for other models.

    Args:
      num_components: K.
      n_z: Z.
      factor_evaluator: `FactorRegressor` that is trained along, or None.
      precision: "float32", or "mixed_bfloat16" for convolutions and matrix products in bfloat16
        within `networks_precision`. Weights, likelihoods and losses stay float32.

    Attributes:
      num_background: number of true entities, the first ones, that are no objects; ari_nobg leaves
        their pixels out. It is a fact of the data: whoever builds a model for a data set sets it,
        see `iodine.build.build_model`.
      num_frames: number of frames that data has to have. State t explains frame t where there are
        several.
      refinement_batch_size: number of scenes that the loss is averaged over whose gradients the
        model looks at while it infers; None takes the batch at hand, over all replicas, as the
        reference does. Training sets it where it is None and its checkpoints remember it, so that a
        trained model makes the same of a scene in a batch of any size. Models that infer without
        gradients have no use for it.
      image_shape: (H, W, C) of the images that `initialize` was called with; empty before.
      max_gradient_norm: what the gradients' joint norm is clipped to, None for no clipping.
      has_one_size: whether the networks are made for images of `image_shape` alone.
      fewest_components: the smallest K that makes sense.
      ADDED: names of variables that a stage of training adds to a trained model. The weights that a
        new run begins with may lack them; they then start as in a new model.
      PRINTED: {name of the mean that is logged: (its label, scalar of `__call__`)} of the figures
        that the loop prints, where the scalar is there.
      METRICS: names of its metrics in the table of `iodine.evaluate.metrics`, in the order in which
        tables and plots show them.

    Raises:
      UserError: if K, Z or the precision is invalid.
    """

    num_background = 1
    num_frames = 1
    refinement_batch_size: int | None = None
    image_shape: tuple[int, ...] = ()
    max_gradient_norm: float | None = 5.0
    has_one_size = False
    fewest_components = 1
    ADDED: ClassVar[tuple[str, ...]] = ()
    # Next to an error of pixels, the regressor's error of positions would hide all.
    PRINTED: ClassVar = {"loss": ("Loss", "loss/slots"), "ari_nobg": ("ARI-nobg", "loss/ari_nobg")}
    METRICS: ClassVar[tuple[str, ...]] = (
        "ari",
        "ari_nobg",
        "miou",
        "miou_nobg",
        "mbo",
        "mbo_nobg",
        "sc",
        "sc_nobg",
        "msc",
        "msc_nobg",
        "mse",
        "recons",
        "kl",
    )

    def __init__(
        self,
        num_components: int,
        n_z: int,
        factor_evaluator: snt.Module | None = None,
        precision: str = "float32",
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.num_components = errors.size(num_components, "num_components")
        if self.num_components < self.fewest_components:
            raise errors.UserError(
                f"num_components is {num_components}, at least {self.fewest_components} are needed"
            )
        self.n_z = errors.size(n_z, "n_z")
        self.factor_evaluator = factor_evaluator
        self.precision = errors.one_of(precision, PRECISIONS, "precision")

    # ---------------------------------------------------------------- what a model gives

    @abc.abstractmethod
    def noise_shape(self, batch_size: int) -> list[int]:
        """Shape of the standard-normal noise that a call takes, with B as its second axis."""

    @abc.abstractmethod
    def infer(self, image: tf.Tensor, noise: tf.Tensor, is_training: bool = False) -> list[State]:
        """Explains images by slots.

        Args:
          image: float32 [B, num_frames, H, W, C].
          noise: of `noise_shape(B)`.
          is_training: whether just what `loss` needs is asked for. States before the last one may
            then be left out.

        Returns:
          The T states, each a dict of
            z and z_mean [B, K, Z], and z_std where the model infers distributions;
            recons [B, 1, H, W, C]; pred_mask and pred_mask_logits [B, K, H, W, 1]; components, the
              means of the components' pixels [B, K, H, W, C];
            losses {kl [B, K], any other name [B]}: what `loss` is made of, in nats where they are
              log-probabilities;
            whatever else the model has a use for.
        """

    def loss(self, states: list[State]) -> tuple[tf.Tensor, Scalars]:
        """The training loss, without the factor regressor's.

        Here the mean over scenes of the last state's losses["total"].

        Args:
          states: what `infer` returned.

        Returns:
          (loss [], scalars {name: []} of its parts).
        """
        scalars = {}
        for name, value in states[-1]["losses"].items():
            value = tf.reduce_sum(value, axis=1) if name == "kl" else value
            scalars[f"loss/{name}"] = tf.reduce_mean(value)
        return scalars["loss/total"], scalars

    def metrics(self, data: Data, state: State, t: int) -> dict[str, tf.Tensor]:
        """Metrics of state t against the frame of the data that it explains.

        Returns:
          {mse, ari, ari_nobg}, each [B]; no ARI without true masks. ari_nobg, the paper's figure,
          leaves the background's pixels out. An ARI is NaN for a scene of which no pixel counts:
          the foreground's for one without an object.
        """
        image = self.frame(tf.convert_to_tensor(data["image"]), t)
        error = tf.square(state["recons"] - image)
        metrics = {"mse": tf.reduce_mean(error, axis=[1, 2, 3, 4])}
        true_mask = self.true_mask(data, t)
        if true_mask is None:
            return metrics
        true_groups, pred_groups = _points(true_mask), _points(state["pred_mask"])
        objects = true_groups[..., self.num_background :]
        metrics["ari"] = _ari(true_groups, pred_groups)
        metrics["ari_nobg"] = _ari(objects, pred_groups)
        return metrics

    def details(self, data: Data, states: list[State]) -> dict[str, Any]:
        """Further entries of `eval`'s info, of a model's own; none if a model has none."""
        del data, states
        return {}

    def bounds(self, data: Data, seeds: tf.Tensor) -> dict[str, tf.Tensor]:
        """Metrics that take many draws, so that `evaluate` alone asks for them.

        Args:
          data: as in `Model`.
          seeds: int32 [B, 2], of each scene's draws.

        Returns:
          {name in METRICS: [B, T]}, none if a model has none.
        """
        del data, seeds
        return {}

    def figures(self, info: Mapping[str, Any]) -> list[tuple]:
        """Figures of a model's own for `visualize`'s report.

        Args:
          info: what `eval` returned for a few scenes, as NumPy arrays.

        Returns:
          List of (name, `matplotlib.figure.Figure`, caption), none if a model has none.
        """
        del info
        return []

    # ---------------------------------------------------------------- what others call

    def initialize(self, image_shape: Sequence[int]) -> None:
        """Creates all variables and sets `image_shape`; a second call changes nothing.

        Args:
          image_shape: (H, W, C).
        """
        self._initialize(image_shape)

    @snt.once
    def _initialize(self, image_shape):
        self.image_shape = tuple(image_shape)
        self.create_variables(tf.zeros([1, self.num_frames, *image_shape]))
        if self.factor_evaluator is not None:
            self.factor_evaluator.predict(tf.zeros([1, self.num_components, self.n_z]))

    def create_variables(self, image: tf.Tensor) -> None:
        """Creates the variables of all networks by a look at a blank scene [1, frames, H, W, C]."""
        self.infer(image, tf.zeros(self.noise_shape(1)))

    def images(self, data: Data) -> tf.Tensor:
        """The image of data that `infer` takes, once its variables are there.

        Raises:
          UserError: if the images have another type or number of axes, a wrong number of frames, or
            a size that the model was not made for.
        """
        image = tf.convert_to_tensor(data["image"])
        if image.dtype != tf.float32 or image.shape.rank != 5 or image.shape[0] == 0:
            raise errors.UserError(
                f"the image is {image.dtype.name} {image.shape.as_list()}, "
                "float32 [B, frames, H, W, C] from 0 to 1 is wanted"
            )
        if image.shape[1] != self.num_frames:
            wanted = "one" if self.num_frames == 1 else self.num_frames
            raise errors.UserError(
                f"the data has {image.shape[1]} frames, {type(self).__name__} takes {wanted}"
            )
        # Sonnet runs a module's first call in float32, whatever the precision.
        self.initialize(image.shape[2:])
        if self.has_one_size and image.shape[2:] != self.image_shape:
            raise errors.UserError(
                f"images of {list(image.shape[2:])}, but the model was made for "
                f"{list(self.image_shape)}: set data.image_dim"
            )
        return image

    def _as_data(self, data):
        """Data as described above of images in any form that leaves no doubt."""
        return as_data(data, self.image_shape[-1] if self.image_shape else None)

    def _noise_for(self, image, noise):
        """Noise for images, drawn if None; raises UserError for that of another shape."""
        batch_size = shape_of(image)[0]
        if noise is None:
            return self.draw_noise(batch_size)
        wanted = self.noise_shape(batch_size)
        if not tf.TensorShape(noise.shape).is_compatible_with(
            [length if isinstance(length, int) else None for length in wanted]
        ):
            raise errors.UserError(f"noise of {wanted} is wanted, not of {list(noise.shape)}")
        return noise

    def _as_slots(self, z):
        """Slots of any number type as float32 [B, K, Z]; raises UserError for what is none."""
        try:
            z = tf.convert_to_tensor(z)
        except (TypeError, ValueError) as error:
            raise errors.UserError(f"slots are numbers [B, K, {self.n_z}]") from error
        if not (z.dtype.is_floating or z.dtype.is_integer):
            raise errors.UserError(f"slots are numbers [B, K, {self.n_z}], not {z.dtype.name}")
        z = tf.cast(z, tf.float32)
        if z.shape.rank != 3 or z.shape[-1] != self.n_z:
            raise errors.UserError(
                f"slots are [B, K, {self.n_z}] for {type(self).__name__}, not {z.shape.as_list()}"
            )
        return z

    def encode(self, data: Data, noise: tf.Tensor | None = None) -> list[State]:
        """Infers the slots of scenes.

        Args:
          data: as in `Model`, or an image in any form that `iodine.data.images.as_data` takes; the
            image alone counts. B may be unknown in a `tf.function`.
          noise: standard-normal draws of `noise_shape(B)`. They are drawn anew if None, so that two
            calls differ. Zeros stand for the means of what is inferred; slots that start alike, as
            IODINE's, then stay alike.

        Returns:
          The states that inference passed through, as `infer` describes them. The last one is the
          result: `encode(data)[-1]["z_mean"]` are the slots [B, K, Z].

        Raises:
          UserError: as `images`.
        """
        image = self.images(self._as_data(data))
        return self.infer(image, self._noise_for(image, noise))

    def __call__(
        self, data: Data, noise: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, Scalars, list[State]]:
        """Computes the training loss: `loss`, and the factor regressor's beside it.

        Args:
          data: as in `Model`.
          noise: as for `encode`.

        Returns:
          (loss [], scalars {name: []}, the states of `infer`). The scalars are loss/total, those of
          `loss`, the last state's metrics as loss/mse, loss/ari and loss/ari_nobg, factor/loss and
          factor/NAME, and, where `PRINTED` names it, loss/slots, without the regressor's.

        Raises:
          UserError: as `images`, and if the data lacks a factor that is regressed.
        """
        image = self.images(data)
        states = self.infer(image, self._noise_for(image, noise), is_training=True)
        last, t = states[-1], len(states) - 1
        total, scalars = self.loss(states)
        for name, value in self.metrics(data, last, t).items():
            scalars[f"loss/{name}"] = mean_over_scenes(name, value)
        if any(scalar == "loss/slots" for _, scalar in self.PRINTED.values()):
            scalars["loss/slots"] = total
        factors = self.regress_factors(data, last, t)
        if factors is not None:
            total += factors["loss"]
            scalars["factor/loss"] = factors["loss"]
            scalars |= {f"factor/{name}": value for name, value in factors["metrics"].items()}
        scalars["loss/total"] = total
        return total, scalars, states

    def eval(self, data: Data, noise: tf.Tensor | None = None) -> dict[str, Any]:
        """Everything about every state of inference; changes no variable.

        Args:
          data: as in `Model`.
          noise: as for `encode`.

        Returns:
          Nested dict, with the entries of the model's own `details`:
            data {image, true_mask, visibility, factors}: what was given;
            latent {z, z_mean, z_std} [B, T, K, Z];
            outputs {recons [B, T, 1, H, W, C], pred_mask, pred_mask_logits [B, T, K, H, W, 1],
              components [B, T, K, H, W, C] (the means of the components' pixels)};
            losses {total [], factor [T], kl [B, T, K], recons and others [B, T]};
            metrics {mse, ari, ari_nobg and the model's own} [B, T];
            factor_regressor {assignment [B, T, L, K], metrics {name: [T]},
              predictions {name: [B, T, L, n]}}.

        Raises:
          UserError: as `__call__`.
        """
        data = self._as_data(data)
        states = self.encode(data, noise)
        total, _ = self.loss(states)
        losses = [{**state["losses"]} for state in states]
        for values in losses:
            values.pop("total", None)
        result = {
            "data": _given(data),
            "latent": _stack([{n: s[n] for n in LATENT if n in s} for s in states]),
            "outputs": _stack([{name: state[name] for name in OUTPUTS} for state in states]),
            "losses": {**_stack(losses), "total": total},
            "metrics": _stack([self.metrics(data, s, t) for t, s in enumerate(states)]),
            **self.details(data, states),
        }
        regressed = [self.regress_factors(data, state, t) for t, state in enumerate(states)]
        factors = [values for values in regressed if values is not None]
        if factors:
            result["losses"]["factor"] = tf.stack([values["loss"] for values in factors])
            result["losses"]["total"] += result["losses"]["factor"][-1]
            result["factor_regressor"] = {
                **_stack([{n: f[n] for n in ("assignment", "predictions")} for f in factors]),
                "metrics": _stack([values["metrics"] for values in factors], axis=0),
            }
        return result

    def get_overview_images(self, data: Data, nr_images: int = 4) -> dict[str, tf.Tensor]:
        """Summary images of the first scenes, for TensorBoard.

        Args:
          data: as in `Model`.
          nr_images: number of scenes to show, fewer if B is smaller.

        Returns:
          {name: float32 [1, H', W', 3] in [0, 1]}: "overview", each scene with its reconstruction,
          masks and components; where there are several states, "sequence", what they make of two
          scenes; where there is a prior, "samples", 16 decoded draws from it.
        """
        image = tf.convert_to_tensor(data["image"])[:nr_images]
        outputs = self.eval({"image": image})["outputs"]
        recons, masks = outputs["recons"], outputs["pred_mask"]  # [B, T, 1 or K, H, W, ·]
        num_states = recons.shape[1]
        frames = tf.concat([self.frame(image, t) for t in range(num_states)], axis=1)
        last = (recons[:, -1], masks[:, -1], outputs["components"][:, -1])
        images = {"overview": summary_images.draw_overview(frames[:, -1:], *last)}
        if num_states > 1:
            images["sequence"] = summary_images.draw_sequence(
                frames[:2], recons[:2, :, 0], masks[:2]
            )
        if hasattr(self, "sample_prior"):
            images["samples"] = summary_images.draw_samples(self.sample_prior(16)["recons"])
        return images

    def observe(self, data: Data) -> Data:
        """Takes in what the loss needs to know of the whole batch, over all replicas.

        The learner calls it in replica context before each step, outside of what XLA compiles,
        since XLA cannot compile sums over replicas.

        Returns:
          The data, with what `__call__` is to know added.
        """
        if self.factor_evaluator is None or not data.get("factors"):
            return data
        visibility = tf.convert_to_tensor(data["visibility"])
        return {**data, "num_visible": self.factor_evaluator.observe(data["factors"], visibility)}

    def draw_noise(self, batch_size: int) -> tf.Tensor:
        """Standard-normal noise for one call, of `noise_shape(batch_size)`."""
        return tf.random.normal(self.noise_shape(batch_size))

    # ---------------------------------------------------------------- what models are made with

    def networks_precision(self):
        """Scope in which the networks' convolutions and matrix products have `precision`."""
        return snt.mixed_precision.scope(PRECISIONS[self.precision])

    def frame(self, images: tf.Tensor, t: int) -> tf.Tensor:
        """The frame that state t explains, [B, frames, ...] -> [B, 1, ...]."""
        return images[:, t : t + 1] if self.num_frames > 1 else images

    def true_mask(self, data: Data, t: int) -> tf.Tensor | None:
        """True masks of the frame that state t explains, [B, L, H, W, 1]; None without any."""
        if "mask" not in data:
            return None
        return self.frame(tf.convert_to_tensor(data["mask"]), t)[:, 0]

    def regress_factors(self, data: Data, state: State, t: int) -> dict[str, Any] | None:
        """Runs the factor regressor on state t; no gradient flows through the slots.

        Args:
          data: as in `Model`, perhaps with what `observe` added.
          state: of `infer`.
          t: its number.

        Returns:
          What `FactorRegressor` returns, None where there is nothing to regress.
        """
        if self.factor_evaluator is None or not data.get("factors"):
            return None
        return self.factor_evaluator(
            z=tf.stop_gradient(state["z"]),
            true_mask=self.true_mask(data, t),
            pred_mask=tf.stop_gradient(state["pred_mask"]),
            visibility=tf.convert_to_tensor(data["visibility"]),
            factors=data["factors"],
            num_visible=data.get("num_visible"),
        )


def _given(data):
    """The part of data that `Model.eval` gives back: image, true_mask, visibility and factors."""
    given = {"image": data["image"]}
    if "mask" in data:
        given["true_mask"] = data["mask"]
    return given | {name: data[name] for name in ("visibility", "factors") if name in data}


def _points(mask):
    """The groups of each pixel, [B, G, H, W, 1] -> [B, H * W, G], without gradients."""
    mask = tf.stop_gradient(mask)
    return tf.transpose(tf.reshape(mask, [*mask.shape[:2], -1]), [0, 2, 1])


def _ari(true_groups, pred_groups):
    """The adjusted Rand index of [B, points, G]; NaN for scenes of which no point is in a group.

    As published it is 1 there, which nobody has earned.
    """
    counts = tf.reduce_any(true_groups > 0, axis=[1, 2])
    return tf.where(counts, adjusted_rand_index(true_groups, pred_groups), float("nan"))


def mean_over_scenes(name, values):
    """The mean of a metric over scenes [B]; an ARI's is over those where it is defined."""
    if not name.startswith("ari"):  # A NaN elsewhere is a scene that broke, and is to be seen.
        return tf.reduce_mean(values)
    defined = tf.logical_not(tf.math.is_nan(values))
    total = tf.reduce_sum(tf.where(defined, values, 0.0))
    return total / tf.reduce_sum(tf.cast(defined, values.dtype))


def _stack(values, axis=1):
    """Joins nests of tensors, one for each state, along a new axis T."""
    return tf.nest.map_structure(lambda *v: tf.stack(v, axis), *values)
