"""Stages of training: plans, changes, and interruptions at and between them."""

import json
import signal

import pytest
import tensorflow as tf

from iodine.checkpoints import read_record
from iodine.config import get_config, resolve
from iodine.entries import defaults
from iodine.errors import UserError
from iodine.train.stages import plan_stages, stages_after
from tests.helpers import tiny
from tests.test_training_process import metrics_of, wait_for_step

STAGES = (
    '[{"until": 4, "image_dim": [14, 14], "kl_weight": 0.16, "num_iters": 1},'
    ' {"until": 7, "pixel_scale": 0.2, "batch_size": 1}, {"until": 9, "learn_rate": 0.001}]'
)


def config_with(stages, stop_after_steps=100, **updates):
    entries = {**defaults(), "stages": stages, "stop_after_steps": stop_after_steps}
    return {**entries, **updates}


def test_stages_follow_one_another_and_end_where_the_training_does():
    stages = plan_stages(config_with([{"until": 4, "kl_weight": 0.5}, {"until": 9}], 7))
    assert [(s.begin, s.until, s.differences, s.overridden) for s in stages] == [
        (0, 4, {"kl_weight": 0.5}, {"kl_weight": 1.0}),
        (4, 7, {}, {}),
    ]
    assert str(stages[0]) == "stage 1 of 2, steps 1 to 4: kl_weight=0.5"
    assert [s.number for s in stages_after(stages, 3)] == [1, 2]
    assert [s.number for s in stages_after(stages, 4)] == [2]
    assert not stages_after(stages, 7)


def test_a_config_without_stages_has_one():
    (stage,) = plan_stages(config_with([], 7))
    assert (stage.begin, stage.until, stage.differences) == (0, 7, {})


@pytest.mark.parametrize(
    "stages, message",
    [
        ({"until": 3}, "has to be a list"),
        ("", "has to be a list"),
        ([{"batch_size": 3}], "needs `until`"),
        ([{"until": 3}, {"until": 3}], "stage 2 needs `until`.* above 3"),
        ([{"until": 3, "kl_wait": 1}], "unknown entry 'kl_wait', did you mean 'kl_weight'"),
        ([{"until": 3, "pixel_scale": 1}], "unknown entry 'pixel_scale'"),  # the config has none
    ],
)
def test_stages_that_are_none_are_refused(stages, message):
    with pytest.raises(UserError, match=message):
        plan_stages(config_with(stages))


@pytest.mark.parametrize(
    "late, message",
    [
        ({"image_dim": "big"}, "stages: stage 2: image_dim has to be of type"),
        ({"image_dim": [0, 14]}, "stages: stage 2: image_dim must be"),
        ({"kl_weight": "low"}, "stages: stage 2: kl_weight has to be of type float, not 'low'"),
        ({"num_iters": 0}, "stages: stage 2: num_iters has to be a whole number above 0, not 0"),
        ({"saturation": -1}, "stages: stage 2: saturation has to be a number of 0 or more, not -1"),
    ],
)
def test_a_mistake_in_a_late_stage_shows_before_anything_is_made(tmp_path, late, message):
    stages = json.dumps([{"until": 4}, {"until": 9, **late}])
    words = ["with", "demo_fast", f"checkpoint_dir={tmp_path / 'c'}", f"stages={stages}"]
    code, stdout, stderr = tiny.run_here(*words)
    assert code == 1 and "Loss:" not in stdout
    assert message in stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name, entry, expected",
    [
        ("demo_fast", "saturation", [0.0, 1.0]),
        ("objects_room_fast", "background", [0.0, 0.0, 0.3, 0.6, *[1.0] * 9]),
        ("monet_multi_dsprites_fast", "saturation", [3.0, *[1.0] * 5]),
    ],
)
def test_colours_and_background_come_stage_by_stage(name, entry, expected):
    stages = resolve([name]).stages
    assert [config["data"][entry] for _, config in stages] == expected


def test_one_stage_is_overridden_from_the_command_line():
    stages = get_config("demo_fast", {"stages.2.until": 5000})["stages"]
    assert [stage["until"] for stage in stages] == [1000, 5000]
    assert stages[1]["num_iters"] == 4
    with pytest.raises(UserError, match="there are stages.1 to stages.2"):
        get_config("demo_fast", {"stages.4.until": 8})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run through all stages that nothing interrupted: its directory."""
    directory = tmp_path_factory.mktemp("stages")
    words = tiny.arguments(checkpoint_dir=directory / "c", stages=STAGES)
    code, stdout, stderr = tiny.run_here("-F", str(directory / "runs"), *words)
    assert code == 0, stderr
    (directory / "stdout").write_text(stdout)
    return directory


def test_one_command_trains_through_all_stages_and_says_where_each_begins(finished):
    lines = (finished / "stdout").read_text().splitlines()
    assert "stage 1 of 3, steps 1 to 4: image_dim=[14, 14], kl_weight=0.16, num_iters=1" in lines
    assert "stage 3 of 3, steps 8 to 9: learn_rate=0.001" in lines
    steps = [int(line.split()[0]) for line in lines if "Loss:" in line]
    assert steps == list(range(1, 10))
    recorded = metrics_of(finished / "runs", 1)
    assert recorded["stage"] == {0: 1, 4: 2, 7: 3}
    record = read_record(str(finished / "c_1" / "ckpt-7"))
    assert record["stage"] == 2 and record["refinement_batch_size"] == 1
    assert record["config"]["model"]["output_dist"]["component_dist"]["scale_val"] == 0.2
    events = [str(path) for path in (finished / "c_1").glob("events*")]
    seen = {
        (event.step, float(tf.make_ndarray(value.tensor)))
        for path in events
        for event in tf.compat.v1.train.summary_iterator(path)
        for value in event.summary.value
        if value.tag == "stage"
    }
    assert {(3, 1.0), (5, 2.0), (9, 3.0)} <= seen


@pytest.mark.parametrize("kill_at, saved", [(2, None), (4, "ckpt-4"), (8, "ckpt-7")])
def test_a_run_killed_within_a_stage_or_at_its_end_resumes_bit_for_bit(
    finished, tmp_path, kill_at, saved
):
    words = tiny.arguments(
        checkpoint_dir=tmp_path / "c",
        stages=STAGES,
        save_checkpoint_steps=100,  # so that the changes alone save
        continue_run="auto",
    )
    process = tiny.start("-F", str(tmp_path / "a"), *words)
    wait_for_step(process, kill_at)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if saved:
        assert (tmp_path / "c" / f"{saved}.index").exists()
    code, _, stderr = tiny.run_here("-F", str(tmp_path / "b"), *words)
    assert code == 0, stderr
    resumed, uninterrupted = metrics_of(tmp_path / "b", 1), metrics_of(finished / "runs", 1)
    assert 9 in resumed["loss"] and (saved is None or 1 not in resumed["loss"])
    for step, value in resumed["loss"].items():
        assert value == uninterrupted["loss"][step], step
