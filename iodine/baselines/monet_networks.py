"""MONet's networks: attention, and a component's encoder and decoder (Burgess et al. 2019)."""

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine.modules.convolutions import BroadcastConv2D, NarrowConv2D
from iodine.modules.networks import CNN, MLP, ConvNet2D, mixed_precision
from iodine.modules.utils import linear_coordinates, shape_of

MIN_STD = 1e-4  # keeps the logarithm of a standard deviation finite


class Block(snt.Module):
    """A 3×3 convolution without bias, an instance norm with an offset, a ReLU.

    Args:
      channels: of the result.
    """

    def __init__(self, channels, name="block"):
        super().__init__(name=name)
        self.conv = snt.Conv2D(channels, 3, with_bias=False)
        self.norm = snt.InstanceNorm(create_scale=False, create_offset=True)

    @mixed_precision
    def _convolve(self, images):
        return self.conv(images)

    def __call__(self, images):
        """Maps [B, H, W, C] to [B, H, W, channels]."""
        return tf.nn.relu(self.norm(self._convolve(images)))


def _halve(images):
    """Every second pixel, [B, H, W, C] -> [B, ceil(H/2), ceil(W/2), C]."""
    return images[:, ::2, ::2]


def _double(images, height, width):
    """Each pixel four times, up to [B, height, width, C]."""
    batch_size, h, w, channels = shape_of(images)
    images = tf.broadcast_to(images[:, :, None, :, None], [batch_size, h, 2, w, 2, channels])
    return tf.reshape(images, [-1, 2 * h, 2 * w, channels])[:, :height, :width]


class UNet(snt.Module):
    """The attention network (appendix B.2): blocks that halve images, an MLP, blocks that double.

    Args:
      channels: of each block on the way down; on the way up they come in reverse.
      mlp_size: of the MLP's two hidden layers.
    """

    def __init__(self, channels, mlp_size=128, name="u_net"):
        super().__init__(name=name)
        self.down = [Block(n, name=f"down_{i}") for i, n in enumerate(channels)]
        self.up = [Block(n, name=f"up_{i}") for i, n in enumerate(reversed(channels))]
        self.mlp_size = mlp_size
        self.mlp = None
        self.logit = NarrowConv2D(1, 1, name="logit")

    def __call__(self, images):
        """Maps [B, H, W, C] to logits [B, H, W, 1]."""
        skips = []
        for block in self.down:
            images = block(_halve(images) if skips else images)
            skips.append(images)
        shape = images.shape[1:]
        num_values = shape.num_elements()
        if self.mlp is None:
            sizes = [self.mlp_size, self.mlp_size, num_values]
            self.mlp = MLP(sizes, activation="relu", activate_final=True)
        images = tf.reshape(self.mlp(tf.reshape(images, [-1, num_values])), [-1, *shape])
        for block in self.up:
            skip = skips.pop()
            images = _double(images, *skip.shape[1:3]) if block is not self.up[0] else images
            images = block(tf.concat([images, skip], axis=-1))
        return self.logit(images)


class ComponentEncoder(snt.Module):
    """From an image and a slot's mask to the posterior of its latents (appendix B.1).

    Args:
      channels: of the convolutions, 3×3 of stride 2 with ReLUs.
      mlp_size: of the hidden layer.
      n_z: Z.
    """

    def __init__(self, channels, mlp_size, n_z, name="component_encoder"):
        super().__init__(name=name)
        cnn_opt = {"output_channels": channels, "kernel_shapes": 3, "strides": 2}
        mlp_opt = {"output_sizes": [mlp_size, 2 * n_z], "activation": "relu"}
        self.cnn = CNN({**cnn_opt, "activation": "relu"}, mlp_opt, "flatten")

    def __call__(self, image, log_masks):
        """Encodes slots.

        Args:
          image: [B, H, W, C].
          log_masks: [B, K, H, W, 1].

        Returns:
          (mean, standard deviation) of the posterior, [B, K, Z] each.
        """
        params = self.cnn([image[:, None], log_masks])  # [B * K, 2Z]
        params = tf.reshape(params, [-1, log_masks.shape[1], params.shape[-1]])
        mean, raw_std = tf.split(params, 2, axis=-1)
        return mean, tf.nn.softplus(raw_std) + MIN_STD


class ComponentDecoder(snt.Module):
    """Spatial broadcast decoder: 3×3 convolutions without padding with ReLUs, then one of 1×1.

    Args:
      channels: of the convolutions but the last.
      num_outputs: channels of the last.
    """

    def __init__(self, channels, num_outputs, name="component_decoder"):
        super().__init__(name=name)
        self.border = 2 * len(channels)  # what the convolutions take off height and width
        self.cnn = ConvNet2D(
            [*channels, num_outputs],
            [*[3] * len(channels), 1],
            paddings=[*["VALID"] * len(channels), "SAME"],
            activation="relu",
            layer_types=[BroadcastConv2D, *[snt.Conv2D] * (len(channels) - 1), NarrowConv2D],
        )

    def __call__(self, z, height, width):
        """Decodes [N, Z] to [N, height, width, num_outputs]."""
        grid = linear_coordinates(height + self.border, width + self.border)
        return self.cnn(z, tf.constant(np.concatenate(grid, axis=-1)))
