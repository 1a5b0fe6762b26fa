"""Images of one's own become batches for a model: framed, numbered, skipped or refused."""

import numpy as np
import pytest
from PIL import Image

from iodine.data import datasets, image_files
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.image_files import image_paths


def save(folder, *names):
    """Saves random images of 6x9 pixels; returns {name: pixels}."""
    rng = np.random.default_rng(0)
    pixels = {name: rng.integers(0, 256, [6, 9, 3], np.uint8) for name in names}
    for name, array in pixels.items():
        Image.fromarray(array).save(folder / name)
    return pixels


def test_images_are_framed_as_the_data_set_says(tmp_path):
    pixels = save(tmp_path, "a.png")["a.png"].astype(np.float32) / 255
    region = [[1, 5], [2, 9]]
    for options, expected in (
        ({"image_dim": [6, 6]}, pixels[:, 1:7]),
        ({"image_dim": [4, 7], "crop_region": region}, pixels[1:5, 2:9]),
        ({"image_dim": [4, 4], "crop_region": region}, pixels[1:5, 3:7]),
        ({"image_dim": [6, 9], "framing": "squeeze"}, pixels),
    ):
        dataset = datasets.CLEVR("nowhere", 1, **{"crop_region": None, **options})
        ((batch, numbers),) = image_files.batches([tmp_path / "a.png"], dataset)
        np.testing.assert_allclose(batch["image"], expected[None, None])
        assert numbers.tolist() == [0]
    ((batch, _),) = image_files.batches(
        [tmp_path / "a.png"], datasets.CLEVR("nowhere", 1, [6, 9], None, grayscale=True)
    )
    np.testing.assert_allclose(batch["image"][0, 0, ..., 0], pixels.mean(-1), atol=0.5 / 255)


def test_batches_number_the_images_whatever_is_skipped(tmp_path, capfd):
    save(tmp_path, "a.png", "c.png", "d.png", "e.png")
    (tmp_path / "b.png").write_text("no image")
    paths = image_paths(tmp_path)
    dataset = datasets.ImageFolder("nowhere", 3, [6, 9], on_error="skip")
    batches = list(image_files.batches(paths, dataset))
    assert [numbers.tolist() for _, numbers in batches] == [[0, 2, 3], [4]]
    assert [len(batch["image"]) for batch, _ in batches] == [3, 1]
    assert f"skipped {tmp_path}/b.png: cannot read the image" in capfd.readouterr().err
    with pytest.raises(DatasetError, match="none of the 1 images can be used"):
        list(image_files.batches(paths[1:2], dataset))
    strict = datasets.ImageFolder("nowhere", 3, [6, 9])
    with pytest.raises(DatasetError, match="b.png: .*data.on_error=skip leaves it out"):
        list(image_files.batches(paths, strict))
