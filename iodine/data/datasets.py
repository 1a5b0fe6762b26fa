"""The data sets that configs name: DeepMind's, our own, and anyone's own images."""

import dataclasses
import functools
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np

from iodine.data import default_files
from iodine.data.scene_dataset import SceneDataset
from iodine.errors import UserError
from multi_object_datasets import (
    balls,
    clevr_with_masks,
    files,
    image_folder,
    multi_dsprites,
    multi_mnist,
    objects_room,
    shapes,
    tetrominoes,
)

# Of a folder's images, held out unless `data.held_out` is another share.
HELD_OUT_SHARE = 0.1


def _generate(name, variant=""):
    """Returns the command that generates a data set."""
    variant = f" --variant {variant}" if variant else ""
    command = f"python -m multi_object_datasets.generate {name}{variant}"
    return f"generate it ({command} --num-scenes N --out FILE)"


def _download(name):
    """Returns where DeepMind's file of a data set is."""
    return f"download it from gs://multi-object-datasets/{name}"


def _variant_format(module, variant):
    """Returns the SceneFormat of a data set's variant; raises UserError if there is none."""
    if variant not in module.SCENE_FORMATS:
        known = ", ".join(module.SCENE_FORMATS)
        raise UserError(f"there is no data.dataset_variant '{variant}', only {known}")
    return module.SCENE_FORMATS[variant]


def _check_num_frames(num_frames, scene_format):
    """Raises UserError if the scenes have not as many frames; None is as many as they have."""
    axes = scene_format.features["image"].shape
    length = axes[0] if len(axes) == 4 else 1
    if num_frames is not None and not 1 <= num_frames <= length:
        raise UserError(
            f"data.num_frames={num_frames}, but {scene_format.name} has scenes of {length} "
            f"frame{'s' * (length > 1)}"
        )


@dataclasses.dataclass(eq=False)
class CLEVR(SceneDataset):
    """CLEVR with masks, cut out and resized as in the paper."""

    image_dim: tuple = clevr_with_masks.USUAL_IMAGE_DIM
    crop_region: tuple = clevr_with_masks.USUAL_CROP_REGION

    scene_format = clevr_with_masks.SCENE_FORMAT
    factors: ClassVar = {
        "color": ["color"],
        "shape": ["shape"],
        "size": ["size"],
        "position": ["pixel_coords"],
        "rotation": ["rotation"],
    }
    how_to_get_it = f"{_generate('clevr_with_masks')}, {_download('clevr_with_masks')}"


@dataclasses.dataclass(eq=False)
class _Generated(SceneDataset):
    """A data set whose default file is generated if it is not there."""

    num_scenes: ClassVar[int]

    def _default_file(self):
        """Returns (name of the default file, name of its generator, variant)."""
        name = self.scene_format.name
        return f"{name}_train.tfrecords", name, None

    def _make_file(self):
        file_name, name, variant = self._default_file()
        path = default_files.folder() / file_name
        if [Path(file) for file in files.expand(self.path)] != [path]:
            super()._make_file()
        default_files.generate_file(path, name, self.num_scenes, variant=variant)

    def generate_first(self, num_scenes):
        file_name, name, variant = self._default_file()
        return default_files.generate_first(file_name, name, num_scenes, variant=variant)


@dataclasses.dataclass(eq=False)
class MultiDSprites(_Generated):
    """Multi-dSprites; `dataset_variant` is one of `multi_dsprites.SCENE_FORMATS`.

    A variant's default file is generated if it is not there.
    """

    image_dim: tuple = tuple(multi_dsprites.IMAGE_SIZE)
    dataset_variant: str = "colored_on_grayscale"

    factors: ClassVar = {
        name: [name] for name in ("color", "shape", "scale", "x", "y", "orientation")
    }
    num_scenes = 60000  # As many as the paper trained on.

    def __post_init__(self):
        super().__post_init__()
        self.scene_format = _variant_format(multi_dsprites, self.dataset_variant)
        generate = _generate("multi_dsprites", self.dataset_variant)
        self.how_to_get_it = f"{generate}, {_download('multi_dsprites')}"

    def _default_file(self):
        name, variant = "multi_dsprites", self.dataset_variant
        return f"{name}_{variant}.tfrecords", name, variant


@dataclasses.dataclass(eq=False)
class Tetrominoes(_Generated):
    """Tetrominoes. Its default file is generated if it is not there."""

    image_dim: tuple = tuple(tetrominoes.IMAGE_SIZE)

    scene_format = tetrominoes.SCENE_FORMAT
    factors: ClassVar = {"color": ["color"], "shape": ["shape"], "position": ["x", "y"]}
    how_to_get_it = f"{_generate('tetrominoes')}, {_download('tetrominoes')}"
    num_scenes = 60000  # As many as the paper trained on.


@dataclasses.dataclass(eq=False)
class Balls(_Generated):
    """Balls; `dataset_variant` is one of `balls.SCENE_FORMATS`.

    `num_frames` is the number of frames, from the first one, to use of variant "sequences". A
    variant's default file is generated if it is not there.
    """

    image_dim: tuple = tuple(balls.IMAGE_SIZE)
    dataset_variant: str = "standard"
    num_frames: int = None

    factors: ClassVar = {"color": ["color"], "position": ["x", "y"]}
    num_scenes = 30000

    def __post_init__(self):
        super().__post_init__()
        self.scene_format = _variant_format(balls, self.dataset_variant)
        self.how_to_get_it = _generate("balls", self.dataset_variant)
        _check_num_frames(self.num_frames, self.scene_format)
        if self.dataset_variant == "sequences":
            self.factors, self.num_scenes = {}, 10000

    def _default_file(self):
        variant = self.dataset_variant
        file_name = f"balls_{'train' if variant == 'standard' else variant}.tfrecords"
        return file_name, "balls", variant


@dataclasses.dataclass(eq=False)
class MultiMNIST(SceneDataset):
    """Multi-MNIST; `dataset_variant` is one of `multi_mnist.SCENE_FORMATS`.

    Its default files, of test digits and of training digits, are generated if they are not there.
    The test scenes come first, and `held_out` is their number.
    """

    image_dim: tuple = tuple(multi_mnist.IMAGE_SIZE["standard"])
    dataset_variant: str = "standard"

    factors: ClassVar = {"label": ["label"], "scale": ["scale"], "position": ["x", "y"]}
    num_scenes: ClassVar = {"test": 10000, "train": 60000}

    def __post_init__(self):
        super().__post_init__()
        self.scene_format = _variant_format(multi_mnist, self.dataset_variant)
        self.how_to_get_it = _generate("multi_mnist", self.dataset_variant)

    def _default_file(self, split):
        """Returns (name of a split's default file, options of `generate` for it)."""
        variant = self.dataset_variant
        return f"multi_mnist_{variant}_{split}.tfrecords", {"variant": variant, "split": split}

    def _make_file(self):
        folder = default_files.folder()
        default = [folder / self._default_file(split)[0] for split in self.num_scenes]
        if [Path(file) for file in files.expand(self.path)] != default:
            super()._make_file()
        for path, (split, count) in zip(default, self.num_scenes.items()):
            _, options = self._default_file(split)
            default_files.generate_file(path, "multi_mnist", count, **options)

    def generate_first(self, num_scenes):
        file_name, options = self._default_file("test")
        return default_files.generate_first(file_name, "multi_mnist", num_scenes, **options)


@dataclasses.dataclass(eq=False)
class ObjectsRoom(SceneDataset):
    """Objects Room; `dataset_variant` is one of `objects_room.SCENE_FORMATS`.

    `num_frames` is the number of frames, from the first one, to use of variant "sequences".
    """

    image_dim: tuple = tuple(objects_room.IMAGE_SIZE)
    dataset_variant: str = "train"
    num_frames: int = None

    num_background = objects_room.NUM_BACKGROUND_ENTITIES

    def __post_init__(self):
        super().__post_init__()
        self.scene_format = _variant_format(objects_room, self.dataset_variant)
        generate = _generate("objects_room", self.dataset_variant)
        self.how_to_get_it = f"{generate}, {_download('objects_room')}"
        _check_num_frames(self.num_frames, self.scene_format)


@dataclasses.dataclass(eq=False)
class Shapes(_Generated):
    """Shapes. Its default file is generated if it is not there."""

    image_dim: tuple = tuple(shapes.IMAGE_SIZE)

    scene_format = shapes.SCENE_FORMAT
    factors: ClassVar = {name: [name] for name in ("shape", "x", "y")}
    how_to_get_it = _generate("shapes")
    num_scenes = 60000


@dataclasses.dataclass(eq=False)
class ImageFolder(SceneDataset):
    """PNG and JPEG files of one's own, see `multi_object_datasets.image_folder.ImageFolder`.

    An image is held out for testing if a hash of its file's content says so, whatever other files
    there are, so that none ever changes sides as files come and go. Therefore `held_out` is a
    share, from 0 to 1; a number of images instead stands for a tenth. A folder of which the hash
    leaves nothing on one of the sides serves both.
    """

    held_out: float = HELD_OUT_SHARE

    how_to_get_it = "make a folder of PNG or JPEG files"

    @property
    def share(self):
        """Share of the images that is held out."""
        return float(self.held_out) if self.held_out <= 1 else HELD_OUT_SHARE

    def _check_held_out(self):
        if not isinstance(self.held_out, (int, float)) or not 0 < self.held_out <= 1:
            super()._check_held_out()

    def provenance(self):
        """Returns as the base does, with the `share` that is held out by the hash of an image."""
        record = super().provenance()
        is_split = bool(self._is_held_out.any())
        return {**record, "share": self.share if is_split else 0.0}

    def _tell_what_serves_both(self):
        """Says nothing: whatever looks at the folder says how it is split."""

    def _source(self):
        folders = files.expand(self.path)
        if len(folders) != 1:
            raise UserError(f"data.path must name one folder of images, not {self.path}")
        return image_folder.ImageFolder(
            folders[0], self.image_dim, self.crop_region, self.framing, self.on_error
        )

    @functools.cached_property
    def _is_held_out(self):
        """Whether each image is for testing only, bool [N]; none is where all serve both."""
        place = self._packed.feature("place") / 2**32  # [N], uniform in [0, 1).
        chosen = place < self.share
        count, total = np.count_nonzero(chosen), len(chosen)
        if self.share == 0:
            return chosen
        if self.share < 1 and count in (0, total):
            print(
                f"{self.path} has too few images ({total}) for data.held_out={self.share} of them: "
                "they serve both training and testing",
                file=sys.stderr,
            )
            return np.zeros(total, bool)
        print(
            f"{self.path}: {count} of its {total} images are held out for testing "
            f"(data.held_out={self.share}; 1 tests on all)",
            file=sys.stderr,
        )
        return chosen
