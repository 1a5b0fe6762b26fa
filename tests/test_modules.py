"""Every module of the model goes through the same properties.

A new module is one new line in MODULES: how to build it, and inputs to call it with.
"""

import numpy as np
import pytest
import tensorflow as tf

from iodine.baselines import monet_networks, slot_attention
from iodine.baselines.air import networks as air_networks
from iodine.modules import decoder, distribution, factor_eval, networks, refinement
from iodine.train import devices

N, B, K, Z = 2, 2, 3, 4
CNN_OPT = {"output_channels": [3, 2], "kernel_shapes": 3, "strides": 2}
DECODER_OPT = {"output_channels": [3, None], "kernel_shapes": 3}


def normal(*shape):
    return tf.constant(np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32))


def refinement_core():
    return refinement.RefinementCore(
        networks.CNN(CNN_OPT, {"output_sizes": [5]}, "avg_pool"),
        networks.LSTM([6]),
        refinement.ResHead(),
    )


def refinement_call(core):
    spatial = {"image": normal(B, 1, 8, 8, 3), "mask": normal(B, K, 8, 8, 1)}
    inputs = {"spatial": spatial, "flat": {"zp": normal(B, K, 2 * Z)}}
    return core(inputs, core.initial_state(B * K))


def trainable_scale():
    return distribution.LocScaleDistribution("logistic", scale="fixed", scale_val=-1)


def output_call(dist):
    params, logits, image = normal(B, K, 4, 4, 3), normal(B, K, 4, 4, 1), normal(B, 1, 4, 4, 3)
    masks = tf.exp(dist.log_masks(logits))
    decoded = {
        "components": params,
        "pred_mask_logits": logits,
        "pred_mask": masks,
        "component_log_probs": dist.component_log_probs(params, image),
        "recons": dist.mean(params, masks),
    }
    return (
        decoded,
        dist.log_prob(decoded),
        dist.posterior(decoded),
        dist.log_prob_without_each(decoded),
    )


def recurrent_call(net):
    return net(net.look(normal(N, 12)), normal(N, Z), net.initial_state(N))


MAPPING = [["position", 2, "scalar"], ["shape", 3, "categorical"], ["turn", 2, "angle"]]


def regressor_call(regressor):
    label = np.arange(B * 4 * 4).reshape(B, 1, 4, 4, 1) % K == np.arange(K)[:, None, None, None]
    mask = tf.constant(label.astype(np.float32))  # [B, K, H, W, 1]
    factors = {
        "position": normal(B, K, 2),
        "shape": tf.constant([[[0.0], [1.0], [2.0]]] * B),
        "turn": normal(B, K, 1),
    }
    result = regressor(normal(B, K, Z), mask, mask, tf.ones([B, K]), factors)
    return result["loss"], result["metrics"], result["predictions"]


IMAGE = [N, 9, 8, 3]
MODULES = {
    "MLP": (lambda: networks.MLP([5, 3]), lambda m: m(normal(N, 4))),
    "ConvNet2D": (lambda: networks.ConvNet2D([3], 3), lambda m: m(normal(*IMAGE))),
    "CNN flatten": (lambda: networks.CNN(CNN_OPT), lambda m: m(normal(*IMAGE))),
    "CNN avg_pool": (
        lambda: networks.CNN(CNN_OPT, {"output_sizes": [5]}, "avg_pool"),
        lambda m: m(normal(*IMAGE)),
    ),
    "BroadcastConv linear": (
        lambda: networks.BroadcastConv(DECODER_OPT),
        lambda m: m(normal(N, Z), (7, 9, 4)),
    ),
    "BroadcastConv cos": (
        lambda: networks.BroadcastConv(DECODER_OPT, {"output_sizes": [6]}, "cos"),
        lambda m: m(normal(N, Z), (7, 9, 4)),
    ),
    "BroadcastConv without coordinates": (
        lambda: networks.BroadcastConv(DECODER_OPT, coord_type=None),
        lambda m: m(normal(N, Z), (7, 9, 4)),
    ),
    "DeConv": (
        lambda: networks.DeConv({**DECODER_OPT, "strides": 2}, {"output_sizes": [6]}),
        lambda m: m(normal(N, Z), (7, 9, 4)),
    ),
    "BroadcastDeConv": (
        lambda: networks.BroadcastDeConv(
            {**DECODER_OPT, "output_channels": [3, 3, None], "strides": [1, 2, 1]},
            {"output_sizes": [6]},
        ),
        lambda m: m(normal(N, Z), (7, 9, 4)),
    ),
    "LSTM": (lambda: networks.LSTM([5, 3]), lambda m: m(normal(N, 4), m.initial_state(N))),
    "LSTM without layers": (lambda: networks.LSTM(), lambda m: m(normal(N, 4), m.initial_state(N))),
    "ComponentDecoder": (
        lambda: decoder.ComponentDecoder(networks.BroadcastConv(DECODER_OPT)),
        lambda m: m(normal(B, K, Z), (7, 9, 3)),
    ),
    "RefinementCore": (refinement_core, refinement_call),
    "ResHead": (lambda: refinement.ResHead(), lambda m: m(normal(N, 2 * Z), normal(N, 5))),
    "PredictorCorrectorHead": (
        lambda: refinement.PredictorCorrectorHead([6]),
        lambda m: m(normal(N, 2 * Z), normal(N, 5)),
    ),
    "LocScaleDistribution": (
        lambda: distribution.LocScaleDistribution("normal", scale="var"),
        lambda m: (m.sample(normal(N, 2 * Z), normal(N, Z)), m.kl_to_prior(normal(N, 2 * Z))),
    ),
    "MaskedMixture": (lambda: distribution.MaskedMixture(K, trainable_scale()), output_call),
    "BernoulliOutput": (
        lambda: distribution.BernoulliOutput(),
        lambda m: (m.log_prob(normal(N, 3), tf.ones([N, 3])), m.mean(normal(N, 3))),
    ),
    "AIR RecurrentNet": (lambda: air_networks.RecurrentNet(3, 5, 6), recurrent_call),
    "AIR PatchDecoder": (
        lambda: air_networks.PatchDecoder((4, 5), 6),
        lambda m: m(normal(N, Z)),
    ),
    "SlotAttention": (
        lambda: slot_attention.SlotAttention(Z, 5),
        lambda m: m(normal(B, 6, 7), normal(B, K, Z), 2),
    ),
    "Slot Attention's Encoder": (
        lambda: slot_attention.Encoder([4, 5]),
        lambda m: m(normal(*IMAGE)),
    ),
    "Slot Attention's Decoder": (
        lambda: slot_attention.Decoder([3, 3], [1, 1], Z),
        lambda m: m(normal(N, Z), (7, 9, 4)),
    ),
    "Slot Attention's Decoder of strides": (
        lambda: slot_attention.Decoder([3, 3], [2, 1], Z),
        lambda m: m(normal(N, Z), (7, 9, 4)),
    ),
    "MONet's UNet": (lambda: monet_networks.UNet([3, 4, 5], 6), lambda m: m(normal(*IMAGE))),
    "MONet's ComponentEncoder": (
        lambda: monet_networks.ComponentEncoder([3, 4], 6, Z),
        lambda m: m(normal(B, 9, 8, 3), normal(B, K, 9, 8, 1)),
    ),
    "MONet's ComponentDecoder": (
        lambda: monet_networks.ComponentDecoder([3, 4], 5),
        lambda m: m(normal(N, Z), 7, 9),
    ),
    "FactorRegressor": (lambda: factor_eval.FactorRegressor(MAPPING), regressor_call),
}


@pytest.fixture(params=MODULES)
def module(request):
    """(constructor, a built module, function that calls it, what that gave)."""
    constructor, call = MODULES[request.param]
    built = constructor()
    return constructor, built, call, tf.nest.flatten(call(built))


def assert_close(result, expected):
    result = tf.nest.flatten(result)
    assert len(result) == len(expected)
    for value, wanted in zip(result, expected):
        assert value.dtype == tf.float32
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-5)


def test_it_makes_its_variables_once_and_all_of_them_trainable_by_gradients(module):
    _, built, call, expected = module
    names = [v.ref() for v in built.variables]
    with tf.GradientTape() as tape:
        result = call(built)
        loss = tf.add_n([tf.reduce_sum(tf.square(value)) for value in tf.nest.flatten(result)])
    assert_close(result, expected)
    assert [v.ref() for v in built.variables] == names
    gradients = tape.gradient(loss, built.trainable_variables)
    assert all(gradient is not None for gradient in gradients)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_a_compiled_call_gives_what_the_eager_one_does(module, jit_compile):
    _, built, call, expected = module
    compiled = tf.function(lambda: call(built), autograph=False, jit_compile=jit_compile)
    assert_close(compiled(), expected)


def test_a_checkpoint_restores_it(module, tmp_path):
    constructor, built, call, expected = module
    path = tf.train.Checkpoint(module=built).write(str(tmp_path / "c"))
    other = constructor()
    call(other)
    tf.train.Checkpoint(module=other).read(path).assert_consumed()
    assert_close(call(other), expected)


def test_it_runs_under_a_distribution_strategy(module):
    constructor, built, call, expected = module
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    with devices.replica_local_variables(strategy):
        replicated = constructor()
        call(replicated)
    for variable, value in zip(replicated.variables, built.variables):
        strategy.run(variable.assign, args=(tf.convert_to_tensor(value),))
    run = tf.function(lambda: strategy.run(lambda: call(replicated)), autograph=False)
    per_replica = [strategy.experimental_local_results(v) for v in tf.nest.flatten(run())]
    for replica in range(2):
        assert_close([values[replica] for values in per_replica], expected)
