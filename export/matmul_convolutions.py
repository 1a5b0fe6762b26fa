"""Convolutions as matrix products, for compilers that are at a loss with convolutions.

On a GPU, XLA chooses the algorithm of each convolution by timing, which takes minutes for a
training step, and without timing it may choose one that takes seconds a step. Matrix products need
no such choice. The convolution with a kernel w is windows(x)·w, where windows(x), of shape
[N, H', W', k_h·k_w·I], lays what the kernel's taps see side by side, at the price of memory
traffic; the gradients likewise.
"""

import graphlib

import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla


def windows(x, kernel, strides, pads):
    """Lays what the taps of a kernel see side by side on the channels.

    Args:
      x: [N, H, W, C].
      kernel: sizes (k_h, k_w).
      strides: (over height, over width).
      pads: numbers of zeros to add, ((above, below), (left, right)).

    Returns:
      [N, H', W', k_h * k_w * C].
    """
    x = tf.pad(x, [[0, 0], *pads, [0, 0]])
    height, width = ((n - k) // s + 1 for n, k, s in zip(x.shape[1:3], kernel, strides))
    rows = [_taps(x, 1, a, height, strides[0]) for a in range(kernel[0])]
    return tf.concat(
        [_taps(row, 2, b, width, strides[1]) for row in rows for b in range(kernel[1])], axis=-1
    )


def _taps(x, axis, first, size, stride):
    """Every stride-th of x along an axis, `size` of them from `first` on."""
    taps = slice(first, first + (size - 1) * stride + 1, stride)
    return x[(slice(None),) * axis + (taps,)]


def _dilate(x, strides):
    """Puts stride - 1 zeros between the pixels of [N, H, W, C], over height and width."""
    for axis, stride in enumerate(strides, 1):
        shape = x.shape.as_list()
        gaps = [[0, 0] for _ in range(5)]
        gaps[axis + 1][1] = stride - 1
        x = tf.pad(tf.expand_dims(x, axis + 1), gaps)
        shape[axis] *= stride
        x = _taps(tf.reshape(x, shape), axis, 0, shape[axis] - stride + 1, 1)
    return x


def convolve(x, w, strides, pads):
    """The convolution: [N, H, W, I] and [k_h, k_w, I, O] give [N, H', W', O]."""
    seen = windows(x, w.shape[:2], strides, pads)
    y = tf.matmul(tf.reshape(seen, [-1, seen.shape[-1]]), tf.reshape(w, [-1, w.shape[-1]]))
    return tf.reshape(y, [*seen.shape[:-1], w.shape[-1]])


def gradient_of_input(dy, w, strides, pads, size):
    """The gradient of a convolution's x of `size` (H, W), from that of its result."""
    dy = _dilate(dy, strides)
    before = [k - 1 - first for k, (first, _) in zip(w.shape[:2], pads)]
    after = [n + k - 1 - b - m for n, k, b, m in zip(size, w.shape[:2], before, dy.shape[1:3])]
    w = tf.transpose(w[::-1, ::-1], [0, 1, 3, 2])
    return convolve(dy, w, (1, 1), tuple(zip(before, after)))


def gradient_of_kernel(x, dy, kernel, strides, pads):
    """The gradient of a convolution's w, whose sizes are `kernel`, from that of its result."""
    seen = windows(x, kernel, strides, pads)
    seen = tf.reshape(seen, [seen.shape[0], -1, seen.shape[-1]])
    # One product for each image and their sum: a single one has too few outputs to fill a GPU.
    dw = tf.matmul(seen, tf.reshape(dy, [dy.shape[0], -1, dy.shape[-1]]), transpose_a=True)
    dw = tf.cast(tf.reduce_sum(tf.cast(dw, tf.float32), axis=0), dw.dtype)
    return tf.reshape(dw, [*kernel, x.shape[-1], dy.shape[-1]])


def _pads(node, size, kernel, outputs):
    """The zeros that a convolution adds, as for `windows`, from the sizes of x, w and y."""
    if node.attr["padding"].s == b"EXPLICIT":
        pads = node.attr["explicit_paddings"].list.i
        return tuple(pads[2:4]), tuple(pads[4:6])
    strides = node.attr["strides"].list.i[1:3]
    total = [max((m - 1) * s + k - n, 0) for m, s, k, n in zip(outputs, strides, kernel, size)]
    return tuple((pad // 2, pad - pad // 2) for pad in total)  # none if VALID


def _replace(node, inputs, save_memory):
    """What stands in for a convolution's node, whose inputs are given."""
    shape = [dim.size for dim in node.attr["_output_shapes"].list.shape[0].dim]
    strides = tuple(node.attr["strides"].list.i[1:3])
    if node.op == "Conv2D":
        x, w = inputs
        return convolve(x, w, strides, _pads(node, x.shape[1:3], w.shape[:2], shape[1:3]))
    if node.op == "Conv2DBackpropInput":
        _, w, dy = inputs
        pads = _pads(node, shape[1:3], w.shape[:2], dy.shape[1:3])
        return gradient_of_input(dy, w, strides, pads, shape[1:3])
    x, _, dy = inputs
    if save_memory:  # else the windows of the forward pass are kept instead of made again
        x, dy = xla.optimization_barrier(x, dy)
    pads = _pads(node, x.shape[1:3], shape[:2], dy.shape[1:3])
    return gradient_of_kernel(x, dy, shape[:2], strides, pads)


CONVOLUTIONS = ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")


def import_graph(graph_def, inputs, outputs, which="all", save_memory=True):
    """Imports a graph, its convolutions as matrix products.

    Args:
      graph_def: `GraphDef` without functions, NHWC, with static "_output_shapes".
      inputs: {name of a tensor, "node:0": the tensor to take for it}.
      outputs: names of tensors.
      which: convolutions to replace, "all" or those of "float32".
      save_memory: whether windows are made again in the backward pass. `tf.vectorized_map` cannot.

    Returns:
      The list of tensors for `outputs`.
    """
    nodes = {node.name: node for node in graph_def.node}
    needs = {
        node.name: [i.split(":")[0] for i in node.input if i[0] != "^"] for node in graph_def.node
    }
    given = {name.split(":")[0] for name in inputs}
    tensors = dict(inputs)
    for name in graphlib.TopologicalSorter(needs).static_order():
        if name in given:
            continue
        node = tf.compat.v1.NodeDef()
        node.CopyFrom(nodes[name])
        names = [i if ":" in i else f"{i}:0" for i in node.input if i[0] != "^"]
        if node.op in CONVOLUTIONS and (
            which == "all" or node.attr["T"].type == tf.float32.as_datatype_enum
        ):
            tensors[f"{name}:0"] = _replace(node, [tensors[i] for i in names], save_memory)
            continue
        node.ClearField("input")
        node.input.extend(names)
        alone = tf.compat.v1.GraphDef(node=[node], versions=graph_def.versions)
        (operation,) = tf.graph_util.import_graph_def(
            alone, {i: tensors[i] for i in names}, [name], name=""
        )
        tensors |= {f"{name}:{i}": output for i, output in enumerate(operation.outputs)}
    return [tensors[name] for name in outputs]
