"""The readers return what was written, in the published shapes, and name what they cannot read."""

import dis
import graphlib
import gzip
import inspect
import pathlib
import struct
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf

from multi_object_datasets import (
    balls,
    clevr_with_masks,
    formats,
    multi_dsprites,
    multi_mnist,
    objects_room,
    records,
    shapes,
    tetrominoes,
)
from multi_object_datasets.errors import DatasetError, dataset_error_within
from tests.helpers import scene_files

# Data set, variant, shape of image and mask, and the number of features.
FORMATS = [
    (tetrominoes, None, (35, 35, 3), (4, 35, 35, 1), 7),
    (balls, None, (14, 14, 3), (4, 14, 14, 1), 6),
    (shapes, None, (28, 28, 1), (4, 28, 28, 1), 6),
    (multi_dsprites, "binarized", (64, 64, 1), (4, 64, 64, 1), 9),
    (multi_dsprites, "binarized_few", (64, 64, 1), (3, 64, 64, 1), 9),
    (multi_dsprites, "colored_on_grayscale", (64, 64, 3), (6, 64, 64, 1), 9),
    (multi_dsprites, "colored_on_colored", (64, 64, 3), (5, 64, 64, 1), 9),
    (multi_mnist, "standard", (50, 50, 1), (3, 50, 50, 1), 7),
    (multi_mnist, "small", (64, 64, 1), (3, 64, 64, 1), 7),
    (clevr_with_masks, None, (240, 320, 3), (11, 240, 320, 1), 12),
    (objects_room, "train", (64, 64, 3), (7, 64, 64, 1), 2),
    (objects_room, "six_objects", (64, 64, 3), (10, 64, 64, 1), 2),
    (objects_room, "empty_room", (64, 64, 3), (4, 64, 64, 1), 2),
    (objects_room, "identical_color", (64, 64, 3), (10, 64, 64, 1), 2),
    (objects_room, "sequences", (16, 64, 64, 3), (16, 7, 64, 64, 1), 2),
]


def variant_arguments(variant):
    return [] if variant is None else [variant]


@pytest.mark.parametrize(
    ("module", "variant", "image_shape", "mask_shape", "num_features"),
    FORMATS,
    ids=[f"{m.__name__.split('.')[-1]} {v or ''}".strip() for m, v, *_ in FORMATS],
)
def test_scenes_written_by_tensorflow_are_read_back(
    tmp_path, module, variant, image_shape, mask_shape, num_features
):
    fmt = module.SCENE_FORMATS[variant] if variant else module.SCENE_FORMAT
    scene = scene_files.random_scene(fmt, np.random.default_rng(0))
    record = scene_files.serialise(scene, fmt)
    path = scene_files.write(tmp_path / "file", [record] * 2, module.COMPRESSION_TYPE)
    read = list(module.dataset(path, *variant_arguments(variant), map_parallel_calls=2))
    assert len(read) == 2
    assert read[0]["image"].shape == image_shape and read[0]["mask"].shape == mask_shape
    assert len(scene) == num_features
    for result in read:
        assert result.keys() == scene.keys()
        for name, value in scene.items():
            assert result[name].dtype == value.dtype
            np.testing.assert_array_equal(result[name], value, err_msg=name)
    # six_objects and identical_color hold the same features.
    assert formats.recognise(path).features == fmt.features


def test_masks_of_multi_dsprites_are_stored_with_entities_last(tmp_path):
    path = scene_files.parity_file("multi_dsprites_small")
    spec = {"mask": tf.io.FixedLenFeature([64, 64, 6, 1], tf.string)}
    (record,) = tf.data.TFRecordDataset(path, "GZIP")
    stored = tf.io.decode_raw(tf.io.parse_single_example(record, spec)["mask"], tf.uint8)[..., 0]
    (scene,) = multi_dsprites.dataset(path, "colored_on_grayscale")
    np.testing.assert_array_equal(scene["mask"], tf.transpose(stored, [2, 0, 1, 3]))


@pytest.mark.parametrize("case", ["clevr6_small", "tetrominoes_small"])
def test_scenes_agree_with_the_general_parser(case):
    module = {"clevr6_small": clevr_with_masks, "tetrominoes_small": tetrominoes}[case]
    path = scene_files.parity_file(case)
    spec = {
        name: tf.io.FixedLenFeature(
            feature.shape, tf.string if name in module.BYTE_FEATURES else tf.float32
        )
        for name, feature in module.SCENE_FORMAT.features.items()
    }
    for record, scene in zip(tf.data.TFRecordDataset(path, "GZIP"), module.dataset(path)):
        for name, value in tf.io.parse_single_example(record, spec).items():
            if name in module.BYTE_FEATURES:
                value = tf.io.decode_raw(value, tf.uint8)[..., 0]
            np.testing.assert_array_equal(scene[name], value, err_msg=name)


def test_files_of_several_gzip_members_are_read_whole(tmp_path):
    path = tmp_path / "joined"
    single = scene_files.write(tmp_path / "single", [b"one", b"two"])
    with open(single, "rb") as file:
        path.write_bytes(file.read() * 3)
    assert list(records.read_records(path)) == [b"one", b"two"] * 3


def test_every_truncation_is_an_error_even_between_records(tmp_path):
    path = tmp_path / "file"
    # Stored, not compressed, so that a cut may fall exactly between two records.
    plain = scene_files.write(tmp_path / "plain", [b"abc", b"defg", b"hi"], "")
    with open(plain, "rb") as file:
        data = gzip.compress(file.read(), compresslevel=0)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(DatasetError, match=rf"{path}: record [0123]: "):
            list(records.read_records(path))
    path.write_bytes(data)
    assert list(records.read_records(path)) == [b"abc", b"defg", b"hi"]


def test_wrong_record_checksums_inside_a_sound_gzip_file_are_named(tmp_path):
    path = tmp_path / "file"
    plain = scene_files.write(tmp_path / "plain", [b"abc", b"defg", b"hi"], "")
    with open(plain, "rb") as file:
        data = bytearray(file.read())
    data[19 + 12] ^= 1  # First byte of record 1; a record takes its length and 16 bytes.
    path.write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(DatasetError, match="file: record 1: wrong checksum of the record"):
        list(records.read_records(path))
    data[19] ^= 1
    path.write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(DatasetError, match="record 1: wrong checksum of the length"):
        list(records.read_records(path))


@pytest.mark.parametrize("compressed", [True, False])
def test_a_length_that_no_scene_has_is_not_believed(tmp_path, compressed):
    length = struct.pack("<Q", 1 << 30)
    record = length + records.masked_crc(length) + bytes(1 << 28)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(record, 1) if compressed else record[:5000])
    tracemalloc.start()
    with pytest.raises(DatasetError, match="record 0: its 1073741824 bytes are no scene's"):
        list(records.read_records(path))
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_files_without_compression_are_read(tmp_path):
    path = scene_files.write(tmp_path / "plain", [b"abc", b"", b"defg"], "")
    assert list(records.read_records(path, read_buffer_size=5)) == [b"abc", b"", b"defg"]
    data = (tmp_path / "plain").read_bytes()
    (tmp_path / "plain").write_bytes(data[:-1])
    with pytest.raises(DatasetError, match="plain: record 2: the file is truncated"):
        list(records.read_records(path))
    (tmp_path / "plain").write_bytes(data[:-5] + b"x" + data[-4:])
    with pytest.raises(DatasetError, match="plain: record 2: wrong checksum of the record"):
        list(records.read_records(path))


@pytest.mark.parametrize("case", ["clevr6_small", "multi_dsprites_small", "tetrominoes_small"])
def test_a_gunzipped_file_gives_the_same_scenes(tmp_path, case):
    with gzip.open(scene_files.parity_file(case)) as file:
        (tmp_path / "plain").write_bytes(file.read())
    fmt = formats.recognise(tmp_path / "plain")
    plain = scene_files.read(tmp_path / "plain", fmt)
    for scene, expected in zip(plain, scene_files.read(scene_files.parity_file(case), fmt)):
        for name, value in expected.items():
            np.testing.assert_array_equal(scene[name], value)


@pytest.mark.parametrize(
    ("module", "arguments", "fmt"),
    [
        (tetrominoes, (), tetrominoes.SCENE_FORMAT),
        (clevr_with_masks, (), clevr_with_masks.SCENE_FORMAT),
        (multi_dsprites, (4, True), multi_dsprites.SCENE_FORMATS["binarized"]),
        (multi_dsprites, (5,), multi_dsprites.SCENE_FORMATS["colored_on_colored"]),
        (multi_mnist, (), multi_mnist.SCENE_FORMATS["standard"]),
        (multi_mnist, ("small",), multi_mnist.SCENE_FORMATS["small"]),
        (objects_room, (7,), objects_room.SCENE_FORMATS["train"]),
    ],
)
def test_feature_descriptions_are_for_the_general_parser(module, arguments, fmt):
    scene = scene_files.random_scene(fmt, np.random.default_rng(0))
    record = scene_files.serialise(scene, fmt)
    parsed = tf.io.parse_single_example(record, module.feature_descriptions(*arguments))
    assert parsed.keys() == scene.keys()
    for name, value in parsed.items():
        if name in module.BYTE_FEATURES:
            value = tf.io.decode_raw(value, tf.uint8)
        stored_axes = fmt.features[name].stored_axes
        stored = scene[name] if stored_axes is None else scene[name].transpose(1, 2, 0, 3)
        np.testing.assert_array_equal(np.reshape(value, stored.shape), stored)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read it .No such file"),
        (b"", "record 0: the file holds no records"),
        (gzip.compress(b""), "record 0: the file holds no records"),
        (b"PK\3\4 a zip", "record 0: not a TFRecord file"),
        (b"some text of more than a header", "record 0: not a TFRecord file"),
        (gzip.compress(b"some text in a gzip file"), "record 0: wrong checksum of the length"),
    ],
    ids=["missing", "empty", "empty gzip", "zip", "text", "gzip of text"],
)
def test_foreign_files_are_named(tmp_path, content, message):
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=f"{path}: {message}"):
        list(records.read_records(path))


def test_other_data_sets_are_recognised_in_the_error():
    path = scene_files.parity_file("multi_dsprites_small")
    wanted = multi_dsprites.SCENE_FORMATS["binarized"]
    with pytest.raises(DatasetError) as error:
        scene_files.read(path, wanted)
    assert str(error.value) == (
        f"{path}: record 0: not a scene of multi_dsprites (binarized) (it is a scene of "
        "multi_dsprites (colored_on_grayscale)): 'image' has 12288 uint8 values, wanted 64x64x1 "
        "uint8"
    )
    with pytest.raises(DatasetError, match="no variant 'grey'; there are: colored_on_grayscale"):
        multi_dsprites.dataset(path, "grey")


def test_reading_as_a_dataset_tells_the_same_error(tmp_path):
    records_of_two = [
        next(records.read_records(scene_files.parity_file(case)))
        for case in ("tetrominoes_small", "clevr6_small")
    ]
    path = scene_files.write(tmp_path / "file", records_of_two)
    iterator = iter(tetrominoes.dataset(path))
    next(iterator)
    with pytest.raises(tf.errors.OpError, match=f"{path}: record 1: not a scene of tetrominoes"):
        next(iterator)


def test_a_record_that_is_no_example_is_named(tmp_path):
    path = scene_files.write(tmp_path / "file", [b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"])
    with pytest.raises(DatasetError, match="record 0: not a scene of tetrominoes: not a tf.Exam"):
        scene_files.read(path, tetrominoes.SCENE_FORMAT)


def test_an_error_from_a_reading_thread_is_found_again(tmp_path):
    path = scene_files.write(tmp_path / "file", [b"no scene"])
    with pytest.raises(tf.errors.OpError) as error:
        list(tetrominoes.dataset(path))
    assert str(dataset_error_within(error.value)) == (
        f"{path}: record 0: not a scene of tetrominoes: not a tf.Example"
    )
    assert dataset_error_within(tf.errors.InternalError(None, None, "another")) is None


def _imported_names(code):
    """Dotted names of what a code object imports, inside functions too."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            module = instruction.argval
            yield module
        elif instruction.opname == "IMPORT_FROM":
            yield f"{module}.{instruction.argval}"
    for constant in code.co_consts:
        if inspect.iscode(constant):
            yield from _imported_names(constant)


def test_no_module_of_the_package_imports_in_a_circle():
    root = pathlib.Path(records.__file__).parent
    modules = {
        ".".join(file.relative_to(root.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): file
        for file in root.rglob("*.py")
    }
    graph = {}
    for name, file in modules.items():
        imported = set(_imported_names(compile(file.read_text(), file, "exec"))) & modules.keys()
        graph[name] = imported - {"multi_object_datasets", "multi_object_datasets.generators"}
    assert graph["multi_object_datasets.formats"]
    list(graphlib.TopologicalSorter(graph).static_order())
