"""Label maps as the published files' masks."""

import numpy as np


def one_hot(labels, num_entities):
    """Returns the masks of a label map.

    Args:
      labels: int [..., H, W], the entity that each pixel shows.
      num_entities: L.

    Returns:
      uint8 [..., L, H, W, 1], 255 where the pixel shows the entity and else 0.
    """
    shown = labels[..., None, :, :] == np.arange(num_entities)[:, None, None]  # [..., L, H, W]
    return np.where(shown, np.uint8(255), np.uint8(0))[..., None]
