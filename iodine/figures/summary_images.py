"""The summary images that training shows in TensorBoard, drawn with TensorFlow alone."""

import tensorflow as tf

from iodine.figures.colors import slot_colors

BORDER = 2  # pixels
GREY, WHITE = 0.5, 1.0


def color_masks(masks):
    """Blends the colours of the slots by their masks, [..., K, H, W, 1] -> [..., H, W, 3]."""
    colors = tf.constant(slot_colors(masks.shape[-4]))  # [K, 3]
    return tf.reduce_sum(masks * colors[:, None, None, :], axis=-4)


def frame(images, color=GREY):
    """Clips images to [0, 1], makes them RGB and puts a border around each.

    Args:
      images: float32 [..., H, W, C], C being 1 or 3.
      color: brightness of the border.

    Returns:
      float32 [..., H + 4, W + 4, 3].
    """
    images = tf.clip_by_value(images, 0.0, 1.0)
    if images.shape[-1] == 1:
        images = tf.image.grayscale_to_rgb(images)
    no_border = [[0, 0]] * (len(images.shape) - 3)
    border = [[BORDER, BORDER]] * 2
    return tf.pad(images, [*no_border, *border, [0, 0]], constant_values=color)


def grid(tiles):
    """Lays tiles out, [rows, columns, h, w, 3] -> [1, rows * h, columns * w, 3]."""
    rows, columns, height, width, channels = tiles.shape
    tiles = tf.transpose(tiles, [0, 2, 1, 3, 4])  # [rows, h, columns, w, 3]
    return tf.reshape(tiles, [1, rows * height, columns * width, channels])


def draw_overview(image, recons, masks, components):
    """A row for each scene: image, reconstruction, masks and the K components.

    Args:
      image: float32 [B, 1, H, W, C].
      recons: float32 [B, 1, H, W, C].
      masks: float32 [B, K, H, W, 1].
      components: means of the components' pixels, float32 [B, K, H, W, C].

    Returns:
      float32 [1, H', W', 3] in [0, 1].
    """
    colored = color_masks(masks)[:, None]  # [B, 1, H, W, 3]
    tiles = [frame(image), frame(recons), frame(colored, WHITE), frame(components)]
    return grid(tf.concat(tiles, axis=1))


def draw_sequence(image, recons, masks):
    """Three rows for each scene, iterations across: image, reconstruction and masks.

    Args:
      image: what each iteration looks at, float32 [B, T, H, W, C].
      recons: float32 [B, T, H, W, C].
      masks: float32 [B, T, K, H, W, 1].

    Returns:
      float32 [1, H', W', 3] in [0, 1].
    """
    tiles = [frame(image), frame(recons), frame(color_masks(masks), WHITE)]
    tiles = tf.stack(tiles, axis=1)  # [B, 3, T, h, w, 3]
    return grid(tf.reshape(tiles, [-1, *tiles.shape[2:]]))


def draw_samples(images, columns=4):
    """A grid of images.

    Args:
      images: float32 [N, 1, H, W, C], N a multiple of `columns`.
      columns: how many to put side by side.

    Returns:
      float32 [1, H', W', 3] in [0, 1].
    """
    tiles = frame(images)
    return grid(tf.reshape(tiles, [-1, columns, *tiles.shape[2:]]))


def draw_windows(images, places, there):
    """Draws the outline of the window at each place of AIR, in the colours of the steps.

    Args:
      images: [B, H, W, 1 or 3].
      places: (s, x, y), [B, N, 3].
      there: whether the object is, [B, N].

    Returns:
      float32 [B, H, W, 3] in [0, 1].
    """
    images = tf.clip_by_value(tf.cast(images, tf.float32), 0.0, 1.0)
    if images.shape[-1] == 1:
        images = tf.image.grayscale_to_rgb(images)
    scale, x, y = (places[..., i : i + 1] for i in range(3))

    def distances(offset, size):
        """How far each pixel's centre is inside of the window's edge, [B, N, size] in pixels."""
        centers = (2.0 * tf.range(size, dtype=tf.float32) + 1.0) / size - 1.0
        return (1.0 - tf.abs(scale * centers + offset)) / tf.abs(scale) * size / 2.0

    rows = distances(y, images.shape[1])[:, :, :, None]
    columns = distances(x, images.shape[2])[:, :, None, :]
    inside = tf.minimum(rows, columns)  # [B, N, H, W]
    outline = tf.cast((inside >= 0) & (inside < 1), tf.float32)
    outline *= tf.cast(there, tf.float32)[:, :, None, None]
    for color, mask in zip(slot_colors(places.shape[1]), tf.unstack(outline, axis=1)):
        images += mask[..., None] * (tf.constant(color, tf.float32) - images)
    return images
