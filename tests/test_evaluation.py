"""Evaluation: means and errors, padding, factor scores, regression, on hand-made cases."""

import re
import time

import numpy as np
import pytest
import tensorflow as tf

from iodine.baselines.air import AIR
from iodine.baselines.monet import MONet
from iodine.baselines.rnn_nem import RNNNEM
from iodine.baselines.slot_attention import SlotAttentionAutoEncoder
from iodine.baselines.vae import VAE
from iodine.errors import UserError
from iodine.evaluate import evaluation, factors, metrics, prediction
from iodine.main import build, get_config
from iodine.model import mean_over_scenes
from iodine.modules.factor_eval import FactorRegressor
from iodine.modules.iodine import IODINE
from multi_object_datasets.generate import generate
from tests.helpers import tiny

pytestmark = pytest.mark.usefixtures("eagerly")

MODELS = (IODINE, AIR, MONet, RNNNEM, SlotAttentionAutoEncoder, VAE)
REGRESSOR = FactorRegressor([("color", 2, "scalar"), ("shape", 3, "categorical")])


def test_mean_and_standard_error_are_of_the_last_iteration():
    entry = metrics.mean_and_stderr(np.array([[0.0, 1.0], [0.0, 3.0], [3.0, 5.0]]))
    assert entry["mean"] == 3.0
    assert entry["stderr"] == pytest.approx(2.0 / np.sqrt(3))  # standard deviation 2, 3 images
    assert entry["per_iteration"] == [1.0, 3.0]
    assert entry["num_undefined"] == 0


def test_scenes_without_a_score_are_left_out_of_the_mean_and_counted():
    values = {
        "miou": np.array([[0.5, 1.0], [np.nan, np.nan], [0.0, 0.5]]),
        "sc": np.full((3, 2), np.nan),
    }
    report = metrics.summarize(values, ["sc", "mse", "miou"])
    assert report["miou"]["mean"] == 0.75 and report["miou"]["per_iteration"] == [0.25, 0.75]
    assert report["miou"]["stderr"] == pytest.approx(0.25)
    assert report["miou"]["num_undefined"] == 1
    nowhere = {"mean": None, "stderr": None, "per_iteration": [None, None], "num_undefined": 3}
    assert report.keys() == {"sc", "miou"} and report["sc"] == nowhere
    report |= {"mse": report["miou"], "num_images": 3, "factors": {"shape": None}}
    names = ["miou", "sc", "long_name"]
    head, *lines, shape, _ = evaluation.format_report(report, names).splitlines()
    assert [line.rpartition("  ")[2] for line in lines] == ["(1 undefined)", "(3 undefined)"]
    assert {line.index("±") for line in (head, *lines)} == {head.index("±")}
    assert lines[1].split()[1] == "–" and shape.split()[1] == "–"


def test_infinite_values_are_counted_and_make_no_number_that_json_lacks():
    values = np.float32([[1.0, np.inf], [2.0, 3.0], [np.inf, 4.0]])
    entry = metrics.mean_and_stderr(values)
    assert entry == {
        "mean": None,
        "stderr": None,
        "per_iteration": [None, None],
        "num_undefined": 0,
        "num_infinite": 1,
    }
    recovered = metrics.mean_and_stderr(values[:, ::-1][1:])  # infinite but at the start
    assert recovered["per_iteration"] == [3.5, None] and recovered["num_infinite"] == 1
    assert metrics.mean_text(entry) == "– (1 infinite)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.91623, "0.916"),
        (0.9, "0.900"),
        (0.0006512, "0.000651"),
        (-13245.3, "-13200"),
        (12.345, "12.3"),
        (1e-12, "1.00e-12"),
        (0.0, "0.00"),
        (None, "–"),
    ],
)
def test_numbers_have_three_significant_digits(value, text):
    assert metrics.three_digits(value) == text


def test_a_mean_and_its_error_have_the_same_decimals_but_for_errors_that_would_vanish():
    for mean, stderr, text in (
        (0.91623, 0.0071, "0.916 ± 0.007"),
        (-13245.3, 12.3, "-13200 ± 12"),
        (0.99212, 0.0000123, "0.992 ± 0.00001"),
        (0.5, 0.0, "0.500 ± 0.000"),
    ):
        assert metrics.mean_text({"mean": mean, "stderr": stderr}) == text
    undefined = {"mean": 0.5, "stderr": 0.1, "num_undefined": 93}
    assert metrics.mean_text(undefined) == "0.500 ± 0.100 (93 undefined)"


def test_segmentations_are_scored_with_and_without_the_background():
    # Background, an object of two pixels, and a pixel of no entity.
    true_mask = np.float32([[[1, 1, 0, 0, 0], [0, 0, 1, 1, 0]]])  # [B, L, pixels]
    # First all in one slot, then the object and a pixel of the background in another.
    pred_mask = np.float32(
        [[[[1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], [[1, 0, 0, 0, 0], [0, 1, 1, 1, 1]]]]
    )
    info = {
        "data": {"true_mask": tf.constant(true_mask[:, None, :, None, :, None])},
        "outputs": {"pred_mask": tf.constant(pred_mask[:, :, :, None, :, None])},
    }
    scores = metrics.Outcome(info, num_background=1).segmentations
    assert list(scores) == [f"{n}{e}" for e in ("", "_nobg") for n in ("miou", "mbo", "sc", "msc")]
    # Overlaps with the slots: [1/2, 0] and [1/2, 0], then [1/2, 1/4] and [0, 2/3].
    expected = {
        "miou": [1 / 4, (1 / 2 + 2 / 3) / 2],
        "miou_nobg": [1 / 2, 2 / 3],
        "mbo": [1 / 2, (1 / 2 + 2 / 3) / 2],
        "sc_nobg": [1 / 2, 2 / 3],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(scores[name], [values])
    both = metrics.Outcome(info, num_background=2).segmentations
    assert np.isnan(both["miou_nobg"]).all() and not np.isnan(both["miou"]).any()


def test_of_a_sequence_each_state_is_scored_by_its_own_frame():
    def miou(name, true, pred):
        masks = [np.moveaxis(np.eye(2)[labels], -1, 2)[..., None] for labels in (true, pred)]
        info = {"data": {"true_mask": masks[0]}, "outputs": {"pred_mask": masks[1]}}
        return metrics.Outcome(info, num_background=1).segmentations[name]

    frames = np.array([[[[0, 1]], [[1, 0]]]])  # [B, T, 1, 2]
    np.testing.assert_allclose(miou("miou", frames, frames * 0 + [0, 1]), [[1, 1]])
    half = np.array([[[[0, 0]], [[0, 1]]]])
    np.testing.assert_allclose(miou("miou_nobg", frames, half), [[0.5, 1]])


def objectless():
    """Data of two scenes of 2×2 pixels: an object in one half, and nothing but background."""
    mask = np.zeros([2, 1, 2, 2, 2, 1], np.float32)  # [B, frames, L, H, W, 1]
    mask[0, 0, 0, 0] = mask[0, 0, 1, 1] = 1.0
    mask[1, 0, 0] = 1.0
    return mask


def test_the_foreground_ari_of_a_scene_without_an_object_is_undefined_and_no_1():
    model = tiny_model()[1]
    mask = objectless()
    image = np.zeros([2, 1, 2, 2, 3], np.float32)
    state = {"recons": image, "pred_mask": mask[:, 0]}
    found = model.metrics({"image": image, "mask": mask}, state, 0)
    np.testing.assert_array_equal(found["ari_nobg"], [1.0, np.nan])
    np.testing.assert_array_equal(found["ari"], [1.0, 1.0])
    nothing = model.metrics({"image": image, "mask": 0 * mask}, state, 0)
    assert np.isnan(nothing["ari"]).all()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_training_shows_the_mean_of_the_scenes_where_a_metric_is_defined(jit_compile):
    compiled = tf.function(mean_over_scenes, autograph=False, jit_compile=jit_compile)
    assert compiled("ari_nobg", tf.constant([0.25, np.nan])) == 0.25
    assert compiled("mse", tf.constant([1.0, 3.0])) == 2.0
    assert np.isnan(compiled("mse", tf.constant([1.0, np.nan])))
    assert np.isnan(compiled("ari_nobg", tf.constant([np.nan, np.nan])))
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 7, 32, 128):  # Where all are defined, the very mean.
        values = tf.constant(rng.normal(size=count), tf.float32)
        assert mean_over_scenes("ari", values) == tf.reduce_mean(values)


def test_adding_a_metric_is_one_function_and_one_line(monkeypatch):
    def largest_slot(outcome):
        """Share of the pixels in the largest mask, [B, T]."""
        masks = outcome.info["outputs"]["pred_mask"]  # [B, T, K, H, W, 1]
        return tf.reduce_max(tf.reduce_mean(masks, axis=[3, 4, 5]), axis=2)

    line = metrics.Metric("largest slot", largest_slot, None, (0, 1))
    monkeypatch.setitem(metrics.METRICS, "largest_slot", line)
    dataset, model = tiny_model()
    model.METRICS = (*model.METRICS, "largest_slot")
    report = evaluation.evaluate(model, dataset, 2, seed=0)
    assert 0.25 <= report["largest_slot"]["mean"] <= 1.0
    assert "largest_slot" in evaluation.format_report(report, model.METRICS)
    model.METRICS = ("mse", "larges_slot")
    with pytest.raises(UserError, match="no metric 'larges_slot', did you mean 'largest_slot'"):
        evaluation.evaluate(model, dataset, 2, seed=0)


@pytest.mark.parametrize("model", MODELS)
def test_every_metric_of_every_model_is_in_the_table(model):
    assert list(metrics.named(model.METRICS)) == list(model.METRICS)


def test_what_air_is_judged_by_comes_first():
    assert AIR.METRICS[:3] == ("count_accuracy", "elbo", "iwae")


def test_fewer_scenes_than_asked_for_are_all_evaluated_and_a_line_says_so(capsys):
    dataset, model = tiny_model()
    report = evaluation.evaluate(model, dataset, 9, seed=0)
    assert report["num_images"] == 2
    line = "only 2 scenes are held out: taking these, not eval_images=9"
    assert capsys.readouterr().err.count(line) == 1
    assert 0 < report["miou"]["mean"] < 1 and len(report["msc_nobg"]["per_iteration"]) == 3


def test_a_short_batch_is_filled_with_its_last_scene():
    batch = {"image": np.arange(3), "factors": {"x": np.arange(3)}}
    assert prediction.pad_batch(batch, 5)["image"].tolist() == [0, 1, 2, 2, 2]
    assert prediction.pad_batch(batch, 3)["factors"]["x"].tolist() == [0, 1, 2]


def test_long_work_shows_its_progress_in_a_log_too(capfd, monkeypatch):
    with prediction.progress_bar(2, "image") as bar:
        bar.update(2)
    assert not capfd.readouterr().err  # short work says nothing
    monkeypatch.setattr(prediction, "LOG_SECONDS", 0.05)
    with prediction.progress_bar(2, "image") as bar:
        time.sleep(0.1)
        bar.update(2)
    assert "2/2" in capfd.readouterr().err


def test_a_long_pass_says_how_many_scenes_and_how_long_the_rest_takes(capsys, monkeypatch):
    prediction.tell_what_is_left(90.0, 4, 320)  # 22.5 seconds a scene, 316 to go
    assert capsys.readouterr().err == "320 scenes: about 2 hours left\n"
    prediction.tell_what_is_left(60.0, 300, 320)
    assert capsys.readouterr().err == ""
    dataset, model = tiny_model(**{"data.batch_size": 1})
    monkeypatch.setattr(prediction, "MEASURED_SECONDS", 0)
    monkeypatch.setattr(prediction, "SHORT_SECONDS", 0)
    assert evaluation.evaluate(model, dataset, 2, seed=0)["num_images"] == 2
    found = re.findall(r"^2 scenes: about .* left$", capsys.readouterr().err, re.MULTILINE)
    assert len(found) == 1


def test_the_table_rounds_by_the_error_and_is_narrow():
    means = [0.000781652 * (11 - t) for t in range(11)]
    report = {
        "mse": {"mean": 0.000781652, "stderr": 0.0000312, "per_iteration": means},
        "ari_nobg": {"mean": 0.984188, "stderr": 0.0091, "per_iteration": [0.984188] * 11},
        "miou_nobg": {"mean": None, "stderr": None, "per_iteration": [None] * 11},
        "recons": {"mean": -44312.3, "stderr": 24.1, "per_iteration": [-44312.3] * 11},
        "num_images": 320,
    }
    report["ari_nobg"]["num_undefined"] = 93
    names = ["miou_nobg", "ari_nobg", "mse", "recons"]
    head, miou, ari, mse, recons, scenes = evaluation.format_report(report, names).splitlines()
    assert head.split() == ["metric", "mean", "±", "stderr", *(f"t={t}" for t in range(11))]
    assert miou.split() == ["miou_nobg", "–", "±", "–", *["–"] * 11]
    assert ari.split() == ["ari_nobg", "0.984", "±", "0.009", *["0.984"] * 11, "(93", "undefined)"]
    assert mse.split()[1:5] == ["0.000782", "±", "0.000031", "0.00860"]
    assert recons.split()[1:5] == ["-44300", "±", "24", "-44300"] and scenes == "320 scenes"
    assert max(map(len, (head, ari, mse, recons))) <= 150


def test_factor_scores_are_accuracy_and_explained_variance():
    objects = {
        "factor/color": np.float32([[0, 0], [2, 0], [4, 1], [6, 1]]),
        "prediction/color": np.float32([[0, 0], [2, 0], [4, 0], [6, 1]]),
        "factor/shape": np.float32([[1], [2], [1], [2]]),
        "prediction/shape": np.eye(3, dtype=np.float32)[[1, 2, 0, 2]],
    }
    scores = factors.score_predictions(REGRESSOR, objects)
    assert scores["shape"] == 0.75
    # First value: all right, R² = 1. Second: one of four wrong by 1, spread 4·(1/4) = 1, R² = 0.
    assert scores["color"] == pytest.approx(0.5)
    nothing = {name: values[:0] for name, values in objects.items()}
    assert factors.score_predictions(REGRESSOR, nothing) == {"color": None, "shape": None}


def linear_objects(rng, num_objects):
    """Latents of which colour is a linear and shape an arg-max-linear function."""
    latents = rng.normal(size=[num_objects, 6]).astype(np.float32)
    return {
        "latents": latents,
        "factor/color": latents[:, :2] @ np.float32([[1.0, 2.0], [0.5, -1.0]]) + 3.0,
        "factor/shape": latents[:, 3:].argmax(-1)[:, None],
    }


def test_factor_regression_finds_linear_factors_and_no_others():
    rng = np.random.default_rng(0)
    train, test = linear_objects(rng, 1200), linear_objects(rng, 300)
    scores = factors.fit_and_score(REGRESSOR, train, test)
    assert scores["color"] == pytest.approx(1.0)
    assert scores["shape"] > 0.95
    test["factor/color"] = rng.permutation(test["factor/color"])
    assert factors.fit_and_score(REGRESSOR, train, test)["color"] < 0.1
    nothing = {name: values[:0] for name, values in test.items()}
    assert factors.fit_and_score(REGRESSOR, train, nothing) == {"color": None, "shape": None}


def tiny_model(**updates):
    config = get_config("tetrominoes", {**tiny.UPDATES, **updates})
    tf.random.set_seed(0)
    dataset, model = build(config["data"]), build(config["model"])
    model.initialize(dataset.image_shape)
    return dataset, model


def test_the_gradients_that_the_model_sees_are_those_of_the_batch_at_hand_or_of_a_given_size():
    dataset, model = tiny_model()
    noise = tf.random.stateless_normal([3, 2, 4, 4], seed=[1, 2])
    batch = next(dataset("summary").as_numpy_iterator())
    together = model.eval(batch, noise)["metrics"]["mse"]
    first = tf.nest.map_structure(lambda x: x[:1], batch)
    by_itself = model.eval(first, noise[:, :1])["metrics"]["mse"]
    assert not np.allclose(by_itself, together[:1], rtol=1e-6)
    model.refinement_batch_size = 2
    alone = model.eval(first, noise[:, :1])["metrics"]["mse"]
    np.testing.assert_allclose(alone, together[:1], rtol=1e-4)


def test_an_evaluation_gives_the_same_figures_in_batches_of_any_size():
    reports = []
    for batch_size in (1, 2, 8):
        dataset, model = tiny_model(**{"data.batch_size": batch_size})
        model.refinement_batch_size = 2
        reports.append(evaluation.evaluate(model, dataset, 2, seed=0))
    for report in reports[1:]:
        for name in ("mse", "recons", "kl", "ari"):
            np.testing.assert_allclose(
                report[name]["per_iteration"], reports[0][name]["per_iteration"], rtol=1e-4
            )


def test_an_evaluation_with_regression_reports_every_factor():
    dataset, model = tiny_model()
    regressor = factors.choose_regressor(True, model)
    report = evaluation.evaluate(model, dataset, 2, 0, regressor)
    assert set(report["factor_regression"]) == {"position", "color", "shape"}
    table = evaluation.format_report(report, model.METRICS)
    for name in (*model.METRICS, "factor_regression/shape", "2 scenes"):
        assert name in table


def test_an_evaluation_changes_no_variable():
    dataset, model = tiny_model()
    before = [v.numpy() for v in model.variables]
    evaluation.evaluate(model, dataset, 2, seed=0)
    for variable, value in zip(model.variables, before):
        np.testing.assert_array_equal(variable, value)


WITHOUT_REGRESSOR = {"model.factor_evaluator": None}


def test_factors_may_be_named_for_a_model_that_was_trained_with_none():
    dataset, model = tiny_model(**WITHOUT_REGRESSOR)
    named = [["position", 2, "scalar"], ["shape", 20, "categorical"]]
    regressor = factors.choose_regressor(named, model)
    report = evaluation.evaluate(model, dataset, 2, 0, regressor)
    assert set(report["factor_regression"]) == {"position", "shape"}
    assert "factors" not in report  # no layer was trained along


def test_the_command_line_takes_the_factors_by_their_names(tmp_path):
    scenes = tmp_path / "shapes.tfrecords"
    generate("shapes", 4, seed=0, path=scenes)
    words = [
        "evaluate",
        "with",
        "shapes_fast",
        f"data.path={scenes}",
        "eval_images=2",
        "num_iters=1",
    ]
    code, stdout, stderr = tiny.run_here(*words, 'factor_regression=[["x", 1, "scalar"]]')
    assert code == 0, stderr
    assert "factor_regression/x" in stdout and "factor_regression/y" not in stdout


@pytest.mark.parametrize(
    "named, complaint",
    [
        (True, "name them, as in"),
        ("position", "use True, or name the factors"),
        ([["position", 2]], "use True, or name the factors"),
        ([["position", 0, "scalar"]], "use True, or name the factors"),
        ([["position", 2, "vector"]], "type 'vector', use scalar"),
        ([["speed", 2, "scalar"]], "'speed' is not in the data, which has color, position, shape"),
        ([["position", 3, "scalar"]], "has 2 values in the data"),
    ],
)
def test_factors_that_cannot_be_regressed_are_refused(named, complaint):
    dataset, model = tiny_model(**WITHOUT_REGRESSOR)
    with pytest.raises(UserError, match=complaint):
        evaluation.evaluate(model, dataset, 2, 0, factors.choose_regressor(named, model))
