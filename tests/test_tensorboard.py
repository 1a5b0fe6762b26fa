"""What training writes for TensorBoard, read back from its event file."""

import re

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from iodine.train import summaries
from tests.helpers import tiny, trained

SCALARS = {
    *[f"loss/{name}" for name in ("total", "recons", "kl", "mse", "ari", "ari_nobg")],
    *[f"factor/{name}" for name in ("loss", "position", "color", "shape")],
    "debug/global_grad_norm",
}
NUM_SLOTS = 4
TILE = 35 + 4  # a picture and its borders


@pytest.fixture(scope="module")
def events():
    events = EventAccumulator(trained.checkpoint_dir(), size_guidance={"tensors": 0})
    events.Reload()
    return events


def read_scalar(events, tag):
    return {e.step: float(tf.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)}


def read_images(events, tag):
    """{step: uint8 [H, W, 3]}; a summary of an image is (width, height, PNG)."""
    images = {}
    for event in events.Tensors(tag):
        width, height, png = tf.make_ndarray(event.tensor_proto)
        images[event.step] = tf.io.decode_png(png).numpy()
        assert images[event.step].shape == (int(height), int(width), 3)
    return images


def test_the_tags_are_those_of_the_reference(events):
    assert set(events.Tags()["tensors"]) == {*SCALARS, "overview", "sequence", "samples"}


def test_every_step_has_finite_scalars_and_the_loss_is_the_printed_one(events):
    steps = list(range(1, trained.NUM_STEPS + 1))
    for tag in SCALARS:
        values = read_scalar(events, tag)
        assert list(values) == steps, tag
        if not tag.startswith("factor/"):  # a variance of next to nothing, early on
            assert np.all(np.isfinite(list(values.values()))), tag
    printed = re.findall(r"^ *(\d+) Loss: +(\S+)\t", trained.run()[1], re.MULTILINE)
    losses = read_scalar(events, "loss/total")
    assert [(int(step), loss) for step, loss in printed] == [
        (step, f"{losses[step]:.2f}") for step in steps
    ]


def test_the_pictures_have_all_their_tiles_and_none_is_blank(events):
    scenes = tiny.UPDATES["batch_size"]
    steps = tiny.UPDATES["num_iters"] + 1
    sizes = {
        "overview": (scenes, 3 + NUM_SLOTS),
        "sequence": (2 * 3, steps),
        "samples": (4, 4),
    }
    for tag, (rows, columns) in sizes.items():
        images = read_images(events, tag)
        assert list(images) == list(range(1, trained.NUM_STEPS + 1))
        for image in images.values():
            assert image.shape == (rows * TILE, columns * TILE, 3), tag
            tiles = image.reshape(rows, TILE, columns, TILE, 3).swapaxes(1, 2)
            inside = tiles[:, :, 2:-2, 2:-2].reshape(rows * columns, -1)
            assert np.all(inside.std(axis=1) > 0), f"{tag} has a tile of one colour"


def test_the_pictures_show_the_same_scenes_at_every_step(events):
    columns = [image[:, :TILE] for image in read_images(events, "overview").values()]
    for column in columns[1:]:
        np.testing.assert_array_equal(column, columns[0])


def test_what_event_files_say_of_steps_that_are_made_again_is_removed(tmp_path):
    for first, last in ((1, 4), (5, 9)):  # two starts of a run
        writer = tf.summary.create_file_writer(str(tmp_path))
        with writer.as_default():
            for step in range(first, last + 1):
                tf.summary.scalar("loss", float(step), step)
        writer.close()
    first, second = sorted(tmp_path.glob("events*"))
    before = first.read_bytes()
    with open(second, "ab") as file:  # A kill cut the last record off.
        file.write(second.read_bytes()[:20])
    summaries.forget_after(str(tmp_path), 6)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert read_scalar(events, "loss") == {step: float(step) for step in range(1, 7)}
    assert first.read_bytes() == before and len(list(tmp_path.iterdir())) == 2
