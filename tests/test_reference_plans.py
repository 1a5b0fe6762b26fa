"""Build plans as a user of the original IODINE has them: they build what our own configs do."""

import numpy as np
import pytest
import tensorflow as tf

from iodine.main import build, get_config
from iodine.modules import distribution, networks, utils
from iodine.optimizer import Adam

BATCH_SIZE = {"clevr6": 4, "multi_dsprites": 16, "tetrominoes": 128}
LEARN_RATE = {
    "clevr6": 0.001 * (4 / 32) ** 0.5,
    "multi_dsprites": 0.0003 * (16 / 128) ** 0.5,
    "tetrominoes": 0.0003 * (128 / 256) ** 0.5,
}


def reference_model(
    n_z, num_components, decoder, encoder, kernel, mlp, hidden, coord_type, mapping
):
    """A model's plan in the reference's spelling."""
    return {
        "constructor": "iodine.modules.iodine.IODINE",
        "n_z": n_z,
        "num_components": num_components,
        "num_iters": 5,
        "iter_loss_weight": "linspace",
        "coord_type": coord_type,
        "coord_freqs": 3,
        "decoder": {
            "constructor": "iodine.modules.decoder.ComponentDecoder",
            "pixel_decoder": {
                "constructor": "iodine.modules.networks.BroadcastConv",
                "cnn_opt": {
                    "output_channels": [*decoder, None],
                    "kernel_shapes": [kernel],
                    "strides": [1],
                    "activation": "elu",
                },
                "coord_type": "linear",
            },
        },
        "refinement_core": {
            "constructor": "iodine.modules.refinement.RefinementCore",
            "encoder_net": {
                "constructor": "iodine.modules.networks.CNN",
                "mode": "avg_pool",
                "cnn_opt": {
                    "output_channels": encoder,
                    "kernel_shapes": [kernel],
                    "strides": [2],
                    "activation": "elu",
                },
                "mlp_opt": {"output_sizes": mlp, "activation": "elu"},
            },
            "recurrent_net": {
                "constructor": "iodine.modules.networks.LSTM",
                "hidden_sizes": hidden,
            },
            "refinement_head": {"constructor": "iodine.modules.refinement.ResHead"},
        },
        "latent_dist": {
            "constructor": "iodine.modules.distributions.LocScaleDistribution",
            "dist": "normal",
            "scale_act": "softplus",
            "scale": "var",
        },
        "output_dist": {
            "constructor": "iodine.modules.distributions.MaskedMixture",
            "num_components": num_components,
            "component_dist": {
                "constructor": "iodine.modules.distributions.LocScaleDistribution",
                "dist": "logistic",
                "scale": "fixed",
                "scale_val": 0.03,
            },
        },
        "factor_evaluator": {
            "constructor": "iodine.modules.factor_eval.FactorRegressor",
            "mapping": mapping,
        },
    }


def reference_optimizer(learn_rate):
    """An optimizer's plan in the reference's spelling."""
    return {
        "constructor": "tensorflow.train.AdamOptimizer",
        "learning_rate": {
            "constructor": "tensorflow.train.exponential_decay",
            "learning_rate": learn_rate,
            "global_step": {"constructor": "tensorflow.train.get_or_create_global_step"},
            "decay_steps": 1000000,
            "decay_rate": 0.1,
        },
        "beta1": 0.95,
    }


MODELS = {
    "clevr6": reference_model(
        n_z=64,
        num_components=7,
        decoder=[64, 64, 64, 64],
        encoder=[64, 64, 64, 64],
        kernel=3,
        mlp=[256, 256],
        hidden=[256],
        coord_type="linear",
        mapping=[
            ("color", 9, "categorical"),
            ("shape", 4, "categorical"),
            ("size", 3, "categorical"),
            ("position", 3, "scalar"),
        ],
    ),
    "multi_dsprites": reference_model(
        n_z=16,
        num_components=6,
        decoder=[32, 32, 32, 32],
        encoder=[32, 32, 32],
        kernel=5,
        mlp=[128],
        hidden=[128],
        coord_type="cos",
        mapping=[
            ("color", 3, "scalar"),
            ("shape", 4, "categorical"),
            ("scale", 1, "scalar"),
            ("x", 1, "scalar"),
            ("y", 1, "scalar"),
            ("orientation", 2, "angle"),
        ],
    ),
    "tetrominoes": reference_model(
        n_z=32,
        num_components=4,
        decoder=[32, 32, 32, 32],
        encoder=[32, 32, 32],
        kernel=5,
        mlp=[128],
        hidden=[],
        coord_type="cos",
        mapping=[("position", 2, "scalar"), ("color", 3, "scalar"), ("shape", 20, "categorical")],
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_published_models_plan_builds_ours(name):
    image = tf.constant(np.random.default_rng(0).random([1, 1, 8, 8, 3], np.float32))
    theirs, ours = build(MODELS[name], "model"), build(get_config(name)["model"], "model")
    noise = tf.random.normal(theirs.noise_shape(1))
    for model in (theirs, ours):
        model.initialize((8, 8, 3))
    shapes = [(variable.name, variable.shape) for variable in theirs.variables]
    assert shapes == [(variable.name, variable.shape) for variable in ours.variables]
    for variable, value in zip(ours.variables, theirs.variables):
        variable.assign(value)
    loss, _, _ = theirs({"image": image}, noise)
    expected, _, _ = ours({"image": image}, noise)
    assert np.isfinite(loss) and float(loss) == float(expected)


@pytest.mark.parametrize("name", MODELS)
def test_a_published_models_optimizer_is_ours(name):
    theirs = build(reference_optimizer(LEARN_RATE[name]), "optimizer")
    ours = build(get_config(name)["optimizer"], "optimizer")
    assert get_config(name)["batch_size"] == BATCH_SIZE[name]
    for step in (0, 1, 300000):
        rate = theirs.current_learning_rate(tf.constant(step, tf.int64))
        expected = LEARN_RATE[name] * 0.1 ** (step / 1e6)
        assert float(rate) == pytest.approx(expected, rel=1e-6)
        assert float(rate) == float(ours.current_learning_rate(tf.constant(step, tf.int64)))
    assert (theirs.beta1, theirs.beta2, theirs.epsilon) == (ours.beta1, ours.beta2, ours.epsilon)


def test_tensorflow_1s_arguments_and_defaults_hold():
    plan = {"constructor": "tensorflow.compat.v1.train.AdamOptimizer", "use_locking": True}
    adam = build({**plan, "name": "Adam"})
    assert isinstance(adam, Adam)
    assert (adam.learning_rate, adam.beta1, adam.beta2, adam.epsilon) == (0.001, 0.9, 0.999, 1e-8)
    decay = build(
        {
            "constructor": "tensorflow.train.exponential_decay",
            "learning_rate": 0.8,
            "global_step": {"constructor": "tensorflow.train.get_or_create_global_step"},
            "decay_steps": 10,
            "decay_rate": 0.5,
            "staircase": True,
            "name": "decay",
        }
    )
    rates = [float(decay(tf.constant(step, tf.int64))) for step in (0, 9, 10, 25)]
    assert rates == pytest.approx([0.8, 0.8, 0.4, 0.2])


def test_a_lists_one_entry_stands_for_all_layers_and_pairs_for_squares():
    single = networks.ConvNet2D([2, 3], kernel_shapes=3, strides=2, paddings="SAME")
    for kernel_shapes in ([3], [3, 3], [[3, 3]], [3.0]):
        for strides in ([2], [2, 2], [[2, 2]]):
            net = networks.ConvNet2D([2, 3], kernel_shapes, strides, paddings=["same"])
            assert net(tf.zeros([1, 8, 8, 1])).shape == single(tf.zeros([1, 8, 8, 1])).shape
            assert [v.shape for v in net.variables] == [v.shape for v in single.variables]
            assert net.strides == single.strides


@pytest.mark.parametrize("given", ["elu", "ELU", tf.nn.elu], ids=["name", "any case", "function"])
def test_an_activation_is_a_name_in_any_case_or_a_function(given):
    assert utils.activation(given)(-1.0) == tf.nn.elu(-1.0)


@pytest.mark.parametrize("given", [None, "identity", "Identity", "linear"])
def test_the_identity_has_several_names(given):
    assert float(utils.activation(given)(-1.0)) == -1.0


@pytest.mark.parametrize("name", utils.ACTIVATIONS)
def test_every_activation_that_is_offered_is_there(name):
    assert utils.activation(name)(tf.ones([2, 3])).shape == [2, 3]


def test_a_mask_activation_comes_in_any_form():
    logits = tf.constant(np.random.default_rng(0).normal(size=[1, 2, 1, 1, 1]).astype(np.float32))
    component = distribution.LocScaleDistribution("normal", scale="fixed")
    for given in ("tanh", "TANH", tf.tanh):
        mixture = distribution.MaskedMixture(2, component, mask_activation=given)
        expected = tf.nn.log_softmax(tf.tanh(logits), axis=1)
        np.testing.assert_array_equal(mixture.log_masks(logits), expected)


@pytest.mark.parametrize("as_object", [networks.MLP, lambda **opt: networks.MLP(**opt)])
def test_a_constructor_may_be_a_class_or_a_function(as_object):
    mlp = build({"constructor": as_object, "output_sizes": [3, 2]})
    assert mlp(tf.zeros([1, 4])).shape == [1, 2]


def test_inputs_that_all_slots_share_are_tiled_over_them():
    plan = {**MODELS["tetrominoes"], "inputs": ["image", "zp"]}
    model = build(plan)
    _, _, iterations = model({"image": tf.ones([2, 1, 8, 8, 3])})
    assert iterations[-1]["zp"].shape == [2, 4, 64]
