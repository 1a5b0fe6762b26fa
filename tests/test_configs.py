"""Every shipped config builds, trains for a step and evaluates."""

import numpy as np
import pytest
import tensorflow as tf

from iodine import config
from iodine.evaluate.evaluation import evaluate
from iodine.main import build, get_config
from iodine.train import loop
from multi_object_datasets.generators.example import encode

pytestmark = pytest.mark.usefixtures("eagerly")
NUM_SCENES = 4
NAMES = list(config.NAMED_CONFIGS)
# The first word of a config's name: updates that make its networks small.
SMALL = {
    "air": {"n_z": 4, "model.lstm_size": 8, "model.hidden_size": 8, "model.bound_draws": 10},
    "monet": {"model.attention_channels": [4, 4], "model.encoder_channels": [4, 4]}
    | {"model.encoder_mlp_size": 8, "model.decoder_channels": [4, 4]},
    "rnn": {"n_z": 8, "num_iters": 3, "model.mlp_size": 8},
    "slot": {"model.encoder_channels": [4, 4], "model.decoder_channels": [4] * 5}
    | {"model.decoder_strides": [2, 1, 1, 1, 1]},
}


def small(config_name):
    """The config with few channels and small pictures, otherwise as shipped."""
    family = config_name.split("_")[0]
    if family in SMALL:
        small_images = {"batch_size": 2, "data.image_dim": [16, 16], "stages": []}
        return get_config(config_name, {**SMALL[family], **small_images})
    if "refinement_core" not in get_config(config_name)["model"]:
        networks = {"model.encoder.cnn_opt.output_channels": [4], "model.encoder.mlp_opt": None}
        return get_config(config_name, {**networks, "batch_size": 2, "data.image_dim": [16, 16]})
    encoder = "model.refinement_core.encoder_net"
    model = get_config(config_name)["model"]
    plan = model["refinement_core"]["encoder_net"]
    num_inner = len(model["decoder"]["pixel_decoder"]["cnn_opt"]["output_channels"]) - 1
    return get_config(
        config_name,
        {
            "batch_size": 2,
            "num_iters": 2,
            "stages": [],
            "data.image_dim": [16, 16],
            "model.decoder.pixel_decoder.cnn_opt.output_channels": [4] * num_inner + [None],
            f"{encoder}.cnn_opt.output_channels": [4] * len(plan["cnn_opt"]["output_channels"]),
            f"{encoder}.mlp_opt.output_sizes": [8] * len(plan["mlp_opt"]["output_sizes"]),
        },
    )


def write_scenes(path, scene_format, num_objects=4):
    """Writes scenes of random pixels in the format of a data set."""
    rng = np.random.default_rng(0)
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for _ in range(NUM_SCENES):
            scene = {}
            for name, feature in scene_format.features.items():
                if feature.dtype == np.uint8:
                    scene[name] = rng.integers(1, 3, feature.shape).astype(np.uint8)
                else:
                    scene[name] = rng.random(feature.shape, np.float32)
            scene["image"] = 255 * rng.integers(2, size=scene["image"].shape).astype(np.uint8)
            shape = scene_format.features["mask"].shape  # [..., L, H, W, 1]
            entities = min(shape[-4], num_objects + 1)
            label = rng.integers(entities, size=[*shape[:-4], *shape[-3:]])
            one_hot = np.arange(shape[-4])[:, None, None, None] == label[..., None, :, :, :]
            mask = 255 * one_hot.astype(np.uint8)
            axes = scene_format.features["mask"].stored_axes
            scene["mask"] = mask.transpose(np.argsort(axes)) if axes else mask
            if "visibility" in scene:
                scene["visibility"] = np.float32(np.arange(shape[-4]) < entities)
            writer.write(encode(scene))


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_config_trains_for_a_step_and_evaluates(name, tmp_path):
    tf.config.run_functions_eagerly(name != "sequences")  # compiled in no other test
    config = small(name)
    config["data"]["path"] = str(tmp_path / "scenes.tfrecords")
    dataset, model = build(config["data"]), build(config["model"])
    write_scenes(config["data"]["path"], dataset.scene_format)
    means = loop.train(
        dataset,
        model,
        build(config["optimizer"]),
        tf.distribute.get_strategy(),
        loop.Options(
            seed=0,
            directory=str(tmp_path / "checkpoints"),
            until=1,
            save_summaries_steps=1,
            save_checkpoint_steps=1,
        ),
        lambda *_: None,
    )
    assert np.isfinite(means["loss"])
    report = evaluate(model, dataset, num_images=3, seed=0)
    assert report["num_images"] == 3
    for name in {"ari", "mse", "recons", "kl", "mask_kl"} & set(model.METRICS):
        assert np.isfinite(report[name]["mean"])
    if "iwae" in model.METRICS:
        assert all(np.isfinite(report[n]["mean"]) for n in ("count_accuracy", "elbo", "iwae"))
        assert np.sum(report["confusion"]) == 3
        return
    if model.num_components == 1:
        return
    num_states = config["model"].get("num_iters", 0) + 1
    assert len(report["ari_nobg"]["per_iteration"]) == num_states
    mapping = config["model"].get("factor_evaluator")
    assert set(report.get("factors", {})) == {f[0] for f in (mapping or {}).get("mapping", [])}
