"""The decoder: from slots to pixel parameters and masks."""

import sonnet as snt
import tensorflow as tf

from iodine.modules import utils


class ComponentDecoder(snt.Module):
    """Decodes each slot on its own with one shared network (paper, section 2.1).

    Args:
      pixel_decoder: network that maps [N, Z + 1] and an output shape (H, W, C) to [N, H, W, C].
    """

    def __init__(self, pixel_decoder, name="component_decoder"):
        super().__init__(name=name)
        self.pixel_decoder = pixel_decoder

    def __call__(self, z, output_shape):
        """Decodes slots.

        Args:
          z: float32 [B, K, Z].
          output_shape: (H, W, Cp), Cp being the number of pixel parameters.

        Returns:
          (pixel parameters [B, K, H, W, Cp], mask logits [B, K, H, W, 1]).
        """
        _, num_components, n_z = z.shape
        height, width, num_params = output_shape
        # The published networks were trained with this constant channel beside z; it has no
        # meaning of its own, but their weights expect it.
        z = tf.concat([z, tf.fill([*utils.shape_of(z)[:2], 1], 5.0)], axis=-1)
        z = tf.reshape(z, [-1, n_z + 1])  # [B * K, Z + 1]
        pixels = self.pixel_decoder(z, (height, width, 1 + num_params))
        pixels = tf.reshape(pixels, [-1, num_components, height, width, 1 + num_params])
        mask_logits, components = tf.split(pixels, [1, num_params], axis=-1)
        return components, mask_logits
