"""What `segment` writes of image files."""

import re

import numpy as np
import pytest
from PIL import Image

from iodine import main
from iodine.evaluate import segment
from iodine.figures.colors import slot_colors
from multi_object_datasets.errors import DatasetError
from tests.helpers import tiny, trained

pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.fixture
def pictures(tmp_path):
    """A folder of five random pictures, the second of them broken, two with the same stem."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "c.png", "d.png", "D.jpg"):
        Image.fromarray(rng.integers(0, 255, (35, 50, 3), np.uint8)).save(folder / name)
    (folder / "b.png").write_text("no picture")
    return folder


def tiny_model(**updates):
    """(data set, model) of the tiny config with random weights."""
    config = main.get_config("tetrominoes", {**tiny.UPDATES, **updates})
    dataset, model = main.build(config["data"]), main.build(config["model"])
    model.initialize(dataset.image_shape)
    return dataset, model


def test_the_command_writes_label_maps_arrays_and_a_page(tmp_path, pictures):
    out = tmp_path / "out"
    words = {"checkpoint_dir": trained.checkpoint_dir(), "data__path": "nowhere"}
    words |= {"image": pictures, "out": out, "data__on_error": "skip"}
    code, stdout, stderr = tiny.run_here("segment", *tiny.arguments(**words))
    assert code == 0, stderr
    assert f"skipped {pictures}/b.png: cannot read the image" in stderr
    assert f"wrote the slots of 4 image files and {out}/report.html" in stdout
    stems = ["D", "a", "c", "d-2"]
    files = [*(f"{stem}{end}" for stem in stems for end in (".npz", "_labels.png"))]
    assert sorted(p.name for p in out.iterdir()) == sorted(
        [*files, "slots.npz", "decomposition.png", "report.html"]
    )

    arrays, labels = np.load(out / "a.npz"), Image.open(out / "a_labels.png")
    assert arrays["masks"].shape == (4, 35, 35)
    assert arrays["components"].shape == (4, 35, 35, 3)
    np.testing.assert_allclose(arrays["masks"].sum(axis=0), 1.0, rtol=1e-5)
    middle = np.asarray(Image.open(pictures / "a.png"))[:, 7:42]
    np.testing.assert_allclose(arrays["image"], middle / 255.0, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(labels), arrays["masks"].argmax(axis=0))
    assert arrays["path"] == f"{pictures}/a.png"
    assert arrays["z_mean"].shape == arrays["z_std"].shape == (4, 4) and (arrays["z_std"] > 0).all()
    colors = np.reshape(labels.getpalette(), (-1, 3))[:4]
    np.testing.assert_array_equal(colors, np.round(255 * np.array(slot_colors(4))))
    slots = np.load(out / "slots.npz")
    order = [f"{pictures}/{name}" for name in ("D.jpg", "a.png", "c.png", "d.png")]
    assert slots["path"].tolist() == order and slots["area"].shape == (4, 4)
    for name in ("z_mean", "z_std"):
        each = [np.load(out / f"{stem}.npz")[name] for stem in stems]
        np.testing.assert_array_equal(slots[name], each)
    np.testing.assert_allclose(slots["area"][1], arrays["masks"].mean(axis=(1, 2)), rtol=1e-6)
    page = (out / "report.html").read_text()
    assert "4 image files" in page and len(re.findall("<img", page)) == 1


def test_an_image_gets_the_same_slots_in_batches_of_any_size(tmp_path, pictures):
    _, model = tiny_model()
    model.refinement_batch_size = 2
    for batch_size in (1, 3):
        dataset, _ = tiny_model(**{"data.batch_size": batch_size, "data.on_error": "skip"})
        segment.segment(model, dataset, "untrained", str(pictures), tmp_path / f"{batch_size}", 0)
    for name in ("D", "a", "c", "d-2"):
        one, three = (np.load(tmp_path / f"{n}" / f"{name}.npz") for n in (1, 3))
        for key in ("image", "masks", "components"):
            np.testing.assert_allclose(one[key], three[key], rtol=1e-3, atol=1e-5)


def test_the_report_shows_no_more_images_than_it_has_room_for(tmp_path):
    count = segment.NUM_SHOWN + 1
    for number in range(count):
        Image.new("RGB", (35, 35)).save(tmp_path / f"{number:02}.png")
    dataset, model = tiny_model()
    segment.segment(model, dataset, "untrained", str(tmp_path), tmp_path / "out", 0)
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"{count} image files" in page
    rows = re.findall(r"<tr><td>(\d+)</td><td>[^<]*/(\d+).png</td>", page)
    assert rows == [(str(n + 1), f"{n:02}") for n in range(segment.NUM_SHOWN)]
    assert len(list((tmp_path / "out").glob("*.npz"))) == count + 1
    assert np.load(tmp_path / "out" / "slots.npz")["z_mean"].shape == (count, 4, 4)


def test_an_image_file_named_as_the_file_of_all_slots_is_numbered():
    assert segment.output_names(["a/slots.png", "Slots.jpg", "b.png"]) == [
        "slots-2",
        "Slots-3",
        "b",
    ]


def test_long_names_leave_room_for_their_endings(tmp_path):
    long = "ä" * 125 + ".png"  # 254 bytes of the 255 that a file system takes
    first, second = segment.output_names([f"a/{long}", f"b/{long}"])
    assert (first, second) == ("ä" * 115, "ä" * 115 + "-2")
    (tmp_path / f"{second}_labels.png").touch()


@pytest.mark.parametrize(
    ("words", "said"),
    [({"out": "x"}, "say which images: image="), ({"image": "."}, "say where to write: out=")],
)
def test_what_is_missing_is_one_line(words, said):
    with pytest.raises(ValueError, match=said):
        main.ex.run("segment", named_configs=["tetrominoes_fast"], config_updates=words)


@pytest.mark.parametrize("is_there", [False, True])
def test_an_image_file_that_cannot_be_used_leaves_nothing_behind(tmp_path, is_there):
    Image.new("RGB", (35, 35), "red").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    out = tmp_path / "out"
    if is_there:
        out.mkdir()
    words = {"image": str(tmp_path / "*.png"), "out": str(out), "data.batch_size": 1}
    with pytest.raises(DatasetError, match="b.png: cannot read the image"):
        main.ex.run("segment", named_configs=["tetrominoes_fast"], config_updates=words)
    assert out.exists() == is_there and not list(out.glob("*"))


def test_the_label_map_names_the_largest_mask_of_each_pixel():
    masks = np.moveaxis([[[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]]], -1, 0)[..., None]  # [3, 1, 2, 1]
    picture = segment.label_map(masks)
    assert picture.mode == "P" and np.asarray(picture).tolist() == [[1, 0]]
