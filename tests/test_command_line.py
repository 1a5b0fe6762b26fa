"""The command line: Sacred's commands, and one clear line for each mistake."""

import gzip
import json
import re
import shutil

import pytest
import tensorflow as tf

from iodine import main
from iodine.config import NAMED_CONFIGS
from multi_object_datasets.generate import generate
from tests.helpers import tiny

DSPRITES = tiny.ROOT / "tests" / "parity" / "multi_dsprites_small" / "scenes.tfrecords"


def run(capsys, *words):
    """Runs the command line in this process: (exit code, stdout, stderr)."""
    code = 0
    try:
        main.ex.run_commandline(["iodine", *words])
    except SystemExit as error:
        code = error.code
        if isinstance(code, str):  # Python prints it and ends with 1
            print(code)
            code = 1
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def error_line(capsys, *words):
    """The one line that a mistaken command ends with; no traceback may come with it."""
    code, stdout, stderr = run(capsys, *words)
    assert code == 1
    assert "Traceback" not in stdout + stderr
    lines = [line for line in stdout.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, stdout + stderr
    return lines[0]


def test_print_config_shows_what_overrides_change(capsys):
    words = ["print_config", "with", "tetrominoes", "n_z=9", "data.batch_size=3"]
    code, stdout, _ = run(capsys, *words)
    assert code == 0
    assert stdout.count("n_z = 9") == 2  # the top-level value and the model's
    assert stdout.count("batch_size = 128") == 1
    assert len(re.findall(r"(?<!_)batch_size = 3\b", stdout)) == 1


def test_help_names_the_program_and_what_it_does(capsys):
    code, stdout, _ = run(capsys, "--help")
    assert not code and "  iodine [(with UPDATE...)]" in stdout and "../" not in stdout
    assert "The command line: `python -m iodine.main [COMMAND] with CONFIG key=value" in stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "demo_fast"], "`with` is missing: evaluate with demo_fast"),
        (
            ["evaluat", "with", "demo_fast"],
            "there is no command 'evaluat', did you mean 'evaluate'",
        ),
        (["demo_fast"], "no command 'demo_fast', and demo_fast is a config: say `with demo_fast`"),
    ],
)
def test_what_is_wrong_with_the_first_words_is_one_line(capsys, words, said):
    assert said in error_line(capsys, *words)


def test_later_words_win_over_the_named_config():
    config = main.get_config("clevr6", {"num_components": 11, "data.max_num_objects": 10})
    assert config["model"]["num_components"] == 11
    assert config["model"]["output_dist"]["num_components"] == 11
    assert config["data"]["max_num_objects"] == 10
    assert config["data"]["min_num_objects"] == 3


def test_two_builds_give_two_models():
    config = main.get_config("tetrominoes")
    assert main.build(config["model"]) is not main.build(config["model"])


def test_no_named_config_lists_them(capsys):
    line = error_line(capsys)
    for name in NAMED_CONFIGS:
        assert name in line


MISTAKES = {
    "unknown named config": (["with", "clevr7"], ["clevr7", "clevr6"]),
    "unknown key": (["with", "tetrominoes", "batchsize=4"], ["batchsize", "'batch_size'"]),
    "unknown key in a plan": (
        tiny.arguments(data__shuffle_bufer=4),
        ["data", "shuffle_bufer", "'shuffle_buffer'"],
    ),
    "unknown key in options": (
        tiny.arguments(model__decoder__pixel_decoder__cnn_opt__kernel=3),
        ["cnn_opt", "'kernel'", "'kernel_shapes'"],
    ),
    "wrong type": (["with", "tetrominoes", "batch_size=many"], ["batch_size", "int", "'many'"]),
    "wrong type in a plan": (tiny.arguments(model__n_z="x"), ["model.n_z", "int", "'x'"]),
    "fraction": (["with", "tetrominoes", "num_iters=2.5"], ["num_iters", "int", "2.5"]),
    "number for a list": (tiny.arguments(data__image_dim=35), ["data.image_dim", "list", "35"]),
    "zero": (["with", "tetrominoes", "num_iters=0"], ["num_iters", "above 0"]),
    "unknown constructor": (
        tiny.arguments(model__constructor="iodine.modules.iodine.IODIN"),
        ["iodine.modules.iodine.IODIN", "'IODINE'"],
    ),
    "argument of another constructor": (
        tiny.arguments(model__decoder__pixel_decoder__constructor="iodine.modules.networks.DeConv"),
        ["cnn_opt", "ConvNet2D needs kernel_shapes"],
    ),
    "unknown module": (
        tiny.arguments(model__constructor="nowhere.Model"),
        ["unknown constructor 'nowhere.Model'"],
    ),
    "unknown precision": (tiny.arguments(precision="half"), ["'half'", "mixed_bfloat16"]),
    "steps per call": (tiny.arguments(steps_per_call=2), ["steps_per_call=2", "no multiple"]),
    "unknown strategy": (tiny.arguments(strategy="all"), ["strategy='all'", "mirrored"]),
    "missing file": (
        tiny.arguments(data__path="nowhere/scenes.tfrecords"),
        ["nowhere/scenes.tfrecords", "multi_object_datasets.generate", "download"],
    ),
    "missing file of another config": (
        ["with", "clevr6", "data.path=nowhere.tfrecords"],
        ["nowhere.tfrecords", "multi_object_datasets.generate clevr_with_masks"],
    ),
    "image size": (tiny.arguments(data__image_dim="[3]"), ["image_dim"]),
    "object counts": (
        ["with", "clevr6", "data.min_num_objects=7", f"data.path={tiny.SCENES}"],
        ["min_num_objects=7", "max_num_objects=6"],
    ),
    "loss weights": (
        tiny.arguments(model__iter_loss_weight="[1.0, 2.0]"),
        ["iter_loss_weight", "num_iters + 1 = 3"],
    ),
    "KL weight": (tiny.arguments(model__kl_weight=-0.5), ["kl_weight is -0.5", "0 or more"]),
    "truth": (tiny.arguments(model__rematerialize="x"), ["rematerialize is 'x'", "True or False"]),
    "KL weight in words": (
        tiny.arguments(model__kl_weight="half"),
        ["model.kl_weight", "float", "'half'"],
    ),
    "unknown named config as an entry": (
        ["with", "named_config=tetrominos"],
        ["named_config=tetrominos", "'tetrominoes'"],
    ),
    "a text for a list of packages": (
        tiny.arguments(allow_constructors="mypkg"),
        ["allow_constructors='mypkg'", '["mypackage"]'],
    ),
    "number for packages": (tiny.arguments(allow_constructors=1), ["allow_constructors=1"]),
    "several paths for one": (tiny.arguments(out='["a", "b"]'), ["out=['a', 'b']", "name one"]),
    "empty path": (tiny.arguments(initial_weights=""), ["initial_weights= is empty"]),
    "list for a name": (tiny.arguments(model__precision=["x"]), ["precision is '['x']'"]),
    "numbers for factors": (
        tiny.arguments(model__factor_evaluator__mapping=[1]),
        ["the factors are [1]", '["position", 2, "scalar"]'],
    ),
    "input name": (tiny.arguments(model__inputs='["imag"]'), ["'imag'", "'image'"]),
}


@pytest.mark.parametrize("value, said", [("", "is empty"), ('["a", "b"]', "name one directory")])
def test_a_run_needs_one_directory(capsys, tmp_path, monkeypatch, value, said):
    monkeypatch.chdir(tmp_path)
    line = error_line(capsys, *tiny.arguments(checkpoint_dir=value))
    assert "checkpoint_dir=" in line and said in line
    assert not list(tmp_path.iterdir())


def test_a_result_goes_to_the_home_that_a_tilde_means(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main.get_config("demo_fast", {"out": "~/figures"})["out"] == f"{tmp_path}/figures"


@pytest.mark.parametrize("words, said", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gets_one_line_that_says_what_to_do(capsys, tmp_path, words, said):
    line = error_line(capsys, *words, f"checkpoint_dir={tmp_path / 'c'}")
    for part in said:
        assert part in line
    assert not (tmp_path / "c_1").exists()


@pytest.mark.parametrize("damage", ["truncated", "foreign", "wrong variant", "empty"])
def test_a_file_that_cannot_be_read_is_named_with_its_record(capsys, tmp_path, damage):
    path = tmp_path / "scenes.tfrecords"
    config = "tetrominoes"
    if damage == "truncated":
        path.write_bytes(tiny.SCENES.read_bytes()[:-3000])
    elif damage == "foreign":
        path.write_bytes(gzip.compress(b"these are no records" * 100))
    elif damage == "wrong variant":
        shutil.copy(DSPRITES, path)
        config = "multi_dsprites"
    else:
        path.touch()
    words = ["with", config, f"data.path={path}", f"checkpoint_dir={tmp_path / 'c'}"]
    if damage == "wrong variant":
        words.append("data.dataset_variant=binarized")
    line = error_line(capsys, *words)
    assert str(path) in line
    assert "record" in line


def test_a_command_that_looks_at_a_model_asks_for_one(capsys):
    assert "no model given: name a shipped model" in error_line(capsys, "evaluate")


def test_continuing_without_a_checkpoint_is_refused(capsys, tmp_path):
    words = tiny.arguments(continue_run=True, checkpoint_dir=tmp_path / "nothing")
    assert f"no checkpoint at '{tmp_path / 'nothing'}'" in error_line(capsys, *words)
    assert not (tmp_path / "nothing").exists()


def test_a_run_of_its_own_is_never_trained_over_and_evaluates(capsys, tmp_path):
    words = tiny.arguments(checkpoint_dir=tmp_path / "c", stop_after_steps=3)
    assert run(capsys, *words)[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "c_1").iterdir()}
    assert "holds a run already" in error_line(capsys, *words)
    assert {p.name: p.read_bytes() for p in (tmp_path / "c_1").iterdir()} == before

    # Not the scenes that it was trained on.
    scenes = str(tmp_path / "scenes.tfrecords")
    generate("tetrominoes", num_scenes=2, seed=0, path=scenes, workers=1)
    trained = {"checkpoint_dir": tmp_path / "c_1", "eval_images": 2, "data__path": scenes}
    code, stdout, _ = run(capsys, "load_checkpoint", *tiny.arguments(**trained))
    assert code == 0
    assert "initial_sample_distribution" in stdout

    out = tmp_path / "report.json"
    assert run(capsys, "evaluate", *tiny.arguments(**trained, out=out))[0] == 0
    report = json.loads(out.read_text())
    assert report["num_images"] == 2
    for name in ("ari", "ari_nobg", "mse", "recons", "kl"):
        entry = report[name]
        assert len(entry["per_iteration"]) == 3  # num_iters + 1
        assert entry["mean"] == pytest.approx(entry["per_iteration"][-1])
        assert entry["stderr"] >= 0
    assert set(report["factors"]) == {"position", "color", "shape"}

    # The weights alone give the same figures; training cannot be resumed from them.
    exported = tmp_path / "exported"
    command = ["export_weights", *tiny.arguments(**trained)]
    assert "out=DIR" in error_line(capsys, *command)
    assert run(capsys, *command, f"out={exported}")[0] == 0
    names = {name for name, _ in tf.train.list_variables(str(exported))}
    assert any(name.startswith("model/") for name in names)
    assert not any(name.startswith("optimizer/") for name in names)
    alone, again = {**trained, "checkpoint_dir": exported}, tmp_path / "again.json"
    assert run(capsys, "evaluate", *tiny.arguments(**alone, out=again))[0] == 0
    assert json.loads(again.read_text()) == report
    line = error_line(capsys, *tiny.arguments(**alone, continue_run=True))
    assert "holds no optimizer" in line

    # More slots and more iterations than in training.
    more = {**trained, "num_components": 6, "num_iters": 4}
    assert run(capsys, "evaluate", *tiny.arguments(**more, out=out))[0] == 0
    assert len(json.loads(out.read_text())["mse"]["per_iteration"]) == 5

    # Another architecture is named variable by variable.
    code, stdout, stderr = run(capsys, "evaluate", *tiny.arguments(**trained, n_z=5))
    assert code == 1
    assert "Traceback" not in stdout + stderr
    assert any(
        line.split() == ["model/initial_sample_distribution", "[8]", "[10]"]
        for line in stdout.splitlines()
    )

    nowhere = tmp_path / "no" / "report.json"
    line = error_line(capsys, "evaluate", *tiny.arguments(**trained, out=nowhere))
    assert "does not exist" in line
    line = error_line(capsys, "evaluate", *tiny.arguments(**trained, out=tmp_path))
    assert f"out={tmp_path} is a directory" in line


def test_a_mistake_ends_the_real_process_with_one_line_on_stderr_and_code_1():
    code, stdout, stderr = tiny.run("with", "tetrominoes", "batchsize=4")
    assert code == 1
    assert [line for line in stderr.splitlines() if line.startswith("error: ")] == [
        "error: unknown config entry 'batchsize', did you mean 'batch_size'?"
    ]
    assert "Traceback" not in stdout + stderr


@pytest.mark.parametrize("command", ["segment", "explore", "visualize"])
def test_an_image_file_that_is_not_there_is_told_before_a_model_is_loaded(
    capsys, tmp_path, command
):
    # The checkpoint has eight latents, and cannot be loaded.
    words = ["n_z=9", f"image={tmp_path}/no.png", f"out={tmp_path}/out"]
    line = error_line(capsys, command, "with", "demo_fast", *words)
    assert line == f"error: {tmp_path}/no.png: there is no such image"


def test_a_command_without_observers_says_nothing_of_them(capsys):
    code, stdout, stderr = run(
        capsys, "evaluate", "with", "demo_fast", "num_iters=1", "eval_images=2", "seed=0"
    )
    assert code == 0 and "2 scenes" in stdout
    assert "observers" not in stdout + stderr
