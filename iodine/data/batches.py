"""What a batch of scenes is made of, and in which order scenes come."""

import functools

import numpy as np
import tensorflow as tf

from multi_object_datasets import image_ops


def compact_batch(packed, factors, num_frames=None):
    """Makes a compact batch of packed scenes.

    Args:
      packed: dict of what `SceneFile.scenes` yields, [B, ...] each.
      factors: {factor: the features whose columns it is made of}.
      num_frames: number of frames to use, the first ones; None for all.

    Returns:
      dict of tensors, see `expand`.
    """

    def frames(value, num_axes):
        """Returns a value of which one frame has so many axes as [B, T, ...]."""
        value = value[:, None] if len(value.shape) == 1 + num_axes else value
        return value[:, :num_frames]

    batch = {"image": frames(packed["image"], 3)}  # [B, T, H, W, C]
    if "labels" in packed:
        batch["labels"] = frames(packed["labels"], 2)  # [B, T, H, W]
    if "mask" in packed:
        batch["mask"] = frames(packed["mask"], 3)[..., None]  # [B, T, L, H, W, 1]
    if "visibility" in packed:
        batch["visibility"] = packed["visibility"]
        batch["factors"] = {
            factor: tf.concat([_as_columns(packed[name]) for name in names], axis=-1)
            for factor, names in factors.items()
            if packed.keys() >= set(names)  # Other projects' files may lack them.
        }
    batch.update({name: packed[name] for name in ("scene", "light") if name in packed})
    return batch


def recolor(batch, grayscale=False, saturation=1.0, background=1.0, num_background=1):
    """Changes the colours of a compact batch.

    Args:
      batch: dict of tensors, see `expand`; with labels or mask if the background changes. It may
        have `light`, [B, C], what the channels of each scene are multiplied by.
      grayscale: whether to average the channels into one.
      saturation: what the channels' distance from their average is multiplied by.
      background: share of its brightness that the background keeps.
      num_background: number of entities, the first ones, that are the background.

    Returns:
      The batch without `light`, its image as floats where anything changed.
    """
    light = batch.get("light")
    if light is None and not grayscale and saturation == 1 and background == 1:
        return batch
    image = _as_floats(batch["image"])
    if background != 1:
        if "labels" in batch:
            cover = tf.cast(batch["labels"] < num_background, tf.float32)[..., None]
        else:
            cover = tf.reduce_sum(_as_floats(batch["mask"][:, :, :num_background]), axis=2)
        image *= 1.0 - (1.0 - background) * cover  # [B, T, H, W, C]
    if light is not None:
        image *= light[:, None, None, None]
    if grayscale or saturation != 1:
        gray = tf.reduce_mean(image, axis=-1, keepdims=True)
        image = gray if grayscale else gray + saturation * (image - gray)
    kept = {name: value for name, value in batch.items() if name != "light"}
    return {**kept, "image": image}


def expand(batch):
    """Makes of a compact batch what the call of a `SceneDataset` describes.

    A function of tensors alone, to be run on the device. Any other batch stays as it is.

    Args:
      batch: dict as described there, but for image, uint8 or uint16, and instead of mask labels
        [B, T, H, W] uint8, the entity of each pixel or `NO_ENTITY`; where masks overlap or are
        soft, it has a mask of uint8.
    """
    batch = {**batch, "image": _as_floats(batch["image"])}
    if "labels" in batch:
        num_entities = batch["visibility"].shape[-1]
        # The label of pixels without an entity is beyond the depth, and gives zeros.
        mask = tf.one_hot(batch.pop("labels"), num_entities, axis=2)  # [B, T, L, H, W]
        batch["mask"] = mask[..., None]
    elif "mask" in batch:
        batch["mask"] = _as_floats(batch["mask"])
    return batch


def endless_batches(numbers, batch_size, seed):
    """Returns a function from a step to its batch, [batch_size] out of `numbers`.

    The batches run through a new permutation each epoch, or with `seed` None through the numbers in
    their order, across its end where they do not divide it. They depend on nothing but the
    arguments and the step.
    """

    @functools.lru_cache(maxsize=2)
    def permutation(epoch):
        if seed is None:
            return numbers
        return np.random.default_rng([seed, epoch]).permutation(numbers)

    def batch(step):
        position = np.arange(step * batch_size, (step + 1) * batch_size)
        epochs, places = np.divmod(position, len(numbers))
        return np.concatenate([permutation(int(e))[places[epochs == e]] for e in np.unique(epochs)])

    return batch


def _as_floats(values):
    """Returns stored brightness as float32 in [0, 1]."""
    values = tf.convert_to_tensor(values)
    return tf.cast(values, tf.float32) / image_ops.FULL_BRIGHTNESS[values.dtype.name]


def _as_columns(feature):
    """Returns a feature [B, L] or [B, L, n] as [B, L, n]."""
    return feature[..., None] if len(feature.shape) == 2 else feature
