"""The scenes drawn with NumPy: rules of sampling, exact pixels, codes and ranges."""

import itertools
import os

import numpy as np
import pytest

from multi_object_datasets import digits, generators
from multi_object_datasets.generators import balls, multi_dsprites, multi_mnist, shapes, tetrominoes
from multi_object_datasets.generators.worker import scene_rng


def scenes(name, count, variant=None, seed=0):
    module, variant = generators.load(name, variant)
    return [module.scene(scene_rng(seed, "train", index), variant) for index in range(count)]


def assert_one_hot(mask, entity_axis):
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 255}
    np.testing.assert_array_equal((mask == 255).sum(axis=entity_axis), 1)


# Tetrominoes.


def test_tetrominoes_pixels_of_a_hand_made_scene():
    factors = {
        "x": np.array([0, 0, 20, 25], np.float32),
        "y": np.array([0, 0, 30, 10], np.float32),
        "shape": np.array([0, 1, 2, 19], np.float32),  # Bars 1111 and 1/1/1/1, a square.
        "color": np.array([[0, 0, 0], [1, 0, 0], [0, 1, 1], [1, 1, 0]], np.float32),
    }
    factors["x"][2] = 15
    image, mask = tetrominoes.render(factors)
    block = np.array(
        [
            [191, 255, 255, 255, 223],
            [127, 159, 159, 159, 191],
            [127, 159, 159, 159, 191],
            [127, 159, 159, 159, 191],
            [95, 63, 63, 63, 127],
        ]
    )
    expected = np.zeros((35, 35, 3), int)
    labels = np.zeros((35, 35), int)
    for left in (0, 5, 10, 15):
        expected[0:5, left : left + 5, 0] = block
        labels[0:5, left : left + 5] = 1
    for top in (15, 20, 25, 30):
        expected[top : top + 5, 30:35, 1] = expected[top : top + 5, 30:35, 2] = block
        labels[top : top + 5, 30:35] = 2
    for top, left in ((25, 10), (25, 15), (30, 10), (30, 15)):
        expected[top : top + 5, left : left + 5, 0] = block
        expected[top : top + 5, left : left + 5, 1] = block
        labels[top : top + 5, left : left + 5] = 3
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(mask[..., 0].argmax(axis=0), labels)
    assert_one_hot(mask, entity_axis=0)


def test_tetrominoes_shape_codes_are_the_19_orientations():
    balls = {code: tetrominoes.PIXELS[code][::5, ::5] for code in tetrominoes.SHAPES}
    assert sorted(balls) == list(range(1, 20))
    assert all(shape.sum() == 4 for shape in balls.values())
    assert len({(shape.shape, shape.tobytes()) for shape in balls.values()}) == 19
    np.testing.assert_array_equal(balls[6], [[1, 1, 1], [0, 0, 1]])
    np.testing.assert_array_equal(balls[13], [[0, 1], [1, 1], [1, 0]])


def test_tetrominoes_do_not_overlap_and_use_17_shapes_6_colors_and_the_whole_image():
    drawn = scenes("tetrominoes", 300)
    for scene in drawn:
        np.testing.assert_array_equal((scene["mask"] == 255).sum(axis=(1, 2, 3))[1:], 100)
        assert_one_hot(scene["mask"], entity_axis=0)
        for name in ("x", "y", "shape"):
            assert scene[name].shape == (4,) and scene[name].dtype == np.float32
            assert scene[name][0] == 0
        np.testing.assert_array_equal(scene["visibility"], 1)
        assert scene["color"].shape == (4, 3) and not scene["color"][0].any()
    pieces = {
        name: np.stack([scene[name][1:] for scene in drawn])
        for name in ("x", "y", "shape", "color")
    }
    assert set(pieces["shape"].flat) == set(range(1, 20)) - {4, 8}
    assert len(np.unique(pieces["color"].reshape(-1, 3), axis=0)) == 6
    assert set(pieces["color"].reshape(-1, 3).sum(axis=1)) == {1, 2}
    covered = np.any([scene["mask"][0, ..., 0] == 0 for scene in drawn], axis=0)
    assert covered.any(axis=0).all() and covered.any(axis=1).all()


def brute_force_decompositions(image):
    """Returns every set of three placements of the 17 shapes that gives an image."""
    brightness = image.max(axis=-1)
    placements = {}  # {(shape, top, left): its pixels}
    for code in set(tetrominoes.SHAPES) - {4, 8}:
        pixels = tetrominoes.PIXELS[code]
        height, width = pixels.shape
        shading = np.tile(tetrominoes.BLOCK, (height // 5, width // 5))
        for top, left in np.ndindex(36 - height, 36 - width):
            window = np.s_[top : top + height, left : left + width]
            if (brightness[window][pixels] == shading[pixels]).all():
                placements[code, top, left] = np.zeros([35, 35], int)
                placements[code, top, left][window] = pixels
    return {
        frozenset(pieces)
        for pieces in itertools.combinations(placements, 3)
        if (sum(placements[piece] for piece in pieces) == (brightness > 0)).all()
    }


def pieces_of(factors):
    """Returns the pieces of a scene as a set of (shape, top, left)."""
    return frozenset(zip(*(factors[name][1:].astype(int) for name in ("shape", "x", "y"))))


def test_ambiguous_tetrominoes_have_all_decompositions_that_brute_force_finds():
    for scene in scenes("tetrominoes", 12, "ambiguous"):
        decompositions = tetrominoes.decompositions(scene)
        found = [pieces_of(factors) for factors in decompositions]
        assert len(found) == len(set(found)) >= 2 and pieces_of(scene) in found
        assert set(found) == brute_force_decompositions(scene["image"])
        masks = []
        for factors in decompositions:
            image, mask = tetrominoes.render(factors)
            np.testing.assert_array_equal(image, scene["image"])
            assert_one_hot(mask, entity_axis=0)
            assert {name: factors[name].dtype for name in factors} == {
                name: scene[name].dtype for name in factors
            }
            masks.append(mask.tobytes())
        assert len(set(masks)) == len(masks)


def test_ambiguous_tetrominoes_use_the_whole_image_every_color_and_grid():
    drawn = scenes("tetrominoes", 200, "ambiguous")
    covered = np.any([scene["mask"][0, ..., 0] == 0 for scene in drawn], axis=0)
    assert covered.mean() > 0.99
    assert len({tuple(scene["color"][1]) for scene in drawn}) == 6
    for scene in drawn:
        assert (scene["color"][1:] == scene["color"][1]).all()
        np.testing.assert_array_equal((scene["mask"] == 255).sum(axis=(1, 2, 3))[1:], 100)
    corners = {(scene["x"][1] % 5, scene["y"][1] % 5) for scene in drawn}
    assert len(corners) == 25


def test_pieces_of_other_colors_or_apart_have_one_decomposition():
    squares = {"shape": [0, 19, 19, 1], "x": [0, 5, 5, 15], "y": [0, 5, 15, 5]}
    factors = {name: np.array(value, np.float32) for name, value in squares.items()}
    red, green, blue = np.eye(3)
    # Two squares of one colour are two bars, and two pieces 3 and 5, as well.
    for second, count in ((green, 1), (red, 3)):
        factors["color"] = np.array([[0, 0, 0], red, second, blue], np.float32)
        assert len(tetrominoes.decompositions(factors)) == count
    factors["y"][2] += 1  # Off the first square's grid.
    assert len(tetrominoes.decompositions(factors)) == 1


# Collected only if the variable names a file of published scenes: there is nothing to compare with
# otherwise.
if "IODINE_PUBLISHED_TETROMINOES" in os.environ:

    @pytest.mark.parametrize("index", range(10))
    def test_tetrominoes_published_scenes_redrawn_from_their_factors(index):
        import tensorflow as tf

        records = tf.data.TFRecordDataset(os.environ["IODINE_PUBLISHED_TETROMINOES"], "GZIP")
        record = next(iter(records.skip(index))).numpy()
        feature = tf.train.Example.FromString(record).features.feature
        factors = {
            name: np.array(feature[name].float_list.value, np.float32).reshape(4, *shape)
            for name, shape in {"x": (), "y": (), "shape": (), "color": (3,)}.items()
        }
        image, mask = tetrominoes.render(factors)
        assert image.tobytes() == b"".join(feature["image"].bytes_list.value)
        assert mask.tobytes() == b"".join(feature["mask"].bytes_list.value)


# Multi-dSprites and Shapes.


def test_sprites_of_a_given_pose_cover_exact_pixels():
    square = multi_dsprites.sprite_pixels(
        multi_dsprites.SQUARE, x=0.5, y=0.25, scale=1, orientation=0
    )
    expected = np.zeros((64, 64), bool)
    # 19.8 pixels wide, centred on column 32 and row 24: centres from 22.1 and 14.1 on lie in it.
    expected[14:34, 22:42] = True
    np.testing.assert_array_equal(square, expected)
    upright = multi_dsprites.sprite_pixels(multi_dsprites.ELLIPSE, 0.5, 0.5, 1, np.pi / 2)
    lying = multi_dsprites.sprite_pixels(multi_dsprites.ELLIPSE, 0.5, 0.5, 1, 0)
    np.testing.assert_array_equal(upright, lying.T)
    assert (lying.any(axis=0).sum(), lying.any(axis=1).sum()) == (24, 14)
    heart = multi_dsprites.sprite_pixels(multi_dsprites.HEART, 0.5, 0.5, 1, 0)
    np.testing.assert_array_equal(heart, heart[:, ::-1])
    rows = np.flatnonzero(heart.any(axis=1))
    assert not heart[rows[0], 31:33].any()  # Notch above.
    assert heart[rows[-1], 31:33].all()  # Tip below.


@pytest.mark.parametrize(
    "variant, entities, counts",
    [
        ("binarized", 4, {2, 3}),
        ("colored_on_grayscale", 6, {2, 3, 4, 5}),
        ("colored_on_colored", 5, {1, 2, 3, 4}),
        ("binarized_few", 3, {0, 1, 2}),
    ],
)
def test_multi_dsprites_variant_has_its_counts_colors_and_ranges(variant, entities, counts):
    drawn = scenes("multi_dsprites", 60, variant)
    channels = 1 if variant.startswith("binarized") else 3
    for scene in drawn:
        assert scene["image"].shape == (64, 64, channels)
        assert scene["mask"].shape == (64, 64, entities, 1)
        assert_one_hot(scene["mask"], entity_axis=2)
        count = int(scene["visibility"].sum())
        np.testing.assert_array_equal(scene["visibility"], np.arange(entities) < count)
        np.testing.assert_array_equal(
            (scene["mask"] == 255).any(axis=(0, 1, 3)), np.arange(entities) < count
        )
        sprites = np.s_[1:count]
        assert set(scene["shape"][sprites]) <= {1, 2, 3}
        assert (scene["scale"][sprites] >= 0.5).all() and (scene["scale"] <= 1).all()
        assert (scene["orientation"] >= 0).all() and (scene["orientation"] < 2 * np.pi).all()
        for name in ("x", "y", "shape", "scale", "orientation", "color"):
            assert scene[name].dtype == np.float32 and not scene[name][count:].any()
        for entity in range(count):
            shown = scene["image"][scene["mask"][:, :, entity, 0] == 255]
            np.testing.assert_allclose(
                shown / 255, np.broadcast_to(scene["color"][entity], shown.shape), atol=0.002
            )
        background = scene["color"][0]
        if variant != "colored_on_colored":
            assert (background == background[0]).all()
    assert {int(scene["visibility"].sum()) - 1 for scene in drawn} == counts


def test_shapes_lie_in_the_image_in_order_and_are_binary():
    for scene in scenes("shapes", 60):
        assert scene["image"].shape == (28, 28, 1) and scene["mask"].shape == (4, 28, 28, 1)
        assert_one_hot(scene["mask"], entity_axis=0)
        np.testing.assert_array_equal(scene["image"], 255 - scene["mask"][0])
        front = scene["mask"][3, ..., 0] == 255  # Nothing covers the last one.
        rows, columns = np.flatnonzero(front.any(axis=1)), np.flatnonzero(front.any(axis=0))
        np.testing.assert_array_equal(
            front[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1],
            shapes.PIXELS[int(scene["shape"][3])],
        )
        assert scene["x"][3] == np.float32((columns[0] + columns[-1] + 1) / 2 / 28)
        assert scene["y"][3] == np.float32((rows[0] + rows[-1] + 1) / 2 / 28)


@pytest.mark.parametrize(("variant", "count"), [(None, 3), ("crowded", 5), ("single", 1)])
def test_balls_are_whole_apart_and_where_the_factors_say(variant, count):
    drawn = scenes("balls", 60, variant)
    for scene in drawn:
        assert_one_hot(scene["mask"], entity_axis=0)
        assert scene["mask"].shape == (count + 1, 14, 14, 1)
        for entity in range(1, count + 1):
            shown = scene["mask"][entity, ..., 0] == 255
            top, left = int(scene["y"][entity]), int(scene["x"][entity])
            np.testing.assert_array_equal(shown[top : top + 5, left : left + 5], balls.BALL)
            assert shown.sum() == balls.BALL.sum() == 21
            assert (scene["image"][shown] == 255 * scene["color"][entity]).all()
        assert not scene["image"][scene["mask"][0, ..., 0] == 255].any()
    assert {tuple(c) for scene in drawn for c in scene["color"][1:]} == {
        tuple(c) for c in tetrominoes.COLORS
    }
    for name in ("x", "y"):
        assert {p for scene in drawn for p in scene[name][1:]} == set(range(10))


def test_moving_balls_keep_their_velocity_up_to_the_edges():
    start, velocity = np.array([[1, 8], [9, 5]]), np.array([[-0.5, 1.0], [0.25, 0.0]])
    x, y = balls.move(start, velocity, 5).transpose(1, 2, 0)  # [num_balls, T]
    np.testing.assert_array_equal(x, [[1, 0, 0, 0, 1], [8, 9, 8, 7, 6]])
    np.testing.assert_array_equal(y, [[9, 9, 8, 8, 8], [5, 5, 5, 5, 5]])


def test_a_sequence_of_balls_is_one_scene_in_16_frames():
    for scene in scenes("balls", 20, "sequences"):
        assert scene["image"].shape == (16, 14, 14, 3) and set(scene) == {"image", "mask"}
        assert_one_hot(scene["mask"], entity_axis=1)
        shown = scene["mask"][..., 0] == 255  # [T, L, H, W]
        assert (shown[0, 1:].sum(axis=(1, 2)) == balls.BALL.sum()).all()
        assert (shown[:, 3].sum(axis=(1, 2)) == balls.BALL.sum()).all()  # Nothing covers the last.
        for entity in range(4):
            colors = scene["image"][shown[:, entity]]
            assert (colors == colors[0]).all() and colors[0].any() == bool(entity)
        corners = [[axis.min() for axis in np.nonzero(ball)] for ball in shown[:, 3]]
        assert np.abs(np.diff(corners, axis=0)).max() <= 1


# Multi-MNIST.


@pytest.mark.parametrize("variant, size", [("standard", 50), ("small", 64)])
def test_multi_mnist_has_equal_counts_and_digits_that_lie_where_the_factors_say(variant, size):
    drawn = scenes("multi_mnist", 600, variant)
    counts = [int(scene["visibility"].sum()) - 1 for scene in drawn]
    assert all(160 < counts.count(n) < 240 for n in (0, 1, 2))  # three standard deviations
    for scene, count in zip(drawn, counts):
        assert scene["image"].shape == (size, size, 1)
        assert_one_hot(scene["mask"], entity_axis=0)
        np.testing.assert_array_equal(scene["visibility"], np.arange(3) <= count)
        if count == 0:
            assert not scene["image"].any()
        for entity in range(1, count + 1):
            rows, columns = np.nonzero(scene["mask"][entity, ..., 0])
            half = 28 * scene["scale"][entity] / 2
            for pixels, name in ((rows, "y"), (columns, "x")):
                center = scene[name][entity] * size
                assert center - half - 1 <= pixels.min() and pixels.max() <= center + half + 1
            assert (scene["image"][..., 0][rows, columns] >= multi_mnist.SHOWN).all()


def test_textured_digits_are_of_stripes_and_so_is_what_is_behind_them():
    drawn = scenes("multi_mnist", 40, "textured")
    for scene in drawn:
        assert_one_hot(scene["mask"], entity_axis=0)
        np.testing.assert_array_equal(scene["visibility"], [1, 1, 0])
        background, digit = (scene["image"][scene["mask"][entity] == 255] for entity in (0, 1))
        assert len(digit) > 30 and len(background) > 500
        assert min(np.ptp(background), np.ptp(digit)) > 150
    digits_mean = np.mean([s["image"][s["mask"][1] == 255].mean() for s in drawn])
    assert abs(digits_mean - 127.5) < 15  # Brightness tells nothing.


def test_multi_mnist_digits_have_the_sizes_of_their_variant():
    scales = {
        variant: np.concatenate([s["scale"][1:][s["visibility"][1:] > 0] for s in drawn])
        for variant, drawn in ((v, scenes("multi_mnist", 400, v)) for v in multi_mnist.IMAGE_SIZE)
    }
    sides = 1 / scales["standard"]
    assert abs(sides.mean() - 1.3) < 0.02 and abs(sides.std() - 0.1) < 0.02
    longer_sides = multi_mnist.DIGIT_SIDE * scales["small"]
    assert longer_sides.min() >= 9 - 0.5 and longer_sides.max() <= 18 + 0.5


def test_multi_mnist_draws_the_digits_that_it_is_given():
    one_pixel = np.zeros([1, 28, 28], np.uint8)
    one_pixel[0, 14, 14] = 255
    source = one_pixel, np.array([7], np.uint8)
    rng = scene_rng(0, "train", 0)
    for count in range(3):
        factors, layers = multi_mnist.sample(rng, "standard", source, count)
        assert layers.shape == (count, 50, 50) and (layers.any(axis=(1, 2))).all()
        np.testing.assert_array_equal(factors["label"], [0] + [7] * count + [0] * (2 - count))


def test_multi_mnist_refuses_scenes_that_add_up_to_more_than_white():
    white = np.full([1, 28, 28], 255, np.uint8), np.array([0], np.uint8)
    drawn = [multi_mnist.scene(scene_rng(0, "train", i), "small", white) for i in range(40)]
    for scene in drawn:
        labels = scene["mask"][1:, ..., 0].any(axis=0)
        np.testing.assert_array_equal(scene["image"][..., 0] == 255, labels)


def test_multi_mnist_tests_on_digits_that_it_does_not_train_on():
    train, test = (
        generators.load_sources("multi_mnist", split)["source"][0] for split in ("train", "test")
    )
    assert not {x.tobytes() for x in train} & {x.tobytes() for x in test}
    np.testing.assert_array_equal(digits.load("test")[0], test)
