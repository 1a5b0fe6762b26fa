"""The benchmarks run and count work right; how fast anything is, no test says."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import gaps, seeds, time_to_accuracy, train_step
from iodine.entries import of_stage
from iodine.main import get_config
from iodine.modules import convolutions
from tests.helpers import tiny


def test_work_is_counted_from_shapes():
    config = get_config(
        "clevr6",
        {
            "n_z": 1,
            "num_components": 2,
            "num_iters": 1,
            "data.image_dim": [4, 6],
            "model.decoder.pixel_decoder.cnn_opt.output_channels": [5, None],
            "model.refinement_core.encoder_net.cnn_opt.output_channels": [3],
        },
    )
    decoder = 2 * 24 * 9 * (4 * 5 + 5 * 4)  # slots, pixels, taps, channels
    encoder = 2 * 6 * 9 * 18 * 3
    passes = 2 + 1 + 2 * 2
    expected = 2e-9 * (decoder * passes + encoder * 3)
    assert train_step.gflop_per_image(config) == pytest.approx(expected)


def normal(*shape):
    return tf.constant(np.random.default_rng(0).normal(size=shape).astype(np.float32))


LAYERS = {
    "BroadcastConv2D": lambda layer: layer(normal(2, 3), normal(1, 9, 7, 2)),
    "SlotConv2D": lambda layer: layer([normal(2, 1, 9, 7, 2), normal(2, 3, 9, 7, 1)]),
    "NarrowConv2D": lambda layer: layer(normal(2, 9, 7, 6)),
}


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_that_does_less_gives_values_and_gradients_of_the_full_one(name, kernel):
    stride = 2 if name == "SlotConv2D" else 1
    results = []
    for constructor in (getattr(convolutions, name), train_step.FULL_LAYERS[name]):
        layer = constructor(4, kernel, stride=stride)
        LAYERS[name](layer)
        layer.w.assign(normal(*layer.w.shape))
        layer.b.assign(normal(*layer.b.shape))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(LAYERS[name](layer)))
        results.append([loss, *tape.gradient(loss, [layer.w, layer.b])])
    for ours, full in zip(*results):
        np.testing.assert_allclose(ours, full, rtol=1e-3, atol=1e-3)


def test_the_training_step_benchmark_prints_a_row_for_each_variant():
    command = [sys.executable, "-m", "benchmarks.train_step", "demo", "--batch-size", "1"]
    command += ["--repeats", "1", "--variants", "plain", "mixed_bfloat16"]
    result = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True, check=True)
    rows = [line for line in result.stdout.splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[0] for row in rows] == ["| plain", "| mixed_bfloat16"]
    assert "1.00 |" in rows[0]


def test_seeds_trains_evaluates_and_draws_each_seed_once(tmp_path):
    updates = tiny.arguments(stop_after_steps=2, num_iters=1, eval_images=1, data__held_out=1)[1:]
    updates = [word for word in updates if not word.startswith("seed=")]
    out = tmp_path / "out"
    command = [sys.executable, "-m", "benchmarks.seeds", *updates, "--seeds", "0", "1"]
    command += ["--out", str(out)]

    def table():
        result = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True, check=True)
        return sorted(result.stdout.splitlines()[2:])

    first = table()
    assert [row.split(" | ")[:2] for row in first] == [["| float32", "0"], ["| float32", "1"]]
    for seed in (0, 1):
        figures = json.loads((out / f"float32-{seed}.json").read_text())
        assert figures["curves"]["loss"]["steps"] == [1, 2]
        assert f"{figures['evaluation']['ari_nobg']['mean']:.4f}" in first[seed]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert table() == first  # read, not trained again: Sacred's folder of a run is there still
    assert [path.name for path in out.glob("sacred-*/*/run.json")] == ["run.json"] * 2


def test_seeds_that_were_interrupted_resume_in_the_same_directory(tmp_path):
    updates = tiny.arguments(
        stop_after_steps=40,
        save_checkpoint_steps=5,
        num_iters=1,
        eval_images=1,
        data__held_out=1,
        data__cache=tmp_path,
    )[1:]
    updates = [word for word in updates if not word.startswith("seed=")]
    out = tmp_path / "out"
    command = [sys.executable, "-m", "benchmarks.seeds", *updates, "--seeds", "3"]
    command += ["--out", str(out)]
    process = subprocess.Popen(command, cwd=tiny.ROOT, start_new_session=True)
    while not list(out.glob("float32-3/ckpt-*.index")):
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    began = max(int(path.stem.split("-")[1]) for path in out.glob("float32-3/ckpt-*.index"))
    subprocess.run(command, cwd=tiny.ROOT, check=True)
    assert not (out / "float32-3_1").exists() and not (out / "float32-3_2").exists()
    assert (out / "float32-3" / "ckpt-40.index").exists()
    figures = json.loads((out / "float32-3.json").read_text())
    assert figures["curves"]["loss"]["steps"][-1] == 40 and figures["minutes"] > 0
    resumed = json.loads((out / "sacred-float32-3" / "2" / "metrics.json").read_text())
    assert resumed["loss"]["steps"] == list(range(began + 1, 41))
    (out / "float32-3.json").unlink()  # interrupted once more, before or in the evaluation
    subprocess.run(command, cwd=tiny.ROOT, check=True)
    assert json.loads((out / "float32-3.json").read_text()) == figures
    assert len(list((out / "sacred-float32-3").glob("*/run.json"))) == 2


def test_of_a_step_that_was_made_twice_the_later_one_counts():
    times = [f"2026-01-01T00:0{minute}:00" for minute in range(5)]
    first = {"start_time": times[0], "heartbeat": times[1], "status": "RUNNING"}
    second = {"start_time": times[2], "heartbeat": times[3], "stop_time": times[4]}
    runs = [
        (first, {"loss": {"steps": [1, 2, 3], "values": [9.0, 8.0, 7.0]}}),
        (second, {"loss": {"steps": [2, 3, 4], "values": [5.0, 4.0, 3.0]}}),
    ]
    curves, minutes = seeds.joined(runs)
    assert curves == {"loss": {"steps": [1, 2, 3, 4], "values": [9.0, 5.0, 4.0, 3.0]}}
    assert minutes == pytest.approx(3.0)


def test_time_to_accuracy_counts_minutes_and_scenes_of_the_steps():
    loss = {"steps": [10, 20, 30], "timestamps": [f"2026-01-01T00:0{m}:00" for m in (0, 1, 4)]}
    assert time_to_accuracy.minutes_of(loss, 30) == pytest.approx(6.0)
    stages = [{"until": 10, "batch_size": 8}, {"until": 30}]
    config = {
        "stages": stages,
        "stop_after_steps": 30,
        **dict.fromkeys(of_stage()),
        "batch_size": 2,
    }
    assert [time_to_accuracy.scenes_after(config, step) for step in (5, 10, 20)] == [40, 80, 100]


def test_time_to_accuracy_trains_in_pieces_and_goes_on_where_it_was(tmp_path):
    words = tiny.arguments(eval_images=1, data__held_out=1)[1:]
    curve = time_to_accuracy.follow(words, tmp_path, every=3, steps=3)
    assert [(point["step"], point["scenes"]) for point in curve] == [(3, 6)]
    assert curve[0]["minutes"] > 0 and -1 <= curve[0]["ari_nobg"] <= 1
    assert time_to_accuracy.follow(words, tmp_path, every=3, steps=3) == curve
    assert sorted(path.name for path in (tmp_path / "sacred").iterdir()) == ["3"]
    time_to_accuracy.draw({"tiny": curve}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_gaps_are_what_no_interval_covers():
    busy = [[5.0, 6.0], [1.0, 4.0], [2.0, 3.0], [6.0, 7.0], [11.0, 12.0]]
    np.testing.assert_array_equal(gaps.idle_intervals(busy, 0.0, 10.0), [[0, 1], [4, 5], [7, 10]])
    np.testing.assert_array_equal(gaps.idle_intervals([], 0.0, 2.0), [[0, 2]])
    assert gaps.idle_intervals([[0.0, 9.0]], 1.0, 8.0).shape == (0, 2)


def test_the_hosts_time_is_what_lies_between_steps():
    steps = [("step", 0.0, 10.0), ("step", 11.0, 20.0), ("step", 23.0, 30.0)]
    assert gaps.host_time(steps) == (2.0, 3.0)


def test_gaps_are_found_in_a_profile_of_a_training():
    words = [w for w in tiny.arguments()[1:] if not w.startswith(("stop_after", "save_check"))]
    command = [sys.executable, "-m", "benchmarks.gaps", *words, "--steps", "3"]
    result = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()[-3:]
    assert re.fullmatch(r"3 steps of [\d.]+ ms", lines[0])
    host = re.fullmatch(r"host between two steps: ([\d.]+) ms, at most ([\d.]+) ms", lines[1])
    assert 0 < float(host[1]) <= float(host[2])
    share = re.fullmatch(
        r"nothing computed: ([\d.]+) % of the time, at most [\d.]+ ms at .*", lines[2]
    )
    assert 0 <= float(share[1]) < 100
