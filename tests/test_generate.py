"""The generator's machinery: file format, determinism, resuming, refusals; real processes."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from multi_object_datasets import digits, generators
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.generate import generate
from multi_object_datasets.generators import example
from multi_object_datasets.generators.worker import scene_rng
from tests.helpers.generator_process import assert_refused, run


def records(path):
    return [record.numpy() for record in tf.data.TFRecordDataset(str(path), "GZIP")]


def test_serialised_scene_is_the_protobuf_message():
    arrays = {
        "image": np.arange(600).astype(np.uint8).reshape(10, 20, 3),
        "x": np.array([0.5, -1, 3e7], np.float32),
        "color": np.arange(33, dtype=np.float32).reshape(11, 3),
    }
    expected = tf.train.Example(
        features=tf.train.Features(
            feature={
                "image": tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[bytes([v]) for v in arrays["image"].flat])
                ),
                "x": tf.train.Feature(float_list=tf.train.FloatList(value=arrays["x"])),
                "color": tf.train.Feature(
                    float_list=tf.train.FloatList(value=arrays["color"].flat)
                ),
            }
        )
    )
    encoded = example.encode(arrays)
    assert tf.train.Example.FromString(encoded) == expected
    assert encoded == expected.SerializeToString(deterministic=True)


def floats(*shape):
    return tf.io.FixedLenFeature(shape, tf.float32)


def one_byte_strings(*shape):
    return tf.io.FixedLenFeature(shape, tf.string)


SPRITES = ("x", "y", "shape", "visibility", "orientation", "scale")
FORMATS = {
    ("tetrominoes", None): {
        "image": one_byte_strings(35, 35, 3),
        "mask": one_byte_strings(4, 35, 35, 1),
        "color": floats(4, 3),
        **{name: floats(4) for name in ("x", "y", "shape", "visibility")},
    },
    ("tetrominoes", "ambiguous"): {
        "image": one_byte_strings(35, 35, 3),
        "mask": one_byte_strings(4, 35, 35, 1),
        "color": floats(4, 3),
        **{name: floats(4) for name in ("x", "y", "shape", "visibility")},
    },
    ("multi_dsprites", "binarized"): {
        "image": one_byte_strings(64, 64, 1),
        "mask": one_byte_strings(64, 64, 4, 1),
        "color": floats(4, 1),
        **{name: floats(4) for name in SPRITES},
    },
    ("multi_dsprites", "colored_on_grayscale"): {
        "image": one_byte_strings(64, 64, 3),
        "mask": one_byte_strings(64, 64, 6, 1),
        "color": floats(6, 3),
        **{name: floats(6) for name in SPRITES},
    },
    ("multi_dsprites", "colored_on_colored"): {
        "image": one_byte_strings(64, 64, 3),
        "mask": one_byte_strings(64, 64, 5, 1),
        "color": floats(5, 3),
        **{name: floats(5) for name in SPRITES},
    },
    ("multi_dsprites", "binarized_few"): {
        "image": one_byte_strings(64, 64, 1),
        "mask": one_byte_strings(64, 64, 3, 1),
        "color": floats(3, 1),
        **{name: floats(3) for name in SPRITES},
    },
    ("multi_mnist", "standard"): {
        "image": one_byte_strings(50, 50, 1),
        "mask": one_byte_strings(3, 50, 50, 1),
        **{name: floats(3) for name in ("label", "scale", "x", "y", "visibility")},
    },
    ("multi_mnist", "small"): {
        "image": one_byte_strings(64, 64, 1),
        "mask": one_byte_strings(3, 64, 64, 1),
        **{name: floats(3) for name in ("label", "scale", "x", "y", "visibility")},
    },
    ("multi_mnist", "textured"): {
        "image": one_byte_strings(32, 32, 1),
        "mask": one_byte_strings(3, 32, 32, 1),
        **{name: floats(3) for name in ("label", "scale", "x", "y", "visibility")},
    },
    ("balls", None): {
        "image": one_byte_strings(14, 14, 3),
        "mask": one_byte_strings(4, 14, 14, 1),
        "color": floats(4, 3),
        **{name: floats(4) for name in ("x", "y", "visibility")},
    },
    ("balls", "crowded"): {
        "image": one_byte_strings(14, 14, 3),
        "mask": one_byte_strings(6, 14, 14, 1),
        "color": floats(6, 3),
        **{name: floats(6) for name in ("x", "y", "visibility")},
    },
    ("balls", "sequences"): {
        "image": one_byte_strings(16, 14, 14, 3),
        "mask": one_byte_strings(16, 4, 14, 14, 1),
    },
    ("shapes", None): {
        "image": one_byte_strings(28, 28, 1),
        "mask": one_byte_strings(4, 28, 28, 1),
        **{name: floats(4) for name in ("x", "y", "shape", "visibility")},
    },
}


@pytest.mark.parametrize("name, variant", FORMATS)
def test_file_reads_back_as_the_scenes_in_the_published_format(name, variant, tmp_path):
    path = tmp_path / "scenes.tfrecords"
    generate(name, num_scenes=2, seed=3, path=path, variant=variant, workers=1)
    specification = FORMATS[name, variant]
    module, chosen = generators.load(name, variant)
    assert len(records(path)) == 2
    for index, record in enumerate(records(path)):
        assert set(tf.train.Example.FromString(record).features.feature) == set(specification)
        parsed = tf.io.parse_single_example(record, specification)
        scene = module.scene(scene_rng(3, "train", index), chosen)
        for feature, value in parsed.items():
            if value.dtype == tf.string:
                value = tf.squeeze(tf.io.decode_raw(value, tf.uint8), axis=-1)
            np.testing.assert_array_equal(value.numpy(), scene[feature])


@pytest.fixture(scope="module")
def three_parts(tmp_path_factory):
    """A file of 5100 Tetrominoes of seed 7, which two workers drew in three parts."""
    path = tmp_path_factory.mktemp("scenes") / "three_parts"
    generate("tetrominoes", 5100, 7, path, workers=2)
    return path


def test_same_seed_gives_the_same_bytes_for_any_number_of_workers(three_parts, tmp_path):
    generate("tetrominoes", 5100, 7, tmp_path / "scenes", workers=1)
    assert (tmp_path / "scenes").read_bytes() == three_parts.read_bytes()
    assert len(set(records(three_parts))) == 5100


def test_arguments_that_are_none_are_refused_in_one_line(tmp_path):
    assert_refused(["balls", "--num-scenes", 1], "--out", "--help")
    assert_refused(["balls", "--num-scenes", "many", "--out", tmp_path / "x"], "'many'")
    assert_refused(["balls", "--num-scenes", 1, "--out", tmp_path / "x", "--sed", 3], "--sed 3")


def test_digits_of_ones_own_are_drawn_and_others_need_none(tmp_path):
    own = tmp_path / "own.npz"
    shipped = np.load(digits.SHIPPED)
    np.savez(own, **{name: array[:50] for name, array in shipped.items()})
    command = "multi_mnist", "--num-scenes", 30, "--workers", 1, "--out"
    for path, options in (("shipped", []), ("own", ["--digits", own])):
        assert run(*command, tmp_path / path, *options).returncode == 0
    assert records(tmp_path / "own") != records(tmp_path / "shipped")
    assert_refused([*command, tmp_path / "x", "--digits", tmp_path / "no.npz"], "no.npz", "digits")
    assert_refused(["balls", *command[1:], tmp_path / "x", "--digits", own], "balls", "no digits")


def test_seeds_and_splits_draw_other_scenes_and_the_count_does_not_matter(tmp_path):
    files = {
        "short": {"seed": 0},
        "long": {"seed": 0, "num_scenes": 40},
        "other seed": {"seed": 1},
        "test": {"seed": 0, "split": "test"},
    }
    for name, options in files.items():
        generate("shapes", **{"num_scenes": 20, "path": tmp_path / name, "workers": 1, **options})
    scenes = {name: records(tmp_path / name) for name in files}
    assert scenes["long"][:20] == scenes["short"]
    assert not set(scenes["long"]) & (set(scenes["other seed"]) | set(scenes["test"]))


def test_a_path_may_be_in_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    generate("shapes", 1, 0, "~/scenes", workers=1)
    assert len(records(tmp_path / "scenes")) == 1


def test_existing_file_is_not_overwritten(tmp_path):
    path = tmp_path / "precious"
    path.write_text("precious")
    assert_refused(("shapes", "--num-scenes", 1, "--out", path), str(path), "exists")
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_parts_of_other_arguments_are_refused_and_kept(tmp_path):
    path = tmp_path / "scenes"
    parts = tmp_path / "scenes.parts"
    parts.mkdir()
    (parts / "plan.json").write_text('{"name": "shapes", "variant": null, "seed": 1}')
    with pytest.raises(DatasetError, match="parts of another generation.*remove the directory"):
        generate("shapes", 1, 0, path)
    assert (parts / "plan.json").exists() and not path.exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"name": "tetrominos"},
            "no generator 'tetrominos'; there are: tetrominoes, multi_dsprites",
        ),
        ({"variant": "red"}, "shapes has no variant 'red'; there are: none"),
        (
            {"name": "multi_dsprites", "variant": "red"},
            "there are: colored_on_grayscale, colored_on_black, colored_on_colored, binarized",
        ),
        ({"split": "validation"}, "split 'validation' must be one of train, test"),
        ({"num_scenes": 0}, "num_scenes must be at least 1, not 0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"workers": 0}, "workers must be at least 1, not 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message, tmp_path):
    with pytest.raises(DatasetError, match=message):
        generate(
            **{"name": "shapes", "num_scenes": 1, "seed": 0, "path": tmp_path / "f", **arguments}
        )
    assert not list(tmp_path.iterdir())


def test_unwritable_directory_is_one_error_line(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "scenes"
    assert_refused(("shapes", "--num-scenes", 1, "--out", path), "cannot write", str(path))


def test_missing_renderers_are_named_with_the_way_to_install_them(tmp_path):
    for module in ("bpy", "mitsuba"):  # Found first, and as good as not there.
        (tmp_path / f"{module}.py").write_text("raise ImportError('not here')")
    for name, install in {"clevr_with_masks": "bpy==", "objects_room": "mitsuba"}.items():
        arguments = name, "--num-scenes", 1, "--out", tmp_path / "scenes.tfrecords"
        assert_refused(arguments, f"pip install {install}", PYTHONPATH=str(tmp_path))
    assert not list(tmp_path.glob("scenes.tfrecords*"))


def test_contact_sheet_shows_scenes_above_their_labels(tmp_path):
    path = tmp_path / "sheet.png"
    module = "generators.contact_sheet"
    assert run("balls", path, "--variant", "sequences", module=module).returncode == 0
    with Image.open(path) as image:
        sheet = np.asarray(image)
    cell = 14 * 9  # pixels, each of the scene's 14 being enlarged
    assert sheet.shape[:2] == (4 * (cell + 2), 8 * (cell + 2))
    drawn = generators.load("balls", "sequences")[0].scene(scene_rng(0, "train", 0), "sequences")
    np.testing.assert_array_equal(sheet[4:126:9, 4:126:9, :3], drawn["image"][0])
    assert_refused(["balls", tmp_path], "does not end in .png", module=module)
    (tmp_path / "folder.png").mkdir()
    assert_refused(["balls", tmp_path / "folder.png"], "cannot write", module=module)
    assert_refused(["bals", path], "bals", module=module)
