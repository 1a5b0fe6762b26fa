"""AIR keeps the contract of models; its loss against NumPy; what it says of bad input."""

import numpy as np
import pytest
import tensorflow as tf

from iodine import optimizer
from iodine.baselines.air.model import AIR
from iodine.config import get_config
from iodine.errors import UserError
from iodine.evaluate import evaluation
from iodine.figures import summary_images
from iodine.train import devices, learner

B, N, H, W = 3, 2, 12, 10
TINY = {
    "num_components": N + 1,
    "n_z": 2,
    "patch_dim": [4, 5],
    "lstm_size": 5,
    "hidden_size": 6,
    "bound_draws": 20,
}
ESTIMATORS = ("exact", "reinforce")


def scenes(num_objects=2, seed=0):
    """Random pictures, their pixels in random entities; b mod 3 objects in scene b."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_objects + 1, size=[B, 1, 1, H, W, 1])
    visibility = np.arange(num_objects + 1) <= np.arange(B)[:, None] % 3
    return {
        "image": tf.constant(rng.random([B, 1, H, W, 1], np.float32)),
        "mask": tf.cast(labels == np.arange(num_objects + 1)[:, None, None, None], tf.float32),
        "visibility": tf.cast(visibility, tf.float32),
        "factors": {"label": tf.constant(rng.random([B, num_objects + 1, 1], np.float32))},
    }


def model_of(**options):
    tf.random.set_seed(1)
    model = AIR(**{**TINY, **options})
    model.initialize([H, W, 1])
    # Off their start, where biases and the place's weights matter too.
    rng = np.random.default_rng(2)
    for v in model.trainable_variables:
        v.assign_add(0.1 * rng.normal(size=v.shape).astype(np.float32))
    return model


def noise_of(model, seed=3):
    shape = model.noise_shape(B)
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_elbo(model, image, noise):
    """The exact ELBO of each scene, in float64, with loops over pixels, steps and outcomes."""
    weights = {v.name: v.numpy().astype(float) for v in model.variables}

    def mlp(name, x):
        x = x @ weights[f"air/{name}/linear_0/w:0"] + weights[f"air/{name}/linear_0/b:0"]
        return (
            np.maximum(x, 0) @ weights[f"air/{name}/linear_1/w:0"]
            + weights[f"air/{name}/linear_1/b:0"]
        )

    def sample(picture, scale, x, y, height, width):
        rows, columns = picture.shape
        result = np.zeros([height, width])
        for i in range(height):
            for j in range(width):
                v, u = scale * ((2 * i + 1) / height - 1) + y, scale * ((2 * j + 1) / width - 1) + x
                row, column = ((v + 1) * rows - 1) / 2, ((u + 1) * columns - 1) / 2
                near_rows = np.maximum(0, 1 - abs(row - np.arange(rows)))
                near_columns = np.maximum(0, 1 - abs(column - np.arange(columns)))
                result[i, j] = near_rows @ picture @ near_columns
        return result

    def kl(mean, std, prior_mean, prior_std):
        ratio = (std / prior_std) ** 2
        return 0.5 * np.sum(ratio + ((mean - prior_mean) / prior_std) ** 2 - 1 - np.log(ratio))

    def log_likelihood(canvas):
        error = (image - canvas) / 0.3
        return np.sum(-0.5 * error**2 - np.log(0.3 * np.sqrt(2 * np.pi)))

    start = np.array([0, 3, 0, 0, *np.log(np.expm1([0.2, 0.3, 0.3]))])
    h, c, last = np.zeros(5), np.zeros(5), np.zeros(1 + 3 + 2)
    canvas, inner, reached, total = np.zeros([H, W]), 0.0, 1.0, 0.0
    elbo_of_count = log_likelihood(canvas)
    for t in range(N):
        gates = image.ravel() @ weights["air/recurrent_net/image_gates/w:0"]
        gates += weights["air/recurrent_net/image_gates/b:0"]
        gates += np.concatenate([last, h]) @ weights["air/recurrent_net/gates/w:0"]
        i, g, f, o = np.split(gates, 4)
        c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out = mlp("recurrent_net/mlp", h) + start
        p, mean, std = sigmoid(out[0]), out[1:4], np.log1p(np.exp(out[4:]))
        # There is no such object ...
        total += reached * (1 - p) * (elbo_of_count - np.log((1 - p) / 0.99))
        # ... or there is.
        total -= reached * p * np.log(p / 0.01)
        reached *= p
        s, x, y = place = mean + std * noise[t, :3]
        inner += kl(mean, std, np.array([3.0, 0, 0]), np.array([0.2, 1, 1]))
        attended = sample(image, 1 / s, -x / s, -y / s, 4, 5)
        mean, raw_std = np.split(mlp("patch_encoder", attended.ravel()), 2)
        std = np.log1p(np.exp(raw_std))
        what = mean + std * noise[t, 3:5]
        inner += kl(mean, std, 0.0, 1.0)
        patch = sigmoid(mlp("patch_decoder/mlp", what) - 2).reshape(4, 5)
        canvas = canvas + sample(patch, s, x, y, H, W)
        last = np.concatenate([[1.0], place, what])
        elbo_of_count = log_likelihood(canvas) - inner
    return total + reached * elbo_of_count


def test_the_exact_loss_is_the_negative_elbo_that_numpy_computes():
    model, data = model_of(), scenes()
    noise = noise_of(model)
    expected = [
        numpy_elbo(model, data["image"][b, 0, ..., 0].numpy().astype(float), noise[:, b].numpy())
        for b in range(B)
    ]
    loss, scalars, _ = model(data, noise)
    info = model.eval(data, noise)
    np.testing.assert_allclose(info["metrics"]["elbo"][:, 0], expected, rtol=2e-5)
    np.testing.assert_allclose(loss, -np.mean(expected), rtol=2e-5)
    np.testing.assert_allclose(scalars["loss/total"], loss, rtol=1e-6)
    recons, kl = info["losses"]["recons"][:, 0], tf.reduce_sum(info["losses"]["kl"][:, 0], axis=1)
    np.testing.assert_allclose(-recons - kl, info["metrics"]["elbo"][:, 0], rtol=1e-6)


def test_the_mean_of_reinforces_gradients_is_that_of_the_exact_loss():
    draws = 40_000
    reinforce = model_of(estimator="reinforce")
    exact = model_of()
    shared = [v for v in reinforce.trainable_variables if "baseline" not in v.name]
    for variable, value in zip(exact.trainable_variables, shared):
        assert variable.name == value.name
        variable.assign(value)
    image = scenes()["image"][:1]
    noise = noise_of(exact)[:, :1]
    # About the cost of any count, so that not too many draws are needed.
    (bias,) = [v for v in reinforce.variables if v.name == "air/baseline/mlp/linear_1/b:0"]
    bias.assign(exact({"image": image}, noise)[0][None])

    def gradients(model, variables, count, noise):
        with tf.GradientTape() as tape:
            loss, _, _ = model({"image": tf.repeat(image, count, axis=0)}, noise)
        return [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, variables)]

    expected = gradients(exact, exact.trainable_variables, 1, noise)
    presence = np.random.default_rng(4).normal(size=[N, draws, 1]).astype(np.float32)
    repeated = tf.concat([tf.repeat(noise, draws, axis=1), presence], axis=-1)
    found = gradients(reinforce, shared, draws, repeated)
    scale = max(np.abs(g).max() for g in expected)
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, atol=0.05 * scale)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_call_and_eval_give_what_the_contract_says(estimator):
    model, data = model_of(estimator=estimator), scenes()
    before = [v.numpy() for v in model.variables]
    info = tf.function(model.eval, autograph=False)(data)
    for old, variable in zip(before, model.variables):
        np.testing.assert_array_equal(old, variable)
    _, scalars, _ = model(data)
    assert {"loss/total", "loss/mse", "loss/ari", "loss/ari_nobg", "count/accuracy"} <= set(scalars)
    assert all(value.shape == [] for value in scalars.values())
    assert info["latent"]["z"].shape == info["latent"]["z_std"].shape == [B, 1, N + 1, 3 + 2]
    assert info["outputs"]["recons"].shape == [B, 1, 1, H, W, 1]
    assert info["outputs"]["pred_mask"].shape == [B, 1, N + 1, H, W, 1]
    assert info["outputs"]["pred_mask_logits"].shape == [B, 1, N + 1, H, W, 1]
    assert info["outputs"]["components"].shape == [B, 1, N + 1, H, W, 1]
    assert info["losses"]["kl"].shape == [B, 1, N + 1]
    names = {"elbo", "mse", "ari", "ari_nobg", "count_accuracy"}
    assert {name: value.shape for name, value in info["metrics"].items()} == dict.fromkeys(
        names, [B, 1]
    )
    assert set(info["data"]) == {"image", "true_mask", "visibility", "factors"}
    np.testing.assert_array_equal(info["counts"]["true"], [0, 1, 2])
    masks = tf.reduce_sum(info["outputs"]["pred_mask"], axis=2)
    np.testing.assert_allclose(masks, np.ones([B, 1, H, W, 1]), atol=1e-6)


def test_without_ground_truth_there_are_no_metrics_of_it():
    model = model_of()
    info = model.eval({"image": scenes()["image"]})
    assert set(info["metrics"]) == {"elbo", "mse"}
    assert "true" not in info["counts"]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_learner_updates_all_variables_the_same_with_and_without_xla(estimator):
    results = []
    for xla in (False, True):
        model = model_of(estimator=estimator)
        model.start += [9.0] + 6 * [0.0]  # All objects are there, so that all steps are reached.
        before = [v.numpy() for v in model.trainable_variables]
        adam = optimizer.Adam(1e-3, rate_factors={"baseline": 10.0})
        progress = learner.Progress(model, seed=0)
        step = learner.Learner(model, adam, progress, tf.distribute.get_strategy(), xla)
        data = scenes()
        scalars = step.steps(iter([data] * 2), 1)
        results.append([v.numpy() for v in model.trainable_variables])
        assert np.isfinite(scalars["loss/total"]).all()
        moved = [np.abs(a - b).max() for a, b in zip(before, results[-1])]
        for variable, distance in zip(model.trainable_variables, moved):
            # Adam's first step is as long as the learning rate.
            expected = 1e-2 if "baseline" in variable.name else 1e-3
            np.testing.assert_allclose(distance, expected, rtol=0.05)
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, atol=2.1e-3)


def test_bfloat16_products_give_about_the_same_loss():
    model, data = model_of(), scenes()
    noise = noise_of(model)
    expected, _, _ = model(data, noise)
    model.precision = "mixed_bfloat16"
    loss, _, _ = model(data, noise)
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, expected, rtol=0.05)
    assert float(loss) != float(expected)


def test_the_bound_lies_between_the_elbo_and_what_a_thousand_draws_say():
    model, data = model_of(), scenes()
    seeds = tf.constant([[0, b] for b in range(B)])
    bound = tf.function(model.bounds, autograph=False)(data, seeds)["iwae"][:, 0]
    elbo = tf.function(lambda: model.eval(data)["metrics"]["elbo"][:, 0], autograph=False)
    assert np.all(bound > np.mean([elbo() for _ in range(50)], axis=0))
    model.bound_draws = 1000
    long = tf.function(model.bounds, autograph=False)(data, seeds)["iwae"][:, 0]
    np.testing.assert_allclose(bound, long, atol=10.0)


def test_a_scenes_bound_does_not_depend_on_its_batch():
    model, data = model_of(), scenes()
    seeds = tf.constant([[0, b] for b in range(B)])
    together = model.bounds(data, seeds)["iwae"]
    alone = model.bounds({"image": data["image"][1:2]}, seeds[1:2])["iwae"]
    np.testing.assert_allclose(alone, together[1:2], rtol=1e-5)


def test_confusion_counts_each_pair():
    table = evaluation.confusion(np.array([0, 1, 1, 2, 2]), np.array([0, 1, 3, 2, 1]))
    assert table == [[1, 0, 0, 0], [0, 1, 0, 1], [0, 1, 1, 0]]


def test_shares_of_counts_are_those_of_a_hand_made_case():
    shares = evaluation.count_shares(
        np.array([0, 1, 1, 2]),
        np.array([[1.0, 0.0, 0.0]] * 2 + [[0.0, 0.5, 0.5]] * 2),
        np.array([[0.25, 0.5, 0.25]] * 4),
    )
    assert shares == {
        "true": [0.25, 0.5, 0.25],
        "posterior": [0.5, 0.25, 0.25],
        "prior": [0.25, 0.5, 0.25],
    }
    # In float32, the mean over so many scenes is off in its fourth digit.
    many = np.full([100_000, 2], 0.99, np.float32)
    shares = evaluation.count_shares(np.zeros(100_000, int), many, many)
    np.testing.assert_allclose(shares["prior"], [0.99, 0.99], rtol=1e-6)


def test_a_short_training_moves_the_prior_to_the_mean_posterior_and_nothing_else():
    model, data = model_of(learned_presence_prior=True), scenes()
    noise = noise_of(model)
    probs = model.eval(data, noise)["counts"]["probs"].numpy()
    at_least = np.cumsum(probs.sum(axis=0)[::-1])[::-1]  # 0, 1, 2 objects
    before = {v.name: v.numpy() for v in model.trainable_variables}
    frozen = get_config("air_prior")["optimizer"]["rate_factors"]
    adam = optimizer.Adam(0.05, rate_factors=frozen)
    progress = learner.Progress(model, seed=0)
    step = learner.Learner(model, adam, progress, tf.distribute.get_strategy(), xla=False)
    for _ in range(300):
        scalars = step.step(data, noise)
    prior = sigmoid(model.prior_logits.numpy())
    np.testing.assert_allclose(prior, at_least[1:] / at_least[:-1], atol=0.005)
    np.testing.assert_allclose(scalars["count/prior"], scalars["count/mean"], atol=0.01)
    for variable in model.trainable_variables:
        same = np.array_equal(variable, before[variable.name])
        assert same != (variable.name == "air/prior_logits:0"), variable.name


def test_a_learned_prior_that_was_not_trained_changes_no_figure():
    fixed, learned = AIR(**TINY), AIR(**TINY, learned_presence_prior=True)
    data, seeds = scenes(), tf.constant([[0, b] for b in range(B)])
    for model in (fixed, learned):
        model.initialize([H, W, 1])
    others = [v for v in learned.trainable_variables if "prior_logits" not in v.name]
    for variable, value in zip(fixed.trainable_variables, others):
        variable.assign(value)
    noise = noise_of(fixed)
    expected, found = fixed.eval(data, noise), learned.eval(data, noise)
    tf.nest.map_structure(np.testing.assert_array_equal, expected, found)
    bound = learned.bounds(data, seeds)["iwae"]
    np.testing.assert_array_equal(bound, fixed.bounds(data, seeds)["iwae"])


def test_samples_and_bounds_follow_the_learned_prior():
    model, data = model_of(learned_presence_prior=True), scenes()
    model.prior_logits.assign([40.0, -40.0])
    np.testing.assert_array_equal(model.sample_counts(50), np.ones(50))
    model.prior_logits.assign([0.0, 40.0])
    assert set(model.sample_counts(50).numpy()) == {0, 2}
    probs = model.eval(data)["counts"]["prior"]
    np.testing.assert_allclose(probs, [[0.5, 0.0, 0.5]] * B, atol=1e-6)
    # Where it allows no object, an image is noise around black.
    model.prior_logits.assign([-1000.0, -1000.0])
    pixels = data["image"][:, 0, ..., 0].numpy().astype(float)
    black = np.sum(-0.5 * (pixels / 0.3) ** 2 - np.log(0.3 * np.sqrt(2 * np.pi)), axis=(1, 2))
    bound = model.bounds(data, tf.constant([[0, b] for b in range(B)]))["iwae"][:, 0]
    np.testing.assert_allclose(bound, black, rtol=1e-5)


def test_the_outline_of_a_window_is_drawn_in_its_steps_color():
    places = tf.constant([[[2.0, 0.0, 0.0], [4.0, 3.0, 3.0]]])  # the middle; the top left corner
    picture = summary_images.draw_windows(tf.zeros([1, 8, 8, 1]), places, tf.constant([[1, 0]]))[0]
    expected = np.zeros([8, 8])
    expected[2:6, 2:6] = 1
    expected[3:5, 3:5] = 0
    np.testing.assert_array_equal(picture[..., 0], expected)
    np.testing.assert_array_equal(picture[..., 1:], np.zeros([8, 8, 2]))


def test_overview_pictures_have_the_form_of_the_contract():
    for picture in model_of().get_overview_images(scenes(), nr_images=2).values():
        assert picture.dtype == tf.float32 and picture.shape[0] == 1 and picture.shape[3] == 3
        assert 0 <= tf.reduce_min(picture) and tf.reduce_max(picture) <= 1


def test_more_objects_than_steps_are_allowed_and_said_once(capsys):
    model, data = model_of(), scenes(num_objects=4)
    model(data)
    model(data)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("scenes have up to 4 objects, and AIR sees 2 at most")


@pytest.mark.parametrize(
    "options, words",
    [
        ({"estimator": "reinforced"}, "did you mean 'reinforce'"),
        ({"precision": "half"}, "use float32 or mixed_bfloat16"),
        ({"presence_prior": 1.0}, "between 0 and 1"),
        ({"bound_draws": 15}, "multiple of 10"),
        ({"num_components": 1}, "at least 2"),
    ],
)
def test_a_value_that_is_none_is_refused(options, words):
    with pytest.raises(UserError, match=words):
        AIR(**{**TINY, **options})


def test_pictures_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="one channel, not 3: set data.grayscale=True"):
        AIR(**TINY).initialize([H, W, 3])
    with pytest.raises(UserError, match=r"\[5, 10, 1\], but the model was made for \[12, 10, 1\]"):
        model_of()({"image": tf.zeros([B, 1, 5, 10, 1])})
    with pytest.raises(UserError, match="2 frames, AIR takes one"):
        model_of()({"image": tf.zeros([B, 2, H, W, 1])})


def test_the_report_shows_counts_attention_traversals_and_samples():
    model = model_of()
    model.start += [9.0] + 6 * [0.0]
    info = tf.nest.map_structure(lambda x: x.numpy(), model.eval(scenes()))
    figures = {name: figure for name, figure, caption in model.figures(info) if caption}
    axes = {name: len(figure.axes) for name, figure in figures.items()}
    assert axes == {
        "counts": 2 * B,
        "attention": B * 4 * N,
        "air_traversals": (3 + 2) * 9,
        "air_samples": 32,
    }
    shown = figures["attention"].axes[2].images[0].get_array()  # what the first step draws
    np.testing.assert_allclose(shown[..., 0], info["steps"]["patches"][0, 0], rtol=1e-6)


def test_a_step_on_two_devices_is_that_on_one():
    results = []
    for strategy in (
        tf.distribute.OneDeviceStrategy("CPU:0"),
        tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
    ):
        tf.random.set_seed(1)
        with devices.replica_local_variables(strategy):
            model = AIR(**TINY, estimator="reinforce")
            model.initialize([H, W, 1])
            adam = optimizer.Adam(1e-3, rate_factors={"baseline": 10.0})
        for v in model.trainable_variables:
            rng = np.random.default_rng(v.shape.num_elements())
            v.assign(0.3 * rng.normal(size=v.shape).astype(np.float32))
        progress = learner.Progress(model, seed=0)
        step = learner.Learner(model, adam, progress, strategy, xla=False)
        data = tf.nest.map_structure(lambda x: tf.concat([x, x[:1]], axis=0), scenes())
        batches = tf.data.Dataset.from_tensors(data).repeat()
        scalars = step.steps(devices.distribute(strategy, batches), 1)
        results.append(scalars["loss/total"][0])
    np.testing.assert_allclose(*results, rtol=1e-5)


def test_a_pixel_is_its_brightest_objects_and_the_backgrounds_below_a_quarter():
    model = model_of()
    placed = np.zeros([1, N, H, W], np.float32)
    placed[0, 0, 0, :3] = 0.2, 0.3, 0.5
    placed[0, 1, 0, :3] = 0.0, 0.1, 0.6
    logits = tf.constant([[9.0, 9.0]])  # both are there
    masks = model._outputs({"logits": logits, "placed": tf.constant(placed)})["pred_mask"]
    np.testing.assert_array_equal(tf.argmax(masks[0, :, 0, :4, 0], axis=0), [0, 1, 2, 0])
    np.testing.assert_allclose(masks[0, :, 0, 1, 0], np.array([0.25, 0.3, 0.1]) / 0.65, rtol=1e-6)
