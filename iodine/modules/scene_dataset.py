"""Batches of scenes for training, for pictures of it, and for evaluation.

Files are packed on first use (see `multi_object_datasets.pack`). A training batch is then a pure
function of the seed and of the step's number, so that a run goes on where it stopped without
replaying anything, and every worker sees the same global batches.
"""

import dataclasses
import functools
import itertools
import os
import sys
from typing import ClassVar

import numpy as np
import tensorflow as tf

from iodine.modules.utils import UserError
from multi_object_datasets import image_ops, pack

SUBSETS = ("train", "summary", "test")


@dataclasses.dataclass(eq=False)
class SceneDataset:
    """Base of the data sets. Nothing is opened, or packed, before the first call.

    Attributes:
      path: file or folder.
      batch_size: number of scenes in a batch, over all replicas together.
      image_dim: (height, width) after resizing.
      crop_region: ((top, bottom), (left, right)), the rows and columns to keep before resizing;
        None keeps all.
      shuffle_buffer: number of scenes shuffled at a time when reading without a cache; with one,
        the whole set is shuffled anew each epoch.
      max_num_objects: leave out scenes with more visible foreground objects than this.
      min_num_objects: leave out scenes with fewer than this.
      grayscale: whether to average the channels into one.
      held_out: number of scenes that are for testing and not trained on, the first ones of those
        not left out. A file without more scenes than that serves both.
      cache: directory for the packed scenes, None for that of the file. False reads the file as
        a stream: slowly, and a later step only by way of all steps before it.
    """

    path: str
    batch_size: int
    image_dim: tuple
    crop_region: tuple = None
    shuffle_buffer: int = 1000
    max_num_objects: int = None
    min_num_objects: int = None
    grayscale: bool = False
    held_out: int = 0
    cache: str = None

    scene_format = None  # The `SceneFormat` of the file.
    num_background = 1  # Number of leading entities that are no objects.
    factors: ClassVar = {}  # {factor: the features of the file whose columns it is made of}.
    num_frames = None  # Number of frames of a sequence to use, the first ones; None for all.
    how_to_get_it = ""  # What to do where the file is not there.

    def __post_init__(self):
        """Raises UserError where the arguments do not make sense."""
        if self.batch_size < 1 or self.shuffle_buffer < 1 or self.held_out < 0:
            raise UserError("data: batch_size and shuffle_buffer must be at least 1, held_out 0")
        self.image_dim = tuple(self.image_dim)
        if len(self.image_dim) != 2 or min(self.image_dim) < 1:
            raise UserError(f"data.image_dim must be [height, width], not {self.image_dim}")
        if self.crop_region is not None:
            self.crop_region = _as_crop_region(self.crop_region)
        fewest, most = self.min_num_objects, self.max_num_objects
        if fewest is not None and most is not None and fewest > most:
            raise UserError(
                f"data.min_num_objects={fewest} is above data.max_num_objects={most}: "
                "no scene has as many objects"
            )

    @property
    def image_shape(self):
        """(H, W, C) of the images in a batch, known without opening the file."""
        # Pictures of one's own, which have no format, are read as RGB.
        channels = self.scene_format.features["image"].shape[-1] if self.scene_format else 3
        return (*self.image_dim, 1 if self.grayscale else channels)

    def __call__(self, subset, seed=0, start_step=0):
        """Returns batches of a subset.

        Args:
          subset: "train": endless, all scenes but the held-out ones, in a new order each epoch;
            "summary": the first `batch_size` scenes, for ever; "test": the held-out scenes
            once, in order, with a smaller last batch where they do not fill it.
          seed: non-negative int that the order of training scenes depends on.
          start_step: number of the first training batch.

        Returns:
          `tf.data.Dataset` of dicts (T frames, 1 but for sequences; L entities, the background
          first), which have only `image` where pictures come without masks:
          image: [B, T, H, W, C] float32 in [0, 1].
          mask: [B, T, L, H, W, 1] float32, 1 where the entity is seen.
          visibility: [B, L] float32, 1 for the background and for each object that is there.
          factors: {name: [B, L, n]}.

        Raises:
          UserError: there is no such file or subset, or no scene in it.
          DatasetError: the file cannot be read; names the file and the record.
        """
        if subset not in SUBSETS:
            raise UserError(f"there is no subset '{subset}', only {', '.join(SUBSETS)}")
        if subset == "test" and self.held_out == 0:
            raise UserError("no scenes are held out for testing: set data.held_out, to 320 say")
        if not os.path.exists(self.path):
            self._make_file()
        read = self._stream if self.cache is False else self._gather
        batches = read(subset, seed, start_step)
        return batches.map(self._finish, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def _make_file(self):
        """Is called where the file is not there."""
        raise UserError(f"{self.path} does not exist: {self.how_to_get_it}, or set data.path")

    def _source(self):
        """Returns what the scenes come from."""
        return pack.SceneFile(self.path, self.scene_format, self.image_dim, self.crop_region)

    def _kept(self, visibility):
        """Returns which scenes have as many objects as wanted, [N] bool of visibility [N, L]."""
        count = visibility[:, self.num_background :].sum(axis=1)
        fewest = 0 if self.min_num_objects is None else self.min_num_objects
        most = np.inf if self.max_num_objects is None else self.max_num_objects
        return (fewest <= count) & (count <= most)

    def _num_held_out(self, num_scenes):
        """Returns how many of the scenes are for testing only; 0 if the same ones serve both."""
        if num_scenes == 0:
            raise UserError(
                f"{self.path} has no scene with data.min_num_objects={self.min_num_objects} to "
                f"data.max_num_objects={self.max_num_objects} visible objects"
            )
        if num_scenes > self.held_out:
            return self.held_out
        print(
            f"{self.path} has {num_scenes} scenes to use, no more than data.held_out="
            f"{self.held_out}: they serve both training and testing",
            file=sys.stderr,
        )
        return 0

    @functools.cached_property
    def _packed(self):
        """(The packed scenes, the numbers of those to use, how many of these are held out)."""
        packed = pack.open_scenes(self._source(), self.cache)
        numbers = np.arange(len(packed))
        if "visibility" in packed.dtype.names:
            numbers = np.flatnonzero(self._kept(packed["visibility"]))
        return packed, numbers, self._num_held_out(len(numbers))

    def _gather(self, subset, seed, start_step):
        """Returns batches of packed scenes from the cache."""
        packed, numbers, held_out = self._packed
        size = self.batch_size
        if subset == "train":
            steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
            choose = shuffled_batches(numbers[held_out:], size, seed)
        elif subset == "summary":
            steps = tf.data.Dataset.range(1).repeat()
            choose = in_order(np.resize(numbers, size), size)  # Starts over if there are fewer.
        else:
            steps = tf.data.Dataset.range(-(-len(numbers[: held_out or None]) // size))
            choose = in_order(numbers[: held_out or None], size)
        names = packed.dtype.names

        def gather(step):
            chosen = choose(int(step))
            return [packed[name][chosen] for name in names]

        def gather_graph(step):
            values = tf.numpy_function(gather, [step], [packed.dtype[n].base for n in names])
            return {
                name: tf.ensure_shape(
                    value, (None if subset == "test" else size, *packed.dtype[name].shape)
                )
                for name, value in zip(names, values, strict=True)
            }

        return steps.map(gather_graph, tf.data.AUTOTUNE)

    def _stream(self, subset, seed, start_step):
        """Returns batches of scenes packed on the fly."""

        def scenes():
            for scene in self._source().scenes():
                if "visibility" not in scene or self._kept(scene["visibility"][None]):
                    yield scene

        first = list(itertools.islice(scenes(), 1))
        held_out = self._num_held_out(sum(1 for _ in itertools.islice(scenes(), self.held_out + 1)))
        stream = tf.data.Dataset.from_generator(
            scenes,
            output_signature={k: tf.TensorSpec(v.shape, v.dtype) for k, v in first[0].items()},
        )
        if subset == "test":
            return stream.take(held_out or -1).batch(self.batch_size)
        if subset == "summary":
            stream = stream.take(self.batch_size).cache()
        else:
            stream = stream.skip(held_out).shuffle(self.shuffle_buffer, seed)
        return stream.repeat().batch(self.batch_size, drop_remainder=True).skip(start_step)

    def _finish(self, packed):
        """Turns a batch of packed scenes into what a call returns."""
        image, labels = packed["image"], packed.get("labels")
        image = tf.cast(image, tf.float32) / image_ops.FULL_BRIGHTNESS[image.dtype.name]
        if len(image.shape) == 4:
            image = image[:, None]  # [B, 1, H, W, C]
        image = image[:, : self.num_frames]
        if self.grayscale:
            image = tf.reduce_mean(image, axis=-1, keepdims=True)
        if labels is None:
            return {"image": image}
        if len(labels.shape) == 3:
            labels = labels[:, None]  # [B, 1, H, W]
        num_entities = packed["visibility"].shape[-1]
        # The labels of pixels without an entity are beyond its depth, and give zeros.
        mask = tf.one_hot(labels[:, : self.num_frames], num_entities, axis=2)  # [B, T, L, H, W]
        return {
            "image": image,
            "mask": mask[..., None],
            "visibility": packed["visibility"],
            "factors": {
                factor: tf.concat([_as_columns(packed[name]) for name in names], axis=-1)
                for factor, names in self.factors.items()
            },
        }


def shuffled_batches(numbers, batch_size, seed):
    """Returns a function from a step to its batch, [batch_size] out of `numbers`.

    The batches run through a new permutation each epoch, across its end where they do not divide
    it. They depend on nothing but the arguments and the step.
    """

    @functools.lru_cache(maxsize=2)
    def permutation(epoch):
        return np.random.default_rng([seed, epoch]).permutation(numbers)

    def batch(step):
        position = np.arange(step * batch_size, (step + 1) * batch_size)
        epochs, places = np.divmod(position, len(numbers))
        return np.concatenate([permutation(int(e))[places[epochs == e]] for e in np.unique(epochs)])

    return batch


def in_order(numbers, batch_size):
    """Returns a function from a step to its batch of `numbers`, in order."""
    return lambda step: numbers[step * batch_size : (step + 1) * batch_size]


def _as_columns(feature):
    """Returns a feature [B, L] or [B, L, n] as [B, L, n]."""
    return feature[..., None] if len(feature.shape) == 2 else feature


def _as_crop_region(crop_region):
    """Returns a crop region as nested tuples; raises UserError where it is none."""
    try:
        (top, bottom), (left, right) = crop_region
        if 0 <= top < bottom and 0 <= left < right:
            return (top, bottom), (left, right)
    except (TypeError, ValueError):
        pass
    raise UserError(f"data.crop_region must be [[top, bottom], [left, right]], not {crop_region}")
