"""Every model keeps the contract of `iodine.model`. A new model is one new line here."""

import inspect
import pydoc

import numpy as np
import pytest
import tensorflow as tf

from iodine.errors import UserError
from iodine.main import build, build_parts, get_config, load_model
from iodine.train import devices
from iodine.train.learner import Learner, Progress
from tests.helpers import tiny
from tests.helpers.parity_cases import relative_error

B, L, H, W = 4, 4, 16, 12
TINY_AIR = {"n_z": 2, "model.patch_dim": [4, 5], "model.lstm_size": 5, "model.hidden_size": 6}
TINY_SLOT_ATTENTION = {
    "n_z": 6,
    "model.encoder_channels": [4, 5],
    "model.decoder_channels": [4, 4],
    "model.decoder_strides": [1, 1],
}
TINY_MONET = {
    "n_z": 5,
    "model.attention_channels": [3, 4],
    "model.attention_mlp_size": 6,
    "model.encoder_channels": [3, 4],
    "model.decoder_channels": [4, 4],
    # A mask logit's bias has no effect, and Adam would make steps of the rounding of its gradient.
    "optimizer.epsilon": 1e-3,
}
TINY_RNN_NEM = {
    "n_z": 5,
    "num_iters": 2,
    "model.encoder_channels": [3, 4],
    "model.mlp_size": 6,
    "model.flip_prob": 0.0,  # Pixels flipped in training make its loss another than eval's.
    "model.factor_evaluator.mapping": [["position", 2, "scalar"], ["shape", 20, "categorical"]],
}
TINY_VAE = {
    "n_z": 4,
    "model.encoder.cnn_opt.output_channels": [4],
    "model.encoder.mlp_opt.output_sizes": [8],
    "model.decoder.cnn_opt.output_channels": [4, None],
}

# Name: (named config, updates that make it small, channels of its images).
MODELS = {
    "IODINE": ("tetrominoes", {k: v for k, v in tiny.UPDATES.items() if k != "seed"}, 3),
    "AIR": ("air", TINY_AIR, 1),
    "Slot Attention": ("slot_attention_tetrominoes", TINY_SLOT_ATTENTION, 3),
    "MONet": ("monet_tetrominoes", TINY_MONET, 3),
    "RNN-NEM": ("rnn_nem_multi_dsprites", TINY_RNN_NEM, 1),
    "VAE": ("demo_vae", TINY_VAE, 3),
}


def data_for(channels):
    """Scenes of random pixels, each pixel of a random entity; unequal numbers are visible."""
    rng = np.random.default_rng(0)
    label = rng.integers(L, size=[B, 1, 1, H, W, 1])
    return {
        "image": rng.random([B, 1, H, W, channels], np.float32),
        "mask": np.float32(label == np.arange(L)[:, None, None, None]),
        "visibility": np.float32([[1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]),
        "factors": {
            "position": rng.random([B, L, 2], np.float32),
            "color": rng.random([B, L, 3], np.float32),
            "shape": rng.integers(20, size=[B, L, 1]).astype(np.float32),
        },
    }


def parts_of(name, strategy=None):
    """(model with variables off their start, optimizer, data)."""
    config, updates, channels = MODELS[name]
    config = get_config(config, updates)
    tf.random.set_seed(0)
    with devices.replica_local_variables(strategy or tf.distribute.get_strategy()):
        model, optimizer = build(config["model"]), build(config["optimizer"])
        model.initialize([H, W, channels])
    return model, optimizer, data_for(channels)


def noise_for(model, batch_size=B):
    shape = model.noise_shape(batch_size)
    assert shape[1] == batch_size
    return tf.constant(np.random.default_rng(1).normal(size=shape), tf.float32)


@pytest.fixture(params=MODELS, scope="module")
def name(request):
    return request.param


@pytest.fixture(scope="module")
def parts(name):
    return parts_of(name)


def flat(nested, prefix=""):
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def test_the_loss_is_finite_and_its_scalars_are_there(parts):
    model, _, data = parts
    loss, scalars, _ = model(model.observe(data), noise_for(model))
    assert np.isfinite(float(loss)) and float(loss) == float(scalars["loss/total"])
    assert {"loss/mse", "loss/ari", "loss/ari_nobg"} <= scalars.keys()
    assert all(value.shape == () for value in scalars.values())
    for _, scalar in model.PRINTED.values():
        assert scalar in scalars


def test_eval_gives_what_the_contract_says_and_changes_no_variable(parts):
    model, _, data = parts
    before = [v.numpy() for v in model.variables]
    info = model.eval(data, noise_for(model))
    for variable, value in zip(model.variables, before):
        np.testing.assert_array_equal(variable, value)
    batch, num_steps, num_slots, *_ = info["outputs"]["pred_mask"].shape
    assert (batch, num_slots) == (B, model.num_components)
    channels = data["image"].shape[-1]
    for key in ("pred_mask", "pred_mask_logits"):
        assert info["outputs"][key].shape == (B, num_steps, num_slots, H, W, 1)
    assert info["outputs"]["components"].shape == (B, num_steps, num_slots, H, W, channels)
    assert info["outputs"]["recons"].shape == (B, num_steps, 1, H, W, channels)
    assert info["latent"]["z_mean"].shape[:3] == (B, num_steps, num_slots)
    for key in ("mse", "ari", "ari_nobg"):
        assert info["metrics"][key].shape == (B, num_steps)
    assert {"image", "true_mask", "visibility", "factors"} == info["data"].keys()
    known = {*model.METRICS, "total", "factor"}
    assert {*info["losses"], *info["metrics"]} <= known
    alone = model.eval({"image": data["image"]}, noise_for(model))
    assert set(alone["data"]) == {"image"} and "ari" not in alone["metrics"]


def test_eval_has_the_loss_and_the_metrics_of_a_call(parts):
    model, _, data = parts
    loss, scalars, _ = model(data, noise_for(model))
    info = model.eval(data, noise_for(model))
    np.testing.assert_allclose(info["losses"]["total"], loss, rtol=1e-5)
    for key in ("mse", "ari", "ari_nobg"):
        mean = tf.reduce_mean(info["metrics"][key][:, -1])
        np.testing.assert_allclose(mean, scalars[f"loss/{key}"], rtol=1e-5, atol=1e-6)


def test_the_background_is_what_the_model_is_told(parts):
    model, _, data = parts
    scores = {}
    for model.num_background in (1, 3):
        scores[model.num_background] = model.eval(data, noise_for(model))["metrics"]
    model.num_background = 1
    np.testing.assert_array_equal(scores[1]["ari"], scores[3]["ari"])
    assert not np.allclose(scores[1]["ari_nobg"], scores[3]["ari_nobg"])


def test_a_saved_model_encodes_and_decodes_any_number_of_scenes(name, parts, tmp_path):
    model, _, data = parts
    _, _, channels = MODELS[name]
    exported = tf.Module()
    exported.model = model

    def encode(image):
        noise = tf.zeros(model.noise_shape(tf.shape(image)[0]))
        return model.encode({"image": image}, noise)[-1]["z_mean"]

    images = tf.TensorSpec([None, 1, H, W, channels], tf.float32)
    exported.encode = tf.function(encode, input_signature=[images], autograph=False)
    if hasattr(model, "decode"):
        slots = tf.TensorSpec([None, model.num_components, model.n_z], tf.float32)
        exported.decode = tf.function(
            lambda z: model.decode(z)["recons"], input_signature=[slots], autograph=False
        )
    tf.saved_model.save(exported, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    model.refinement_batch_size = None
    for count in (1, B):
        image = tf.constant(data["image"][:count])
        slots = encode(image)
        np.testing.assert_allclose(loaded.encode(image), slots, rtol=1e-3, atol=1e-4)
        if hasattr(model, "decode"):
            recons = model.decode(slots)["recons"]
            np.testing.assert_allclose(loaded.decode(slots), recons, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "method", ["initialize", "infer", "loss", "encode", "__call__", "eval", "decode"]
)
def test_help_shows_what_a_method_takes_and_gives(parts, method):
    model, _, _ = parts
    if not hasattr(model, method):
        return
    argument, *_ = inspect.signature(getattr(model, method)).parameters
    for owner in (model, type(model)):
        title, *text = pydoc.plain(pydoc.render_doc(getattr(owner, method))).splitlines()[2:]
        assert title.startswith((f"{method}({argument}:", f"{method}(self, {argument}:"))
        assert text


def test_slots_of_any_floats_are_decoded_and_other_shapes_refused(parts):
    model, _, _ = parts
    if not hasattr(model, "decode"):
        return
    z = np.random.default_rng(0).normal(size=[2, model.num_components, model.n_z])
    recons = model.decode(tf.constant(z, tf.float32))["recons"]
    np.testing.assert_array_equal(model.decode(z)["recons"], recons)
    for wrong in (z[0], z[..., 1:]):
        with pytest.raises(UserError, match=rf"slots are \[B, K, {model.n_z}\] for .*, not \["):
            model.decode(wrong)
    for wrong in ("x", None):
        with pytest.raises(UserError, match=r"slots are numbers \[B, K, "):
            model.decode(wrong)


def test_noise_of_another_shape_is_refused(parts):
    model, _, data = parts
    with pytest.raises(UserError, match=r"noise of \[.*\] is wanted, not of \[.*\]"):
        model.encode(data, noise_for(model)[..., 1:])


def test_a_loss_of_images_in_another_form_is_refused(parts):
    model, _, data = parts
    image = data["image"][:, 0]
    for wrong, said in ((image, "float32"), (np.uint8(image), "uint8")):
        with pytest.raises(UserError, match=f"the image is {said} .*, float32 .B, frames, H, W, C"):
            model({"image": wrong})


def test_a_model_is_built_with_the_background_of_its_data():
    config = get_config("objects_room")
    dataset, model, _ = build_parts(config)
    assert dataset.num_background == model.num_background == 4
    model, dataset, _ = load_model("objects_room_fast")
    assert dataset.num_background == model.num_background == 4


def test_a_scene_gives_the_same_in_a_batch_of_any_size(name):
    model, _, data = parts_of(name)
    noise = noise_for(model)
    model.refinement_batch_size = B
    together = dict(flat(model.eval(data, noise)))
    one = tf.nest.map_structure(lambda x: x[1:2], data)
    alone = dict(flat(model.eval(one, noise[:, 1:2])))
    for key in ("outputs/recons", "outputs/pred_mask", "metrics/mse", "latent/z_mean"):
        np.testing.assert_allclose(alone[key][0], together[key][1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_a_compiled_call_gives_what_the_eager_one_does(parts, jit_compile):
    model, _, data = parts
    noise = noise_for(model)
    call = tf.function(lambda: model(data, noise)[:2], autograph=False, jit_compile=jit_compile)
    (loss, scalars), (expected, wanted, _) = call(), model(data, noise)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    for key, value in wanted.items():
        # Where slots are alike, rounding decides which one a pixel is counted for.
        np.testing.assert_allclose(scalars[key], value, rtol=1e-3, atol=1e-3, err_msg=key)


def test_a_checkpoint_restores_it(name, parts, tmp_path):
    model, _, data = parts
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "c"))
    other, _, _ = parts_of(name)
    for variable in other.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    tf.train.Checkpoint(model=other).read(path).assert_consumed()
    noise = noise_for(model)
    np.testing.assert_array_equal(other(data, noise)[0], model(data, noise)[0])


def test_a_step_on_two_devices_is_that_on_one(name):
    results = []
    for num_devices in (1, 2):
        strategy = tf.distribute.get_strategy()
        if num_devices > 1:
            strategy = tf.distribute.MirroredStrategy(
                ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
            )
        model, optimizer, data = parts_of(name, strategy)
        # The gradient of a bias that all slots' mask logits share is 0 but for rounding, of which a
        # small epsilon would make a step.
        optimizer.epsilon = 0.01
        learner = Learner(model, optimizer, Progress(model, 3), strategy, xla=False)
        dataset = tf.data.Dataset.from_tensors(data).repeat()
        scalars = learner.step(next(devices.distribute(strategy, dataset)))
        values = [tf.convert_to_tensor(v).numpy() for v in model.trainable_variables]
        results.append((scalars, values))
    (scalars, values), (others, other_values) = results
    for key, value in scalars.items():
        np.testing.assert_allclose(others[key], value, rtol=1e-4, atol=1e-5, err_msg=key)
    for value, other in zip(values, other_values):
        assert relative_error(other, value) < 1e-4


def test_its_pictures_are_pictures(parts):
    model, _, data = parts
    before = [v.numpy() for v in model.variables]
    images = model.get_overview_images(data, nr_images=2)
    assert images
    for image in images.values():
        assert image.shape[0] == 1 and image.shape[3] == 3
        assert 0.0 <= float(tf.reduce_min(image)) and float(tf.reduce_max(image)) <= 1.0
    for variable, value in zip(model.variables, before):
        np.testing.assert_array_equal(variable, value)
