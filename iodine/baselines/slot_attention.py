"""Slot Attention, as an autoencoder that discovers objects (Locatello et al. 2020).

An image's features are shared out among K slots, which compete for them, and each slot is decoded
on its own to pixels and a mask. The latents are no distributions: there is neither a KL divergence
nor a prior to sample from.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine.errors import UserError, layer_sizes, size
from iodine.model import Model, State
from iodine.modules.convolutions import NarrowConv2D, SumConv2D
from iodine.modules.networks import MLP, ConvNet2D
from iodine.modules.utils import linear_coordinates

EPSILON = 1e-8  # keeps the sum of a slot's weights above 0


class SlotAttention(snt.Module):
    """Slots that compete for inputs (algorithm 1).

    With LN a layer norm and D the size of a slot, one iteration is

        attention = softmax over slots of (W_k LN(inputs))·(W_q LN(slots)) / sqrt(D),
        updates = mean over inputs of W_v LN(inputs), weighed by attention + 1e-8,
        slots = GRU(updates, slots),  slots = slots + MLP(LN(slots)).

    Args:
      slot_size: D.
      mlp_size: of the MLP's one hidden layer, of ReLUs.
      implicit: whether gradients flow through the last iteration alone. Its slots count as the
        fixed point of the ones before, whose gradient that is to first order (Chang et al. 2022,
        arXiv:2207.00787).
    """

    def __init__(self, slot_size, mlp_size=128, implicit=False, name="slot_attention"):
        super().__init__(name=name)
        self.slot_size = slot_size
        self.implicit = implicit
        self.norm_inputs = snt.LayerNorm(-1, create_scale=True, create_offset=True)
        # What an offset would add to all queries, a softmax over slots takes off again.
        self.norm_slots = snt.LayerNorm(-1, create_scale=True, create_offset=False)
        self.norm_mlp = snt.LayerNorm(-1, create_scale=True, create_offset=True)
        self.to_queries, self.to_keys, self.to_values = (
            snt.Linear(slot_size, with_bias=False, name=part)
            for part in ("queries", "keys", "values")
        )
        self.gru = snt.GRU(slot_size)
        self.mlp = MLP([mlp_size, slot_size], activation="relu")

    def __call__(self, inputs, slots, num_iters):
        """Refines slots.

        Args:
          inputs: [B, N, I].
          slots: before the first iteration, [B, K, D].
          num_iters: number of iterations.

        Returns:
          (list of the slots after each iteration [B, K, D], list of attention [B, K, N]).
        """
        inputs = self.norm_inputs(inputs)
        keys, values = self.to_keys(inputs), self.to_values(inputs)  # [B, N, D]
        all_slots, all_attention = [], []
        for t in range(num_iters):
            if self.implicit and t == num_iters - 1:
                slots = tf.stop_gradient(slots)
            slots, attention = self.iterate(keys, values, slots)
            all_slots.append(slots)
            all_attention.append(attention)
        return all_slots, all_attention

    def iterate(self, keys, values, slots):
        """One iteration, of keys and values [B, N, D]: (slots [B, K, D], attention [B, K, N])."""
        queries = self.to_queries(self.norm_slots(slots)) / np.sqrt(self.slot_size)
        attention = tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True), axis=1)  # [B, K, N]
        weights = attention + EPSILON
        weights /= tf.reduce_sum(weights, axis=2, keepdims=True)
        updates = tf.matmul(weights, values)  # [B, K, D]
        flat = [tf.reshape(x, [-1, self.slot_size]) for x in (updates, slots)]  # [B * K, D]
        refined, _ = self.gru(*flat)
        refined += self.mlp(self.norm_mlp(refined))
        return tf.reshape(refined, [-1, *slots.shape[1:]]), attention


class PositionEmbedding(snt.Module):
    """A learned linear map of where a pixel is, (x, y, 1 - x, 1 - y) from 0 to 1.

    Args:
      channels: of the result.
    """

    def __init__(self, channels, name="position_embedding"):
        super().__init__(name=name)
        self.linear = snt.Linear(channels)

    def __call__(self, height, width):
        """Returns what is to be added to images, [1, height, width, channels]."""
        y, x = ((c + 1.0) / 2.0 for c in linear_coordinates(height, width))
        position = tf.constant(np.concatenate([x, y, 1.0 - x, 1.0 - y], axis=-1))
        return self.linear(tf.reshape(position, [1, height, width, 4]))


class Encoder(snt.Module):
    """Convolutions 5×5 with ReLUs, position embedding, layer norm, an MLP for each pixel.

    Args:
      channels: of each convolution; the MLP has two layers of the last number.
    """

    def __init__(self, channels, name="encoder"):
        super().__init__(name=name)
        self.cnn = ConvNet2D(channels, 5, activation="relu", activate_final=True)
        self.position = PositionEmbedding(channels[-1])
        self.norm = snt.LayerNorm(-1, create_scale=True, create_offset=True)
        self.mlp = MLP([channels[-1]] * 2, activation="relu")

    def __call__(self, image):
        """Encodes [B, H, W, C] to [B, H·W, channels[-1]]."""
        features = self.cnn(image)
        features += self.position(*features.shape[1:3])
        _, height, width, channels = features.shape
        features = self.norm(tf.reshape(features, [-1, channels]))  # [B * H * W, channels]
        return tf.reshape(self.mlp(features), [-1, height * width, channels])


class Decoder(snt.Module):
    """Spatial broadcast decoder: a slot at every place of a grid, which convolutions enlarge.

    All convolutions are 5×5 with ReLUs, but for a last one of 3×3. The grid is as large as the
    image divided by all strides (rounded up at each layer).

    Args:
      channels: of each convolution but the last.
      strides: of these; above 1 they are transposed convolutions. (Of stride 1, those are
        convolutions too.)
      slot_size: D.
    """

    def __init__(self, channels, strides, slot_size, name="decoder"):
        super().__init__(name=name)
        self.channels = channels
        self.strides = strides
        self.cnn = None
        self.position = PositionEmbedding(slot_size)

    def _make_cnn(self, num_outputs):
        types = [snt.Conv2DTranspose if stride > 1 else snt.Conv2D for stride in self.strides]
        if self.strides[0] == 1:
            types[0] = SumConv2D
        return ConvNet2D(
            [*self.channels, num_outputs],
            [*[5] * len(self.channels), 3],
            strides=[*self.strides, 1],
            activation="relu",
            layer_types=[*types, NarrowConv2D],
        )

    def __call__(self, slots, image_shape):
        """Decodes [N, D] to [N, H, W, C] for image_shape (H, W, C)."""
        height, width, channels = image_shape
        if self.cnn is None:
            self.cnn = self._make_cnn(channels)
        grid_size, *sizes = self.cnn.sizes_before((height, width))
        grid = self.position(*grid_size)  # [1, h, w, D]
        if self.strides[0] == 1:
            return self.cnn.enlarge(sizes, slots, grid)
        return self.cnn.enlarge(sizes, slots[:, None, None] + grid)


class SlotAttentionAutoEncoder(Model):
    """The model: encoder, Slot Attention, decoder.

    The first slots are draws from one normal distribution of learned mean and standard deviation.
    The loss is the mean squared error of pixels scaled to [-1, 1], as the published one, so four
    times `loss/mse`; the encoder sees such pixels too. States are the first slots and those after
    each iteration, decoded.

    What the paper leaves open is as in Sonnet: layer norms' epsilon of 1e-5, convolutions that
    start truncated normal, a GRU that resets its state before the product with the weights.

    Args:
      num_components: K.
      n_z: D, size of a slot.
      num_iters: number of iterations.
      encoder_channels: of the encoder's convolutions.
      decoder_channels, decoder_strides: of the decoder's convolutions, but the last.
      mlp_size: of the hidden layer of Slot Attention's MLP.
      implicit: as in `SlotAttention`. The first slots' distribution then stays as it starts.
      factor_evaluator, precision: as in `Model`.

    Raises:
      UserError: if a value is invalid.
    """

    METRICS: ClassVar[tuple[str, ...]] = tuple(
        n for n in Model.METRICS if n not in ("recons", "kl")
    )
    max_gradient_norm: float | None = None  # as published
    fewest_components = 2

    def __init__(
        self,
        num_components: int,
        n_z: int = 64,
        num_iters: int = 3,
        encoder_channels: Sequence[int] = (64, 64, 64, 64),
        decoder_channels: Sequence[int] = (64, 64, 64, 64, 64),
        decoder_strides: Sequence[int] = (2, 2, 2, 2, 1),
        mlp_size: int = 128,
        implicit: bool = False,
        factor_evaluator: snt.Module | None = None,
        precision: str = "float32",
        name: str = "slot_attention_auto_encoder",
    ):
        super().__init__(num_components, n_z, factor_evaluator, precision, name)
        self.num_iters = size(num_iters, "num_iters")
        encoder_channels = layer_sizes(encoder_channels, "encoder_channels")
        decoder_channels = layer_sizes(decoder_channels, "decoder_channels")
        decoder_strides = layer_sizes(decoder_strides, "decoder_strides")
        if len(decoder_channels) != len(decoder_strides):
            raise UserError(
                f"decoder_strides has {len(decoder_strides)} entries for {len(decoder_channels)} "
                "decoder_channels, use one for each"
            )
        self.encoder = Encoder(encoder_channels)
        self.slot_attention = SlotAttention(self.n_z, size(mlp_size, "mlp_size"), implicit)
        self.decoder = Decoder(decoder_channels, decoder_strides, self.n_z)
        # Glorot-uniform for [1, 1, D], as published.
        limit = np.sqrt(6.0 / (1 + self.n_z))
        self.slots_mean, self.slots_log_std = (
            tf.Variable(tf.random.uniform([self.n_z], -limit, limit), name=f"slots_{part}")
            for part in ("mean", "log_std")
        )

    def noise_shape(self, batch_size: int) -> list[int]:
        """Shape of the noise of the first slots, [1, B, K, D]."""
        return [1, batch_size, self.num_components, self.n_z]

    def decode(self, z: tf.Tensor, image_shape: Sequence[int] | None = None) -> State:
        """Decodes slots to an image.

        Args:
          z: [B, K, D]. B may be unknown in a `tf.function`.
          image_shape: (H, W, C); that of the images that the model was first called with if None.

        Returns:
          Dict of components [B, K, H, W, C], pred_mask_logits and pred_mask [B, K, H, W, 1], and
          recons Σ_k mask_k·component_k [B, 1, H, W, C].
        """
        height, width, channels = image_shape or self.image_shape
        z = self._as_slots(z)
        with self.networks_precision():
            pixels = self.decoder(tf.reshape(z, [-1, self.n_z]), (height, width, channels + 1))
        pixels = tf.reshape(pixels, [-1, self.num_components, height, width, channels + 1])
        components, logits = (1.0 + pixels[..., :channels]) / 2.0, pixels[..., channels:]
        masks = tf.nn.softmax(logits, axis=1)
        return {
            "components": components,
            "pred_mask_logits": logits,
            "pred_mask": masks,
            "recons": tf.reduce_sum(masks * components, axis=1, keepdims=True),
        }

    def infer(self, image: tf.Tensor, noise: tf.Tensor, is_training: bool = False) -> list[State]:
        """Explains images as `Model` describes it: the first slots and those of each iteration."""
        image = image[:, 0]  # [B, H, W, C]
        slots = self.slots_mean + tf.exp(self.slots_log_std) * noise[0]  # [B, K, D]
        with self.networks_precision():
            inputs = self.encoder(2.0 * image - 1.0)  # [B, H·W, channels]
            refined, _ = self.slot_attention(inputs, slots, self.num_iters)
        states = []
        for z in refined[-1:] if is_training else [slots, *refined]:
            out = self.decode(z, image.shape[1:])
            error = tf.square(2.0 * (out["recons"][:, 0] - image))
            losses = {"total": tf.reduce_mean(error, axis=[1, 2, 3])}
            states.append({**out, "z": z, "z_mean": z, "losses": losses})
        return states
