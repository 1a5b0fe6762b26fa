"""RNN-NEM against NumPy, that it learns, what it refuses."""

import numpy as np
import pytest
import tensorflow as tf

from iodine.baselines.rnn_nem import RNNNEM
from iodine.errors import UserError
from tests.helpers import two_blobs

B, K, H, W, M, T = 2, 3, 6, 5, 4, 2
TINY = {"num_components": K, "n_z": M, "num_iters": T, "mlp_size": 6}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def model_of(image_shape=(H, W, 1), **options):
    tf.random.set_seed(1)
    model = RNNNEM(**{**TINY, **options})
    model.initialize(image_shape)
    for i, v in enumerate(model.trainable_variables):
        v.assign_add(0.2 * normal(*v.shape, seed=i))
    return model


def images():
    return np.random.default_rng(0).integers(2, size=[B, 1, H, W, 1]).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_nem(model, x, noise, flip_prob):
    """The loss of one scene x [H·W], in float64; noise is [H·W, K + T]."""
    weights = {v.name.removeprefix("rnn_nem/"): v.numpy().astype(float) for v in model.variables}
    gamma = np.abs(noise[:, :K]).T
    gamma = gamma / gamma.sum(axis=0)  # [K, H·W]
    psi, theta = np.full([K, H * W], 1e-6), np.zeros([K, M])
    for t in range(T):
        flipped = noise[:, K + t] < np.quantile(normal(10**6), flip_prob)
        shown = np.where(flipped, 1 - x, x)
        theta = sigmoid(
            gamma * (psi - shown) @ weights["from_encoder/linear_0/w:0"]
            + theta @ weights["recurrent/w:0"]
            + weights["from_encoder/linear_0/b:0"]
        )
        psi = sigmoid(theta @ weights["decoder/linear_0/w:0"] + weights["decoder/linear_0/b:0"])
        p = np.where(x == 1, psi, 1 - psi)
        gamma = p / p.sum(axis=0)
    return np.sum(gamma * -np.log(p) + (1 - gamma) * -np.log(1 - psi)), gamma


def test_the_loss_is_the_one_that_numpy_computes():
    model, image, noise = model_of(flip_prob=0.3), images(), normal(1, B, H, W, K + T)
    loss, _, states = model({"image": image}, noise)
    info = model.eval({"image": image}, noise)
    for flip_prob, found in ((0.3, loss), (0.0, info["losses"]["total"])):
        wanted = [
            numpy_nem(model, image[b].ravel(), noise[0, b].reshape(H * W, -1), flip_prob)
            for b in range(B)
        ]
        np.testing.assert_allclose(found, np.mean([loss for loss, _ in wanted]), rtol=1e-4)
    masks = np.reshape(info["outputs"]["pred_mask"][:, -1], [B, K, H * W])
    np.testing.assert_allclose(masks, [gamma for _, gamma in wanted], rtol=1e-3, atol=1e-5)
    assert len(states) == T + 1


def state_of(image, logits, log_gamma=None):
    """The state of slots' logits [K, W] and perhaps log γ [K, W], for one row of pixels [W]."""
    image, logits = np.float32(image)[None, None, :, None], np.float32(logits)[None, :, None]
    theta = tf.zeros([1, len(logits[0]), M])
    if log_gamma is not None:
        log_gamma = np.float32(log_gamma)[None, :, None, :, None]
    return RNNNEM(**TINY)._state(
        tf.constant(image), theta, tf.constant(logits[..., None]), log_gamma
    )


def test_a_slot_pays_the_divergence_of_its_white_from_a_black_prior():
    # The loss of Greff et al. 2017 for a prior of 0:
    #   Σ_i Σ_k γ_ik (-log p(x_i | ψ_ik)) + (1 - γ_ik) KL(0 || ψ_ik),  KL(0 || ψ) = -log(1 - ψ).
    # One white pixel and one black one. Slot 1 has ψ = (3/4, 1/5), slot 2 has ψ = (1/4, 3/5).
    # The white one: p = (3/4, 1/4), so γ = (3/4, 1/4), and
    #   3/4 · -log 3/4 + 1/4 · -log 1/4 = 0.215762 + 0.346574,
    #   1/4 · -log 1/4 + 3/4 · -log 3/4 = 0.346574 + 0.215762, in all 1.124670.
    # The black one: p = (4/5, 2/5), so γ = (2/3, 1/3), and
    #   2/3 · -log 4/5 + 1/3 · -log 2/5 = 0.148762 + 0.305430,
    #   1/3 · -log 4/5 + 2/3 · -log 2/5 = 0.074381 + 0.610861, in all 1.139434.
    logits = [[np.log(3), -np.log(4)], [-np.log(3), np.log(1.5)]]
    state = state_of([1, 0], logits)
    np.testing.assert_allclose(
        state["pred_mask"][0, :, 0, :, 0], [[3 / 4, 2 / 3], [1 / 4, 1 / 3]], rtol=1e-6
    )
    np.testing.assert_allclose(state["losses"]["total"], [1.124670 + 1.139434], rtol=1e-6)


def test_the_divergence_is_finite_where_float32_has_a_probability_of_1():
    # γ of the second slot is 0, so that it pays -log(1 - sigmoid(100)) = log(1 + e^100) = 100; the
    # first, which has ψ of 1 too, pays nothing for a white pixel.
    state = state_of([1], [[100], [100]], log_gamma=[[0], [-np.inf]])
    np.testing.assert_allclose(state["losses"]["total"], [100], rtol=1e-6)


def test_no_gradient_flows_through_the_e_step():
    model, image = model_of(), images()[:, 0]
    theta, logits = tf.zeros([B, K, M]), tf.constant(normal(B, K, H, W, 1))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = model._state(image, theta, logits)["losses"]["total"]
    gamma = model._state(image, theta, logits)["pred_mask"].numpy()
    psi = sigmoid(logits.numpy())
    wanted = gamma * (psi - image[:, None]) + (1 - gamma) * psi
    np.testing.assert_allclose(tape.gradient(loss, logits), wanted, rtol=1e-3, atol=1e-4)


def test_convolutions_give_pictures_of_any_size():
    model = model_of((9, 7, 1), encoder_channels=[3, 4])
    image = np.float32(np.random.default_rng(0).integers(2, size=[B, 1, 9, 7, 1]))
    info = model.eval({"image": image})
    assert info["outputs"]["components"].shape == [B, T + 1, K, 9, 7, 1]


def test_bfloat16_networks_give_about_the_same_loss():
    losses = [
        model_of(precision=precision)({"image": images()}, normal(1, B, H, W, K + T))[0]
        for precision in ("float32", "mixed_bfloat16")
    ]
    assert losses[1].dtype == tf.float32
    np.testing.assert_allclose(*losses, rtol=0.05)
    assert float(losses[0]) != float(losses[1])


def test_it_learns_to_tell_two_blobs_apart():
    tf.random.set_seed(0)
    # Flips would hide squares of nine pixels. The third slot is for the background.
    model = RNNNEM(num_components=3, n_z=64, num_iters=5, flip_prob=0.0)
    options = {"metric": "ari_nobg", "binary": True, "batch_size": 32}
    assert two_blobs.ari_after_training(model, 600, 5e-3, **options) > 0.7


@pytest.mark.parametrize(
    "options, words",
    [
        ({"flip_prob": 1.0}, "flip_prob is 1.0, use a number from 0 to below 1"),
        ({"num_iters": 0}, "num_iters is 0"),
        ({"mlp_size": 1.5}, "mlp_size is 1.5"),
        ({"encoder_channels": 4}, "encoder_channels is 4"),
    ],
)
def test_a_value_that_is_none_is_refused(options, words):
    with pytest.raises(UserError, match=words) as error:
        RNNNEM(**{**TINY, **options})
    assert "\n" not in str(error.value)


def test_pictures_of_another_size_are_refused():
    with pytest.raises(UserError, match=r"\[8, 8, 1\], but the model was made for \[6, 5, 1\]"):
        model_of()({"image": np.zeros([B, 1, 8, 8, 1], np.float32)})
