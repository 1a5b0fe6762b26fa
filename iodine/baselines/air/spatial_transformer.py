"""Attention to a window of an image, and back: a spatial transformer that only scales and shifts.

A place is (s, x, y). The window's centre is at (-x/s, -y/s) and its side is 1/s of the image's,
in coordinates that run from -1 to 1 over the image, x across and y down.
"""

import tensorflow as tf

PLACE = 3  # size of (s, x, y)


def sampling_matrix(scale, offset, num_in, num_out):
    """Bilinear sampling along one axis, as a matrix.

    The centre of output pixel i is at u_i = (2i + 1)/num_out - 1, and takes the input at
    scale·u_i + offset, interpolated between the centres of the two nearest pixels; outside of the
    input all is 0. What neither turns nor shears needs nothing but one such matrix for each axis:
    two small products, where a general transformer gathers pixel by pixel.

    Args:
      scale, offset: [B].
      num_in, num_out: number of pixels.

    Returns:
      [B, num_out, num_in].
    """
    centers = (2.0 * tf.range(num_out, dtype=scale.dtype) + 1.0) / num_out - 1.0
    sampled = scale[:, None] * centers + offset[:, None]  # [B, num_out]
    position = ((sampled + 1.0) * num_in - 1.0) / 2.0  # in pixels of the input
    distance = tf.abs(position[..., None] - tf.range(num_in, dtype=scale.dtype))
    return tf.nn.relu(1.0 - distance)


def _sample(images, scale, x, y, shape):
    """Samples images [B, H, W] to [B, *shape]."""
    rows = sampling_matrix(scale, y, images.shape[1], shape[0])  # [B, h, H]
    columns = sampling_matrix(scale, x, images.shape[2], shape[1])  # [B, w, W]
    return tf.matmul(rows, tf.matmul(images, columns, transpose_b=True))


def attend(image, place, patch_shape):
    """Reads the window at a place.

    Args:
      image: [B, H, W].
      place: (s, x, y), [B, 3].
      patch_shape: (h, w).

    Returns:
      [B, h, w]: pixel (u, v) shows the image at ((u - x)/s, (v - y)/s).
    """
    scale, x, y = tf.unstack(place, axis=-1)
    return _sample(image, 1.0 / scale, -x / scale, -y / scale, patch_shape)


def put(patch, place, image_shape):
    """Draws a patch into its window of an empty image, the inverse of `attend`.

    Args:
      patch: [B, h, w].
      place: (s, x, y), [B, 3].
      image_shape: (H, W).

    Returns:
      [B, H, W]: pixel (u, v) shows the patch at (s·u + x, s·v + y), 0 outside of it.
    """
    scale, x, y = tf.unstack(place, axis=-1)
    return _sample(patch, scale, x, y, image_shape)
