"""One image file of anyone's: found, read with the right values, and framed."""

import os

import numpy as np
import pytest
from PIL import Image

from multi_object_datasets.errors import DatasetError
from multi_object_datasets.image_files import image_paths, read_image


def read(path, shape, **options):
    """Reads an image; returns its pixels as numbers that may be subtracted."""
    image = read_image(str(path), shape, **options)
    assert image.dtype == np.uint8 and image.shape == shape
    return image.astype(int)


def test_grey_and_colour_images_serve_models_of_either(tmp_path):
    color = np.random.default_rng(0).integers(0, 256, [5, 7, 3], np.uint8)
    Image.fromarray(color).save(tmp_path / "color.png")
    Image.fromarray(color[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read(tmp_path / "color.png", (5, 7, 3)), color)
    grey = read(tmp_path / "grey.png", (5, 7, 3))
    np.testing.assert_array_equal(grey, color[..., :1].repeat(3, axis=-1))
    np.testing.assert_array_equal(read(tmp_path / "grey.png", (5, 7, 1)), color[..., :1])
    mean = color.mean(axis=-1, keepdims=True)
    assert abs(read(tmp_path / "color.png", (5, 7, 1)) - mean).max() <= 0.5


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_to_8_bits(tmp_path, suffix):
    values = np.array([[0, 128, 257, 32768], [65535, 65278, 1000, 256]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"grey.{suffix}")
    image = read(tmp_path / f"grey.{suffix}", (2, 4, 3))
    np.testing.assert_array_equal(image[..., 0], [[0, 0, 1, 128], [255, 254, 4, 1]])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_show_black(tmp_path, mode):
    alpha = np.array([[0, 51, 255]], np.uint8)
    if mode == "P":
        image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
        image.putpalette([200] * 9)
        image.save(tmp_path / "a.png", transparency=bytes(alpha[0]))
    else:
        bands = [np.full_like(alpha, 200)] * (len(mode) - 1) + [alpha]
        Image.fromarray(np.stack(bands, axis=-1), mode).save(tmp_path / "a.png")
    image = read(tmp_path / "a.png", (1, 3, 3))
    np.testing.assert_allclose(image[0, :, 1], [0, 40, 200], atol=1)


def test_an_image_that_the_camera_calls_turned_is_turned(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, [4, 6, 3], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be turned by 90 degrees clockwise.
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "a.png", (6, 4, 3)), np.rot90(pixels, -1))


def test_framing_keeps_the_middle_or_all(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, [6, 15, 3], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    path = tmp_path / "a.png"
    np.testing.assert_array_equal(read(path, (6, 6, 3)), pixels[:, 4:10])
    np.testing.assert_array_equal(read(path, (3, 15, 3)), pixels[1:4])
    np.testing.assert_array_equal(read(path, (6, 15, 3), framing="squeeze"), pixels)
    squeezed = read(path, (6, 6, 3), framing="squeeze")
    assert abs(squeezed.mean(axis=(0, 1)) - pixels.mean(axis=(0, 1))).max() < 8
    region = ((1, 5), (2, 12))
    np.testing.assert_array_equal(read(path, (4, 4, 3), crop_region=region), pixels[1:5, 5:9])
    whole = read(path, (4, 10, 3), crop_region=region, framing="squeeze")
    np.testing.assert_array_equal(whole, pixels[1:5, 2:12])
    with pytest.raises(DatasetError, match="a.png: crop_region rows 0:7.* of 6x15 .data.crop_reg"):
        read(path, (4, 4, 3), crop_region=((0, 7), (0, 7)))


def test_a_large_image_is_averaged_as_it_shrinks(tmp_path):
    pixels = np.zeros([64, 64, 3], np.uint8)
    pixels[:, ::2] = 200
    Image.fromarray(pixels).save(tmp_path / "stripes.png")
    assert abs(read(tmp_path / "stripes.png", (4, 4, 3)) - 100).max() <= 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "a.png: cannot read the image .No such file"),
        (b"", "a.png: cannot read the image .cannot identify"),
        (b"no image", "a.png: cannot read the image .cannot identify"),
        (np.float32([[0.5]]), "a.png: has floating-point pixels; save it with 8 bits"),
        (np.int32([[1 << 20]]), "a.png: has more than 16 bits a pixel; save it with 8"),
    ],
)
def test_unusable_files_are_one_line(tmp_path, content, message):
    if isinstance(content, bytes):
        (tmp_path / "a.png").write_bytes(content)
    elif content is not None:
        Image.fromarray(content).save(tmp_path / "a.tif")
        os.rename(tmp_path / "a.tif", tmp_path / "a.png")
    with pytest.raises(DatasetError, match=message) as error:
        read(tmp_path / "a.png", (4, 4, 3))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", range(60))
def test_a_damaged_image_is_read_or_refused(tmp_path, case):
    rng = np.random.default_rng(case)
    suffix = ["png", "jpg", "gif"][case % 3]
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(rng.integers(0, 256, [16, 16, 3], np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    if case % 2:
        del data[rng.integers(len(data)) :]
    else:
        for place in rng.integers(len(data), size=3):
            data[place] ^= rng.integers(1, 256)
    path.write_bytes(data)
    try:
        read(path, (8, 8, 3))
    except DatasetError as error:
        assert str(error).startswith(f"{path}: ")


def test_a_value_of_image_is_a_list_of_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("b.png", "a.JPG", "a_mask.png", "c.jpeg"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    a, b, c, mask = (str(tmp_path / n) for n in ("a.JPG", "b.png", "c.jpeg", "a_mask.png"))
    assert image_paths(tmp_path) == image_paths("~") == [a, b, c]
    assert image_paths(b) == image_paths("~/b.png") == image_paths("~/*.png") == [b]
    assert image_paths([c, "~/b*", tmp_path]) == [c, b, a, b, c]
    assert image_paths(mask) == [mask]
    for value, message in {
        "~/d.png": f"{tmp_path}/d.png: there is no such image",
        "~/d*.png": f"{tmp_path}/d.*: no file has such a name",
        "~/*_mask.png": "only masks have such names",
        5: "a path has to be text, not 5",
        tmp_path / "empty": "empty: there are no PNG or JPEG files in this folder",
    }.items():
        with pytest.raises(DatasetError, match=message):
            image_paths([b, value])
    with pytest.raises(DatasetError, match="list of paths is empty"):
        image_paths([])


@pytest.mark.parametrize("folder", ["dir [1]", "a [x] [y]", "[]", "dir*"])
def test_brackets_in_names_are_no_part_of_a_pattern_where_they_exist(tmp_path, folder):
    (tmp_path / "dir 1").mkdir()
    (tmp_path / folder).mkdir()
    for name in ("a.png", "b [2].png", "b 2.png"):
        for place in ("dir 1", folder):
            Image.new("RGB", (4, 4)).save(tmp_path / place / name)
    a, plain, bracket = (f"{tmp_path}/{folder}/{n}" for n in ("a.png", "b 2.png", "b [2].png"))
    assert image_paths(f"{tmp_path}/{folder}") == [a, plain, bracket]
    assert image_paths(f"{tmp_path}/{folder}/*.png") == [a, plain, bracket]
    assert image_paths(bracket) == [bracket]
    assert image_paths(f"{tmp_path}/{folder}/b [12].png") == [plain]  # A pattern, with a match.
    (tmp_path / folder / "b 2.png").unlink()
    assert image_paths(f"{tmp_path}/{folder}/b [2]*") == [bracket]  # Without any.
    with pytest.raises(DatasetError, match="no such image"):
        image_paths(f"{tmp_path}/{folder}/c [2].png")
