"""Evaluation: means and errors, padding, factor scores, regression, on hand-made cases."""

import time

import numpy as np
import pytest
import tensorflow as tf

from iodine.errors import UserError
from iodine.evaluate import evaluation, factors, prediction
from iodine.main import build, get_config
from iodine.modules.factor_eval import FactorRegressor
from multi_object_datasets.generate import generate
from tests.helpers import tiny

pytestmark = pytest.mark.usefixtures("eagerly")

REGRESSOR = FactorRegressor([("color", 2, "scalar"), ("shape", 3, "categorical")])


def test_mean_and_standard_error_are_of_the_last_iteration():
    entry = evaluation.mean_and_stderr(np.array([[0.0, 1.0], [0.0, 3.0], [3.0, 5.0]]))
    assert entry["mean"] == 3.0
    assert entry["stderr"] == pytest.approx(2.0 / np.sqrt(3))  # standard deviation 2, 3 images
    assert entry["per_iteration"] == [1.0, 3.0]
    assert entry["num_undefined"] == 0


def test_images_without_a_score_are_left_out_of_the_mean_and_counted():
    values = {
        "miou": np.array([[0.5, 1.0], [np.nan, np.nan], [0.0, 0.5]]),
        "sc": np.full((3, 2), np.nan),
    }
    report = evaluation.summarize(values, {"sc": "SC", "mse": "MSE", "miou": "mIoU"})
    assert report.keys() == {"miou"}
    assert report["miou"]["mean"] == 0.75 and report["miou"]["per_iteration"] == [0.25, 0.75]
    assert report["miou"]["stderr"] == pytest.approx(0.25)
    assert report["miou"]["num_undefined"] == 1
    report |= {"mse": report["miou"], "num_images": 3}
    head, line, _ = evaluation.format_report(report, {"miou": "", "long_name": ""}).splitlines()
    assert line.endswith("(undefined: 1)")
    assert head.index("±") == line.index("±")


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
    labels = {name: value.numpy() for name, value in evaluation.select_labels(info).items()}
    assert labels["true_labels"].tolist() == [[[[0, 0, 1, 1, 255]]]]
    scores = evaluation.score_labels({**labels, "mse": np.zeros([1, 2])}, num_background=1)
    assert scores.keys() == {
        "mse",
        *(f"{n}{e}" for n in ("miou", "mbo", "sc", "msc") for e in ("", "_nobg")),
    }
    # Overlaps with the slots: [1/2, 0] and [1/2, 0], then [1/2, 1/4] and [0, 2/3].
    expected = {
        "miou": [1 / 4, (1 / 2 + 2 / 3) / 2],
        "miou_nobg": [1 / 2, 2 / 3],
        "mbo": [1 / 2, (1 / 2 + 2 / 3) / 2],
        "sc_nobg": [1 / 2, 2 / 3],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(scores[name], [values])
    both = evaluation.score_labels(labels, num_background=2)
    assert np.isnan(both["miou_nobg"]).all() and not np.isnan(both["miou"]).any()


def test_of_a_sequence_each_state_is_scored_by_its_own_frame():
    frames = np.uint8([[[[0, 1]], [[1, 0]]]])  # [B, T, 1, 2]
    scores = evaluation.score_labels({"true_labels": frames, "pred_labels": frames * 0 + [0, 1]}, 1)
    np.testing.assert_allclose(scores["miou"], [[1, 1]])
    half = np.uint8([[[[0, 0]], [[0, 1]]]])
    scores = evaluation.score_labels({"true_labels": frames, "pred_labels": half}, 1)
    np.testing.assert_allclose(scores["miou_nobg"], [[0.5, 1]])


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


def test_factor_scores_are_accuracy_and_explained_variance():
    objects = {
        "factor/color": np.float32([[0, 0], [2, 0], [4, 1], [6, 1]]),
        "prediction/color": np.float32([[0, 0], [2, 0], [4, 0], [6, 1]]),
        "factor/shape": np.float32([[1], [2], [1], [2]]),
        "prediction/shape": np.eye(3, dtype=np.float32)[[1, 2, 0, 2]],
    }
    scores = evaluation.factor_scores(REGRESSOR, objects)
    assert scores["shape"] == 0.75
    # First value: all right, R² = 1. Second: one of four wrong by 1, spread 4·(1/4) = 1, R² = 0.
    assert scores["color"] == pytest.approx(0.5)


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
    "factors, complaint",
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
def test_factors_that_cannot_be_regressed_are_refused(factors, complaint):
    dataset, model = tiny_model(**WITHOUT_REGRESSOR)
    with pytest.raises(UserError, match=complaint):
        evaluation.evaluate(model, dataset, 2, 0, factors.choose_regressor(factors, model))
