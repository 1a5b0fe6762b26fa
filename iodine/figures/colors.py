"""The colours of slots, the same in summary images, figures and label maps."""

import colorsys


def slot_colors(num_components):
    """Colours of the slots, K evenly spaced hues.

    Returns:
      List of K (red, green, blue) in [0, 1].
    """
    return [colorsys.hsv_to_rgb(k / num_components, 1.0, 1.0) for k in range(num_components)]
