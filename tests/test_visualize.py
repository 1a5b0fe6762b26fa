"""The visualize command, run as people run it."""

import re

import numpy as np
import pytest
from PIL import Image

from iodine.modules.utils import UserError
from iodine.visualization import read_picture
from multi_object_datasets.generate import generate
from tests import tiny, trained

SCENE_FIGURES = [
    "curves.png",
    "decomposition.png",
    "decomposition_masked.png",
    *[f"{name}_{b}.png" for name in ("inputs", "iterations", "traversals") for b in (1, 2)],
    "samples.png",
]


def visualize(**updates):
    """Runs the command: (exit code, stdout, stderr)."""
    arguments = tiny.arguments(checkpoint_dir=trained.checkpoint_dir(), **updates)
    return tiny.run("visualize", *arguments)


def check_report(directory, names):
    """Checks that exactly these figures are there, not blank, and that the page has them inside."""
    assert sorted(path.name for path in directory.iterdir()) == sorted([*names, "report.html"])
    for name in names:
        pixels = np.asarray(Image.open(directory / name).convert("RGB"))
        assert pixels.shape[1] >= 800 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50, name
    page = (directory / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == len(names)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    return page


def test_held_out_scenes_are_shown_with_metrics_and_projections(tmp_path):
    scenes = str(tmp_path / "scenes.tfrecords")
    generate("tetrominoes", num_examples=4, seed=0, path=scenes, workers=1)
    out = tmp_path / "report"
    code, stdout, stderr = visualize(out=out, eval_images=4, data__path=scenes)
    assert code == 0, stderr
    page = check_report(out, [*SCENE_FIGURES, "projections.png"])
    assert "foreground ARI" in page and "12 visible objects" in page
    assert f"wrote {out}/report.html" in stdout


def test_pictures_are_shown_without_the_data_set(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("wide.jpg", (40, 90)), ("tall.png", (70, 50))):
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)).save(tmp_path / name)
    images = f'["{tmp_path}/wide.jpg", "{tmp_path}/tall.png"]'
    out = tmp_path / "report"
    code, stdout, stderr = visualize(image=images, out=out, data__path="nowhere")
    assert code == 0, stderr
    page = check_report(out, SCENE_FIGURES)
    assert "wide.jpg" in page and "tall.png" in page and "foreground ARI" not in page
    assert f"{tmp_path}/wide.jpg: 90x40, the middle 40x40 resized to 35x35" in stdout


def test_a_picture_keeps_its_middle_and_its_values(tmp_path):
    columns = np.repeat([0, 255, 51, 0], [5, 10, 10, 5]).astype(np.uint8)
    Image.fromarray(np.tile(columns, (20, 1))).convert("RGB").save(tmp_path / "a.png")
    image = read_picture(str(tmp_path / "a.png"), (4, 4, 3))
    assert image.shape == (4, 4, 3) and image.dtype == np.float32
    # Bilinear resizing to a fifth blends over the edge in the middle only.
    np.testing.assert_allclose(image[0, [0, 3], 0], [1.0, 0.2])
    assert image[0, 1, 0] > image[0, 2, 0]


@pytest.mark.parametrize("width", [35, 70])
def test_a_picture_of_the_right_height_is_cropped_alone(tmp_path, width):
    pixels = np.random.default_rng(0).integers(0, 256, (35, width), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    image = read_picture(str(tmp_path / "grey.png"), (35, 35, 1))
    first = (width - 35) // 2
    np.testing.assert_array_equal(image[..., 0], np.float32(pixels[:, first : first + 35]) / 255)


def test_unusable_pictures_are_named(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 50, 4), np.uint8)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    whole = (tmp_path / "rgba.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    for name, reason in {
        "grey.png": r"1 channels \(mode L\), the model needs 3",
        "rgba.png": r"4 channels \(mode RGBA\), the model needs 3",
        "broken.png": "cannot read",
        "text.png": "cannot read",
        "missing.png": "No such file",
    }.items():
        with pytest.raises(UserError, match=f"{name}'.*{reason}|{reason}.*{name}'"):
            read_picture(str(tmp_path / name), (35, 35, 3))


def test_an_unreadable_picture_is_one_line_and_leaves_nothing_behind(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    code, _, stderr = visualize(image=tmp_path / "text.png", out=tmp_path / "report")
    assert code == 1
    assert stderr.splitlines()[-1].startswith(f"error: cannot read the picture '{tmp_path}/text")
    assert "Traceback" not in stderr
    assert not (tmp_path / "report").exists()
