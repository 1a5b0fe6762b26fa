"""Which scenes are in which subset, in which order, and from which files."""

import os
import shutil

import numpy as np
import pytest

from iodine.data import datasets
from iodine.errors import UserError
from multi_object_datasets import generate, tetrominoes
from multi_object_datasets.errors import DatasetError
from tests.helpers.scene_files import write_numbered_tetrominoes as tetrominoes_file


def numbers(batch):
    """Returns the numbers of the scenes in a batch."""
    return batch["factors"]["position"][:, 0, 0].astype(int).tolist()


def batches_of(dataset, count=None, *args, **kwargs):
    """Returns the scene numbers in the first `count` batches."""
    batches = dataset(*args, **kwargs)
    return [numbers(b) for b in (batches.take(count) if count else batches).as_numpy_iterator()]


def test_each_epoch_has_every_training_scene_once_in_a_new_order(tmp_path):
    path = tetrominoes_file(tmp_path, 13)
    dataset = datasets.Tetrominoes(path, 4, [35, 35], held_out=3)
    order = sum(batches_of(dataset, 10, "train"), [])
    epochs = [order[:10], order[10:20], order[20:30], order[30:]]
    assert all(sorted(epoch) == list(range(3, 13)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_training_batches_depend_on_seed_and_step_alone(tmp_path):
    path = tetrominoes_file(tmp_path, 11)
    whole = batches_of(datasets.Tetrominoes(path, 4, [35, 35]), 12, "train", seed=5)
    other_instance = datasets.Tetrominoes(path, 4, [35, 35])
    assert batches_of(other_instance, 12, "train", seed=6) != whole
    for start in (1, 7):
        tail = batches_of(other_instance, 12 - start, "train", seed=5, start_step=start)
        assert tail == whole[start:]
    far = batches_of(other_instance, 1, "train", seed=5, start_step=10**12)
    assert len(set(far[0])) == 4


def test_a_batch_may_be_larger_than_the_set(tmp_path):
    dataset = datasets.Tetrominoes(tetrominoes_file(tmp_path, 3), 8, [35, 35])
    (batch,) = batches_of(dataset, 1, "train")
    assert sorted(batch[:3]) == sorted(batch[3:6]) == [0, 1, 2]
    assert batches_of(dataset, 2, "summary") == 2 * [[0, 1, 2, 0, 1, 2, 0, 1]]


def test_held_out_scenes_are_the_first_and_tested_once_in_order(tmp_path):
    path = tetrominoes_file(tmp_path, 12)
    dataset = datasets.Tetrominoes(path, 3, [35, 35], held_out=5)
    assert batches_of(dataset, None, "test") == [[0, 1, 2], [3, 4]]
    assert batches_of(dataset, 3, "summary") == 3 * [[0, 1, 2]]
    assert set(sum(batches_of(dataset, 9, "train"), [])) == set(range(5, 12))
    assert dataset("train").element_spec["image"].shape == (3, 1, 35, 35, 3)


def test_a_small_file_serves_both_and_says_so(tmp_path, capfd):
    path = tetrominoes_file(tmp_path, 4)
    dataset = datasets.Tetrominoes(path, 2, [35, 35], held_out=4)
    assert batches_of(dataset, None, "test") == [[0, 1], [2, 3]]
    assert set(sum(batches_of(dataset, 2, "train"), [])) == {0, 1, 2, 3}
    line = f"{path} has 4 scenes, no more than data.held_out=4: they serve both training"
    assert line in capfd.readouterr().err


def test_the_first_of_the_file_are_held_out_and_then_foreground_objects_counted(tmp_path):
    path = tetrominoes_file(tmp_path, 8, visible=[0, 1, 2, 3, 2, 1, 3, 0])
    dataset = datasets.Tetrominoes(path, 2, min_num_objects=1, max_num_objects=2, held_out=2)
    assert batches_of(dataset, None, "test") == [[1]]
    assert batches_of(dataset, 1, "summary") == [[1, 2]]
    assert set(sum(batches_of(dataset, 6, "train"), [])) == {2, 4, 5}
    none_left = datasets.Tetrominoes(path, 2, min_num_objects=4, held_out=2)
    for subset, part in (("train", ", after the"), ("test", ", among the"), ("summary", "$")):
        with pytest.raises(UserError, match=f"{path} has no scene with .*objects=4 .*s{part}"):
            none_left(subset)
    with pytest.raises(UserError, match="visible objects, among the first data.held_out=2"):
        datasets.Tetrominoes(path, 2, min_num_objects=2, held_out=2)("test")


def test_held_out_scenes_come_with_their_numbers_in_the_file(tmp_path):
    path = tetrominoes_file(tmp_path, 8, visible=[0, 1, 2, 3, 2, 1, 3, 0])
    dataset = datasets.Tetrominoes(path, 3, min_num_objects=1, held_out=6)
    batches = list(dataset("test").as_numpy_iterator())
    assert [batch["scene"].tolist() for batch in batches] == [[1, 2, 3], [4, 5]]
    assert [numbers(batch) for batch in batches] == [[1, 2, 3], [4, 5]]
    assert all(batch["scene"].dtype == np.int64 for batch in batches)
    assert "scene" not in dataset("train").element_spec
    assert "scene" not in dataset("summary").element_spec


def test_without_a_shuffle_buffer_scenes_come_in_the_order_of_the_file(tmp_path):
    path = tetrominoes_file(tmp_path, 5)
    dataset = datasets.Tetrominoes(path, 3, shuffle_buffer=None, held_out=1)
    assert batches_of(dataset, 3) == [[1, 2, 3], [4, 1, 2], [3, 4, 1]]
    assert batches_of(dataset, 1, start_step=2) == [[3, 4, 1]]


def test_a_call_without_a_subset_is_for_training(tmp_path):
    dataset = datasets.Tetrominoes(tetrominoes_file(tmp_path, 5), 3, held_out=1)
    assert batches_of(dataset, 3) == batches_of(dataset, 3, "train")


def test_a_path_may_be_a_glob_a_list_or_in_the_home_directory(tmp_path, monkeypatch):
    whole = [scene["x"][0] for scene in tetrominoes.dataset(tetrominoes_file(tmp_path, 2))]
    os.rename(tmp_path / "scenes.tfrecords", tmp_path / "b-00000-of-00002")
    shutil.copy(tmp_path / "b-00000-of-00002", tmp_path / "b-00001-of-00002")
    monkeypatch.setenv("HOME", str(tmp_path))
    shards = [str(tmp_path / f"b-0000{i}-of-00002") for i in (0, 1)]
    for path, times in (
        ("~/b-00000-of-00002", 1),
        (tmp_path / "b-*", 2),
        ("~/b-0000?-of-00002", 2),
        (shards, 2),
        (["~/b-00000-of-00002", "~/b-*2"], 3),
    ):
        dataset = datasets.Tetrominoes(path, 2, held_out=3 * times - 2)
        read = batches_of(dataset, times, "summary")
        assert sum(read, []) == sum(([int(x) for x in whole] for _ in range(times)), [])
        (count,) = {len(list(tetrominoes.dataset(tfrecords_path=path)))}
        assert count == 2 * times
    with pytest.raises(DatasetError, match="c-.: no file has such a name"):
        datasets.Tetrominoes("~/c-*", 2)("train")
    with pytest.raises(UserError, match="does not exist: generate it"):
        datasets.Tetrominoes([*shards, str(tmp_path / "c")], 2)("train")
    with pytest.raises(DatasetError, match="a path has to be text, not 5"):
        datasets.Tetrominoes([*shards, 5], 2)("train")


def test_scenes_with_an_object_of_the_features_left_out_are_left_out(tmp_path):
    path = tmp_path / "balls.tfrecords"
    generate.generate("balls", num_scenes=40, seed=0, path=path, workers=1)
    red_on_the_left = {"color": [[1, 0, 0], [1, 0, 0]], "x": [0, 4]}

    def scenes_of(leave_out):
        dataset = datasets.Balls(path, 1, held_out=20, leave_out=leave_out)
        return {
            int(batch["scene"][0]): batch["factors"]
            for batch in dataset("test").as_numpy_iterator()
        }

    every, kept = scenes_of(None), scenes_of(red_on_the_left)
    assert len(every) == 20
    for number, factors in every.items():
        color, (x, _) = factors["color"][0, 1:], factors["position"][0, 1:].T
        has_one = ((color == [1, 0, 0]).all(axis=1) & (x <= 4)).any()
        assert (number in kept) == (not has_one)
    assert 0 < len(kept) < 20
    with pytest.raises(UserError, match="no feature 'shape'"):
        scenes_of({"shape": [1, 1]})
