"""Convolutions as matrix products are the convolutions, and train as they do."""

import jax
import numpy as np
import pytest
import tensorflow as tf

from export import matmul_convolutions, pure_step
from iodine.main import build, get_config
from tests.helpers import tiny
from tests.helpers.parity_cases import relative_error

CASES = {  # kernel, strides, padding
    "same": ((3, 3), (1, 1), "SAME"),
    "uneven kernel": ((2, 5), (1, 1), "SAME"),
    "strides": ((3, 3), (2, 2), "SAME"),
    "strides beyond the kernel": ((1, 2), (3, 3), "SAME"),
    "valid": ((3, 2), (1, 1), "VALID"),
    "valid strides": ((3, 3), (2, 3), "VALID"),
    "explicit": ((3, 6), (1, 4), ((1, 1), (1, 2))),
}

IMAGE_SHAPE = [9, 8, 3]


def graph_of(function, *arguments):
    """Freezes a function: (graph_def with shapes, names of inputs, names of outputs)."""
    specs = [tf.TensorSpec(x.shape, x.dtype) for x in arguments]
    graph = tf.function(function, autograph=False).get_concrete_function(*specs).graph
    graph_def = graph.as_graph_def(add_shapes=True)
    for name in [x.op.name for x in graph.inputs]:
        graph_def.node.remove(next(node for node in graph_def.node if node.name == name))
    return graph_def, [x.name for x in graph.inputs], [x.name for x in graph.outputs]


@pytest.mark.parametrize("save_memory", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_value_and_gradients(case, save_memory):
    kernel, strides, padding = CASES[case]
    if padding not in ("SAME", "VALID"):
        padding = [[0, 0], *padding, [0, 0]]
    random = np.random.default_rng(0)
    x = tf.constant(random.normal(size=[2, 7, 9, 3]), tf.float32)
    w = tf.constant(random.normal(size=[*kernel, 3, 4]), tf.float32)

    def function(x, w):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = tf.nn.conv2d(x, w, strides, padding)
            value = tf.reduce_sum(tf.sin(y))
        return y, *tape.gradient(value, [x, w])

    graph_def, inputs, outputs = graph_of(function, x, w)
    ops = {node.op for node in graph_def.node}
    assert set(matmul_convolutions.CONVOLUTIONS) <= ops

    @tf.function(autograph=False, jit_compile=True)
    def replaced(*arguments):
        given = dict(zip(inputs, arguments))
        return matmul_convolutions.import_graph(graph_def, given, outputs, save_memory=save_memory)

    graph = replaced.get_concrete_function(x, w).graph
    assert not {op.type for op in graph.get_operations()} & set(matmul_convolutions.CONVOLUTIONS)
    for found, expected in zip(replaced(x, w), function(x, w)):
        assert found.shape == expected.shape
        assert relative_error(found, expected) < 1e-5


@pytest.mark.parametrize("which, left", [("all", set()), ("float32", {tf.bfloat16})])
def test_which(which, left):
    def function(x, w):
        narrow = tf.nn.conv2d(tf.cast(x, tf.bfloat16), tf.cast(w, tf.bfloat16), 1, "SAME")
        return tf.nn.conv2d(x, w, 1, "SAME"), narrow

    x, w = tf.ones([1, 4, 4, 2]), tf.ones([3, 3, 2, 2])
    graph_def, inputs, outputs = graph_of(function, x, w)

    @tf.function(autograph=False)
    def replaced(*arguments):
        given = dict(zip(inputs, arguments))
        return matmul_convolutions.import_graph(graph_def, given, outputs, which, False)

    operations = replaced.get_concrete_function(x, w).graph.get_operations()
    assert {op.outputs[0].dtype for op in operations if op.type == "Conv2D"} == left
    for found, expected in zip(replaced(x, w), function(x, w)):
        np.testing.assert_array_equal(found, expected)


def parts():
    """A tiny (model, optimizer) of pictures of IMAGE_SHAPE."""
    config = get_config("tetrominoes", {**tiny.UPDATES, "num_iters": 1})
    model, optimizer = build(config["model"]), build(config["optimizer"])
    model.initialize(IMAGE_SHAPE)
    optimizer.initialize(model.trainable_variables)
    return model, optimizer


def test_gradients_of_a_model():
    tf.random.set_seed(0)
    model, _ = parts()
    variables = pure_step.trainable_variables(model)
    params = {key: variable.value() for key, variable in variables.items()}
    images = tf.constant(np.random.default_rng(0).integers(0, 256, [2, *IMAGE_SHAPE]), tf.uint8)
    noise = tf.random.stateless_normal(model.noise_shape(2), [0, 1])
    spec = tf.TensorSpec(images.shape, tf.uint8)
    (expected, metrics), (found, found_metrics) = (
        tf.function(
            pure_step.pure_gradients(model, variables, spec, matmuls),
            autograph=False,
            jit_compile=True,
        )(params, images, noise)
        for matmuls in (None, "all")
    )
    np.testing.assert_allclose(found_metrics, metrics, rtol=1e-5)
    for key in expected:
        assert relative_error(found[key], expected[key]) < 1e-3, key


def test_seeds_side_by_side_train_as_each_alone():
    states = []
    for seed in (0, 1):
        tf.random.set_seed(seed)
        model, optimizer = parts()
        state = pure_step.state_variables(model, optimizer)
        states.append(tf.nest.map_structure(tf.convert_to_tensor, state))
    spec = tf.TensorSpec([2, *IMAGE_SHAPE], tf.uint8)
    images = np.random.default_rng(0).integers(0, 256, [2, *spec.shape]).astype(np.uint8)

    def stepped(side_by_side, *arguments):
        step = pure_step.training_step(model, optimizer, spec, "all", side_by_side)
        return tf.function(step, autograph=False, jit_compile=True)(*arguments)

    together = tf.nest.map_structure(lambda *x: tf.stack(x), *states)
    found = stepped(True, *together, tf.constant(0), tf.constant([5, 6]), images)
    for i, seed in enumerate((5, 6)):
        expected = stepped(False, *states[i], tf.constant(0), tf.constant(seed), images[i])
        np.testing.assert_allclose(found[-1][i], expected[-1], rtol=1e-4)
        for key, gradient in expected[1].items():  # Adam's first moment
            assert relative_error(found[1][key][i], gradient) < 1e-3, key


def test_an_artefact_without_convolutions(tmp_path):
    overrides = [f"{key}={value}" for key, value in {**tiny.UPDATES, "num_iters": 1}.items()]
    words = ["tetrominoes", *overrides, "image_dim=[9,9]", "--matmuls", "all"]
    process = tiny.start_module("export.export_step", *words, "--out", str(tmp_path / "step"))
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    artefact = (tmp_path / "step" / "step.jaxexp").read_bytes()
    assert "stablehlo.convolution" not in jax.export.deserialize(bytearray(artefact)).mlir_module()
