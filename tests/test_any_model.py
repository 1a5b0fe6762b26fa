"""The commands show any model that keeps the contract, whatever it does not have."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from iodine import main
from iodine.evaluate import compare, evaluation, segment, visualization
from iodine.model import Model, with_ground_truth
from multi_object_datasets.generate import generate
from tests.helpers import tiny


class Halves(Model):
    """Takes the left half of a picture for one slot and the right half for another.

    It has just a result: no iterations, no likelihood, no prior, nothing to decode.
    """

    num_components = 2
    METRICS = ("ari", "miou_nobg", "mse")

    def initialize(self, image_shape):
        self.image_shape = tuple(image_shape)

    def noise_shape(self, batch_size):
        return [1, batch_size]

    def __call__(self, data, noise=None):
        raise NotImplementedError("nobody trains it here")

    def get_overview_images(self, data, nr_images=4):
        return {}

    def eval(self, data, noise=None):
        image = tf.convert_to_tensor(data["image"])  # [B, 1, H, W, C]
        left = tf.cast(tf.range(image.shape[3]) < image.shape[3] // 2, tf.float32)
        masks = tf.stack([left, 1.0 - left])[None, :, None, :, None]  # [1, K, 1, W, 1]
        masks = tf.broadcast_to(masks, [image.shape[0], 2, *image.shape[2:4], 1])
        components = tf.repeat(image, 2, axis=1)
        recons = tf.reduce_sum(masks * components, axis=1, keepdims=True)
        given = with_ground_truth(data)
        true_mask = given["true_mask"][:, 0] if "true_mask" in given else None
        metrics = self.image_metrics(image, recons, true_mask, masks)
        z = tf.zeros([image.shape[0], 1, 2, 3])  # [B, T, K, Z]: it says nothing of its slots.
        return {
            "data": given,
            "latent": {"z": z, "z_mean": z},
            "outputs": {
                "recons": recons[:, None],
                "pred_mask": masks[:, None],
                "pred_mask_logits": masks[:, None],
                "components": components[:, None],
            },
            "losses": {"total": tf.reduce_mean(metrics["mse"])},
            "metrics": {name: value[:, None] for name, value in metrics.items()},
        }


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
    generate("tetrominoes", num_examples=4, seed=0, path=scenes, workers=1)
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
