"""Building blocks against plain NumPy and SciPy on small cases."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from iodine.errors import UserError
from iodine.main import build, get_config
from iodine.modules import distribution, factor_eval, networks, refinement, utils
from iodine.modules.distribution import leave_one_out_logsumexp
from iodine.modules.refinement_inputs import ALL_INPUTS, RefinementInputs
from iodine.optimizer import Adam, ExponentialDecay
from tests.helpers import tiny

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def elu(x):
    return np.where(x > 0, x, np.expm1(x))


def sigmoid(x):
    return scipy.special.expit(x)


# ---------------------------------------------------------------- networks


def test_linear_coordinates_run_from_minus_one_to_one_height_first():
    over_height, over_width = utils.linear_coordinates(3, 5)
    assert over_height[0, :, 2, 0].tolist() == [-1, 0, 1]
    assert over_width[0, 1, :, 0].tolist() == [-1, -0.5, 0, 0.5, 1]


def test_cosine_coordinates_are_all_products_but_the_constant():
    basis = utils.cosine_coordinates(4, 5, freqs=2)  # (a, b) = (0, 1), (1, 0), (1, 1)
    y, x = np.linspace(0, np.pi, 4), np.linspace(0, np.pi, 5)
    expected = [np.outer(np.cos(y), np.ones(5)), np.outer(np.ones(4), np.cos(x))]
    expected.append(np.outer(np.cos(y), np.cos(x)))
    np.testing.assert_allclose(basis[0], np.stack(expected, axis=-1), atol=1e-6)


def test_an_mlp_is_linear_at_its_end_unless_told_otherwise():
    for activate_final in (False, True):
        mlp = networks.MLP([3, 2], activate_final=activate_final)
        x = normal(4, 5)
        result = mlp(x)
        first, second = mlp.layers
        expected = elu(x @ first.w.numpy() + first.b) @ second.w.numpy() + second.b
        expected = elu(expected) if activate_final else expected
        # Terms of size 1 may cancel, so that what float32 loses is not relative to their sum.
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_the_decoder_sees_its_vector_and_both_coordinates_at_every_pixel():
    decoder = networks.BroadcastConv({"output_channels": [None], "kernel_shapes": 1})
    z = normal(2, 3)
    result = decoder(z, (4, 5, 2)).numpy()
    layer = decoder.cnn.layers[0]
    w = layer.w.numpy()[0, 0]  # [3 + 2, 2]
    over_height, over_width = utils.linear_coordinates(4, 5)
    expected = (z @ w[:3])[:, None, None] + over_height * w[3] + over_width * w[4] + layer.b
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (9, 14), (35, 35)])
def test_a_deconvolution_makes_exactly_the_size_asked_for(size):
    decoder = networks.DeConv({"output_channels": [4, None], "kernel_shapes": 5, "strides": 2})
    assert decoder(normal(2, 3), (*size, 4)).shape == [2, *size, 4]


@pytest.mark.parametrize(
    "size, strides, grid",
    [
        ((35, 35), [1, 2, 2], (9, 9)),
        ((14, 14), [1, 2, 2], (4, 4)),
        ((14, 9), [1, 3, 1], (5, 3)),
        ((7, 5), 1, (7, 5)),
    ],
)
def test_a_broadcast_grid_is_enlarged_to_exactly_the_size_asked_for(size, strides, grid):
    decoder = networks.BroadcastDeConv(
        {"output_channels": [4, 4, None], "kernel_shapes": 5, "strides": strides}
    )
    assert decoder(normal(2, 3), (*size, 4)).shape == [2, *size, 4]
    assert decoder.cnn.sizes_before(size)[0] == grid


def test_a_broadcast_grids_layers_are_plain_convolutions_of_the_tiled_vector():
    cnn_opt = {"output_channels": [6, None], "kernel_shapes": 3, "strides": [1, 2]}
    decoder = networks.BroadcastDeConv(cnn_opt)
    z = normal(2, 3)
    result = decoder(z, (7, 5, 2))  # on a grid of 4×3
    coordinates = np.concatenate(utils.linear_coordinates(4, 3), axis=-1)
    tiled = np.tile(z[:, None, None], [1, 4, 3, 1])
    tiled = np.concatenate([tiled, np.tile(coordinates, [2, 1, 1, 1])], axis=-1)
    first, second = decoder.cnn.layers
    hidden = elu(tf.nn.conv2d(tiled, first.w, 1, "SAME") + first.b)
    images = tf.nn.conv2d_transpose(hidden, second.w, [2, 8, 6, 2], 2, "SAME") + second.b
    np.testing.assert_allclose(result, images[:, :7, :5], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"strides": [2, 1]}, "strides begin with 2, but the first layer of BroadcastDeConv"),
        ({"strides": 2}, "strides begin with 2"),
        ({"paddings": "VALID"}, "makes images of 5×5 instead of 9×9: use paddings SAME"),
    ],
)
def test_a_broadcast_grid_that_cannot_be_enlarged_is_refused(options, words):
    cnn_opt = {"output_channels": [4, None], "kernel_shapes": 3, **options}
    with pytest.raises(UserError, match=words) as error:
        networks.BroadcastDeConv(cnn_opt)(normal(2, 3), (9, 9, 4))
    assert "\n" not in str(error.value)


def test_an_lstm_step_is_the_textbooks_with_a_forget_bias_of_one():
    lstm = networks.LSTM([3])
    x, hidden, cell = normal(2, 4), normal(2, 3), normal(2, 3)
    state = [lstm.initial_state(2)[0]._replace(hidden=hidden, cell=cell)]
    result, (next_state,) = lstm(x, state)
    layer = lstm.layers[0]
    gates = np.concatenate([x, hidden], axis=1) @ layer.w_gates.numpy() + layer.b_gates
    i, g, f, o = np.split(gates, 4, axis=1)
    expected = sigmoid(f + 1) * cell + sigmoid(i) * np.tanh(g)
    np.testing.assert_allclose(next_state.cell, expected, rtol=1e-5)
    np.testing.assert_allclose(result, sigmoid(o) * np.tanh(expected), rtol=1e-5)


def test_lstm_weights_and_biases_start_with_the_references_spread():
    lstm = networks.LSTM([64])
    lstm(tf.zeros([1, 36]), lstm.initial_state(1))
    for variable in lstm.trainable_variables:
        # A normal of deviation 1/sqrt(36 + 64) cut at two deviations has 0.88 of it left.
        assert np.abs(variable).max() <= 0.2 + 1e-6
        assert np.std(variable) == pytest.approx(0.088, rel=0.15)


def test_the_residual_head_adds_a_linear_update():
    head = refinement.ResHead()
    zp, h = normal(2, 4), normal(2, 3)
    result = head(zp, h)
    np.testing.assert_allclose(result, zp + h @ head.linear.w.numpy() + head.linear.b, rtol=1e-5)


def test_the_predictor_corrector_head_gates_correction_and_prediction():
    head = refinement.PredictorCorrectorHead([5], pred_gate_bias=0.3, corrector_gate_bias=-0.2)
    zp, h = normal(2, 4), normal(2, 3)
    result = head(zp, h)
    gate = sigmoid(h @ head.gate.w.numpy() + head.gate.b - 0.2)
    corrected = zp + gate * (h @ head.update.w.numpy() + head.update.b - zp)
    first, second = head.predictor.layers
    prediction = elu(zp @ first.w.numpy() + first.b) @ second.w.numpy() + second.b
    pred, pred_gate = np.split(prediction, 2, axis=1)
    expected = corrected + sigmoid(pred_gate + 0.3) * (pred - corrected)
    np.testing.assert_allclose(result, expected, rtol=1e-4)


# ---------------------------------------------------------------- distributions


SCALES = {
    "stddev": lambda s: s,
    "var": np.sqrt,
    "prec": lambda s: 1 / s,
}
SCIPY = {
    "normal": lambda loc, scale: scipy.stats.norm(loc, scale),
    "laplace": lambda loc, scale: scipy.stats.laplace(loc, scale),
    "logistic": lambda loc, scale: scipy.stats.logistic(loc, scale),
    "log_normal": lambda loc, scale: scipy.stats.lognorm(scale, scale=np.exp(loc)),
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dist", SCIPY)
def test_a_distribution_is_scipys_of_the_same_location_and_scale(dist, scale):
    ours = distribution.LocScaleDistribution(dist, scale=scale, scale_act="softplus")
    params, noise = normal(5, 6), normal(5, 3)
    loc, s = params[:, :3], np.log1p(np.exp(params[:, 3:]))
    theirs = SCIPY[dist](loc, SCALES[scale](s))
    values = np.exp(normal(5, 3))
    expected = theirs.logpdf(values).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours.log_prob(params, values), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.mean(params), theirs.mean(), rtol=1e-4, atol=1e-5)
    # Equal probability mass below the noise and below the sample.
    samples = theirs.ppf(scipy.stats.norm.cdf(noise))
    np.testing.assert_allclose(ours.sample(params, noise), samples, rtol=2e-3, atol=1e-3)


def test_scales_are_exponentials_unless_told_otherwise():
    params = normal(5, 6)
    dist = distribution.LocScaleDistribution()(params)
    np.testing.assert_array_equal(dist.loc, params[:, :3])
    np.testing.assert_allclose(dist.scale, np.exp(params[:, 3:]), rtol=1e-6)


def test_a_distribution_may_be_a_class_of_tensorflow_probability():
    params, noise = normal(5, 6), normal(5, 3)
    named = distribution.LocScaleDistribution("Normal")
    given = distribution.LocScaleDistribution(tfp.distributions.Normal)
    np.testing.assert_array_equal(given.sample(params, noise), named.sample(params, noise))
    cauchy = distribution.LocScaleDistribution(tfp.distributions.Cauchy)
    expected = scipy.stats.cauchy(params[:, :3], np.exp(params[:, 3:])).logpdf(noise)
    result = cauchy.log_prob(params, noise)
    np.testing.assert_allclose(result, expected.sum(axis=1, keepdims=True), rtol=1e-4)


def test_the_prior_is_the_distribution_of_zero_parameters_and_no_unit_normal():
    latent = distribution.LocScaleDistribution("normal", scale="var", scale_act="softplus")
    params = normal(5, 6)
    mean, var = params[:, :3], np.log1p(np.exp(params[:, 3:]))
    prior_var = np.log(2)
    kl = 0.5 * (np.log(prior_var / var) + (var + mean**2) / prior_var - 1)
    np.testing.assert_allclose(latent.kl_to_prior(params), kl.sum(axis=1), rtol=1e-5)
    assert float(latent.kl_to_prior(np.zeros([1, 6], np.float32))[0]) == 0.0


def test_a_fixed_scale_of_minus_one_is_one_trainable_scale():
    dist = distribution.LocScaleDistribution("logistic", scale="fixed", scale_val=-1)
    (variable,) = dist.trainable_variables
    assert variable.shape == [] and float(variable) == pytest.approx(0.1)
    assert dist.num_params(3) == 3


def test_bernoulli_pixels_have_the_entropy_of_their_logits():
    dist = distribution.BernoulliOutput()
    logits, values = normal(4, 3), np.float32(RNG.integers(2, size=[4, 3]))
    p = sigmoid(logits)
    expected = np.log(np.where(values == 1, p, 1 - p)).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(dist.log_prob(logits, values), expected, rtol=1e-5)
    np.testing.assert_allclose(dist.mean(logits), p, rtol=1e-5)


def test_leaving_a_slot_out_keeps_all_digits_even_where_it_dominates():
    x = np.float32([[0.0, 100.0, -3.0, 1.0]])
    result = leave_one_out_logsumexp(tf.constant(x))
    expected = [[scipy.special.logsumexp(np.delete(x[0], k)) for k in range(4)]]
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize("num_components", [2, 3, 7])
def test_leaving_each_slot_out_is_the_sum_over_the_others(num_components):
    x = normal(2, num_components, 5)
    expected = [
        scipy.special.logsumexp(np.delete(x, k, axis=1), axis=1) for k in range(num_components)
    ]
    result = leave_one_out_logsumexp(tf.constant(x))
    np.testing.assert_allclose(result, np.stack(expected, axis=1), rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- output distributions


def decode(dist, image, params, logits):
    """What an output distribution's methods call `decoded`."""
    masks = tf.exp(dist.log_masks(logits))
    return {
        "components": params,
        "pred_mask_logits": logits,
        "pred_mask": masks,
        "component_log_probs": dist.component_log_probs(params, image),
        "recons": dist.mean(params, masks),
    }


K = 4
SCALE = 0.3
THEIR_PIXELS = {"normal": scipy.stats.norm, "laplace": scipy.stats.laplace}


def pixels(dist="normal", scale_val=SCALE):
    return distribution.LocScaleDistribution(dist, scale="fixed", scale_val=scale_val)


def expected_pixels(dist, image, params, logits):
    """(masks, log-density of each pixel under each component), in float64."""
    masks = scipy.special.softmax(np.float64(logits), axis=1)
    return masks, THEIR_PIXELS[dist](params, SCALE).logpdf(image).sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("dist", THEIR_PIXELS)
def test_a_masked_mixture_is_the_log_of_the_mixed_densities(dist):
    image, params, logits = normal(2, 1, 3, 3, 3), normal(2, K, 3, 3, 3), normal(2, K, 3, 3, 1)
    mixture = distribution.MaskedMixture(K, pixels(dist))
    decoded = decode(mixture, image, params, logits)
    masks, log_probs = expected_pixels(dist, image, params, logits)
    probs = np.exp(log_probs)
    np.testing.assert_allclose(
        mixture.log_prob(decoded), np.log((masks * probs).sum(1, keepdims=True)), rtol=1e-4
    )
    expected = probs / (probs.sum(axis=1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(mixture.posterior(decoded), expected, rtol=1e-3, atol=1e-7)
    without = mixture.log_prob_without_each(decoded)
    for k in range(K):
        others = np.delete(masks, k, axis=1)
        mixed = (others * np.delete(probs, k, axis=1)).sum(axis=1) / others.sum(axis=1)
        np.testing.assert_allclose(without[:, k], np.log(mixed), rtol=1e-3)


@pytest.mark.parametrize(
    "size, scale_val",
    [(0.0, 1e-15), (0.0, 1e6), (1e4, 0.03), (1e6, 0.03), (1e4, 1e4)],
)
@pytest.mark.parametrize("dist", ["normal", "logistic"])
def test_all_refinement_inputs_are_finite_for_extreme_values(dist, size, scale_val):
    image = np.float32(RNG.random([2, 1, 3, 3, 3]))
    params = tf.constant(image + size * normal(2, K, 3, 3, 3))
    logits = tf.constant(size * normal(2, K, 3, 3, 1))
    output = distribution.MaskedMixture(K, pixels(dist, scale_val))
    with tf.GradientTape() as tape:
        tape.watch([params, logits])
        step = decode(output, image, params, logits)
        step["log_prob"] = output.log_prob(step)
        loss = -tf.reduce_sum(step["log_prob"])
    step["zp"] = normal(2, K, 6)
    gradients = (step["zp"], *tape.gradient(loss, [params, logits]))
    inputs = RefinementInputs(output, ALL_INPUTS)(image, step, gradients)
    for name, value in {**inputs["spatial"], **inputs["flat"]}.items():
        assert np.all(np.isfinite(value)), name


# ---------------------------------------------------------------- factor regression


def test_the_running_variance_is_that_of_all_weighted_vectors_so_far():
    running = factor_eval.RunningVariance(2)
    values, weights = normal(3, 4, 5, 2), np.float32(RNG.integers(2, size=[3, 4, 5, 1]))
    for value, weight in zip(values, weights):
        running.update(value, weight)
    counted = values[weights[..., 0] > 0]
    np.testing.assert_allclose(running.mean, counted.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(running.variance, counted.var(axis=0, ddof=1), rtol=1e-4)


def test_objects_are_matched_to_the_slot_that_covers_them_and_hidden_ones_to_none():
    regressor = factor_eval.FactorRegressor([["x", 1, "scalar"], ["shape", 2, "categorical"]])
    true_mask = np.zeros([1, 3, 2, 2, 1], np.float32)
    true_mask[0, 0, 0], true_mask[0, 1, 1] = 1, 1  # background above, one object below
    pred_mask = np.float32([[[0.9, 0.9], [0.2, 0.2]], [[0.1, 0.1], [0.8, 0.8]]])[None, ..., None]
    factors = {"x": np.float32([[[0], [2], [7]]]), "shape": np.float32([[[0], [1], [1]]])}
    z = normal(1, 2, 4)
    out = regressor(z, true_mask, pred_mask, np.float32([[1, 1, 0]]), factors)
    assert out["assignment"].numpy().tolist() == [[[1, 0], [0, 1], [0, 0]]]
    slots = regressor.predict(z)
    x, logits = slots["x"].numpy()[0], slots["shape"].numpy()[0]
    squares = (x[0, 0] - 0) ** 2 + (x[1, 0] - 2) ** 2
    entropies = -scipy.special.log_softmax(logits, axis=1)[[0, 1], [0, 1]].sum()
    assert float(out["loss"]) == pytest.approx((squares + entropies) / 2, rel=1e-5)
    hits = (logits.argmax(axis=1) == [0, 1]).mean()
    assert float(out["metrics"]["shape"]) == pytest.approx(hits)


# ---------------------------------------------------------------- optimizer


def test_adam_follows_tensorflows_formula():
    x = tf.Variable([1.0, -2.0])
    adam = Adam(0.1, beta1=0.95, beta2=0.999, epsilon=0.5)
    m = v = np.zeros(2)
    value = x.numpy().astype(np.float64)
    for t, gradient in enumerate(np.float32([[1, 2], [-3, 0.5], [0, 1]]), start=1):
        adam.apply([tf.constant(gradient)], [x])
        m, v = 0.95 * m + 0.05 * gradient, 0.999 * v + 0.001 * gradient**2
        value -= 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.95**t) * m / (np.sqrt(v) + 0.5)
        np.testing.assert_allclose(x, value, rtol=1e-5)
    assert int(adam.step) == 3


def test_the_learning_rate_falls_to_a_tenth_over_the_decay_steps():
    rate = ExponentialDecay(0.3, decay_rate=0.1, decay_steps=1000)
    assert float(rate(tf.constant(0, tf.int64))) == pytest.approx(0.3)
    assert float(rate(tf.constant(500, tf.int64))) == pytest.approx(0.3 * 0.1**0.5)
    assert float(rate(tf.constant(1000, tf.int64))) == pytest.approx(0.03)


def test_the_learning_rate_warms_up_linearly():
    rate = ExponentialDecay(0.3, decay_rate=1.0, decay_steps=1000, warmup_steps=4)
    rates = [float(rate(tf.constant(step, tf.int64))) for step in range(6)]
    assert rates == pytest.approx([0.075, 0.15, 0.225, 0.3, 0.3, 0.3])


# ---------------------------------------------------------------- the model


@pytest.mark.parametrize(
    "weight, expected",
    [("linspace", [0, 0.5, 1]), (2.0, [2, 2, 2]), ([1.0, 0.0, 3.0], [1, 0, 3])],
)
def test_loss_weights_come_as_a_word_a_number_or_a_list(weight, expected):
    config = get_config("tetrominoes", tiny.UPDATES)
    config["model"]["iter_loss_weight"] = weight
    assert build(config["model"]).iter_loss_weights == expected


def test_gradients_reach_every_parameter():
    config = get_config("tetrominoes", tiny.UPDATES)
    dataset, model = build(config["data"]), build(config["model"])
    batch = next(iter(dataset("summary")))
    with tf.GradientTape() as tape:
        loss, _, _ = model(batch)
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients):
        assert gradient is not None, variable.name
        assert np.all(np.isfinite(gradient)), variable.name


def test_without_noise_every_call_draws_anew():
    config = get_config("tetrominoes", tiny.UPDATES)
    model = build(config["model"])
    batch = next(iter(build(config["data"])("summary")))
    first, second = model.eval(batch), model.eval(batch)
    assert not np.allclose(first["latent"]["z"], second["latent"]["z"])


def test_the_kl_weight_counts_in_the_loss_and_in_the_gradient_that_refines():
    config = get_config("tetrominoes", {**tiny.UPDATES, "model.preprocess": []})
    batch = next(iter(build(config["data"])("summary")))
    gradients = {}
    for weight in (0.0, 0.25, 1.0):
        tf.random.set_seed(0)
        model = build({**config["model"], "kl_weight": weight})
        noise = tf.zeros(model.draw_noise(2).shape)
        loss, scalars, iterations = model(batch, noise)
        expected = scalars["factor/loss"]
        for loss_weight, step in zip([0.0, 0.5, 1.0], iterations):
            kl = tf.reduce_sum(step["losses"]["kl"], axis=1)
            expected += loss_weight * tf.reduce_mean(step["losses"]["recons"] + weight * kl)
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        gradients[weight] = model.eval(batch, noise)["inputs"]["flat"]["dzp"][:, 1]
    np.testing.assert_allclose(
        gradients[0.25], 0.75 * gradients[0.0] + 0.25 * gradients[1.0], rtol=1e-4, atol=1e-5
    )
    assert not np.allclose(gradients[0.0], gradients[1.0], atol=1e-3)
