"""MONet against NumPy, its masks, that it learns, what it refuses."""

import numpy as np
import pytest
import tensorflow as tf

from iodine.baselines.monet import MONet
from iodine.errors import UserError
from tests.helpers import two_blobs

B, K, H, W, Z = 2, 3, 12, 10, 4
TINY = {
    "num_components": K,
    "n_z": Z,
    "attention_channels": [4, 5],
    "attention_mlp_size": 6,
    "encoder_channels": [4, 5],
    "encoder_mlp_size": 7,
    "decoder_channels": [4, 4],
}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def model_of(**options):
    tf.random.set_seed(1)
    model = MONet(**{**TINY, **options})
    model.initialize((H, W, 3))
    for i, v in enumerate(model.trainable_variables):
        v.assign_add(0.2 * normal(*v.shape, seed=i))
    return model


def images():
    return np.random.default_rng(0).random([B, 1, H, W, 3], np.float32)


def test_masks_are_what_the_ones_before_left_and_sum_to_one():
    model, image = model_of(), images()[:, 0]
    log_masks = model.attend(image).numpy()
    scope = np.ones([B, H, W, 1])
    for k in range(K - 1):
        logits = model.attention(np.concatenate([image, np.log(scope).astype(np.float32)], -1))
        alpha = 1 / (1 + np.exp(-logits.numpy().astype(float)))
        np.testing.assert_allclose(np.exp(log_masks[:, k]), scope * alpha, atol=1e-5)
        scope = scope * (1 - alpha)
    np.testing.assert_allclose(np.exp(log_masks[:, -1]), scope, atol=1e-5)
    np.testing.assert_allclose(np.exp(log_masks).sum(axis=1), np.ones([B, H, W, 1]), atol=1e-6)


def test_the_loss_is_the_one_that_numpy_computes():
    model, image = model_of(sigma_bg=0.2, sigma_fg=0.3, kl_weight=0.7, mask_kl_weight=0.4), images()
    noise = normal(1, B, K, Z)
    loss, scalars, (state,) = model({"image": image}, noise)
    masks, x = (state[name].numpy().astype(float) for name in ("pred_mask", "components"))
    mean, std = model.encoder(image[:, 0], np.log(masks).astype(np.float32))
    z = mean + std * noise[0]
    np.testing.assert_allclose(state["z"], z, rtol=1e-4, atol=1e-5)
    decoded = model.decode(z)
    np.testing.assert_allclose(x, decoded["components"], rtol=1e-4, atol=1e-5)
    sigma = np.array([0.2, 0.3, 0.3])[:, None, None, None]
    density = np.exp(-0.5 * ((image - x) / sigma) ** 2) / np.sqrt(2 * np.pi) / sigma
    likelihood = np.sum(masks[..., 0] * density.prod(axis=-1), axis=1)  # [B, H, W]
    recons = -np.log(likelihood).sum(axis=(1, 2))
    mean, std = mean.numpy().astype(float), std.numpy().astype(float)
    kl = 0.5 * (mean**2 + std**2 - 1 - 2 * np.log(std)).sum(axis=(1, 2))
    mask_kl = (masks * np.log(masks / decoded["pred_mask"].numpy())).sum(axis=(1, 2, 3, 4))
    np.testing.assert_allclose(state["losses"]["recons"], recons, rtol=1e-4)
    np.testing.assert_allclose(tf.reduce_sum(state["losses"]["kl"], axis=1), kl, rtol=1e-4)
    np.testing.assert_allclose(state["losses"]["mask_kl"], mask_kl, rtol=1e-3)
    np.testing.assert_allclose(loss, np.mean(recons + 0.7 * kl + 0.4 * mask_kl), rtol=1e-4)
    np.testing.assert_allclose(scalars["loss/kl"], np.mean(kl), rtol=1e-4)


def test_masks_of_almost_nothing_leave_loss_and_gradients_finite():
    model = model_of()
    model.attention.logit.b.assign([20.0])
    with tf.GradientTape() as tape:
        loss, _, _ = model({"image": images()})
    gradients = tape.gradient(loss, model.trainable_variables)
    assert np.isfinite(loss) and all(np.isfinite(g).all() for g in gradients)


def test_draws_from_the_prior_have_decoded_masks():
    samples = model_of().sample_prior(5)
    assert samples["recons"].shape == [5, 1, H, W, 3]
    np.testing.assert_allclose(
        tf.reduce_sum(samples["pred_mask"], axis=1), np.ones([5, H, W, 1]), atol=1e-6
    )


def test_bfloat16_networks_give_about_the_same_loss():
    noise = normal(1, B, K, Z)
    losses = [
        model_of(precision=precision, sigma_bg=1.0, sigma_fg=1.0)({"image": images()}, noise)[0]
        for precision in ("float32", "mixed_bfloat16")
    ]
    assert losses[1].dtype == tf.float32
    np.testing.assert_allclose(*losses, rtol=0.05)
    assert float(losses[0]) != float(losses[1])


def test_it_learns_to_tell_two_blobs_apart():
    tf.random.set_seed(0)
    sizes = {"attention_mlp_size": 16, "encoder_mlp_size": 16, "num_components": 2, "n_z": 2}
    channels = {f"{part}_channels": [8, 8] for part in ("attention", "encoder", "decoder")}
    model = MONet(**sizes, **channels, sigma_bg=0.15, sigma_fg=0.15)
    assert two_blobs.ari_after_training(model, 300, 5e-3) > 0.5


@pytest.mark.parametrize(
    "options, words",
    [
        ({"attention_channels": []}, "attention_channels is empty"),
        ({"sigma_fg": 0}, "sigma_fg is 0, use a number above 0"),
        ({"kl_weight": -1.0}, "kl_weight is -1.0"),
        ({"mask_kl_weight": "much"}, "mask_kl_weight is 'much'"),
        ({"decoder_channels": [4, 0]}, "decoder_channels is 0"),
    ],
)
def test_a_value_that_is_none_is_refused(options, words):
    with pytest.raises(UserError, match=words) as error:
        MONet(**{**TINY, **options})
    assert "\n" not in str(error.value)


def test_pictures_of_another_size_are_refused():
    with pytest.raises(UserError, match=r"\[8, 8, 3\], but the model was made for \[12, 10, 3\]"):
        model_of()({"image": np.zeros([B, 1, 8, 8, 3], np.float32)})
