"""Crop, resize and label maps: what happens to a scene's pixels before it is packed."""

import fractions

import numpy as np
import tensorflow as tf

NO_ENTITY = 255  # Label of pixels that belong to no entity.
# What a stored image of each type counts to at full brightness. The uint16 one leaves 256 levels
# between two grey values, enough for interpolation weights down to 1/256 to be exact.
FULL_BRIGHTNESS = {"uint8": 255, "uint16": 255 * 256, "float32": 1}


def crop(array, crop_region):
    """Cuts a region out of an array.

    Args:
      array: [..., H, W, C].
      crop_region: ((top, bottom), (left, right)): keeps rows top:bottom and columns left:right;
        None keeps all.

    Returns:
      [..., bottom - top, right - left, C].

    Raises:
      ValueError: the region does not lie inside the image.
    """
    if crop_region is None:
        return array
    (top, bottom), (left, right) = crop_region
    height, width = array.shape[-3:-1]
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise ValueError(
            f"crop_region rows {top}:{bottom}, columns {left}:{right} does not lie inside an image "
            f"of {height}x{width}"
        )
    return array[..., top:bottom, left:right, :]


def resize_bilinear(image, image_dim):
    """Resizes uint8 images [..., H, W, C] as TensorFlow 1's `resize_images` does.

    That is without half-pixel centres: output pixel i is taken at input position i·H/height.

    Returns:
      [..., height, width, C], to be divided by its type's `FULL_BRIGHTNESS`: uint8 where resizing
      only picks pixels; uint16 where the interpolation weights are multiples of a power of 1/2
      (CLEVR's 192 to 128 pixels: of 1/4); else float32. So nothing is lost in any of them.
    """
    size, image_dim = image.shape[-3:-1], tuple(image_dim)
    if size == image_dim:
        return image
    resized = _resize(tf.raw_ops.ResizeBilinear, image.astype(np.float32), image_dim)
    # The weights are multiples of 1/q, q the denominator of the ratio of sizes in lowest terms.
    ratios = map(fractions.Fraction, size, image_dim)
    q = np.prod([ratio.denominator for ratio in ratios])
    if q == 1:
        return resized.astype(np.uint8)
    if q <= 256 and 256 % q == 0:
        return (256 * resized).astype(np.uint16)
    return resized / np.float32(255)


def resize_nearest(array, image_dim):
    """Resizes uint8 [..., H, W, C] to [..., height, width, C], each pixel from the one at
    floor(i·H/height), as TensorFlow 1's `resize_images` does."""
    if array.shape[-3:-1] == tuple(image_dim):
        return array
    return _resize(tf.raw_ops.ResizeNearestNeighbor, array, image_dim)


def _resize(op, images, image_dim):
    """Applies a resizing op to images [..., H, W, C]."""
    flat = images.reshape(-1, *images.shape[-3:])  # [frames, H, W, C]
    flat = op(images=flat, size=image_dim).numpy()
    return flat.reshape(*images.shape[:-3], *flat.shape[1:])


def label_map(mask):
    """Turns masks into a label map.

    Args:
      mask: [..., L, H, W, 1] uint8, 0 or 255, at most one of the L entities at each pixel.

    Returns:
      [..., H, W] uint8, the entity of each pixel, or `NO_ENTITY`.

    Raises:
      ValueError: the masks overlap, or hold other values.
    """
    member = mask[..., 0] == 255  # [..., L, H, W]
    if not np.array_equal(member, mask[..., 0] != 0):
        raise ValueError("a mask has values other than 0 and 255")
    if (member.sum(axis=-3, dtype=np.uint8) > 1).any():
        raise ValueError("the masks of two entities overlap")
    labels = np.full(member.shape[:-3] + member.shape[-2:], NO_ENTITY, np.uint8)
    for entity in range(member.shape[-3]):
        labels[member[..., entity, :, :]] = entity
    return labels


def visible_entities(labels, num_entities):
    """Returns [num_entities] float32, 1 for the entities that have a pixel in a label map."""
    return np.isin(np.arange(num_entities), labels).astype(np.float32)
