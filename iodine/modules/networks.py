"""Neural networks that the decoder and the refinement core are made of."""

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine import build, errors
from iodine.modules import utils
from iodine.modules.convolutions import BroadcastConv2D, NarrowConv2D, SlotConv2D

# Convolutions and matrix products may run in bfloat16 (`precision="mixed_bfloat16"`): Sonnet casts
# inputs and weights on the way in and the result back to float32.
mixed_precision = snt.mixed_precision.modes([tf.float32, tf.bfloat16])


class MLP(snt.nets.MLP):
    """A multi-layer perceptron, [N, I] -> [N, output_sizes[-1]].

    Args:
      output_sizes: sequence of layer sizes, may be empty.
      activation: the activation between layers, as `utils.activation` takes it.
      activate_final: whether the last layer is activated too.

    Raises:
      UserError: if a size or the activation is invalid.
    """

    def __init__(self, output_sizes, activation="elu", activate_final=False, name="mlp"):
        super().__init__(
            errors.sizes(output_sizes, "output_sizes"),
            activation=utils.activation(activation),
            activate_final=activate_final,
            name=name,
        )

    @property
    def layers(self):
        """The linear layers, first one first."""
        return self._layers

    @mixed_precision
    def __call__(self, x):
        return super().__call__(x)


def options(function, what, given, **defaults):
    """Returns the arguments of a network within another, its defaults filled in.

    Args:
      function: the network's class.
      what: the name that the arguments have in a plan, for messages.
      given: dict of arguments.
      **defaults: those that `given` may replace.

    Raises:
      UserError: if `function` does not take them.
    """
    given = {**defaults, **given} if isinstance(given, dict) else given
    build.check_arguments(function, given, what)
    return given


def per_layer(value, num_layers, what):
    """Repeats a single value, or a list's only entry, for each layer.

    Raises:
      UserError: if the length of a list is neither 1 nor num_layers.
    """
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(values) == 1:
        return values * num_layers
    if len(values) != num_layers:
        raise errors.UserError(
            f"{what} has {len(values)} entries for {num_layers} layers, use one for each or one "
            "for all"
        )
    return values


def _pairs(value, num_layers, what):
    """Returns (over height, over width) for each layer, given as numbers or as pairs of them."""
    pairs = []
    for entry in per_layer(value, num_layers, what):
        pair = errors.sizes(entry if isinstance(entry, (list, tuple)) else [entry], what)
        if len(pair) not in (1, 2):
            raise errors.UserError(f"{what} has the entry {entry}, use a number or a pair of them")
        pairs.append((pair[0], pair[-1]))
    return pairs


class ConvNet2D(snt.Module):
    """A stack of 2-D convolutions, [N, H, W, C] -> [N, H', W', output_channels[-1]].

    Args:
      output_channels: channels of each layer; None for those left to the user of the network.
      kernel_shapes: kernel size, one for all layers or a list; a list's only entry stands for all.
      strides: stride, likewise.
      paddings: "SAME" or "VALID", likewise.
      activation: the activation, as `utils.activation` takes it.
      activate_final: whether the last layer is activated too.
      layer_types: class, likewise; the first one's input is the network's.

    Raises:
      UserError: if lists differ in length, or a size, a padding or the activation is invalid.
    """

    def __init__(
        self,
        output_channels,
        kernel_shapes,
        strides=1,
        paddings="SAME",
        activation="elu",
        activate_final=False,
        layer_types=snt.Conv2D,
        name="conv_net_2d",
    ):
        super().__init__(name=name)
        output_channels = errors.sizes(output_channels, "output_channels")
        num_layers = len(output_channels)
        if num_layers == 0:
            raise errors.UserError("output_channels is empty, at least one layer is needed")
        self.activation = utils.activation(activation)
        self.activate_final = activate_final
        strides = _pairs(strides, num_layers, "strides")
        if any(height != width for height, width in strides):
            raise errors.UserError(f"strides are {strides}, use the same over height and width")
        self.strides = [stride for stride, _ in strides]
        kernel_shapes = _pairs(kernel_shapes, num_layers, "kernel_shapes")
        paddings = [str(p).upper() for p in per_layer(paddings, num_layers, "paddings")]
        for padding in paddings:
            if padding not in ("SAME", "VALID"):
                raise errors.UserError(f"paddings has the entry '{padding}', use SAME or VALID")
        layer_types = per_layer(layer_types, num_layers, "layer_types")
        self.layers = [
            layer(channels, kernel, stride=stride, padding=padding, name=f"conv_2d_{i}")
            for i, (layer, channels, kernel, stride, padding) in enumerate(
                zip(layer_types, output_channels, kernel_shapes, self.strides, paddings)
            )
        ]

    def activate(self, x, layer):
        """Applies the activation that follows layer number `layer`."""
        if layer < len(self.layers) - 1 or self.activate_final:
            return self.activation(x)
        return x

    @mixed_precision
    def __call__(self, *inputs):
        x = self.activate(self.layers[0](*inputs), 0)
        for i, layer in enumerate(self.layers[1:], start=1):
            x = self.activate(layer(x), i)
        return x

    def sizes_before(self, size):
        """Sizes that transposed convolutions pass through to make images of a size.

        Args:
          size: (H, W) of the last layer's output.

        Returns:
          List of (H, W): of the first layer's input, then of each layer's output.
        """
        sizes = [tuple(size)]
        for stride in reversed(self.strides):
            sizes.append(tuple(-(-length // stride) for length in sizes[-1]))
        return sizes[::-1]

    @mixed_precision
    def enlarge(self, sizes, *inputs):
        """As the call, but cuts each layer's output, which may be too large, to its size.

        Args:
          sizes: (H, W) of each layer's output, see `sizes_before`.
          *inputs: of the first layer.

        Raises:
          UserError: if the last layer's output is smaller than that.
        """
        for i, (layer, (height, width)) in enumerate(zip(self.layers, sizes)):
            x = layer(*inputs)
            if x.shape[1:3] != (height, width):  # The gradient of a needless cut takes time.
                x = x[:, :height, :width]
            if x.shape[1] is None:  # of Sonnet's transposed convolutions, where N is unknown
                x = tf.ensure_shape(x, [None, height, width, None])
            x = self.activate(x, i)
            inputs = (x,)
        if x.shape[1:3] != (height, width):
            raise errors.UserError(
                f"cnn_opt makes images of {x.shape[1]}×{x.shape[2]} instead of {height}×{width}: "
                "use paddings SAME"
            )
        return x


class CNN(snt.Module):
    """Convolutions, then flattening or average pooling, then an MLP: [N, H, W, C] -> [N, O].

    Args:
      mode: "flatten" the last feature map, or "avg_pool" it over its height and width.
      cnn_opt: arguments of `ConvNet2D`, whose last layer is activated.
      mlp_opt: arguments of `MLP`, whose last layer is linear; None for no MLP.
    """

    def __init__(self, cnn_opt, mlp_opt=None, mode="flatten", name="cnn"):
        super().__init__(name=name)
        if mode not in ("flatten", "avg_pool"):
            raise errors.UserError(f"mode is '{mode}', CNN knows 'flatten' and 'avg_pool'")
        self.mode = mode
        cnn_opt = options(ConvNet2D, "cnn_opt", cnn_opt, activate_final=True)
        num_layers = len(errors.sizes(cnn_opt["output_channels"], "output_channels"))
        self.cnn = ConvNet2D(layer_types=[SlotConv2D] + [snt.Conv2D] * (num_layers - 1), **cnn_opt)
        self.mlp = None if mlp_opt is None else MLP(**options(MLP, "mlp_opt", mlp_opt))

    def __call__(self, images):
        """Encodes images.

        Args:
          images: [N, H, W, C], or the channels of B·K = N images as a list of [B, K or 1, H, W, ·],
            where one and the same [B, 1, H, W, ·] belongs to all K slots.

        Returns:
          [N, O].
        """
        if not isinstance(images, list):
            images = [images[:, None]]  # [N, 1, H, W, C]
        x = self.cnn(images)  # [N, H', W', C]
        if self.mode == "avg_pool":
            x = tf.reduce_mean(x, axis=[1, 2])  # [N, C]
        else:
            x = tf.reshape(x, [-1, np.prod(x.shape[1:])])  # [N, H' * W' * C]
        return x if self.mlp is None else self.mlp(x)


def _decoder_cnn_opt(cnn_opt):
    """Checks the `cnn_opt` of a decoder, of which at least one layer has to be there."""
    cnn_opt = options(ConvNet2D, "cnn_opt", cnn_opt)
    channels = cnn_opt["output_channels"]
    if not isinstance(channels, (list, tuple)) or not channels:
        raise errors.UserError(
            f"cnn_opt: output_channels is {channels!r}, use a list with a number for each layer"
        )
    return cnn_opt


def _decoder_mlp(mlp_opt):
    """Makes the MLP before a decoder's convolutions, None for none."""
    if mlp_opt is None:
        return None
    return MLP(**options(MLP, "mlp_opt", mlp_opt, activate_final=True))


def fill_output_channels(cnn_opt, num_channels):
    """Completes a `cnn_opt` whose last `output_channels` is None with the number wanted."""
    *inner, last = cnn_opt["output_channels"]
    if last not in (None, num_channels):
        raise errors.UserError(
            f"cnn_opt: the last of output_channels is {last}, "
            f"but the decoder has to make {num_channels} (None says just that)"
        )
    return {**cnn_opt, "output_channels": [*inner, num_channels]}


class BroadcastConv(snt.Module):
    """Spatial broadcast decoder (Watters et al. 2019, arXiv:1901.07017).

    The input vector is copied to every pixel (in effect: see `BroadcastConv2D`), coordinates are
    appended, and a stack of convolutions maps the result to the output channels.

    Args:
      cnn_opt: arguments of `ConvNet2D`.
      mlp_opt: arguments of an `MLP` for the vector, whose last layer is activated; None for none.
      coord_type: "linear", "cos", or None for no coordinates.
      coord_freqs: number of frequencies of the cosine coordinates.
    """

    def __init__(
        self, cnn_opt, mlp_opt=None, coord_type="linear", coord_freqs=3, name="broadcast_conv"
    ):
        super().__init__(name=name)
        utils.check_coordinates(coord_type, coord_freqs, ("linear", "cos", None))
        self.cnn_opt = _decoder_cnn_opt(cnn_opt)
        self.coord_type = coord_type
        self.coord_freqs = coord_freqs
        self.cnn = None
        self.mlp = _decoder_mlp(mlp_opt)

    def coordinates(self, height, width):
        """Returns the coordinate channels, an array [1, H, W, ·]."""
        if self.coord_type is None:
            return np.zeros([1, height, width, 0], np.float32)
        if self.coord_type == "cos":
            return utils.cosine_coordinates(height, width, self.coord_freqs)
        return np.concatenate(utils.linear_coordinates(height, width), axis=-1)

    def __call__(self, x, output_shape):
        """Decodes vectors to images.

        Args:
          x: float32 [N, I].
          output_shape: (H, W, C) of the images.

        Returns:
          float32 [N, H, W, C].

        Raises:
          UserError: if the convolutions make images of another size.
        """
        height, width, channels = output_shape
        if self.cnn is None:
            opt = fill_output_channels(self.cnn_opt, channels)
            num_layers = len(opt["output_channels"])
            layer_types = [BroadcastConv2D] + [snt.Conv2D] * (num_layers - 2) + [NarrowConv2D]
            self.cnn = ConvNet2D(layer_types=layer_types[:num_layers], **opt)
        if self.mlp is not None:
            x = self.mlp(x)
        images = self.cnn(x, tf.constant(self.coordinates(height, width)))
        if images.shape[1:3] != (height, width):
            raise errors.UserError(
                f"cnn_opt makes images of {images.shape[1]}×{images.shape[2]} instead of "
                f"{height}×{width}: BroadcastConv needs strides of 1 and paddings SAME"
            )
        return images


class BroadcastDeConv(BroadcastConv):
    """Spatial broadcast decoder on a coarse grid, which transposed convolutions enlarge.

    The input vector is copied to every point of a grid and the grid's coordinates are appended, as
    `BroadcastConv` does it at every pixel. Layers with a stride s above 1 are transposed
    convolutions, which make their input s times as large. The grid is as large as the image divided
    by all strides, rounded up at each layer, and each layer's output is cut to the size that the
    next one starts from: 35×35 with two strides of 2 goes from a grid of 9×9 over 18×18 to 35×35.

    A `BroadcastConv` does all its work at full size; here most of it is at a fraction of the
    pixels. Slot Attention (Locatello et al. 2020) and EfficientMORL (Emami et al. 2021) decode
    CLEVR in this way.

    Args:
      cnn_opt: arguments of `ConvNet2D`. The first layer works on the grid, and its stride has to
        be 1; the others may have any.
      mlp_opt: arguments of an `MLP` for the vector, whose last layer is activated; None for none.
      coord_type: of the grid's coordinates, "linear", "cos", or None for none.
      coord_freqs: number of frequencies of the cosine coordinates.
    """

    def __init__(
        self, cnn_opt, mlp_opt=None, coord_type="linear", coord_freqs=3, name="broadcast_deconv"
    ):
        super().__init__(cnn_opt, mlp_opt, coord_type, coord_freqs, name=name)

    def __call__(self, x, output_shape):
        """Decodes vectors to images.

        Args:
          x: float32 [N, I].
          output_shape: (H, W, C) of the images, any H and W.

        Returns:
          float32 [N, H, W, C].

        Raises:
          UserError: if the first layer's stride is not 1.
        """
        height, width, channels = output_shape
        if self.cnn is None:
            opt = fill_output_channels(self.cnn_opt, channels)
            num_layers = len(opt["output_channels"])
            strides = [s for s, _ in _pairs(opt.get("strides", 1), num_layers, "strides")]
            if strides[0] != 1:
                raise errors.UserError(
                    f"cnn_opt: strides begin with {strides[0]}, but the first layer of "
                    "BroadcastDeConv works on the grid and needs a stride of 1"
                )
            layer_types = [snt.Conv2D if stride == 1 else snt.Conv2DTranspose for stride in strides]
            if strides[-1] == 1:
                layer_types[-1] = NarrowConv2D
            layer_types[0] = BroadcastConv2D
            self.cnn = ConvNet2D(layer_types=layer_types, **opt)
        grid, *sizes = self.cnn.sizes_before((height, width))
        if self.mlp is not None:
            x = self.mlp(x)
        return self.cnn.enlarge(sizes, x, tf.constant(self.coordinates(*grid)))


class DeConv(snt.Module):
    """Deconvolutional decoder: an MLP, a small feature map, then transposed convolutions.

    The feature map is as large as the image divided by all strides (rounded up at each layer), so
    that the output has exactly the size asked for.

    Args:
      cnn_opt: arguments of `ConvNet2D`; strides above 1 enlarge the image.
      mlp_opt: arguments of `MLP`, whose last layer is activated; None for none. A linear layer
        to the size of the feature map always follows.
      seed_channels: channels of the feature map.
    """

    def __init__(self, cnn_opt, mlp_opt=None, seed_channels=64, name="deconv"):
        super().__init__(name=name)
        self.cnn_opt = _decoder_cnn_opt(cnn_opt)
        self.seed_channels = errors.size(seed_channels, "seed_channels")
        self.cnn = None
        self.seed = None
        self.mlp = _decoder_mlp(mlp_opt)

    def __call__(self, x, output_shape):
        """Decodes vectors to images, [N, I] -> [N, H, W, C] for output_shape (H, W, C)."""
        height, width, channels = output_shape
        if self.cnn is None:
            opt = fill_output_channels(self.cnn_opt, channels)
            self.cnn = ConvNet2D(layer_types=snt.Conv2DTranspose, **opt)
        (seed_height, seed_width), *sizes = self.cnn.sizes_before((height, width))
        if self.seed is None:
            self.seed = MLP([seed_height * seed_width * self.seed_channels], name="seed")
        if self.mlp is not None:
            x = self.mlp(x)
        x = tf.reshape(self.seed(x), [-1, seed_height, seed_width, self.seed_channels])
        return self.cnn.enlarge(sizes, x)


def lstm_update(gates, cell):
    """An LSTM's next state, c' = σ(f + 1)·c + σ(i)·tanh(g), h' = σ(o)·tanh(c').

    Args:
      gates: i, g, f and o side by side, [N, 4·hidden size].
      cell: c, [N, hidden size].

    Returns:
      `snt.LSTMState` of h' and c'.
    """
    i, g, f, o = tf.split(gates, 4, axis=-1)
    cell = tf.sigmoid(f + 1.0) * cell + tf.sigmoid(i) * tf.tanh(g)
    return snt.LSTMState(hidden=tf.sigmoid(o) * tf.tanh(cell), cell=cell)


class LSTMLayer(snt.Module):
    """One layer of `LSTM`: i, g, f, o = [x, h]·w_gates + b_gates, then `lstm_update`.

    `snt.LSTM` computes the same, but keeps the forget gate's constant 1 inside its bias, where it
    costs the published biases their last bits; and it draws its initial values otherwise.

    Args:
      hidden_size: size of h and c.
    """

    def __init__(self, hidden_size, name="lstm"):
        super().__init__(name=name)
        self.hidden_size = hidden_size

    @snt.once
    def _initialize(self, input_size):
        size = self.hidden_size
        init = snt.initializers.TruncatedNormal(stddev=1.0 / np.sqrt(input_size + size))
        self.w_gates = tf.Variable(init([input_size + size, 4 * size], tf.float32), name="w_gates")
        self.b_gates = tf.Variable(init([4 * size], tf.float32), name="b_gates")

    @mixed_precision
    def _gates(self, x, h):
        return tf.matmul(tf.concat([x, h], axis=-1), self.w_gates) + self.b_gates

    def __call__(self, x, state):
        """Maps an input [N, I] and an `snt.LSTMState` to (h [N, hidden size], next state)."""
        self._initialize(x.shape[-1])
        state = lstm_update(self._gates(x, state.hidden), state.cell)
        return state.hidden, state


@snt.allow_empty_variables
class LSTM(snt.Module):
    """A stack of LSTM layers, one step at a time; without layers it passes its input on.

    Args:
      hidden_sizes: hidden size of each layer, may be empty.
    """

    def __init__(self, hidden_sizes=(), name="lstm"):
        super().__init__(name=name)
        self.layers = [LSTMLayer(size) for size in errors.sizes(hidden_sizes, "hidden_sizes")]

    def initial_state(self, batch_size):
        """All-zero state: one `snt.LSTMState` of [batch_size, hidden size] for each layer."""
        shapes = [[batch_size, layer.hidden_size] for layer in self.layers]
        return [snt.LSTMState(tf.zeros(shape), tf.zeros(shape)) for shape in shapes]

    def __call__(self, x, state):
        """One step: ([N, I], state) -> ([N, last hidden size], next state)."""
        next_state = []
        for layer, layer_state in zip(self.layers, state):
            x, layer_state = layer(x, layer_state)
            next_state.append(layer_state)
        return x, next_state
