"""Sprites of an older generator are refused, whatever else there is, and nothing else is."""

import colorsys

import numpy as np
import pytest

from iodine.data import datasets
from multi_object_datasets import generate, multi_dsprites, pack
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.generators import multi_dsprites as generator
from multi_object_datasets.generators.masks import one_hot
from multi_object_datasets.generators.worker import scene_rng
from multi_object_datasets.scene_file import SceneFile
from tests.helpers import scene_files

FORMAT = multi_dsprites.SCENE_FORMATS["colored_on_grayscale"]


def drawn(count, square_side, least, moved=0):
    """Returns scenes of sprites with saturations and values from `least` on."""
    scenes = []
    for index in range(count):
        rng = scene_rng(0, "train", index)
        factors = generator.sample(rng, "colored_on_grayscale")
        for entity in range(1, int(factors["visibility"].sum())):
            hue, saturation, value = rng.uniform([0, least, least], 1)
            factors["color"][entity] = colorsys.hsv_to_rgb(hue, saturation, value)
        image, labels = generator.render(factors, square_side)
        mask = one_hot(np.roll(labels, moved, axis=1), 6)
        scenes.append({"image": image, "mask": mask, **factors})
    return scenes


def written(path, scenes):
    return scene_files.write(path, [scene_files.serialise(scene, FORMAT) for scene in scenes])


def test_a_replica_of_the_older_generator_is_refused_with_the_command_that_draws_it_again(tmp_path):
    path = written(tmp_path / "old.tfrecords", drawn(60, 18.0, least=0.0))
    with pytest.raises(DatasetError) as error:
        datasets.MultiDSprites(path, 2)("train")
    line = str(error.value)
    assert line.startswith(f"{path} is out of date: ") and "\n" not in line
    assert (
        f"generate multi_dsprites --variant colored_on_grayscale --num-scenes N --out {path}"
        in line
    )
    assert not list(tmp_path.glob("*.packed"))
    new = written(tmp_path / "new.tfrecords", drawn(2, generator.SQUARE_SIDE, least=0.5))
    with pytest.raises(DatasetError, match="old.tfrecords is out of date"):
        datasets.MultiDSprites([new, path], 2)("train")


def test_a_cache_that_an_older_version_packed_does_not_slip_through(tmp_path, monkeypatch):
    path = written(tmp_path / "old.tfrecords", drawn(60, 18.0, least=0.0))
    with monkeypatch.context() as older:
        older.setattr(pack.packed_scenes, "_VERSION", 2)
        older.setattr("multi_object_datasets.stale.refuse_stale", lambda *args: None)
        pack.open_scenes(SceneFile(path, FORMAT, (64, 64)))
    with pytest.raises(DatasetError, match="is out of date"):
        datasets.MultiDSprites(path, 2)("train")


@pytest.mark.parametrize(
    ("square_side", "least", "moved"),
    [
        (generator.SQUARE_SIDE, 0.5, 0),  # As they are drawn now.
        (18.0, 0.5, 0),  # Of the older size alone.
        (generator.SQUARE_SIDE, 0.0, 0),  # Pale ones that another renderer drew.
        (18.0, 0.0, 1),
    ],
)
def test_other_sprites_are_read(tmp_path, square_side, least, moved):
    path = written(tmp_path / "file.tfrecords", drawn(60, square_side, least, moved))
    assert next(iter(datasets.MultiDSprites(path, 2)("train")))["image"].shape[0] == 2


def test_scenes_of_the_published_files_and_of_the_generator_are_read(tmp_path):
    published = scene_files.parity_file("multi_dsprites_small")
    pack.open_scenes(SceneFile(published, FORMAT, (64, 64)), tmp_path)
    for variant, fmt in multi_dsprites.SCENE_FORMATS.items():
        path = tmp_path / variant
        generate.generate("multi_dsprites", 50, 0, path, variant=variant, workers=1)
        assert len(pack.open_scenes(SceneFile(str(path), fmt, (64, 64)))) == 50
