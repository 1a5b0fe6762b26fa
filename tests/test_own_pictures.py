"""Folders of one's own pictures: any size, with or without masks, and what cannot be used."""

import re

import numpy as np
import pytest
from PIL import Image

from iodine.modules import data
from iodine.modules.utils import UserError
from multi_object_datasets.errors import DatasetError


def save_pictures(folder, **arrays):
    """Saves arrays as PNG, or as JPEG where the name says so."""
    for name, array in arrays.items():
        suffix = "jpg" if name.startswith("photo") else "png"
        Image.fromarray(np.asarray(array, np.uint8)).save(folder / f"{name}.{suffix}")


def test_own_pictures_of_any_size_are_resized_and_have_no_masks(tmp_path):
    red, dark = np.zeros([20, 30, 3]), np.full([9, 9], 51)  # A colour and a grey picture.
    red[..., 0] = 255
    save_pictures(tmp_path, b_dark=dark, a_red=red, photo=np.full([40, 8, 3], 102))
    (tmp_path / "notes.txt").write_text("not a picture")
    dataset = data.ImageFolder(tmp_path, 3, [8, 6], held_out=1)
    (batch,) = dataset("summary").take(1).as_numpy_iterator()
    assert batch.keys() == {"image"} and batch["image"].shape == (3, 1, 8, 6, 3)
    colors = np.array([[1, 0, 0], [0.2, 0.2, 0.2], [0.4, 0.4, 0.4]])[:, None, None, None]
    np.testing.assert_allclose(batch["image"], colors * np.ones([8, 6, 1]), atol=0.01)
    assert len(list(dataset("test"))) == 1
    (streamed,) = data.ImageFolder(tmp_path, 3, [8, 6], cache=False)("summary").take(1)
    np.testing.assert_array_equal(streamed["image"], batch["image"])


def test_label_maps_beside_own_pictures_give_masks(tmp_path):
    labels = np.zeros([8, 8], np.uint8)
    labels[:4, :4], labels[6:, 6:] = 1, 3
    save_pictures(tmp_path, one=np.zeros([8, 8, 3]), two=np.zeros([16, 16, 3]))
    Image.fromarray(labels).save(tmp_path / "one_mask.png")
    palette = Image.fromarray(np.zeros([16, 16], np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "two_mask.png")
    dataset = data.ImageFolder(tmp_path, 2, [8, 8])
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
        ("bad.png", b"not a picture", "bad.png: cannot identify image file"),
        ("bad.jpg", "cut", "bad.jpg: .*truncated"),
        ("good_mask.png", np.zeros([3, 3]), "good.png: its mask good_mask.png has another size"),
        ("good_mask.png", np.zeros([9, 9, 3]), "good.png: its mask good_mask.png has colours"),
        ("good_mask.png", np.full([9, 9], 255), "good.png: .* has labels above 254"),
        ("fine_mask.png", np.zeros([9, 9]), "good.png: .*good_mask.png"),
    ],
)
def test_unusable_pictures_are_named_and_refused_or_skipped(
    tmp_path, capfd, name, content, message
):
    save_pictures(tmp_path, good=np.zeros([9, 9, 3]))
    if name != "good_mask.png":
        save_pictures(tmp_path, fine=np.zeros([9, 9, 3]))
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif isinstance(content, str):
        save_pictures(tmp_path, photo=np.random.default_rng(0).integers(0, 256, [64, 64, 3]))
        whole = (tmp_path / "photo.jpg").read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    else:
        Image.fromarray(np.asarray(content, np.uint8)).save(tmp_path / name)
    cache = str(tmp_path / "cache")
    with pytest.raises(DatasetError, match=message):
        data.ImageFolder(tmp_path, 1, [8, 8], cache=cache)("train")
    dataset = data.ImageFolder(tmp_path, 1, [8, 8], cache=cache, on_error="skip")
    if name == "good_mask.png":
        with pytest.raises(DatasetError, match="none of its pictures can be used"):
            dataset("train")
    else:
        assert len(list(dataset("train").take(2))) == 2
    assert re.search(f"skipped .*{message}", capfd.readouterr().err)


def test_a_new_picture_is_noticed(tmp_path):
    save_pictures(tmp_path, one=np.zeros([9, 9, 3]))
    options = {"batch_size": 1, "image_dim": [8, 8], "held_out": 9, "cache": str(tmp_path)}
    assert len(list(data.ImageFolder(tmp_path, **options)("test"))) == 1
    save_pictures(tmp_path, two=np.zeros([9, 9, 3]))
    assert len(list(data.ImageFolder(tmp_path, **options)("test"))) == 2


def test_a_folder_without_pictures_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no PNG or JPEG files in this folder"):
        data.ImageFolder(tmp_path, 1, [8, 8])("train")
    with pytest.raises(UserError, match="does not exist: make a folder of PNG or JPEG files"):
        data.ImageFolder(tmp_path / "none", 1, [8, 8])("train")
