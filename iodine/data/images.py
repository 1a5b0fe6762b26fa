"""Images as people have them, made into the data that models take."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from iodine.errors import UserError

WANTED = (
    "an image is [B, frames, H, W, C], [B, H, W, C], [H, W, C] or [H, W], uint8 or floats from "
    "0 to 1, C being 1 or 3"
)
SLACK = 0.01  # beyond 0 and 1, as resizing makes it


def as_data(data, num_channels=None):
    """Converts images to what models take, where there is no doubt of what they mean.

    Args:
      data: dict of image and perhaps more, as in `Model`, or an image alone. An image is uint8 from
        0 to 255, or floats from 0 to 1; [B, frames, H, W, C], [B, H, W, C], [H, W, C] or, in grey,
        [H, W].
      num_channels: C of the model, to which a grey image is repeated; None leaves it.

    Returns:
      Dict with all that was given, and as image float32 [B, frames, H, W, C]. Within a
      `tf.function` the values cannot be checked.

    Raises:
      UserError: if the image has another form; says what was given and what is wanted.
    """
    given = data if isinstance(data, Mapping) else {"image": data}
    if "image" not in given:
        raise UserError(f"the data has no image, but {', '.join(map(str, given)) or 'nothing'}")
    try:
        image = tf.convert_to_tensor(given["image"])
    except (ValueError, TypeError) as error:
        raise UserError(f"the image is no array of numbers: {WANTED}") from error
    return {**given, "image": _channels(_axes(_values(image)), num_channels)}


def _values(image):
    """Returns an image of any type as float32 from 0 to 1."""
    if image.dtype == tf.uint8:
        return tf.cast(image, tf.float32) / 255.0
    if not image.dtype.is_floating:
        raise UserError(f"the image is {image.dtype.name}: {WANTED}")
    image = tf.cast(image, tf.float32)
    if tf.executing_eagerly() and image.shape.num_elements():
        low, high = np.min(image), np.max(image)
        if not (-SLACK <= low and high <= 1.0 + SLACK):  # NaN does not lie there either.
            raise UserError(f"the image has values from {low:g} to {high:g}: {WANTED}")
    return image


def _axes(image):
    """Returns an image [..., H, W, C] or [H, W] as [B, frames, H, W, C]."""
    rank = image.shape.rank
    if rank == 2:
        return image[None, None, :, :, None]
    if rank == 5:
        return image
    if rank not in (3, 4) or image.shape[-1] not in (1, 3):
        raise UserError(f"the image is {image.shape.as_list()}: {WANTED}")
    return image[:, None] if rank == 4 else image[None, None]


def _channels(image, num_channels):
    """Repeats a grey image where the model takes colours."""
    found = image.shape[-1]
    if num_channels in (None, found):
        return image
    if found != 1:
        raise UserError(
            f"the image is {image.shape.as_list()}, but the model takes {num_channels} channel: "
            "average its colours"
        )
    return tf.repeat(image, num_channels, axis=-1)
