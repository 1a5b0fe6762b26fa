"""Models side by side: paired differences, one table, curves on one axis, the same scenes."""

import json

import numpy as np
import pytest
from PIL import Image

from iodine import checkpoints, main
from iodine.errors import UserError
from iodine.evaluate import compare, metrics
from iodine.figures import curves
from tests.helpers import tiny

pytestmark = pytest.mark.usefixtures("eagerly")


def save(directory, recorded=True, **updates):
    """Saves an untrained tiny model; returns the directory."""
    config = main.get_config("tetrominoes", {**tiny.UPDATES, **updates})
    dataset, model = main.build(config["data"]), main.build(config["model"])
    model.initialize(dataset.image_shape)
    record = {"refinement_batch_size": 2}
    if recorded:
        record["config"] = json.loads(json.dumps(config, default=str))
    checkpoints.CheckpointWriter(str(directory), record, model=model).save(1)
    return str(directory)


def run(*directories, **updates):
    """Runs the command in this process."""
    updates = {"checkpoint_dir": list(directories), "eval_images": 2, "seed": 7, **updates}
    main.ex.run("compare", named_configs=["tetrominoes"], config_updates=updates)


def test_differences_are_paired_image_by_image():
    others = np.array([[9.0, 1.0], [9.0, 2.0], [9.0, np.nan], [9.0, 6.0]])
    values = np.array([[1.5], [2.5], [3.0], [6.5]])
    difference = compare.paired_difference(values, others)
    # Images differ much from each other, the models always by the same.
    assert difference == {"mean": 0.5, "stderr": 0.0, "num_undefined": 1}
    nothing = compare.paired_difference(values, np.full([4, 1], np.nan))
    assert nothing == {"mean": None, "stderr": None, "num_undefined": 4}
    # Both infinite in one scene, one in another.
    runaway = np.array([[np.inf], [np.inf], [0.0], [0.0]])
    difference = compare.paired_difference(np.array([[np.inf], [1.0], [1.0], [1.0]]), runaway)
    assert difference == {"mean": None, "stderr": None, "num_undefined": 1, "num_infinite": 1}


class Halves:
    """As much of a model as a comparison's figures need."""

    METRICS = ("ari_nobg", "mse")


def test_scenes_that_a_mean_leaves_out_are_counted_in_the_table_and_in_the_file():
    ari, infinite = np.array([[1.0], [np.nan], [0.5]]), np.array([[1.0], [np.inf], [2.0]])
    values = [{"ari_nobg": ari, "mse": infinite}, {"ari_nobg": 0 * ari, "mse": np.ones([3, 1])}]
    halves = [compare.TrainedModel(name, Halves()) for name in ("a/ckpt-1", "b/ckpt-1")]
    comparison = compare.figures(halves, values)
    json.dumps(comparison, allow_nan=False)
    head, ari_row, mse_row = compare.table(comparison, metrics.named(Halves.METRICS))
    assert head == ["mean ± standard error", "(1)", "(2)", "(2) − (1)"]
    ari_cells = ["0.750 ± 0.250 (1 undefined)", "0.00 ± 0.00 (1 undefined)"]
    assert ari_row == ["foreground ARI ↑", *ari_cells, "-0.750 ± 0.250 (1 undefined)"]
    assert mse_row == ["MSE ↓", "– (1 infinite)", "1.00 ± 0.00", "– (1 infinite)"]


def test_models_of_their_own_configs_are_compared_on_the_same_scenes(tmp_path, capsys):
    one = save(tmp_path / "one")
    out = tmp_path / "out"
    run(one, one, save(tmp_path / "more", num_components=6), out=str(out))
    names = ["comparison.json", "curves.png", "decompositions.png", "report.html"]
    assert sorted(path.name for path in out.iterdir()) == names
    comparison = json.loads((out / "comparison.json").read_text())
    first, same, more = comparison["models"]
    assert comparison["num_images"] == 2 and "difference" not in first
    assert first["metrics"] == same["metrics"]  # The same scenes and the same noise.
    assert {(d["mean"], d["stderr"]) for d in same["difference"].values()} == {(0.0, 0.0)}
    for name in ("ari", "ari_nobg", "miou", "mse", "kl"):
        # As many refinements as the named config has.
        assert len(first["metrics"][name]["per_iteration"]) == 6
        assert len(more["metrics"][name]["per_iteration"]) == 6
        difference = more["metrics"][name]["mean"] - first["metrics"][name]["mean"]
        assert more["difference"][name]["mean"] == pytest.approx(difference, rel=1e-6, abs=1e-6)
    printed = capsys.readouterr().out
    page = (out / "report.html").read_text()
    for text in ("(3) − (1)", "foreground mIoU", "2 "):
        assert text in printed and text in page
    # 4 true columns and 6 slots; a scene has a row for each model.
    width, height = Image.open(out / "decompositions.png").size
    assert width > 1200 and height > 700


def test_a_checkpoint_without_config_is_built_as_the_command_says(tmp_path, capsys):
    plain = save(tmp_path / "plain", recorded=False, num_components=3)
    run(save(tmp_path / "one"), plain, **{**tiny.UPDATES, "num_components": 3})
    assert "(2) IODINE" in capsys.readouterr().out


def test_what_cannot_be_compared_is_one_line(tmp_path):
    one = save(tmp_path / "one")
    with pytest.raises(UserError, match="compare takes two checkpoints or more: "):
        run(one)
    with pytest.raises(UserError, match="compare takes two checkpoints or more: "):
        run(checkpoint_dir=one)
    small = save(tmp_path / "small", **{"data.image_dim": [14, 14]})
    with pytest.raises(UserError, match=r"is for images of 14×14×3, '.*' for 35×35×3"):
        run(one, small)


def test_curves_share_an_axis_and_a_mere_result_is_a_line_across():
    values = [
        {"mse": np.array([[1.0, 3.0], [3.0, 5.0]]), "ari": np.array([[np.nan] * 2, [0.0, 1.0]])},
        {"mse": np.array([[2.0], [4.0]])},
    ]
    figure = curves.comparison_curves(values, ["a", "b"], metrics.named(["mse", "ari", "kl"]))
    mse, ari = (ax for ax in figure.get_axes() if ax.get_title())
    assert [list(line.get_ydata()) for line in mse.get_lines()] == [[2.0, 4.0], [3.0, 3.0]]
    assert mse.get_lines()[1].get_linestyle() == ":"
    assert [list(line.get_ydata()) for line in ari.get_lines()] == [[0.0, 1.0]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_a_comparison_that_fails_leaves_nothing_behind(tmp_path):
    config = main.get_config("tetrominoes", {**tiny.UPDATES, "data.held_out": 0})
    dataset, model = main.build(config["data"]), main.build(config["model"])
    models = [compare.TrainedModel(f"{name}/ckpt-1", model) for name in "ab"]
    with pytest.raises(UserError, match="no scenes are held out"):
        compare.compare(models, dataset, str(tmp_path / "out"), num_images=2, seed=0)
    assert not list(tmp_path.iterdir())
