"""The benchmarks run and count work right; how fast anything is, no test says."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import train_step
from iodine.main import get_config
from iodine.modules import convolutions
from tests import tiny


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
