"""What AIR shows in TensorBoard: scenes with coloured boxes, attention step by step, samples."""

import tensorflow as tf

from iodine.figures import summary_images
from iodine.figures.colors import slot_colors


def draw_boxes(pictures, places, there):
    """Draws the outline of each attended window, in the colours of the steps.

    Args:
      pictures: [B, H, W, 1 or 3].
      places: (s, x, y), [B, N, 3].
      there: whether the object is, [B, N].

    Returns:
      float32 [B, H, W, 3] in [0, 1].
    """
    pictures = tf.clip_by_value(tf.cast(pictures, tf.float32), 0.0, 1.0)
    if pictures.shape[-1] == 1:
        pictures = tf.image.grayscale_to_rgb(pictures)
    scale, x, y = (places[..., i : i + 1] for i in range(3))

    def distances(offset, size):
        """How far each pixel's centre is inside of the window's edge, [B, N, size] in pixels."""
        centers = (2.0 * tf.range(size, dtype=tf.float32) + 1.0) / size - 1.0
        return (1.0 - tf.abs(scale * centers + offset)) / tf.abs(scale) * size / 2.0

    rows = distances(y, pictures.shape[1])[:, :, :, None]
    columns = distances(x, pictures.shape[2])[:, :, None, :]
    inside = tf.minimum(rows, columns)  # [B, N, H, W]
    outline = tf.cast((inside >= 0) & (inside < 1), tf.float32)
    outline *= tf.cast(there, tf.float32)[:, :, None, None]
    for color, mask in zip(slot_colors(places.shape[1]), tf.unstack(outline, axis=1)):
        pictures += mask[..., None] * (tf.constant(color, tf.float32) - pictures)
    return pictures


def draw_scenes(image, info):
    """A row for each scene: image and reconstruction with boxes, then what each step adds.

    Args:
      image: [B, H, W, 1].
      info: what `AIR.eval` returned for them.

    Returns:
      float32 [1, H', W', 3].
    """
    steps, recons = info["steps"], info["outputs"]["recons"][:, 0, 0]
    there = tf.sequence_mask(info["counts"]["predicted"], steps["place"].shape[1])
    boxes = [draw_boxes(picture, steps["place"], there) for picture in (image, recons)]
    tiles = [*boxes, *tf.unstack(info["outputs"]["components"][:, 0, 1:], axis=1)]
    return summary_images.grid(tf.stack([summary_images.frame(tile) for tile in tiles], axis=1))


def draw_attention(info):
    """Two rows for each scene, steps across: what each step attends to, and what it makes of it.

    Args:
      info: what `AIR.eval` returned.

    Returns:
      float32 [1, H', W', 3].
    """
    steps = info["steps"]
    tiles = tf.stack([steps["attended"], steps["patches"]], axis=1)[..., None]
    tiles = summary_images.frame(tiles)  # [B, 2, N, h, w, 3]
    return summary_images.grid(tf.reshape(tiles, [-1, *tiles.shape[2:]]))
