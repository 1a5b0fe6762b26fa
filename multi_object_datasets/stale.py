"""Tells replicas of Multi-dSprites that an older generator drew from all other files."""

import colorsys
import itertools

import numpy as np

from multi_object_datasets import files, formats, multi_dsprites
from multi_object_datasets.errors import DatasetError

_NUM_SCENES = 48  # That are looked at. Nearly all of an older file's have a dull sprite.
_OLD_SQUARE_SIDE = 18.0  # Pixels at scale 1.
# Of a sprite's saturation and value; an older file draws them from 0 on.
_LEAST = 0.5 - 1e-3
_ROUNDING = 2  # Pixels at the edges of a scene that another version of NumPy may draw otherwise.


def refuse_stale(path, scene_format):
    """Raises a DatasetError for a file of `colored_on_grayscale` that is out of date.

    Such files hold sprites as pale and dark as no published ones are. No other file is refused: the
    masks of an older file are exactly those that our own renderer draws with the older square, and
    the published ones are of another renderer.

    Args:
      path: TFRecord file, glob or list of these.
      scene_format: their SceneFormat.
    """
    if scene_format.features != multi_dsprites.SCENE_FORMATS["colored_on_grayscale"].features:
        return
    for file in files.expand(path):
        scenes = formats.read_numbered_scenes(file, scene_format)
        if _is_stale(scene for _, _, scene in itertools.islice(scenes, _NUM_SCENES)):
            raise DatasetError(
                f"{file} is out of date: an older generator drew it, with sprites paler and darker "
                "than the published ones. Remove it and draw it again: python -m "
                "multi_object_datasets.generate multi_dsprites --variant colored_on_grayscale "
                f"--num-scenes N --out {file}"
            )


def _is_stale(scenes):
    """Returns whether the older generator drew scenes."""
    from multi_object_datasets.generators import multi_dsprites as generator  # Seldom needed.

    dull = False
    for scene in scenes:
        _, labels = generator.render(scene, _OLD_SQUARE_SIDE)
        shown = scene["mask"][..., 0].argmax(axis=0)  # [64, 64]
        if np.count_nonzero(labels != shown) > _ROUNDING:
            return False
        for color in scene["color"][1 : int(scene["visibility"].sum())]:
            _, saturation, value = colorsys.rgb_to_hsv(*map(float, color))
            dull |= min(saturation, value) < _LEAST
    return dull
