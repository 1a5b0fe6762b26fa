"""The window of attention: exact pixels, the inverse of a place, and NumPy's bilinear sampling."""

import numpy as np
import tensorflow as tf

from iodine.baselines.air.spatial_transformer import attend, put, sampling_matrix


def place(*values):
    return tf.constant([values], tf.float32)


def bilinear(image, u, v):
    """The value at (u, v), coordinates from -1 to 1 across and down, 0 outside."""
    height, width = image.shape
    x, y = ((u + 1) * width - 1) / 2, ((v + 1) * height - 1) / 2
    left, top = int(np.floor(x)), int(np.floor(y))
    total = 0.0
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < height and 0 <= column < width:
                total += (1 - abs(x - column)) * (1 - abs(y - row)) * image[row, column]
    return total


def test_the_whole_picture_at_scale_1():
    image = np.random.default_rng(0).random([1, 5, 7], np.float32)
    np.testing.assert_allclose(attend(image, place(1, 0, 0), (5, 7)), image, rtol=1e-6)
    np.testing.assert_allclose(put(image, place(1, 0, 0), (5, 7)), image, rtol=1e-6)


def test_a_window_of_whole_pixels_is_cut_out_and_put_back():
    image = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    # A quarter of the side, its centre at (-x/s, -y/s) = (0.25, -0.5): column 5, row 2.
    window = attend(image, place(4, -1, 2), (2, 2))
    np.testing.assert_allclose(window[0], image[0, 1:3, 4:6], rtol=1e-5)
    expected = np.zeros([8, 8])
    expected[1:3, 4:6] = image[0, 1:3, 4:6]
    np.testing.assert_allclose(put(window, place(4, -1, 2), (8, 8))[0], expected, rtol=1e-5)


def test_attention_and_putting_sample_as_two_loops_would():
    rng = np.random.default_rng(1)
    image, patch = rng.random([1, 9, 11], np.float32), rng.random([1, 4, 5], np.float32)
    s, x, y = 2.3, 0.4, -0.9
    window, canvas = attend(image, place(s, x, y), (4, 5)), put(patch, place(s, x, y), (9, 11))
    for row in range(4):
        for column in range(5):
            u, v = (2 * column + 1) / 5 - 1, (2 * row + 1) / 4 - 1
            expected = bilinear(image[0], (u - x) / s, (v - y) / s)
            np.testing.assert_allclose(window[0, row, column], expected, atol=1e-5)
    for row in range(9):
        for column in range(11):
            u, v = (2 * column + 1) / 11 - 1, (2 * row + 1) / 9 - 1
            expected = bilinear(patch[0], s * u + x, s * v + y)
            np.testing.assert_allclose(canvas[0, row, column], expected, atol=1e-5)


def test_the_inverse_of_a_place_is_the_inverse_of_its_matrix():
    s, x, y = 2.3, 0.4, -0.9
    matrix = np.array([[s, 0, x], [0, s, y], [0, 0, 1]])
    inverse = np.array([[1 / s, 0, -x / s], [0, 1 / s, -y / s], [0, 0, 1]])
    np.testing.assert_allclose(matrix @ inverse, np.eye(3), atol=1e-12)
    image = np.random.default_rng(2).random([1, 6, 6], np.float32)
    there = put(image, tf.constant([[1 / s, -x / s, -y / s]]), (6, 6))
    np.testing.assert_allclose(there, attend(image, place(s, x, y), (6, 6)), rtol=1e-4, atol=1e-5)


def test_gradients_by_the_place_are_those_of_finite_differences():
    image = tf.constant(np.random.default_rng(3).random([6, 6]))

    def value(where):
        matrices = [
            sampling_matrix(1 / where[:1], -where[i : i + 1] / where[:1], 6, 4) for i in (2, 1)
        ]
        return tf.reduce_sum(tf.square(matrices[0][0] @ image @ tf.transpose(matrices[1][0])))

    where = tf.constant([1.9, 0.21, -0.13], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(where)
        total = value(where)
    gradient = tape.gradient(total, where)
    for i in range(3):
        step = 1e-6 * tf.one_hot(i, 3, dtype=tf.float64)
        slope = (value(where + step) - value(where - step)) / 2e-6
        np.testing.assert_allclose(gradient[i], slope, rtol=1e-5)
