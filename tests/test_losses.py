"""The loss of each model against numbers computed by hand from its paper's equation.

All weights are 0, so that every network puts out its biases, and a pencil is enough. RNN-NEM's loss
is in test_rnn_nem.
"""

import numpy as np
import tensorflow as tf

from iodine.baselines.air.model import AIR
from iodine.baselines.monet import MONet
from iodine.baselines.slot_attention import SlotAttentionAutoEncoder
from iodine.baselines.vae import VAE
from iodine.modules.decoder import ComponentDecoder
from iodine.modules.distribution import BernoulliOutput, LocScaleDistribution, MaskedMixture
from iodine.modules.iodine import IODINE
from iodine.modules.networks import CNN, LSTM, BroadcastConv
from iodine.modules.refinement import RefinementCore, ResHead


def without_weights(model, image_shape):
    """The model, made for images of a shape, with zeros for all variables."""
    model.initialize(image_shape)
    for variable in model.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    return model


def loss_of(model, image):
    """(loss, scalars) of images [B, H, W, C] without noise."""
    noise = tf.zeros(model.noise_shape(len(image)))
    loss, scalars, _ = model({"image": tf.constant(image[:, None], tf.float32)}, noise)
    info = model.eval({"image": tf.constant(image[:, None], tf.float32)}, noise)
    np.testing.assert_allclose(info["losses"]["total"], loss, rtol=1e-6)
    return loss, scalars


def test_iodines_is_the_weighted_sum_of_negative_elbos():
    # Greff et al. 2019, equation 6: L = Σ_t w_t (-log p(x|z_t) + KL(q_t || p)), w = 0, 1/2, 1.
    # Zeros keep zp at its start, whose means are set to 1. The variance softplus(0) = ln 2 is that
    # of the prior, so KL = 1² / (2 ln 2) = 0.721348 for each of K · Z = 2 · 3 latents.
    # All pixels have p(x) = 1/2 under each slot, hence under the mixture: -log p(x) = 4 ln 2.
    latent_dist = LocScaleDistribution("normal", scale="var", scale_act="softplus")
    encoder = CNN({"output_channels": [2], "kernel_shapes": 3}, mode="avg_pool")
    model = IODINE(
        decoder=ComponentDecoder(BroadcastConv({"output_channels": [None], "kernel_shapes": 1})),
        refinement_core=RefinementCore(encoder, LSTM([2]), ResHead()),
        latent_dist=latent_dist,
        output_dist=MaskedMixture(2, BernoulliOutput()),
        n_z=3,
        num_components=2,
        num_iters=2,
    )
    without_weights(model, (2, 2, 1))
    model.initial_sample_distribution.assign([1, 1, 1, 0, 0, 0])
    image = np.array([[[[1], [0]], [[0], [1]]]])
    loss, scalars = loss_of(model, image)
    np.testing.assert_allclose(scalars["loss/recons"], 1.5 * 2.772589, rtol=1e-6)
    np.testing.assert_allclose(scalars["loss/kl"], 3 * 6 * 0.721348, rtol=1e-6)
    np.testing.assert_allclose(loss, 1.5 * (2.772589 + 6 * 0.721348), rtol=1e-6)


def test_slot_attentions_is_the_mean_squared_error_of_pixels_from_minus_one_to_one():
    # Locatello et al. 2020. The decoder says (1/2, -1/2, 0) for all pixels and slots.
    # A pixel of (1, 0, 1/2) is (1, -1, 0) to the model: (1/4 + 1/4 + 0) / 3. One of (0, 0, 0) is
    # (-1, -1, -1): (9/4 + 1/4 + 1) / 3.
    model = SlotAttentionAutoEncoder(
        num_components=2,
        n_z=3,
        encoder_channels=[2],
        decoder_channels=[2],
        decoder_strides=[1],
        mlp_size=2,
    )
    without_weights(model, (1, 2, 3))
    model.decoder.cnn.layers[-1].b.assign([0.5, -0.5, 0.0, 0.0])
    loss, scalars = loss_of(model, np.array([[[[1, 0, 0.5], [0, 0, 0]]]]))
    np.testing.assert_allclose(loss, (1 / 6 + 7 / 6) / 2, rtol=1e-6)
    np.testing.assert_allclose(scalars["loss/mse"], (1 / 6 + 7 / 6) / 8, rtol=1e-6)


def test_monets_is_its_three_terms():
    # Burgess et al. 2019, equation 3, with masks 3/4 and 1/4 (attention's logit is log 3), both
    # components 0.4 where the image is 0.5, σ of 0.1 and 0.2, four pixels:
    #   3/4 N(0.5; 0.4, 0.1²) + 1/4 N(0.5; 0.4, 0.2²) = 3/4 · 2.419707 + 1/4 · 1.760327 = 2.254862,
    #   -log = -0.813088, four times: -3.252354.
    # Posteriors N(1, 1): KL = 1/2 for each of K · Z = 2 · 2 latents, in all 2.
    # Decoded masks of 1/2: KL = 3/4 log(3/2) + 1/4 log(1/2) = 0.130812, four times: 0.523248.
    # With β = 0.5 and γ = 0.25: -3.252354 + 1 + 0.130812.
    model = MONet(
        num_components=2,
        n_z=2,
        attention_channels=[2],
        attention_mlp_size=2,
        encoder_channels=[2],
        encoder_mlp_size=2,
        decoder_channels=[2],
        sigma_bg=0.1,
        sigma_fg=0.2,
        kl_weight=0.5,
        mask_kl_weight=0.25,
    )
    without_weights(model, (2, 2, 1))
    model.attention.logit.b.assign([np.log(3)])
    raw_std = np.log(np.expm1(1 - 1e-4))  # of a standard deviation of 1
    model.encoder.cnn.mlp.layers[-1].b.assign([1, 1, raw_std, raw_std])
    model.decoder.cnn.layers[-1].b.assign([0.4, 0.0])
    loss, scalars = loss_of(model, np.full([1, 2, 2, 1], 0.5))
    np.testing.assert_allclose(scalars["loss/recons"], -3.252354, rtol=1e-5)
    np.testing.assert_allclose(scalars["loss/kl"], 2, rtol=1e-5)
    np.testing.assert_allclose(scalars["loss/mask_kl"], 0.523248, rtol=1e-5)
    np.testing.assert_allclose(loss, -2.121542, rtol=1e-5)


def test_airs_is_the_negative_elbo():
    # Eslami et al. 2016, with the sum over counts carried out. One object at most, in a
    # black image of 9×9 pixels. Zeros leave the outputs at their start:
    #   presence 1/2, its prior 0.01: KL = 1/2 log(0.5/0.01) + 1/2 log(0.5/0.99) = 1.614463;
    #   place N((3, 0, 0), (0.2, 0.3, 0.3)²), its prior N((3, 0, 0), (0.2, 1, 1)²):
    #     KL = 2 · 1/2 (0.09 - 1 - log 0.09) = 1.497946;
    #   appearance of size 2, N(0, (ln 2)²): KL = 2 · 1/2 (0.480453 - 1 - log 0.480453) = 0.213479.
    # The patch of 3×3 pixels of σ(-2) = 0.119203 fills a third of each side:
    #   log p(x | none) = -81 log(0.3 √(2π)) = 23.087776,
    #   log p(x | one) = that - 9/2 (0.119203 / 0.3)² = that - 0.710467.
    # ELBO = 23.087776 - 1/2 (0.710467 + 1.497946 + 0.213479) - 1.614463 = 20.262367.
    model = AIR(num_components=2, n_z=2, patch_dim=(3, 3), lstm_size=2, hidden_size=2)
    without_weights(model, (9, 9, 1))
    loss, scalars = loss_of(model, np.zeros([1, 9, 9, 1]))
    np.testing.assert_allclose(scalars["loss/recons"], -23.087776 + 0.710467 / 2, rtol=1e-5)
    kl = 1.614463 + (1.497946 + 0.213479) / 2
    np.testing.assert_allclose(scalars["loss/kl"], kl, rtol=1e-5)
    np.testing.assert_allclose(loss, -20.262367, rtol=1e-5)


def test_a_vaes_is_the_negative_elbo_with_a_weighted_divergence():
    # Kingma and Welling 2014, equation 3, the divergence weighted by 0.1. The posterior N(1, 1) has
    # a KL of 1/2 to N(0, 1) for each of 3 latents, and 4 pixels have log p(x) = -log 2 each.
    model = VAE(
        encoder=CNN({"output_channels": [2], "kernel_shapes": 3}),
        decoder=BroadcastConv({"output_channels": [None], "kernel_shapes": 1}),
        latent_dist=LocScaleDistribution("normal", scale="stddev"),
        pixel_dist=BernoulliOutput(),
        n_z=3,
        kl_weight=0.1,
    )
    without_weights(model, (2, 2, 1))
    model.posterior.layers[-1].b.assign([1, 1, 1, 0, 0, 0])
    loss, scalars = loss_of(model, np.ones([1, 2, 2, 1]))
    np.testing.assert_allclose(scalars["loss/recons"], 2.772589, rtol=1e-6)
    np.testing.assert_allclose(scalars["loss/kl"], 1.5, rtol=1e-6)
    np.testing.assert_allclose(loss, 2.772589 + 0.15, rtol=1e-6)
