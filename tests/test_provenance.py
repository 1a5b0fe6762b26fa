"""Which scenes a model was trained on is remembered, and those are not evaluated on."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from iodine.data import datasets
from iodine.data.provenance import check_never_trained_on, with_entry
from iodine.errors import UserError
from multi_object_datasets import tetrominoes
from tests.helpers import scene_files


@pytest.fixture
def path(tmp_path):
    """A file of ten scenes."""
    return scene_files.write_scenes(tmp_path / "scenes", tetrominoes.SCENE_FORMAT, 10)[0]


def remembered(*args, **options):
    """Returns what a checkpoint remembers after training on a file."""
    return json.loads(json.dumps(datasets.Tetrominoes(*args, **options).provenance()))


@pytest.mark.parametrize(
    ("trained", "tested"),
    [
        ({"held_out": 5}, {"held_out": 5}),
        ({"held_out": 5}, {"held_out": 3}),
        ({"held_out": 5, "image_dim": (14, 14)}, {"held_out": 5, "max_num_objects": 2}),
        ({"held_out": 3, "max_num_objects": 2}, {"held_out": 5, "min_num_objects": 3}),
        ({"held_out": 0, "min_num_objects": 2}, {"held_out": 5, "max_num_objects": 1}),
    ],
)
def test_scenes_never_trained_on_may_be_evaluated(path, trained, tested):
    trained = remembered(path, 1, **trained)
    assert check_never_trained_on([trained], datasets.Tetrominoes(path, 1, **tested)) is None


@pytest.mark.parametrize(
    ("trained", "tested"),
    [
        ({"held_out": 3}, {"held_out": 5}),
        ({"held_out": 0}, {"held_out": 5}),
        ({"held_out": 10}, {"held_out": 10}),  # No more scenes than that: all serve both.
        ({"held_out": 5}, {"held_out": 10}),
        ({"held_out": 3, "max_num_objects": 2}, {"held_out": 5, "min_num_objects": 2}),
    ],
)
def test_scenes_trained_on_are_refused_with_the_way_out(path, trained, tested):
    trained = remembered(path, 1, **trained)
    with pytest.raises(UserError) as error:
        check_never_trained_on([trained], datasets.Tetrominoes(path, 1, **tested))
    message = str(error.value)
    assert path in message and "--split test" in message and "data.path=" in message
    keep = trained["held_out"]
    assert (f"keep to data.held_out={keep}" in message) == (keep > 0) and "\n" not in message


def test_it_is_the_content_of_the_file_that_counts(path, tmp_path):
    trained = remembered(path, 1, held_out=3)
    os.utime(path, (0, 0))
    os.rename(path, tmp_path / "moved")
    moved = datasets.Tetrominoes(str(tmp_path / "moved"), 1, held_out=5)
    with pytest.raises(UserError, match="was trained on scenes of .*moved"):
        check_never_trained_on([trained], moved)
    other, _ = scene_files.write_scenes(tmp_path / "other", tetrominoes.SCENE_FORMAT, 10, seed=1)
    line = check_never_trained_on([trained], datasets.Tetrominoes(other, 1, held_out=5))
    assert line == f"{other} is another file than the model was trained on"


def test_of_scenes_that_are_all_held_out_nothing_is_said_unless_they_were_trained_on(
    path, tmp_path
):
    other, _ = scene_files.write_scenes(tmp_path / "other", tetrominoes.SCENE_FORMAT, 10, seed=1)
    beside = datasets.Tetrominoes(path, 1, held_out=10)
    beside.only_held_out = True
    elsewhere = remembered(other, 1, held_out=5)
    assert check_never_trained_on([elsewhere], beside) is None
    assert "does not say" in check_never_trained_on([None, elsewhere], beside)
    with pytest.raises(UserError, match="was trained on scenes of"):
        check_never_trained_on([elsewhere, remembered(path, 1, held_out=3)], beside)


def test_all_that_a_model_was_ever_trained_on_counts(path, tmp_path):
    other, _ = scene_files.write_scenes(tmp_path / "other", tetrominoes.SCENE_FORMAT, 10, seed=1)
    entries = [remembered(path, 1, held_out=3), remembered(other, 1, held_out=5)]
    dataset = datasets.Tetrominoes(path, 1, held_out=5)
    for history in (entries, entries[::-1], [None, *entries]):
        with pytest.raises(UserError, match="left alone the first 3.*keep to data.held_out=3"):
            check_never_trained_on(history, dataset)
    assert check_never_trained_on(entries, datasets.Tetrominoes(path, 1, held_out=3)) is None
    # Scenes of the same file that training left alone, but nobody knows what came before.
    kept = datasets.Tetrominoes(path, 1, held_out=3)
    assert "does not say" in check_never_trained_on([None, *entries], kept)


def test_a_history_has_each_data_set_once():
    first, second = {"content": "a", "held_out": 1}, {"content": "a", "held_out": 2}
    history = with_entry(with_entry([], first), second)
    assert history == [first, second]
    assert with_entry(history, dict(first)) == history
    assert with_entry([None], first) == [None, first]


def test_a_checkpoint_that_does_not_say_is_told(path):
    line = check_never_trained_on(None, datasets.Tetrominoes(path, 1, held_out=5))
    assert "does not say which scenes it was trained on" in line


def test_a_folder_of_images_is_known_by_its_files(tmp_path):
    for name in "abc":
        Image.fromarray(np.zeros([9, 9, 3], np.uint8)).save(tmp_path / f"{name}.png")
    folder = datasets.ImageFolder(tmp_path, 1, (8, 8), held_out=1.0)
    assert check_never_trained_on([folder.provenance()], folder) is None
    trained = {**folder.provenance(), "share": 0.5}
    with pytest.raises(UserError, match="trained on images of .*keep to data.held_out=0.5"):
        check_never_trained_on([trained], folder)
    (tmp_path / "c.png").unlink()
    fewer = datasets.ImageFolder(tmp_path, 1, (8, 8), held_out=1.0)
    line = check_never_trained_on([trained], fewer)
    assert "has other images than" in line and "may have been trained on some" in line
