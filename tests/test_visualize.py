"""The visualize command, as people call it."""

import re

import numpy as np
import pytest
from PIL import Image

from multi_object_datasets.generate import generate
from tests.helpers import tiny, trained

pytestmark = pytest.mark.usefixtures("eagerly")

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
    return tiny.run_here("visualize", *arguments)


def check_report(directory, names):
    """Checks that exactly these figures are there, not blank, and that the page has them inside."""
    assert sorted(path.name for path in directory.iterdir()) == sorted([*names, "report.html"])
    for name in names:
        picture = Image.open(directory / name).convert("RGB")
        # Colours are counted up to a number alone.
        assert picture.width >= 800 and picture.getcolors(50) is None, name
    page = (directory / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == len(names)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    return page


def test_held_out_scenes_are_shown_with_metrics_and_projections(tmp_path):
    scenes = str(tmp_path / "scenes.tfrecords")
    generate("tetrominoes", num_scenes=4, seed=0, path=scenes, workers=1)
    out = tmp_path / "report"
    code, stdout, stderr = visualize(out=out, eval_images=4, data__path=scenes)
    assert code == 0, stderr
    page = check_report(out, [*SCENE_FIGURES, "projections.png"])
    assert "foreground ARI" in page and "12 visible objects" in page
    # Images first, then the last iteration's figures, then all iterations', folded up.
    parts = ["<img", "<table", "<details><summary>After each refinement</summary>", "<img"]
    place = 0
    for part in parts:
        place = page.index(part, place) + 1
    assert page.count("<details") == 1
    (cell,) = re.findall("<td>MSE ↓</td><td>([^<]*)</td></tr>", page)
    assert re.fullmatch(r"0\.[0-9]{3,} ± 0\.[0-9]{3,}", cell)
    folded = page[page.index("<details") : page.index("</details>")]
    (row,) = re.findall("<tr><td>MSE ↓</td>(.*?)</tr>", folded)
    assert [len(n.lstrip("0.")) for n in re.findall("<td>(.*?)</td>", row)] == [3, 3, 3]
    assert f"wrote {out}/report.html" in stdout


@pytest.fixture
def pictures(tmp_path):
    """A folder of nine pictures, one of them wide, and a mask."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "abcdefgh":
        Image.fromarray(rng.integers(0, 255, (70, 50, 3), np.uint8)).save(folder / f"{name}.png")
    Image.fromarray(rng.integers(0, 255, (40, 90, 3), np.uint8)).save(folder / "wide.jpg")
    Image.fromarray(np.zeros((70, 50), np.uint8)).save(folder / "a_mask.png")
    return folder


def test_a_list_of_pictures_is_shown_without_the_data_set(tmp_path, pictures):
    out = tmp_path / "report"
    image = f'["{pictures}/wide.jpg", "{pictures}/[a].png"]'
    code, stdout, stderr = visualize(image=image, out=out, data__path="nowhere")
    assert code == 0, stderr
    page = check_report(out, SCENE_FIGURES)
    assert "foreground ARI" not in page and "mask.png" not in page
    assert "wide.jpg" in page and "a.png" in page
    assert "b.png" not in page


def test_a_folders_first_pictures_are_shown_and_what_is_no_picture_is_refused_or_skipped(
    tmp_path, pictures
):
    (pictures / "aa.png").write_text("no picture")
    out = tmp_path / "report"
    code, _, stderr = visualize(image=pictures, out=out, data__path="nowhere")
    assert code == 1
    line = stderr.splitlines()[-1]
    assert line.startswith(f"error: {pictures}/aa.png: cannot read the image")
    assert line.endswith("(data.on_error=skip leaves it out)")
    assert "Traceback" not in stderr
    assert not out.exists()

    words = {"image": pictures, "out": out, "data__path": "nowhere", "data__on_error": "skip"}
    code, _, stderr = visualize(**words)
    assert code == 0, stderr
    assert f"skipped {pictures}/aa.png: cannot read the image" in stderr
    page = check_report(out, SCENE_FIGURES)
    assert "foreground ARI" not in page and "mask.png" not in page
    assert "8 of 10 image files; `segment` takes them all" in page
    assert "aa.png" not in page and "wide.jpg" not in page
    assert "a.png" in page and "h.png" in page
