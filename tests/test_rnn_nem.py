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
    psi, theta, losses = np.full([K, H * W], 1e-6), np.zeros([K, M]), []
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
        kl = psi * np.log(psi / 1e-6) + (1 - psi) * np.log((1 - psi) / (1 - 1e-6))
        losses.append(np.sum(gamma * -np.log(p) + (1 - gamma) * kl))
    return np.mean(losses), gamma


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


def test_no_gradient_flows_through_the_e_step():
    model, image = model_of(), images()[:, 0]
    theta, logits = tf.zeros([B, K, M]), tf.constant(normal(B, K, H, W, 1))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = model._state(image, theta, logits)["losses"]["total"]
    gamma = model._state(image, theta, logits)["pred_mask"].numpy()
    psi = sigmoid(logits.numpy())
    log_odds = logits.numpy() - np.log(1e-6)
    wanted = gamma * (psi - image[:, None]) + (1 - gamma) * psi * (1 - psi) * log_odds
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
    model = RNNNEM(num_components=2, n_z=64, num_iters=5)
    options = {"metric": "ari_nobg", "binary": True}
    assert two_blobs.ari_after_training(model, 500, 2e-2, **options) > 0.8


@pytest.mark.parametrize(
    "options, words",
    [
        ({"flip_prob": 1.0}, "flip_prob is 1.0, use a number from 0 to below 1"),
        ({"num_iters": 0}, "num_iters is 0"),
        ({"mlp_size": 1.5}, "mlp_size is 1.5"),
        ({"encoder_channels": 4}, "encoder_channels is 4"),
        ({"rematerialize": True}, "RNNNEM has no use for rematerialize"),
    ],
)
def test_a_value_that_is_none_is_refused(options, words):
    with pytest.raises(UserError, match=words) as error:
        RNNNEM(**{**TINY, **options})
    assert "\n" not in str(error.value)


def test_pictures_of_another_size_are_refused():
    with pytest.raises(UserError, match=r"\[8, 8, 1\], but the model was made for \[6, 5, 1\]"):
        model_of()({"image": np.zeros([B, 1, 8, 8, 1], np.float32)})
