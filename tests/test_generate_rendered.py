"""The scenes that a 3D library renders: rules of sampling, and renderings where it is installed."""

import importlib.util

import numpy as np
import pytest
import tensorflow as tf

from multi_object_datasets import objects_room
from multi_object_datasets.generate import generate
from multi_object_datasets.generators import clevr_layout, room_layout
from multi_object_datasets.generators.worker import scene_rng


def assert_one_hot(mask, entity_axis):
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 255}
    np.testing.assert_array_equal((mask == 255).sum(axis=entity_axis), 1)


# CLEVR.


@pytest.mark.parametrize("variant, most", [("clevr", 10), ("clevr6", 6), ("clevr6_coarse", 6)])
def test_clevr_samples_keep_gaps_margins_counts_and_ranges(variant, most):
    counts = set()
    for index in range(150):
        factors, view = clevr_layout.sample(scene_rng(0, "train", index), variant)
        count = int(factors["visibility"].sum()) - 1
        counts.add(count)
        present = np.s_[1 : count + 1]
        np.testing.assert_array_equal(factors["visibility"], np.arange(11) <= count)
        for name, codes in {"size": 2, "shape": 3, "material": 2, "color": 8}.items():
            assert factors[name].dtype == np.uint8 and factors[name].shape == (11,)
            assert set(factors[name][present]) <= set(range(1, codes + 1))
            assert not factors[name][0] and not factors[name][count + 1 :].any()
        z = np.where(factors["size"][present] == 1, np.float32(0.7), np.float32(0.35))
        np.testing.assert_array_equal(factors["z"][present], z)
        place = np.stack([factors["x"], factors["y"]], axis=1)[present]
        assert (abs(place) < 3).all()
        right = np.cross(-view["camera"], [0, 0, 1])[:2]
        right /= np.linalg.norm(right)
        for i in range(count):
            for j in range(i):
                offset = place[i] - place[j]
                assert np.linalg.norm(offset) - z[i] - z[j] > 0.25 - 1e-5
                assert abs(offset @ right) > 0.4 - 1e-5
                assert abs(offset @ [-right[1], right[0]]) > 0.4 - 1e-5
        assert (abs(view["camera"] - clevr_layout.CAMERA) <= 0.5).all()
        assert ((factors["rotation"][present] >= 0) & (factors["rotation"][present] <= 360)).all()
        # The camera stands 11.3 from the origin, objects within 4.3.
        depth = factors["pixel_coords"][present, 2]
        assert (depth > 6).all() and (depth < 16.5).all()
    assert counts == set(range(3, most + 1))


def test_clevr_pixel_coords_are_column_row_and_depth():
    camera = np.array([0.0, -10.0, 0.0])  # Looks along y; right is x, up is z.
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1], [2, 10, -1]], float)
    # 350 pixels per unit slope.
    expected = [[160, 120, 10], [195, 120, 10], [160, 85, 10], [195, 138, 20]]
    np.testing.assert_allclose(clevr_layout.project(points, camera), expected)


# Rendering CLEVR needs Blender, an optional extra; without it there is nothing to run.
if importlib.util.find_spec("bpy"):

    def rendered_clevr(path, variant):
        """Returns (image [240, 320, 3], mask [11, 240, 320, 1], features) of a generated scene."""
        generate("clevr_with_masks", 1, 0, str(path), variant=variant, workers=1)
        (record,) = (record.numpy() for record in tf.data.TFRecordDataset(str(path), "GZIP"))
        features = tf.train.Example.FromString(record).features.feature
        image, mask = (
            np.frombuffer(b"".join(features[n].bytes_list.value), np.uint8)
            for n in ("image", "mask")
        )
        return image.reshape(240, 320, 3), mask.reshape(11, 240, 320, 1), features

    def test_clevr_scene_shows_every_object_where_pixel_coords_say(tmp_path):
        image, mask, features = rendered_clevr(tmp_path / "clevr.tfrecords", "clevr6")
        assert_one_hot(mask, entity_axis=0)
        count = int(sum(features["visibility"].float_list.value)) - 1
        assert ((mask == 255).sum(axis=(1, 2, 3))[1 : count + 1] >= 200).all()
        assert not mask[count + 1 :].any()
        assert 60 < image.mean() < 160
        for entity, (column, row, _) in enumerate(
            np.reshape(features["pixel_coords"].float_list.value, (11, 3))[1 : count + 1], start=1
        ):
            # A neighbour in front may hide the middle, but not much more of a visible object.
            rows, columns = np.nonzero(mask[entity, ..., 0])
            assert columns.min() - 20 <= column <= columns.max() + 20
            assert rows.min() - 20 <= row <= rows.max() + 20

    def test_clevr6_coarse_differs_from_clevr6_in_sharpness_alone(tmp_path):
        fine, fine_mask, fine_features = rendered_clevr(tmp_path / "fine.tfrecords", "clevr6")
        coarse, mask, features = rendered_clevr(tmp_path / "coarse.tfrecords", "clevr6_coarse")
        np.testing.assert_array_equal(mask, fine_mask)
        assert set(features) == set(fine_features)
        for name in features:
            assert name == "image" or features[name] == fine_features[name]

        def sharpness(image):
            return np.abs(np.diff(image.astype(int), axis=1)).max()

        def blocks(image):  # Means of 8x8 pixels.
            return image.reshape(30, 8, 40, 8, 3).mean(axis=(1, 3))

        assert sharpness(coarse) < sharpness(fine)
        assert 0 < np.abs(blocks(coarse) - blocks(fine)).max() < 25


# Objects Room.


@pytest.mark.parametrize(
    "variant, counts",
    [
        ("train", {3}),
        ("six_objects", {6}),
        ("empty_room", {0}),
        ("identical_color", {4, 5, 6}),
        ("sequences", {3}),
    ],
)
def test_objects_room_samples_keep_counts_gaps_and_camera_angles(variant, counts):
    seen = set()
    for index in range(60):
        room = room_layout.sample(scene_rng(0, "train", index), variant)
        objects = room["objects"]
        seen.add(len(objects))
        for i, first in enumerate(objects):
            for second in objects[:i]:
                gap = np.linalg.norm(np.subtract(first["position"], second["position"]))
                assert gap > first["radius"] + second["radius"]
        colors = {tuple(thing["color"]) for thing in objects}
        assert len(colors) == (
            min(1, len(objects)) if variant == "identical_color" else len(objects)
        )
        angle, pitch = room["cameras"].T
        assert len(angle) == (16 if variant == "sequences" else 1)
        assert (pitch >= -25).all() and (pitch <= 22).all()
        if variant == "sequences":  # One velocity.
            np.testing.assert_allclose(np.diff(angle), np.diff(angle)[0])
            np.testing.assert_allclose(np.diff(pitch), np.diff(pitch)[0])
    assert seen == counts


# Rendering rooms needs Mitsuba, an optional extra, and a process without TensorFlow.
if importlib.util.find_spec("mitsuba"):

    def rendered_rooms(path, count, variant, frames=()):
        """Returns (images, masks) of generated rooms, which have no other features."""
        generate("objects_room", count, 0, path, variant=variant, workers=1)
        entities = objects_room.MAX_NUM_ENTITIES[variant]
        specification = {
            "image": tf.io.FixedLenFeature((*frames, 64, 64, 3), tf.string),
            "mask": tf.io.FixedLenFeature((*frames, entities, 64, 64, 1), tf.string),
        }
        images, masks = [], []
        for record in tf.data.TFRecordDataset(str(path), "GZIP"):
            features = tf.train.Example.FromString(record.numpy()).features.feature
            assert set(features) == set(specification)
            parsed = tf.io.parse_single_example(record, specification)
            images.append(tf.io.decode_raw(parsed["image"], tf.uint8)[..., 0].numpy())
            masks.append(tf.io.decode_raw(parsed["mask"], tf.uint8)[..., 0].numpy())
        return np.stack(images), np.stack(masks)

    @pytest.mark.parametrize("variant", [v for v in objects_room.VARIANTS if v != "sequences"])
    def test_objects_room_masks_are_one_hot_and_surfaces_have_their_color(variant, tmp_path):
        images, masks = rendered_rooms(tmp_path / "rooms", 2, variant)
        assert_one_hot(masks, entity_axis=1)
        for index, (image, mask) in enumerate(zip(images, masks)):
            rng = scene_rng(0, "train", index)
            room = room_layout.sample(rng, variant)
            assert mask[4:].any() == bool(room["objects"])
            surfaces = [None, room["floor"], room["wall"], room["wall"]]
            surfaces += [thing["color"] for thing in room["objects"]]
            for entity, color in enumerate(surfaces):
                shown = image[mask[entity, ..., 0] == 255]
                if color is not None and len(shown) > 50:
                    assert shown.mean(axis=0).argmax() == color.argmax()

    def test_objects_room_sequence_has_16_frames_of_one_moving_camera(tmp_path):
        images, masks = rendered_rooms(tmp_path / "rooms", 1, "sequences", frames=(16,))
        assert_one_hot(masks, entity_axis=2)
        changes = np.abs(np.diff(images[0].astype(int), axis=0)).mean(axis=(1, 2, 3))
        assert (changes > 0).all()
