"""Slot Attention against NumPy, the symmetry of its slots, that it learns, what it refuses."""

import numpy as np
import pytest
import tensorflow as tf

from iodine.baselines.slot_attention import SlotAttention, SlotAttentionAutoEncoder
from iodine.errors import UserError
from iodine.modules.factor_eval import FactorRegressor
from tests.helpers import two_blobs

B, K, N, D = 2, 3, 7, 5
TINY = {
    "num_components": K,
    "n_z": D,
    "encoder_channels": [8, 8],
    "decoder_channels": [8, 8],
    "decoder_strides": [1, 1],
    "mlp_size": 9,
}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def shifted(module):
    """The module with all variables off their start, where scales and offsets matter too."""
    for i, v in enumerate(module.trainable_variables):
        v.assign_add(0.1 * normal(*v.shape, seed=i))
    return module


def model_of(image_shape=(12, 10, 3), **options):
    tf.random.set_seed(1)
    model = SlotAttentionAutoEncoder(**{**TINY, **options})
    model.initialize(image_shape)
    return shifted(model)


def numpy_slot_attention(module, inputs, slots, num_iters):
    """Algorithm 1 for one scene, in float64."""
    weights = {v.name.removeprefix("slot_attention/"): v.numpy() for v in module.variables}

    def norm(x, layer):
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)
        return x * layer.scale.numpy() + (0 if layer.offset is None else layer.offset.numpy())

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    inputs = norm(inputs.astype(float), module.norm_inputs)
    keys, values = inputs @ weights["keys/w:0"], inputs @ weights["values/w:0"]
    for _ in range(num_iters):
        queries = norm(slots, module.norm_slots) @ weights["queries/w:0"]
        attention = np.exp(keys @ queries.T / np.sqrt(D))  # [N, K]
        attention /= attention.sum(axis=1, keepdims=True)
        weighed = (attention + 1e-8) / (attention + 1e-8).sum(axis=0)
        updates = weighed.T @ values
        w_i, w_h, b = (np.split(weights[f"gru/{n}:0"], 3, axis=-1) for n in ("w_i", "w_h", "b"))
        z = sigmoid(updates @ w_i[0] + slots @ w_h[0] + b[0])
        r = sigmoid(updates @ w_i[1] + slots @ w_h[1] + b[1])
        candidate = np.tanh(updates @ w_i[2] + (r * slots) @ w_h[2] + b[2])
        slots = (1 - z) * slots + z * candidate
        hidden = norm(slots, module.norm_mlp) @ weights["mlp/linear_0/w:0"]
        hidden = np.maximum(hidden + weights["mlp/linear_0/b:0"], 0)
        slots = slots + hidden @ weights["mlp/linear_1/w:0"] + weights["mlp/linear_1/b:0"]
    return slots, attention.T


def test_its_iterations_are_those_that_numpy_computes():
    inputs, slots = normal(B, N, 4), normal(B, K, D, seed=1)
    module = SlotAttention(D, 9)
    module(inputs, slots, 1)
    found, attention = shifted(module)(inputs, slots, 3)
    assert len(found) == 3
    for b in range(B):
        wanted, weights = numpy_slot_attention(module, inputs[b], slots[b], 3)
        np.testing.assert_allclose(found[-1][b], wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(attention[-1][b], weights, rtol=1e-4, atol=1e-6)


def test_slots_in_another_order_give_the_same_in_that_order():
    model, image, noise = model_of(), np.abs(np.tanh(normal(B, 1, 12, 10, 3))), normal(1, B, K, D)
    order = [2, 0, 1]
    one, other = (
        model.eval({"image": image}, noise),
        model.eval({"image": image}, noise[:, :, order]),
    )
    for name in ("pred_mask", "components"):
        np.testing.assert_allclose(
            other["outputs"][name], one["outputs"][name].numpy()[:, :, order], atol=1e-5
        )
    np.testing.assert_allclose(other["losses"]["total"], one["losses"]["total"], rtol=1e-5)


def test_the_loss_is_the_mean_squared_error_of_pixels_from_minus_one_to_one():
    model, image = model_of(), np.abs(np.tanh(normal(B, 1, 12, 10, 3)))
    loss, scalars, (state,) = model({"image": image}, normal(1, B, K, D))
    masks, components = state["pred_mask"].numpy(), state["components"].numpy()
    np.testing.assert_allclose(masks.sum(axis=1), np.ones([B, 12, 10, 1]), atol=1e-6)
    error = (2 * image[:, 0] - 1) - (2 * (masks * components).sum(axis=1) - 1)
    np.testing.assert_allclose(loss, np.mean(error**2), rtol=1e-5)
    np.testing.assert_allclose(loss, 4 * scalars["loss/mse"], rtol=1e-5)


def test_a_state_for_the_start_and_each_iteration_is_evaluated():
    model, image = model_of(num_iters=2), np.abs(np.tanh(normal(B, 1, 12, 10, 3)))
    noise = normal(1, B, K, D)
    info = model.eval({"image": image}, noise)
    start = model.slots_mean + tf.exp(model.slots_log_std) * noise[0]
    np.testing.assert_allclose(info["latent"]["z"][:, 0], start, rtol=1e-6)
    assert info["latent"]["z"].shape == [B, 3, K, D]
    pictures = model.get_overview_images({"image": image}, nr_images=1)
    assert set(pictures) == {"overview", "sequence"}


def test_implicit_gradients_are_those_of_the_last_iteration_alone():
    inputs, slots = normal(B, N, 4), tf.constant(normal(B, K, D, seed=1))
    modules = [SlotAttention(D, 9, implicit=implicit) for implicit in (True, False)]
    results = []
    for module in modules:
        module(inputs, slots, 1)
        for i, v in enumerate(module.trainable_variables):
            v.assign(0.3 * normal(*v.shape, seed=i))
    implicit, explicit = modules
    before = explicit(inputs, slots, 2)[0][-1]
    for module, start, num_iters in ((implicit, slots, 3), (explicit, before, 1)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(module(inputs, start, num_iters)[0][-1] ** 2)
        results.append(tape.gradient(loss, module.trainable_variables))
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_strides_enlarge_a_grid_to_pictures_of_any_size():
    model = model_of((13, 9, 1), decoder_strides=[2, 2])
    assert model.decode(normal(1, K, D))["recons"].shape == [1, 1, 13, 9, 1]
    assert model.decode(normal(1, K, D), (8, 6, 1))["components"].shape == [1, K, 8, 6, 1]


def test_bfloat16_networks_give_about_the_same_loss():
    image, noise = np.abs(normal(B, 1, 12, 10, 3)), normal(1, B, K, D)
    losses = [
        model_of(precision=precision)({"image": image}, noise)[0]
        for precision in ("float32", "mixed_bfloat16")
    ]
    assert losses[1].dtype == tf.float32
    np.testing.assert_allclose(*losses, rtol=0.05)
    assert float(losses[0]) != float(losses[1])


def test_it_learns_to_tell_two_blobs_apart():
    tf.random.set_seed(0)
    sizes = {"num_components": 2, "n_z": 8, "encoder_channels": [16, 16], "mlp_size": 16}
    decoder = {"decoder_channels": [16], "decoder_strides": [1]}
    model = SlotAttentionAutoEncoder(**{**sizes, **decoder})
    assert two_blobs.ari_after_training(model, 300, 4e-3) > 0.4


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_components": 1}, "at least 2"),
        ({"n_z": 0}, "n_z is 0"),
        ({"num_iters": 0}, "num_iters is 0"),
        ({"encoder_channels": []}, "encoder_channels is empty"),
        ({"decoder_strides": [1]}, "1 entries for 2 decoder_channels"),
        ({"precision": "half"}, "use float32 or mixed_bfloat16"),
    ],
)
def test_a_value_that_is_none_is_refused(options, words):
    with pytest.raises(UserError, match=words) as error:
        SlotAttentionAutoEncoder(**{**TINY, **options})
    assert "\n" not in str(error.value)


def test_several_frames_are_refused():
    with pytest.raises(UserError, match="2 frames, SlotAttentionAutoEncoder takes one"):
        model_of()({"image": np.zeros([B, 2, 12, 10, 3], np.float32)})


def test_its_factor_regressor_learns_and_leaves_the_slots_alone():
    regressor = FactorRegressor([["color", 3, "scalar"]])
    model = model_of((8, 8, 3), factor_evaluator=regressor)
    data = two_blobs.scenes(0, B)
    with tf.GradientTape() as tape:
        loss, scalars, _ = model(model.observe(data), normal(1, B, K, D))
    alone, _, _ = model({"image": data["image"]}, normal(1, B, K, D))
    np.testing.assert_allclose(loss - scalars["factor/loss"], alone, rtol=1e-5)
    assert np.abs(tape.gradient(loss, regressor.trainable_variables[0])).max() > 0
    info = model.eval(data, normal(1, B, K, D))
    assert info["factor_regressor"]["predictions"]["color"].shape == [B, 4, 2, 3]
    np.testing.assert_allclose(info["losses"]["factor"][-1], scalars["factor/loss"], rtol=1e-5)
