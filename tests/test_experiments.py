"""Each experiment runs end to end on a tiny setting, and its figures are read back."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from experiments import (
    challenges,
    disentanglement,
    events,
    experiment,
    factor_regression,
    generalization,
    input_ablations,
    iterations,
    larger,
    multistability,
    sequences,
    slots,
    table_1,
)
from iodine import checkpoints
from iodine.errors import UserError
from iodine.modules.refinement_inputs import ALL_INPUTS
from multi_object_datasets import balls, generate, generators, objects_room
from tests.helpers import tiny
from tests.test_configs import write_scenes

pytestmark = pytest.mark.usefixtures("eagerly")
UPDATES = {
    **{key: value for key, value in tiny.UPDATES.items() if key not in ("seed", "data.path")},
    "num_iters": 1,
    "stop_after_steps": 2,
    "eval_images": 4,
    "data.held_out": 4,
}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The directory of all experiments, which share the runs that are alike."""
    directory = tmp_path_factory.mktemp("experiments")
    generate.generate("balls", num_scenes=8, path=directory / "balls.tfrecords", seed=0)
    return directory


def lab(out, seeds=(0,), config="demo", **updates):
    """A tiny experiment."""
    updates = {key.replace("__", "."): value for key, value in updates.items()}
    updates = {**UPDATES, "data.path": str(out / "balls.tfrecords"), **updates}
    return experiment.Experiment("tiny", config, updates, list(seeds), out)


def read_back(lab, figures, draw):
    """Writes results and returns the figures that the JSON file has."""
    lab.write(figures, draw(figures))
    assert (lab.out / "tiny.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((lab.out / "tiny.json").read_text())
    assert record["hardware"] and set(record["steps"].values()) == {2}
    return record["figures"]


def test_a_trained_model_is_used_with_the_refinements_of_its_config(out):
    tiny_lab = lab(out, num_iters=2, stages=[{"until": 2, "num_iters": 1}])
    (run,) = tiny_lab.train_or_take({"staged": {}})["staged"]
    assert run.score()["mse"].shape == (4, 3)


def test_iterations_has_quartiles_over_scenes_and_seeds_after_each_refinement(out):
    tiny_lab = lab(out, seeds=(0, 1))
    figures = iterations.measure(tiny_lab, trained_with=(1,), run_with=2)
    read = read_back(tiny_lab, figures, iterations.draw)
    scores = [run.score(num_iters=2)["mse"] for run in tiny_lab.runs]
    scores = np.concatenate(scores)
    lower, median, upper = np.percentile(scores, [25, 50, 75], axis=0, method="inverted_cdf")
    assert len(median) == 3
    for name, values in (("lower", lower), ("median", median), ("upper", upper)):
        np.testing.assert_allclose(read["1"]["mse"][name], values, rtol=1e-5)


def test_iterations_are_those_of_training_in_all_stages(out, tmp_path):
    tiny_lab = lab(out, stages=[{"until": 1, "num_iters": 2}, {"until": 2}])
    tiny_lab.out = tmp_path
    iterations.measure(tiny_lab, trained_with=(1,), run_with=1)
    for path in checkpoints.checkpoints_in(str(tiny_lab.runs[0].directory)):
        assert checkpoints.read_record(path)["config"]["num_iters"] == 1


def test_a_model_that_runs_away_has_no_quartiles_there():
    inf, nan = np.inf, np.nan
    found = iterations.quartiles(np.array([[1.0, inf], [2.0, inf], [3.0, 5.0], [4.0, nan]]))
    assert found == {
        "lower": [1.0, 5.0],
        "median": [2.0, None],
        "upper": [3.0, None],
        "num_undefined": [0, 1],
        "num_scenes": 4,
    }
    assert iterations.quartiles(np.full([2, 1], nan))["median"] == [None]
    metrics = {name: found for name in iterations.METRICS}
    (legend,) = iterations.draw({"1": metrics}).legends  # draws what there is
    assert [text.get_text() for text in legend.get_texts()] == ["trained with 1 (1 of 4 undefined)"]


def test_input_ablations_has_curves_with_and_without_an_input(out, capfd):
    tiny_lab = lab(out)
    figures = input_ablations.measure(tiny_lab, {"image": ("image",)})
    read = read_back(tiny_lab, figures, input_ablations.draw)
    assert list(read) == ["full", "without_image"]
    model, _ = tiny_lab.runs[1].load()
    assert set(model.refinement_inputs.names) == set(ALL_INPUTS) - {"image"}
    printed = capfd.readouterr().out
    for label, entry in read.items():
        assert entry["curves"]["loss"]["steps"] == [1, 2]
        assert (
            f"{entry['curves']['loss']['values'][0]:.2f}" in printed.split(f"-{label}-seed0 (")[1]
        )


def test_slots_has_both_sizes_of_scene_for_each_number_of_slots(out):
    tiny_lab = lab(out)
    figures = slots.measure(tiny_lab, more_slots=(-1, 0))
    read = read_back(tiny_lab, figures, slots.draw)
    assert list(read) == ["3", "4"]
    run = tiny_lab.runs[0]
    assert run.load()[0].num_components == 3
    scores = run.score(num_components=4)["mse"][:, -1]
    np.testing.assert_allclose(read["3"][0]["usual"]["mse"]["mean"], scores.mean(), rtol=1e-5)
    model, data = run.load(**larger.larger_scenes(tiny_lab))
    assert model.num_components == 6
    (batch,) = data("test").batch(1).take(1)
    assert batch["mask"].shape[3] == 6 and np.sum(batch["visibility"]) == 6 * UPDATES["batch_size"]
    assert read["3"][0]["larger"]["mse"] != read["3"][0]["usual"]["mse"]


def test_generalization_compares_scenes_with_and_without_what_was_left_out(out):
    tiny_lab = lab(out)
    figures = generalization.measure(tiny_lab)
    read = read_back(tiny_lab, figures, generalization.draw)
    assert list(read["objects"]) == ["usual, 4 slots", "usual, 6 slots", "larger, 6 slots"]
    run, with_it = tiny_lab.runs[1], []
    for scene in tiny_lab.runs[0].load()[1]("test").unbatch().as_numpy_iterator():
        color, x = scene["factors"]["color"][1:], scene["factors"]["position"][1:, 0]
        with_it.append(bool(((color == [1, 0, 0]).all(axis=1) & (x <= 4)).any()))
    mse = run.score(**{"data.leave_out": None})["mse"][:, -1]
    for test, kept in (("with", np.array(with_it)), ("without", ~np.array(with_it))):
        entry = read["combination"]["left out"][test]
        assert entry["num_scenes"] == kept.sum() > 0
        np.testing.assert_allclose(entry["mse"]["mean"], mse[kept].mean(), rtol=1e-5)
    for name in ("more_objects", "combination"):
        assert (out / f"tiny-{name}.png").read_bytes().startswith(b"\x89PNG")


def test_factor_regression_reads_factors_out_of_each_model(out):
    tiny_lab = lab(out)
    read = read_back(tiny_lab, factor_regression.measure(tiny_lab), factor_regression.draw)
    assert list(read) == ["IODINE", "IODINE, deconvolution", "VAE"]
    for (seed,) in read.values():
        assert set(seed["factors"]) == {"position", "color"}
        assert np.isfinite([*seed["factors"].values(), seed["mse"]["mean"]]).all()
    assert (out / "tiny-deconv.png").read_bytes().startswith(b"\x89PNG")


def test_the_canonical_order_is_that_of_the_first_number_of_the_position():
    position = np.array([[[3.0, 0], [1, 1], [2, 2]], [[7, 3], [5, 4], [0, 5]]])
    values = {
        "latents": np.array([[10.0], [20.0]]),
        "visibility": np.array([[1, 1, 1], [1, 1, 0]]),
        "factor/position": position,
        "factor/color": position[..., 1:],
    }
    ranks = [factor_regression.in_order(values, rank) for rank in range(3)]
    assert [rank["factor/color"].tolist() for rank in ranks] == [[[1], [4]], [[2], [3]], [[0]]]
    assert [rank["latents"].tolist() for rank in ranks] == [[[10], [20]], [[10], [20]], [[10]]]


def test_multistability_counts_which_decompositions_a_model_finds(out):
    tiny_lab = lab(out, (0,), "tetrominoes", data__path=str(tiny.SCENES), data__held_out=1)
    figures = multistability.measure(tiny_lab, num_scenes=2, num_draws=3)
    read = read_back(tiny_lab, figures, multistability.draw)
    assert len(read["scenes"]) == 2
    for scene in read["scenes"]:
        assert scene["valid"] == len(scene["found"]) > 1
        assert sum(scene["found"]) + scene["none"] == 3
    assert np.shape(read["paths"]) == (3, UPDATES["num_iters"] + 1, 4, 2)
    assert (out / "tiny-scene.png").read_bytes().startswith(b"\x89PNG")


def test_a_result_counts_as_the_decomposition_that_it_equals():
    scene = generators.load("tetrominoes")[0].scene(np.random.default_rng(0), "ambiguous")
    valid = multistability.valid_labels(scene, (35, 35))
    pred = np.stack([(valid[1] + 1) % 4, valid[0], np.zeros_like(valid[0])])
    scores = multistability.foreground_ari(valid, pred)
    assert scores.shape == (3, len(valid)) and (scores[[0, 1], [1, 0]] == 1).all()
    masks = np.float32(pred[:, None] == np.arange(4)[:, None, None])
    results = multistability.Ambiguous(scene["image"], valid, masks, np.zeros(1), scores)
    assert results.found().tolist() == [1, 0, -1]
    assert (multistability.valid_labels(scene, (7, 7))[0] == valid[0][::5, ::5]).all()


def test_table_1_keeps_its_rows_and_adds_one(out, tmp_path):
    earlier = {"clevr6": {"seeds": [{"ari_nobg": {"mean": 0.5}}], "mean": 0.5, "paper": [0.9, 0]}}
    tiny_lab = lab(out)
    tiny_lab.out = tmp_path
    (tmp_path / "table_1.json").write_text(json.dumps({"figures": earlier}))
    read = read_back(tiny_lab, table_1.measure(tiny_lab), table_1.draw)
    assert list(read) == ["clevr6", "demo"] and read["clevr6"] == earlier["clevr6"]
    scores = tiny_lab.runs[0].score()["ari_nobg"][:, -1]
    assert read["demo"]["mean"] == pytest.approx(scores.mean(), abs=1e-6)
    assert table_1.paper_row("tetrominoes_fast") == (0.992, 0.004)


def test_a_shipped_model_is_taken_unless_steps_or_seeds_are_chosen(tmp_path, capsys):
    def shipped(updates, seeds=(0,), config="demo"):
        return experiment.Experiment("tiny", config, updates, list(seeds), tmp_path).shipped()

    (run,) = shipped({})
    assert run.load()[0].num_components == 4
    assert shipped({"eval_images": 7, "save_images_steps": 10})
    assert not shipped({"stop_after_steps": 9}) and not shipped({}, seeds=(1,))
    for update in ({"data.grayscale": True}, {"n_z": 4}, {"num_iters": 2}, {"data.path": "mine"}):
        assert not shipped(update)
    assert not capsys.readouterr().out
    assert not shipped({}, config="clevr6")
    assert "clevr6 has no trained model: one is trained now" in capsys.readouterr().out


def test_disentanglement_has_the_latents_of_three_models(out):
    tiny_lab = lab(out)
    figures = disentanglement.measure(tiny_lab, num_single=8)
    read = read_back(tiny_lab, figures, disentanglement.draw)
    assert list(read) == list(disentanglement.MODELS.values())
    single = next(run for run in tiny_lab.runs if "-single-" in run.name)
    (batch,) = single.load()[1]("test").take(1)
    assert batch["visibility"].shape[1] == 2
    for entry in read.values():
        assert len(entry["kl"]) == 4 and entry["kl"] == sorted(entry["kl"], reverse=True)
        assert entry["active"] == sum(kl >= disentanglement.ACTIVE for kl in entry["kl"])
    for name in disentanglement.MODELS:
        assert (out / f"tiny-{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("config", "module", "size"), [("sequences", objects_room, 16), ("demo_sequences", balls, 14)]
)
def test_sequences_measures_predictions_and_writes_films(out, config, module, size):
    path = out / f"{config}.tfrecords"
    write_scenes(path, module.SCENE_FORMATS["sequences"])
    small = {"data__path": str(path), "data__held_out": 2, "data__image_dim": [size, size]}
    tiny_lab = lab(out, (0,), config, num_iters=2, eval_images=2, **small)
    read = read_back(tiny_lab, sequences.measure(tiny_lab), sequences.draw)
    assert [len(read[name]) for name in ("ari_nobg", "mse", "copy_mse", "kept")] == [3, 3, 2, 2]
    (batch,) = tiny_lab.runs[0].load()[1]("test").take(1).as_numpy_iterator()
    change = np.mean((batch["image"][:, 1:] - batch["image"][:, :-1]) ** 2, axis=(0, 2, 3, 4))
    np.testing.assert_allclose(read["copy_mse"], change, rtol=1e-4)
    with Image.open(out / "tiny.gif") as gif:
        assert gif.n_frames == 3 and gif.size == (3 * 3 * size, 2 * 3 * size)
    assert (out / "tiny-film.png").read_bytes().startswith(b"\x89PNG")


def test_an_object_keeps_its_slot_if_it_has_one_in_all_frames_that_show_it():
    overlap = np.zeros((1, 3, 4, 2))  # [N, T, L, K]
    overlap[0, :, 0, 0] = 20  # in slot 0 throughout
    overlap[0, [0, 1], 1, [0, 1]] = 20  # in another one in the second frame
    overlap[0, [0, 2], 2, 1] = 20  # unseen between
    overlap[0, 1, 3, 0] = 20  # in one frame alone
    assert sequences.kept_slots(overlap, 0).tolist() == [True, False, True]
    assert sequences.kept_slots(overlap, 1).tolist() == [True]


def test_challenges_shows_grey_scenes(out):
    tiny_lab = lab(out / "grey", data__path=str(out / "balls.tfrecords"), data__grayscale=True)
    tiny_lab.out.mkdir()
    read = read_back(tiny_lab, challenges.measure(tiny_lab), challenges.draw)
    assert tiny_lab.runs[0].load()[1].image_shape == (14, 14, 1)
    scores = tiny_lab.runs[0].score()["ari"][:, -1]
    assert read["seeds"][0]["ari"]["mean"] == pytest.approx(scores.mean(), abs=1e-6)
    assert (out / "grey" / "tiny-scenes.png").read_bytes().startswith(b"\x89PNG")


def test_every_input_but_the_parameters_is_left_out_once():
    names = [name for names in input_ablations.LEFT_OUT.values() for name in names]
    assert sorted([*names, "zp"]) == sorted(ALL_INPUTS)


def test_a_run_is_trained_once_and_goes_on_where_it_was_stopped(out, capfd):
    first = lab(out).train({"short": {}})["short"][0]
    assert first.step() == 2
    lab(out).train({"short": {}})
    longer = lab(out, stop_after_steps=3).train({"short": {}})["short"][0]
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if " Loss: " in line] == ["1", "2", "3"]
    assert "tiny: 1 runs, 1 of them done" in lines
    assert longer.curves(["loss/total"])["loss/total"]["steps"] == [1, 2, 3]
    with pytest.raises(UserError, match="for 3 steps, more than 2"):
        lab(out).train({"short": {}})
    with pytest.raises(UserError, match="holds another config, .*n_z=5 .*choose another --out"):
        lab(out, stop_after_steps=3, n_z=5).train({"short": {}})


def test_events_that_a_kill_cut_off_are_read_to_their_last_whole_one(out, tmp_path):
    run = lab(out).train({"full": {}})["full"][0]
    content = next(run.directory.glob("events*")).read_bytes()
    (tmp_path / "events.out.tfevents.1").write_bytes(content[:-5])
    curves, minutes = events.read_events(tmp_path, ["loss/mse"])
    whole, all_minutes = events.read_events(run.directory, ["loss/mse"])
    assert (
        curves["loss/mse"]["values"]
        == whole["loss/mse"]["values"][: len(curves["loss/mse"]["values"])]
    )
    assert 0 <= minutes <= all_minutes


@pytest.mark.parametrize(
    "words, line",
    [
        (["--config", "dmo"], "there is no config 'dmo', did you mean 'demo'"),
        (["--steps", "many"], "argument --steps: invalid int value: 'many'"),
        (["--updates", "n_x=3"], "unknown config entry 'n_x'"),
        (["--updates", "demo"], "--updates takes key=value, not 'demo'"),
        (["--out", "/dev/null/results"], "cannot write to --out /dev/null/results"),
    ],
)
def test_bad_input_gives_one_line(words, line, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["iterations", "--out", str(tmp_path / "out"), *words])
    with pytest.raises(SystemExit) as ended:
        experiment.main("iterations", iterations.__doc__, iterations.measure, iterations.draw)
    assert ended.value.code.startswith(f"error: {line}") and "\n" not in ended.value.code


def test_the_command_ends_with_code_1_at_a_mistake(tmp_path):
    process = tiny.start_module("experiments.iterations", "--steps", "0", "--out", str(tmp_path))
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert stderr.splitlines()[-1].startswith("error: stop_after_steps has to be a whole number")
