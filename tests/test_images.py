"""Images of every form that people have, as models take them."""

import numpy as np
import pytest
import tensorflow as tf

from iodine.data.images import as_data
from iodine.errors import UserError

PIXELS = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
WANTED = np.float32(PIXELS[:, None] / 255.0)  # [B, 1, H, W, C]


@pytest.mark.parametrize(
    "image",
    [
        PIXELS,
        PIXELS[:, None],
        PIXELS / 255.0,
        np.float16(PIXELS / 255.0),
        (PIXELS / 255.0).tolist(),
        tf.constant(PIXELS),
        {"image": PIXELS},
    ],
    ids=["uint8", "with frames", "float64", "float16", "list", "tensor", "dict"],
)
def test_whatever_means_the_same_becomes_the_same(image):
    found = as_data(image)["image"]
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, WANTED, atol=5e-4)  # as near as float16 is


def test_a_single_image_is_a_batch_of_one():
    np.testing.assert_allclose(as_data(PIXELS[1])["image"], WANTED[1:], rtol=1e-6)


def test_a_grey_image_needs_no_channel_and_is_repeated_where_colours_are_due():
    grey = np.uint8([[0, 255], [51, 102]])
    assert as_data(grey)["image"].shape == [1, 1, 2, 2, 1]
    colors = as_data(grey, num_channels=3)["image"]
    assert colors.shape == [1, 1, 2, 2, 3]
    np.testing.assert_allclose(colors[0, 0, 1], [[0.2] * 3, [0.4] * 3], rtol=1e-6)
    assert as_data(grey, num_channels=1)["image"].shape == [1, 1, 2, 2, 1]


def test_all_five_axes_leave_no_doubt_of_any_number_of_channels():
    assert as_data(np.zeros([2, 1, 4, 5, 4]))["image"].shape == [2, 1, 4, 5, 4]


def test_floats_of_the_right_form_are_the_very_same_and_all_else_is_kept():
    mask = object()
    found = as_data({"image": tf.constant(WANTED), "mask": mask}, num_channels=3)
    np.testing.assert_array_equal(found["image"], WANTED)
    assert found["mask"] is mask


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.float32(PIXELS), "the image has values from 0 to 119: an image is .B, frames, H, W, C"),
        (np.full([2, 4, 5, 3], np.nan), "values from nan to nan: an image is"),
        (PIXELS.astype(int), "the image is int64: an image is"),
        (PIXELS > 5, "the image is bool: an image is"),
        (np.moveaxis(PIXELS, -1, 1), r"the image is \[2, 3, 4, 5\]: an image is"),
        (np.zeros([2, 4, 5, 2]), r"the image is \[2, 4, 5, 2\]: an image is"),
        (np.zeros([4, 5, 4]), r"the image is \[4, 5, 4\]: an image is"),
        (np.zeros([3]), r"the image is \[3\]: an image is"),
        ("photo.png", "the image is string: an image is"),
        ([[1.0], [1.0, 2.0]], "no array of numbers: an image is"),
        ({"picture": PIXELS}, "the data has no image, but picture"),
        ({}, "the data has no image, but nothing"),
    ],
)
def test_what_is_not_clear_is_one_line_that_says_what_is_wanted(data, message):
    with pytest.raises(UserError, match=message):
        as_data(data)


def test_colours_are_not_averaged_for_a_grey_model():
    with pytest.raises(UserError, match="but the model takes 1 channel: average its colours"):
        as_data(PIXELS, num_channels=1)


@pytest.mark.parametrize("image", [PIXELS, np.float32(PIXELS / 255.0)], ids=["uint8", "float32"])
def test_it_works_within_a_function_of_unknown_batch(image):
    spec = tf.TensorSpec([None, 4, 5, 3], image.dtype)
    convert = tf.function(lambda image: as_data(image, 3)["image"], [spec], autograph=False)
    np.testing.assert_allclose(convert(tf.constant(image)), WANTED, rtol=1e-6)
    assert convert.get_concrete_function().output_shapes == [None, 1, 4, 5, 3]
