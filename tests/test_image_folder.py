"""Folders of one's own images: any size, with or without masks, and what cannot be used."""

import re

import numpy as np
import pytest
from PIL import Image

from iodine.data import datasets
from iodine.data.provenance import check_never_trained_on
from iodine.errors import UserError
from multi_object_datasets.errors import DatasetError


def save_images(folder, **arrays):
    """Saves arrays as PNG, or as JPEG where the name says so."""
    for name, array in arrays.items():
        suffix = "jpg" if name.startswith("photo") else "png"
        Image.fromarray(np.asarray(array, np.uint8)).save(folder / f"{name}.{suffix}")


def test_own_images_of_any_size_are_resized_and_have_no_masks(tmp_path):
    red, dark = np.zeros([20, 30, 3]), np.full([9, 9], 51)  # A colour and a grey image.
    red[..., 0] = 255
    save_images(tmp_path, b_dark=dark, a_red=red, photo=np.full([40, 8, 3], 102))
    (tmp_path / "notes.txt").write_text("not an image")
    dataset = datasets.ImageFolder(tmp_path, 3, [8, 6], held_out=1.0)
    (batch,) = dataset("summary").take(1).as_numpy_iterator()
    assert batch.keys() == {"image"} and batch["image"].shape == (3, 1, 8, 6, 3)
    colors = np.array([[1, 0, 0], [0.2, 0.2, 0.2], [0.4, 0.4, 0.4]])[:, None, None, None]
    np.testing.assert_allclose(batch["image"], colors * np.ones([8, 6, 1]), atol=0.01)
    assert [len(b["image"]) for b in dataset("test")] == [3]


def test_label_maps_beside_own_images_give_masks(tmp_path):
    labels = np.zeros([8, 8], np.uint8)
    labels[:4, :4], labels[6:, 6:] = 1, 3
    save_images(tmp_path, one=np.zeros([8, 8, 3]), two=np.zeros([16, 16, 3]))
    Image.fromarray(labels).save(tmp_path / "one_mask.png")
    palette = Image.fromarray(np.zeros([16, 16], np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "two_mask.png")
    dataset = datasets.ImageFolder(tmp_path, 2, [8, 8])
    (batch,) = dataset("summary").take(1).as_numpy_iterator()
    np.testing.assert_array_equal(
        batch["mask"][0, 0, ..., 0], labels == np.arange(4)[:, None, None]
    )
    np.testing.assert_array_equal(batch["mask"][1, 0, 0], 1)
    np.testing.assert_array_equal(batch["visibility"], [[1, 1, 0, 1], [1, 0, 0, 0]])
    assert batch["factors"] == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.png", b"not an image", "bad.png: cannot read the image .cannot identify"),
        ("bad.jpg", "cut", "bad.jpg: cannot read the image .*truncated"),
        ("good_mask.png", np.zeros([3, 3]), "good.png: its mask good_mask.png has another size"),
        ("good_mask.png", np.zeros([9, 9, 3]), "good_mask.png: the mask has colours"),
        (
            "good_mask.png",
            np.eye(9) * 248 + 7,
            "good_mask.png: .* up to 255, but labels are 0 for the background and 1, 2, 3",
        ),
        ("fine_mask.png", np.zeros([9, 9]), "good.png: there is no mask good_mask.png"),
        ("bad_mask.png", np.zeros([9, 9]), "bad_mask.png: there is no image bad.png or .jpg"),
        ("GOOD_mask.PNG", np.zeros([9, 9]), "GOOD_mask.PNG: there is no image GOOD.png"),
        ("fine_mask.jpg", np.zeros([9, 9]), "fine_mask.jpg: a mask has to be a PNG file"),
    ],
)
def test_unusable_images_are_named_and_refused_or_skipped(tmp_path, capfd, name, content, message):
    save_images(tmp_path, good=np.zeros([9, 9, 3]))
    if name != "good_mask.png":
        save_images(tmp_path, fine=np.zeros([9, 9, 3]))
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif isinstance(content, str):
        save_images(tmp_path, photo=np.random.default_rng(0).integers(0, 256, [64, 64, 3]))
        whole = (tmp_path / "photo.jpg").read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    else:
        Image.fromarray(np.asarray(content, np.uint8)).save(tmp_path / name)
    cache = str(tmp_path / "cache")
    with pytest.raises(DatasetError, match=message):
        datasets.ImageFolder(tmp_path, 1, [8, 8], cache=cache)("train")
    dataset = datasets.ImageFolder(tmp_path, 1, [8, 8], cache=cache, on_error="skip")
    if name == "good_mask.png":
        with pytest.raises(DatasetError, match="none of its images can be used"):
            dataset("train")
    else:
        assert len(list(dataset("train").take(2))) == 2
    assert re.search(f"skipped .*{message}", capfd.readouterr().err)


@pytest.mark.parametrize("names", [("a.PNG", "a_mask.png"), ("a.JpG", "a_MASK.Png")])
def test_suffixes_count_in_any_case(tmp_path, names):
    image, mask = names
    Image.fromarray(np.zeros([9, 9, 3], np.uint8)).save(tmp_path / image)
    Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path / mask)
    (batch,) = datasets.ImageFolder(tmp_path, 1, [9, 9])("summary").take(1)
    np.testing.assert_array_equal(batch["mask"][0, 0, 1, ..., 0], np.eye(9))
    assert len(list(datasets.ImageFolder(tmp_path, 1, [9, 9], held_out=1.0)("test"))) == 1


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16])
def test_a_mask_of_two_extremes_is_background_and_one_object(tmp_path, dtype):
    save_images(tmp_path, a=np.zeros([9, 9, 3]))
    largest = 1 if dtype is bool else np.iinfo(dtype).max
    Image.fromarray(np.eye(9).astype(dtype) * dtype(largest)).save(tmp_path / "a_mask.png")
    (batch,) = datasets.ImageFolder(tmp_path, 1, [9, 9])("summary").take(1)
    assert batch["mask"].shape == (1, 1, 2, 9, 9, 1)
    np.testing.assert_array_equal(batch["mask"][0, 0, 1, ..., 0], np.eye(9))


@pytest.mark.parametrize("crop_region", [None, [[0, 6], [3, 12]]])
def test_masks_are_framed_as_their_images(tmp_path, crop_region):
    labels = np.random.default_rng(0).integers(0, 3, [8, 20], np.uint8)
    Image.fromarray(labels * np.uint8(100)).save(tmp_path / "a.png")
    Image.fromarray(labels).save(tmp_path / "a_mask.png")
    window = labels if crop_region is None else labels[0:6, 3:12]
    middle = {None: labels[:, 6:14], 6: window[:, 1:7]}[crop_region and 6]
    dim = middle.shape
    (batch,) = datasets.ImageFolder(tmp_path, 1, dim, crop_region)("summary").take(1)
    np.testing.assert_allclose(batch["image"][0, 0, ..., 0], middle * np.float32(100 / 255))
    np.testing.assert_array_equal(np.argmax(batch["mask"][0, 0, ..., 0], axis=0), middle)
    twice = (2 * window.shape[0], 2 * window.shape[1])
    folder = datasets.ImageFolder(tmp_path, 1, twice, crop_region, framing="squeeze")
    (batch,) = folder("summary").take(1)
    squeezed = window.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(np.argmax(batch["mask"][0, 0, ..., 0], axis=0), squeezed)


def test_a_folder_may_be_in_the_home_directory_and_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "images").mkdir()
    save_images(tmp_path / "images", a=np.zeros([9, 9, 3]))
    assert datasets.ImageFolder("~/images", 1, [8, 8])("train")
    with pytest.raises(UserError, match="data.path must name one folder"):
        datasets.ImageFolder(["~/images", "~/images"], 1, [8, 8])("train")


def test_a_new_image_is_noticed(tmp_path):
    save_images(tmp_path, one=np.zeros([9, 9, 3]))
    options = {"batch_size": 1, "image_dim": [8, 8], "held_out": 1.0, "cache": str(tmp_path)}
    assert len(list(datasets.ImageFolder(tmp_path, **options)("test"))) == 1
    save_images(tmp_path, two=np.zeros([9, 9, 3]))
    assert len(list(datasets.ImageFolder(tmp_path, **options)("test"))) == 2


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no PNG or JPEG files in this folder"):
        datasets.ImageFolder(tmp_path, 1, [8, 8])("train")
    with pytest.raises(UserError, match="does not exist: make a folder of PNG or JPEG files"):
        datasets.ImageFolder(tmp_path / "none", 1, [8, 8])("train")


def save_numbered(folder, numbers):
    """Saves images that show their number as their grey value."""
    for number in numbers:
        save_images(folder, **{f"image_{number:03d}": np.full([4, 4], number)})


def grey_values(dataset, subset):
    """Returns the grey values of the images of a subset."""
    batches = dataset(subset).take(100).as_numpy_iterator()  # Of "train" an epoch and more.
    return {round(255 * value) for batch in batches for value in batch["image"][:, 0, 0, 0, 0]}


def test_images_stay_on_their_side_whatever_files_come_and_go(tmp_path, capfd):
    options = {"batch_size": 4, "image_dim": [4, 4]}  # A tenth is held out.
    save_numbered(tmp_path, range(0, 200))
    dataset = datasets.ImageFolder(tmp_path, **options)
    test, train = grey_values(dataset, "test"), grey_values(dataset, "train")
    assert 10 <= len(test) <= 30 and not test & train and test | train == set(range(200))
    line = f"{tmp_path}: {len(test)} of its 200 images are held out for testing (data.held_out=0.1;"
    assert capfd.readouterr().err.count(line) == 1
    trained = dataset.provenance()
    # The first, and some others of either side go, more come, and one has another name.
    gone = {0, 1, min(test), max(train), *sorted(train)[50:60]}
    for number in gone:
        (tmp_path / f"image_{number:03d}.png").unlink()
    save_numbered(tmp_path, range(200, 256))
    renamed = max(test - gone)
    (tmp_path / f"image_{renamed:03d}.png").rename(tmp_path / "a_first.png")
    later = datasets.ImageFolder(tmp_path, **options)
    assert grey_values(later, "test") & set(range(200)) == test - gone
    assert grey_values(later, "train") & set(range(200)) == train - gone
    assert check_never_trained_on([trained], later) is None
    counted = datasets.ImageFolder(tmp_path, **options, held_out=320)  # A number is a tenth too.
    assert grey_values(counted, "test") == grey_values(later, "test")
    larger = datasets.ImageFolder(tmp_path, **{**options, "held_out": 0.5})
    assert test - gone < grey_values(larger, "test")  # A larger share takes more, and the same.
    assert check_never_trained_on([larger.provenance()], later) is None
    with pytest.raises(UserError, match="keep to data.held_out=0.1"):
        check_never_trained_on([later.provenance()], larger)
    assert "may have been trained on some" in check_never_trained_on([trained], larger)


def test_a_folder_too_small_for_its_share_serves_both_and_says_so(tmp_path, capfd):
    save_numbered(tmp_path, range(3))
    dataset = datasets.ImageFolder(tmp_path, 4, [4, 4], held_out=0.001)
    assert grey_values(dataset, "test") == grey_values(dataset, "train") == {0, 1, 2}
    assert "has too few images (3) for data.held_out=0.001" in capfd.readouterr().err
    with pytest.raises(UserError, match="trained on images"):
        check_never_trained_on([dataset.provenance()], dataset)
    for share in (1, 1.0):
        alone = datasets.ImageFolder(tmp_path, 4, [4, 4], held_out=share)
        assert grey_values(alone, "test") == {0, 1, 2}
        with pytest.raises(UserError, match="data.held_out=1.* leaves no scene to train on"):
            alone("train")
