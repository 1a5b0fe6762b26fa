"""Batches of scenes for training, for its summary images, and for evaluation.

Files are packed on first use (see `multi_object_datasets.pack`). A training batch is then a pure
function of the seed and of the step's number, so that a run resumes where it stopped without
replaying anything, and every worker sees the same global batches.
"""

import dataclasses
import functools
import math
import os
import sys
from typing import ClassVar

import numpy as np
import tensorflow as tf

from iodine.data import default_files
from iodine.data.batches import compact_batch, endless_batches, expand, recolor
from iodine.errors import UserError, as_whole_number
from multi_object_datasets import files, hdf5, pack
from multi_object_datasets.image_files import FRAMINGS
from multi_object_datasets.scene_file import SceneFile
from multi_object_datasets.scene_format import HELD_OUT

SUBSETS = ("train", "summary", "test")


@dataclasses.dataclass(eq=False)
class SceneDataset:
    """Base of the data sets. Nothing is opened, or packed, before the first call.

    Attributes:
      path: file, glob, or list of these; `~` is the user's home.
      batch_size: number of scenes in a batch, over all replicas together.
      image_dim: (height, width) after resizing.
      crop_region: ((top, bottom), (left, right)), the rows and columns to keep before resizing;
        None keeps all.
      shuffle_buffer: None does not shuffle training scenes. With any number, which the reference's
        plans give, the whole set is shuffled anew each epoch.
      max_num_objects: leave out scenes with more visible foreground objects than this.
      min_num_objects: leave out scenes with fewer than this.
      leave_out: {feature of the file: [lowest, highest]}, leave out scenes with a visible object
        whose features all lie there: {"shape": [1, 1], "color": [3, 3]} are CLEVR's green spheres.
        A feature of several values takes lists of them.
      grayscale: whether to average the channels into one.
      saturation: how many times as strong the scenes' colours are, 0 for grey. Above 1 values may
        leave [0, 1].
      background: share of its brightness that the background keeps, from 0, black, to 1. It is
        what the true masks say.
      random_light: training scenes are lit by lights of their own: their channels are multiplied
        by random numbers from this one to 1. What is alike in all scenes, as a floor, then is not.
      held_out: number of scenes that are for testing and not trained on, the first ones of the
        file, whether left out or not. A file without more scenes than that serves both.
      cache: directory for the packed scenes, None for that of the file.
      framing: how images of one's own (`image=`, `ImageFolder`) that have another ratio of sides
        are brought to `image_dim`: "crop" keeps their middle, "squeeze" distorts them.
      on_error: what to do with an image of one's own that cannot be used: "raise" an error or
        "skip" it.
    """

    path: str
    batch_size: int
    image_dim: tuple
    crop_region: tuple = None
    shuffle_buffer: int = 1000
    max_num_objects: int = None
    min_num_objects: int = None
    leave_out: dict = None
    grayscale: bool = False
    saturation: float = 1.0
    background: float = 1.0
    random_light: float = 1.0
    held_out: int = HELD_OUT
    cache: str = None
    framing: str = "crop"
    on_error: str = "raise"

    scene_format = None  # The `SceneFormat` of the file.
    num_background = 1  # Number of leading entities that are no objects.
    factors: ClassVar = {}  # {factor: the features of the file whose columns it is made of}.
    only_held_out = False  # Whether the file has held-out scenes alone, of a shipped model's data.
    num_frames = None  # Number of frames of a sequence to use, the first ones; None for all.
    how_to_get_it = ""  # What to do where the file is not there.

    def __post_init__(self):
        """Raises UserError where the arguments do not make sense."""
        if not _is_number(self.batch_size, 1, whole=True):
            raise UserError(f"data.batch_size must be at least 1, not {self.batch_size!r}")
        self._check_held_out()
        if not _is_number(self.saturation, 0):
            raise UserError(f"data.saturation must be at least 0, not {self.saturation!r}")
        if not _is_number(self.background, 0, 1):
            raise UserError(f"data.background must be from 0 to 1, not {self.background!r}")
        if not _is_number(self.random_light, 0, 1):
            raise UserError(f"data.random_light must be from 0 to 1, not {self.random_light!r}")
        if self.shuffle_buffer is not None and not _is_number(self.shuffle_buffer, 1):
            raise UserError("data.shuffle_buffer must be at least 1, or None for no shuffling")
        self.path = default_files.resolve(self.path)
        self.image_dim = _as_image_dim(self.image_dim)
        if self.crop_region is not None:
            self.crop_region = _as_crop_region(self.crop_region)
        for name, known in (("framing", FRAMINGS), ("on_error", ("raise", "skip"))):
            if getattr(self, name) not in known:
                raise UserError(
                    f"data.{name} must be {' or '.join(known)}, not {getattr(self, name)}"
                )
        if self.cache is not None and not isinstance(self.cache, (str, os.PathLike)):
            raise UserError(f"data.cache must be a directory or None, not {self.cache}")
        self.leave_out = _as_leave_out(self.leave_out)
        for name in ("min_num_objects", "max_num_objects"):
            value = getattr(self, name)
            if value is not None and not _is_number(value, 0, whole=True):
                raise UserError(f"data.{name} must be a number of objects or None, not {value!r}")
        fewest, most = self.min_num_objects, self.max_num_objects
        if fewest is not None and most is not None and fewest > most:
            raise UserError(
                f"data.min_num_objects={fewest} is above data.max_num_objects={most}: "
                "no scene has as many objects"
            )

    def _check_held_out(self):
        """Raises UserError unless `held_out` is a number of scenes."""
        self.held_out = as_whole_number(self.held_out)  # Sacred reads 3e2 as a float.
        if not isinstance(self.held_out, int) or self.held_out < 0:
            raise UserError(f"data.held_out must be a number of scenes, not {self.held_out}")

    @property
    def image_shape(self):
        """(H, W, C) of the images in a batch, known without opening the file."""
        # Images of one's own, which have no format, are read as RGB.
        channels = self.scene_format.features["image"].shape[-1] if self.scene_format else 3
        return (*self.image_dim, 1 if self.grayscale else channels)

    def __call__(self, subset="train", seed=0, start_step=0, compact=False):
        """Returns batches of a subset.

        Args:
          subset: "train": endless, all scenes but the held-out ones, in a new order each epoch;
            "summary": the first `batch_size` scenes, for ever; "test": the held-out scenes
            once, in order, with a smaller last batch where they do not fill it.
          seed: non-negative int that the order of training scenes depends on.
          start_step: number of the first training batch.
          compact: whether to leave it to `batches.expand` to make of a batch what is described
            here, on the device: what goes there is then a tenth as large or less.

        Returns:
          `tf.data.Dataset` of dicts (T frames, 1 but for sequences; L entities, the background
          first), without mask, visibility and factors where images come without masks:
          image: [B, T, H, W, C] float32 in [0, 1].
          mask: [B, T, L, H, W, 1] float32, 1 where the entity is seen.
          visibility: [B, L] float32, 1 for the background and for each object that is there.
          factors: {name: [B, L, n]}.
          scene: [B] int64, the number of each scene in the file, from 0; only of "test".

        Raises:
          UserError: there is no such file or subset, or no scene in it.
          DatasetError: the file cannot be read; names the file and the record.
        """
        if subset not in SUBSETS:
            raise UserError(f"there is no subset '{subset}', only {', '.join(SUBSETS)}")
        if subset == "test" and self.held_out == 0:
            raise UserError(
                f"no scenes are held out for testing: set data.held_out, to {HELD_OUT} say"
            )
        self._need_file()
        batches = self._gather(subset, seed, start_step)
        if self.background != 1 and not {"labels", "mask"} & batches.element_spec.keys():
            raise UserError("data.background: without masks nothing says what the background is")
        batches = batches.map(
            lambda packed: recolor(
                compact_batch(packed, self.factors, self.num_frames),
                self.grayscale,
                self.saturation,
                self.background,
                self.num_background,
            ),
            tf.data.AUTOTUNE,
        )
        if not compact:
            batches = batches.map(expand, tf.data.AUTOTUNE)
        return batches.prefetch(tf.data.AUTOTUNE)

    def provenance(self):
        """Returns what a checkpoint remembers to tell later which scenes it was trained on.

        Returns:
          dict for JSON: `content`, a string that changes with the content of the file; `held_out`,
          the number of its first scenes that training leaves alone, 0 if it has no more than that;
          `min_num_objects` and `max_num_objects`.
        """
        self._need_file()
        return {
            "content": self._source().content(),
            "held_out": int(np.count_nonzero(self._is_held_out)),
            "min_num_objects": self.min_num_objects,
            "max_num_objects": self.max_num_objects,
        }

    def _need_file(self):
        """Makes sure that the file is there."""
        if not all(os.path.exists(file) for file in files.expand(self.path)):
            self._make_file()

    def _make_file(self):
        """Is called where the file is not there."""
        raise UserError(f"{self.path} does not exist: {self.how_to_get_it}, or set data.path")

    def generate_first(self, num_scenes):
        """Generates the first scenes of the file alone, in a file of their own.

        Returns:
          The path of that file, or None for scenes that no generator makes on first use.
        """
        del num_scenes

    def _source(self):
        """Returns what the scenes come from."""
        scene_format, first = self.scene_format, files.expand(self.path)[0]
        if hdf5.is_hdf5(first):
            scene_format = hdf5.scene_format(first, like=scene_format)
        return SceneFile(self.path, scene_format, self.image_dim, self.crop_region)

    def _kept(self):
        """Returns which scenes have the objects that are wanted, bool [N]."""
        packed = self._packed
        for name in self.leave_out or {}:
            if self.scene_format is None or name not in packed.dtype.names:
                raise UserError(f"data.leave_out: the scenes have no feature '{name}'")
        if packed.visibility is None:
            return np.ones(len(packed), bool)
        visible = packed.visibility[:, self.num_background :]  # [N, objects]
        count = visible.sum(axis=1)
        fewest = 0 if self.min_num_objects is None else self.min_num_objects
        most = np.inf if self.max_num_objects is None else self.max_num_objects
        kept = (fewest <= count) & (count <= most)
        if not self.leave_out:
            return kept
        found = visible > 0
        for name, (lowest, highest) in self.leave_out.items():
            values = packed.feature(name)[:, self.num_background :]
            within = (np.asarray(lowest) <= values) & (values <= np.asarray(highest))
            found &= within.reshape(*found.shape, -1).all(axis=-1)
        return kept & ~found.any(axis=1)

    def _no_scene(self, subset):
        """Returns the UserError for a subset without scenes."""
        if not self._in_subset(subset).any():
            return UserError(
                f"{self.path}: data.held_out={self.held_out} leaves no scene to train on"
            )
        where = {"train": "after", "test": "among"}.get(subset)
        part = f", {where} the first data.held_out={self.held_out}" if where else ""
        return UserError(
            f"{self.path} has no scene with data.min_num_objects={self.min_num_objects} to "
            f"data.max_num_objects={self.max_num_objects} visible objects{part}"
            + (f", none of data.leave_out={self.leave_out}" if self.leave_out else "")
        )

    @functools.cached_property
    def _packed(self):
        """The packed scenes."""
        return pack.open_scenes(self._source(), self.cache, quiet=self.only_held_out)

    @functools.cached_property
    def _is_held_out(self):
        """Whether each scene is for testing only, bool [N]; none is where all serve both."""
        count = len(self._packed)
        return np.arange(count) < (self.held_out if count > self.held_out else 0)

    def _tell_what_serves_both(self):
        """Says before training if no scene is left for testing alone."""
        if self.held_out and not self._is_held_out.any():
            print(
                f"{self.path} has {len(self._packed)} scenes, no more than "
                f"data.held_out={self.held_out}: they serve both training and testing",
                file=sys.stderr,
            )

    def _in_subset(self, subset):
        """Returns which scenes belong to a subset, whatever objects they have, bool [N]."""
        if subset == "summary" or not self._is_held_out.any():
            return np.ones(len(self._packed), bool)
        return self._is_held_out == (subset == "test")

    def _gather(self, subset, seed, start_step):
        """Returns batches of packed scenes from the cache."""
        packed, size = self._packed, self.batch_size
        numbers = np.flatnonzero(self._in_subset(subset) & self._kept())
        if not len(numbers):
            raise self._no_scene(subset)
        if subset == "train":
            self._tell_what_serves_both()
            steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
            choose = endless_batches(numbers, size, seed if self.shuffle_buffer else None)
        elif subset == "summary":
            steps = tf.data.Dataset.range(1).repeat()
            choose = endless_batches(numbers, size, None)
        else:
            steps = tf.data.Dataset.range(-(-len(numbers) // size))

            def choose(step):
                return numbers[step * size : (step + 1) * size]

        fields = {
            name: (field.base, field.shape) for name, (field, *_) in packed.dtype.fields.items()
        }
        if subset == "test":
            fields["scene"] = (np.dtype(np.int64), ())
        num_channels = fields["image"][1][-1]
        if subset == "train" and self.random_light != 1:
            fields["light"] = (np.dtype(np.float32), (num_channels,))

        def gather(step):
            chosen = choose(int(step))
            scenes = packed.read(chosen)
            values = {"scene": chosen, **{name: scenes[name] for name in packed.dtype.names}}
            if "light" in fields:
                # A third number that is not 0, as the order of an epoch is drawn with two.
                rng = np.random.default_rng([seed, int(step), num_channels])
                light = rng.uniform(self.random_light, 1.0, (size, num_channels))
                values["light"] = light.astype(np.float32)
            return [values[name] for name in fields]

        def gather_graph(step):
            values = tf.numpy_function(gather, [step], [dtype for dtype, _ in fields.values()])
            batch = None if subset == "test" else size
            return {
                name: tf.ensure_shape(value, (batch, *shape))
                for value, (name, (_, shape)) in zip(values, fields.items(), strict=True)
            }

        return steps.map(gather_graph, tf.data.AUTOTUNE)


def _is_number(value, lowest, highest=math.inf, whole=False):
    """Whether a value is a finite number from `lowest` to `highest`."""
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        return False
    return lowest <= value <= highest and value < math.inf


def _as_leave_out(leave_out):
    """Returns which scenes to leave out as a dict of limits; raises UserError where it is none."""
    if leave_out is None:
        return None
    try:
        for lowest, highest in leave_out.values():
            np.asarray([lowest, highest], float)
    except (AttributeError, TypeError, ValueError):
        raise UserError(
            f"data.leave_out must be {{feature: [lowest, highest]}}, not {leave_out}"
        ) from None
    return leave_out


def _as_image_dim(image_dim):
    """Returns a size as a tuple; raises UserError where it is none."""
    try:
        height, width = image_dim
        if int(height) == height > 0 and int(width) == width > 0:
            return int(height), int(width)
    except (TypeError, ValueError):
        pass
    raise UserError(f"data.image_dim must be [height, width], not {image_dim}")


def _as_crop_region(crop_region):
    """Returns a crop region as nested tuples; raises UserError where it is none."""
    try:
        (top, bottom), (left, right) = crop_region
        if 0 <= top < bottom and 0 <= left < right:
            return (top, bottom), (left, right)
    except (TypeError, ValueError):
        pass
    raise UserError(f"data.crop_region must be [[top, bottom], [left, right]], not {crop_region}")
