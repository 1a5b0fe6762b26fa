"""Crop, resize and label maps: what happens to a scene's pixels before it is packed.

With NumPy, as packing does without TensorFlow: it would take the GPU.
"""

import fractions

import numpy as np

NO_ENTITY = 255  # Label of pixels that belong to no entity.
# What a stored image of each type counts to at full brightness. The uint16 one leaves 256 levels
# between two grey values, enough for interpolation weights down to 1/256 to be exact.
FULL_BRIGHTNESS = {"uint8": 255, "uint16": 255 * 256, "float32": 1}


class NoLabelMap(ValueError):
    """Masks that a label map cannot hold; says why."""


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
    top, bottom, down = _neighbours(size[0], image_dim[0])
    left, right, across = _neighbours(size[1], image_dim[1])
    image = image.astype(np.float32)
    image = image[..., left, :] + (image[..., right, :] - image[..., left, :]) * across[:, None]
    upper, lower = image[..., top, :, :], image[..., bottom, :, :]
    resized = upper + (lower - upper) * down[:, None, None]
    # The weights are multiples of 1/q, q the denominator of the ratio of sizes in lowest terms.
    q = np.prod([fractions.Fraction(*sizes).denominator for sizes in zip(size, image_dim)])
    if q == 1:
        return resized.astype(np.uint8)
    if q <= 256 and 256 % q == 0:
        return (256 * resized).astype(np.uint16)
    return resized / np.float32(255)


def resize_nearest(array, image_dim):
    """Resizes [..., H, W, C] to [..., height, width, C], each pixel from the one at
    floor(i·H/height), as TensorFlow 1's `resize_images` does."""
    if array.shape[-3:-1] == tuple(image_dim):
        return array
    rows, columns = (_neighbours(old, new)[0] for old, new in zip(array.shape[-3:-1], image_dim))
    return array[..., rows[:, None], columns, :]


def _neighbours(old, new):
    """Returns where pixels lie after resizing an axis from `old` to `new` pixels.

    Returns:
      (the input pixel before each output pixel, the one after it, how far it is from the first to
      the second), each [new], in float32 as TensorFlow computes them.
    """
    position = np.arange(new, dtype=np.float32) * (np.float32(old) / np.float32(new))
    before = np.minimum(np.floor(position).astype(int), old - 1)
    return before, np.minimum(before + 1, old - 1), position - np.floor(position)


def label_map(mask):
    """Turns masks into a label map.

    Args:
      mask: [..., L, H, W, 1] uint8.

    Returns:
      [..., H, W] uint8, the entity of each pixel, or `NO_ENTITY`.

    Raises:
      NoLabelMap: the masks overlap, or hold other values than 0 and 255.
    """
    member = mask[..., 0] == 255  # [..., L, H, W]
    if not np.array_equal(member, mask[..., 0] != 0):
        raise NoLabelMap("a mask has values other than 0 and 255")
    if (member.sum(axis=-3, dtype=np.uint8) > 1).any():
        raise NoLabelMap("the masks of two entities overlap")
    labels = np.full(member.shape[:-3] + member.shape[-2:], NO_ENTITY, np.uint8)
    for entity in range(member.shape[-3]):
        labels[member[..., entity, :, :]] = entity
    return labels
