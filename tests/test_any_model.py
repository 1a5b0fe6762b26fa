"""The commands show any model that keeps the contract, whatever it does not have."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from iodine import main
from iodine.evaluate import compare, evaluation, segment, visualization
from iodine.model import Model
from multi_object_datasets.generate import generate
from tests.helpers import tiny


class Halves(Model):
    """Takes the left half of an image for one slot and the right half for another.

    It has just a result: no iterations, no likelihood, no prior, nothing to decode.
    """

    METRICS = ("ari", "miou_nobg", "mse")

    def __init__(self):
        super().__init__(num_components=2, n_z=3)

    def noise_shape(self, batch_size):
        return [1, batch_size]

    def infer(self, image, noise, is_training=False):
        left = tf.cast(tf.range(image.shape[3]) < image.shape[3] // 2, tf.float32)
        masks = tf.stack([left, 1.0 - left])[None, :, None, :, None]  # [1, K, 1, W, 1]
        masks = tf.broadcast_to(masks, [image.shape[0], 2, *image.shape[2:4], 1])
        components = tf.repeat(image, 2, axis=1)
        recons = tf.reduce_sum(masks * components, axis=1, keepdims=True)
        z = tf.zeros([image.shape[0], 2, 3])  # It says nothing of its slots.
        state = {"z": z, "z_mean": z, "recons": recons, "components": components}
        masks = {"pred_mask": masks, "pred_mask_logits": masks}
        return [{**state, **masks, "losses": {"total": tf.zeros(image.shape[0])}}]


@pytest.fixture
def dataset():
    return main.build(main.get_config("tetrominoes", tiny.UPDATES)["data"])


def test_it_is_evaluated(dataset):
    report = evaluation.evaluate(Halves(), dataset, 2, seed=0)
    assert report.keys() == {*Halves.METRICS, "num_images"}
    assert report["mse"]["mean"] == pytest.approx(0.0)
    table = evaluation.format_report(report, Halves.METRICS)
    assert "miou_nobg" in table and "kl" not in table


def test_latents_that_are_all_the_same_are_not_projected(tmp_path, capsys):
    scenes = str(tmp_path / "scenes.tfrecords")
    generate("tetrominoes", num_scenes=4, seed=0, path=scenes, workers=1)
    config = main.get_config("tetrominoes", {**tiny.UPDATES, "data.path": scenes})
    dataset = main.build(config["data"])
    visualization.visualize(Halves(), dataset, "x/ckpt-1", None, tmp_path / "out", 4, seed=0)
    line = "no projections: the latents of 12 visible objects are all the same"
    assert line in capsys.readouterr().out


@pytest.mark.parametrize("own", [False, True])
def test_it_is_shown(dataset, tmp_path, own):
    image = None
    if own:
        image = str(tmp_path / "a.png")
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (35, 35, 3), np.uint8)).save(
            image
        )
    out = tmp_path / "out"
    visualization.visualize(Halves(), dataset, "x/ckpt-1", image, out, 2, seed=0)
    names = {"decomposition.png", "decomposition_masked.png", "report.html"}
    assert {path.name for path in out.iterdir()} == names
    page = (out / "report.html").read_text()
    assert "<title>Halves" in page and "refinement" not in page


def test_it_segments_pictures(dataset, tmp_path):
    Image.new("RGB", (35, 35), "red").save(tmp_path / "a.png")
    segment.segment(Halves(), dataset, "x/ckpt-1", str(tmp_path / "a.png"), tmp_path / "out", 0)
    slots = np.load(tmp_path / "out" / "slots.npz")
    assert set(slots) == {"path", "area", "z_mean"}  # It infers no distributions.
    labels = np.asarray(Image.open(tmp_path / "out" / "a_labels.png"))
    np.testing.assert_array_equal(labels, np.repeat([[0] * 17 + [1] * 18], 35, axis=0))


def test_it_is_compared_with_another(dataset, tmp_path):
    config = main.get_config("tetrominoes", tiny.UPDATES)
    iodine = main.build(config["model"])
    iodine.initialize(dataset.image_shape)
    models = [compare.TrainedModel("a/ckpt-1", iodine), compare.TrainedModel("b/ckpt-2", Halves())]
    compare.compare(models, dataset, tmp_path / "out", 2, seed=0)
    comparison = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert comparison["models"][1]["model"] == "Halves"
    assert comparison["models"][1]["difference"].keys() == set(Halves.METRICS)
    assert (tmp_path / "out" / "curves.png").exists()


PLAIN = """
import tensorflow as tf
from iodine.model import Model

class Plain(Model):
    def __init__(self, num_colors):
        super().__init__(num_components=num_colors, n_z=3)
        self.colors = tf.Variable(tf.zeros([num_colors, 3]))

    def noise_shape(self, batch_size):
        return [1, batch_size]

    def infer(self, image, noise, is_training=False):
        batch_size, _, height, width, _ = image.shape
        colors = tf.tile(self.colors[None], [batch_size, 1, 1])
        components = tf.tile(colors[:, :, None, None], [1, 1, height, width, 1])
        logits = -10.0 * tf.reduce_sum((image - components) ** 2, -1, keepdims=True)
        masks = tf.nn.softmax(logits, axis=1)
        recons = tf.reduce_sum(masks * components, axis=1, keepdims=True)
        error = tf.reduce_mean((recons - image) ** 2, axis=[1, 2, 3, 4])
        return [{"z": colors, "z_mean": colors, "recons": recons, "components": components,
                 "pred_mask": masks, "pred_mask_logits": logits, "losses": {"total": error}}]
"""


@pytest.fixture
def plain_config(tmp_path, monkeypatch):
    """Words of the command line for a model of one's own, in a package of one's own."""
    (tmp_path / "plain_package.py").write_text(PLAIN)
    monkeypatch.syspath_prepend(tmp_path)
    plans = main.get_config("tetrominoes", tiny.UPDATES)
    plans = {
        "data": plans["data"],
        "model": {"constructor": "plain_package.Plain", "num_colors": 3},
        "optimizer": plans["optimizer"],
    }
    (tmp_path / "plain.json").write_text(json.dumps(plans))
    return [
        "with",
        str(tmp_path / "plain.json"),
        'allow_constructors=["plain_package"]',
        f"checkpoint_dir={tmp_path / 'run'}",
        "save_summaries_steps=1",
        "save_images_steps=2",
        "stop_after_steps=3",
    ]


def test_a_model_of_ones_own_trains_and_is_restored(plain_config, tmp_path):
    code, stdout, stderr = tiny.run_here(*plain_config)
    assert code == 0, stderr
    assert [line.split()[0] for line in stdout.splitlines() if "Loss:" in line] == ["1", "2", "3"]
    colors = tf.train.load_variable(
        str(tmp_path / "run_1" / "ckpt-3"), "model/colors/.ATTRIBUTES/VARIABLE_VALUE"
    )
    assert np.all(colors != 0)
    code, stdout, stderr = tiny.run_here(
        "load_checkpoint", *plain_config, f"checkpoint_dir={tmp_path}/run_1"
    )
    assert code == 0, stderr
    assert "(3, 3)" in stdout


@pytest.mark.parametrize(
    "word, line",
    [
        (
            "precision=mixed_bfloat16",
            "precision=mixed_bfloat16: Plain has no argument 'precision', leave it at float32",
        ),
        (
            "rematerialize=True",
            "rematerialize=True: Plain has no argument 'rematerialize', leave it at False",
        ),
    ],
)
def test_what_a_model_does_not_declare_is_refused_in_a_line(plain_config, word, line):
    code, _, stderr = tiny.run_here(*plain_config, word)
    assert code == 1
    assert stderr.splitlines()[-1].endswith(line), stderr
