"""Convolutions that do less work by making use of what is known about their input or output.

Each computes what `snt.Conv2D` does, with the same variables, up to rounding.
"""

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine.modules import utils


def taps_inside(size, kernel, stride, padding):
    """Which taps of a kernel lie inside the image, along one axis.

    Args:
      size: of the image.
      kernel: number of taps.
      stride: of the convolution.
      padding: "SAME" or "VALID".

    Returns:
      float32 [output size, kernel] of ones and zeros.
    """
    if padding == "SAME":
        output_size = -(-size // stride)
        before = max((output_size - 1) * stride + kernel - size, 0) // 2
    else:
        output_size = -(-(size - kernel + 1) // stride)
        before = 0
    positions = np.arange(output_size)[:, None] * stride + np.arange(kernel) - before
    return ((positions >= 0) & (positions < size)).astype(np.float32)


def convolve_vectors(vectors, w, height, width, stride, padding):
    """Convolves images that hold one vector at every pixel.

    A tap multiplies the same vector wherever it lies inside the image. So the result is one small
    matrix product v·w_ab for each tap (a, b), summed at pixel (i, j) over the taps inside the
    image: Σ_a R_ia Σ_b C_jb v·w_ab, with R and C from `taps_inside`.

    Args:
      vectors: float32 [N, I].
      w: float32 [k_h, k_w, I, O].
      height, width: of the images.
      stride, padding: of the convolution.

    Returns:
      float32 [N, H', W', O].
    """
    k_h, k_w, _, n_o = w.shape
    rows = taps_inside(height, k_h, stride, padding)  # [H', k_h]
    columns = taps_inside(width, k_w, stride, padding)  # [W', k_w]
    taps = tf.einsum("ni,abio->nabo", vectors, w)  # [N, k_h, k_w, O]
    taps = tf.matmul(rows, tf.reshape(taps, [-1, k_h, k_w * n_o]))
    taps = tf.reshape(taps, [-1, rows.shape[0], k_w, n_o])  # [N, H', k_w, O]
    return tf.matmul(columns, taps)  # [N, H', W', O]


class BroadcastConv2D(snt.Conv2D):
    """Convolution of images that hold one vector at every pixel, beside channels of their own.

    The vector's part of the result is `convolve_vectors`.
    """

    def __call__(self, vectors, image):
        """Convolves [vectors at every pixel, image].

        Args:
          vectors: [N, I].
          image: channels that all N share, [1, H, W, C], C may be 0.

        Returns:
          [N, H', W', output channels].
        """
        _, n_i = vectors.shape
        _, height, width, channels = image.shape
        self._initialize(tf.zeros([1, height, width, n_i + channels]))
        # In mixed precision too, sums over taps are float32, as they are within a convolution.
        dtype, vectors = vectors.dtype, tf.cast(vectors, tf.float32)
        w_vectors, w_image = tf.split(tf.cast(self.w, tf.float32), [n_i, channels], axis=2)
        size = (height, width, self.stride, self.conv_padding)
        outputs = convolve_vectors(vectors, w_vectors, *size)
        constant = tf.cast(self.b, tf.float32)
        if channels:
            image = tf.cast(image, tf.float32)
            constant = constant + tf.nn.conv2d(image, w_image, self.stride, self.conv_padding)
        return tf.cast(outputs + constant, dtype)


class SumConv2D(snt.Conv2D):
    """Convolution of images that are one vector at every pixel plus an image that all share."""

    def __call__(self, vectors, image):
        """Convolves vectors + image.

        Args:
          vectors: [N, I].
          image: [1, H, W, I].

        Returns:
          [N, H', W', output channels].
        """
        self._initialize(image)
        # As in `BroadcastConv2D`.
        dtype, w = vectors.dtype, tf.cast(self.w, tf.float32)
        vectors, image = tf.cast(vectors, tf.float32), tf.cast(image, tf.float32)
        outputs = convolve_vectors(vectors, w, *image.shape[1:3], self.stride, self.conv_padding)
        outputs += tf.nn.conv2d(image, w, self.stride, self.conv_padding)
        return tf.cast(outputs + tf.cast(self.b, tf.float32), dtype)


class SlotConv2D(snt.Conv2D):
    """Convolution of the channels of several images, some of which all slots of a scene share.

    A convolution is linear, so what is shared is convolved once and added to every slot.
    """

    def __call__(self, images):
        """Convolves the images, concatenated on channels.

        Args:
          images: list of [B, K or 1, H, W, ·].

        Returns:
          [B * K, H', W', output channels]; with 1 for K if all of them have 1.
        """
        height, width = images[0].shape[2:4]
        channels = [image.shape[-1] for image in images]
        self._initialize(tf.zeros([1, height, width, sum(channels)]))
        weights = tf.split(self.w, channels, axis=2)
        outputs = self.b
        for num_slots in {image.shape[1] for image in images}:
            parts = [(x, w) for x, w in zip(images, weights) if x.shape[1] == num_slots]
            x = tf.concat([x for x, _ in parts], axis=-1)
            x = tf.reshape(x, [-1, height, width, x.shape[-1]])
            w = tf.concat([w for _, w in parts], axis=2)
            y = tf.nn.conv2d(x, w, self.stride, self.conv_padding)  # [B * num_slots, H', W', O]
            outputs = outputs + tf.reshape(y, [-1, num_slots, *y.shape[1:]])
        return tf.reshape(outputs, [-1, *outputs.shape[2:]])  # [B * K, H', W', O]


# Adjacent pixels that `narrow_conv2d` computes together.
GROUP = 4


@tf.custom_gradient
def narrow_conv2d(x, w):
    """Convolution to few channels, stride 1, padding SAME, a kernel of odd sizes.

    Kernels of CPUs and GPUs fill their vectors with output channels, and a handful of channels
    leaves most of a vector empty. So GROUP adjacent pixels of a row become output channels of one
    convolution with a kernel that covers them all; and the gradient of the weights, which has the
    same trouble, is computed with x and the output's gradient in each other's place.

    Args:
      x: [N, H, W, I].
      w: [k_h, k_w, I, O].

    Returns:
      [N, H, W, O].
    """
    k_h, k_w, n_i, n_o = w.shape
    _, height, width, _ = x.shape
    num_groups = -(-width // GROUP)
    shifted = [tf.pad(w, [[0, 0], [p, GROUP - 1 - p], [0, 0], [0, 0]]) for p in range(GROUP)]
    wide = tf.reshape(tf.stack(shifted, axis=3), [k_h, k_w + GROUP - 1, n_i, GROUP * n_o])
    right = k_w // 2 + num_groups * GROUP - width
    padding = [[0, 0], [k_h // 2, k_h // 2], [k_w // 2, right], [0, 0]]
    y = tf.nn.conv2d(x, wide, [1, GROUP], padding)  # [N, H, W / GROUP, GROUP * O]
    y = tf.reshape(y, [-1, height, num_groups * GROUP, n_o])[:, :, :width]

    def gradient(dy):
        options = {"strides": [1, 1, 1, 1], "padding": "SAME"}
        dx = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=utils.shape_of(x), filter=w, out_backprop=dy, **options
        )
        dw = tf.raw_ops.Conv2DBackpropFilter(
            input=dy, filter_sizes=[k_h, k_w, n_o, n_i], out_backprop=x, **options
        )  # of the mirrored kernel, from outputs to inputs
        return dx, tf.transpose(dw[::-1, ::-1], [0, 1, 3, 2])

    return y, gradient


class NarrowConv2D(snt.Conv2D):
    """Convolution to few channels; strides other than 1 and the like go the usual way.

    The result is float32 in mixed precision too: it holds the mask logits and the pixel parameters,
    and bfloat16's steps of 1/256 would be coarse beside a pixel's standard deviation of 0.03.
    """

    def __call__(self, x):
        """Convolves [N, H, W, I] to [N, H', W', output channels]."""
        self._initialize(x)
        k_h, k_w = self.w.shape[:2]
        if self.stride != 1 or self.conv_padding != "SAME" or k_h % 2 == 0 or k_w % 2 == 0:
            return super().__call__(x)
        x, w = tf.cast(x, tf.float32), tf.cast(self.w, tf.float32)
        return narrow_conv2d(x, w) + tf.cast(self.b, tf.float32)
