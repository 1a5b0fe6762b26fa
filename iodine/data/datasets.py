"""The data sets that configs name: DeepMind's, and anyone's own pictures."""

import dataclasses
import sys
from pathlib import Path
from typing import ClassVar

from iodine.data.scene_dataset import SceneDataset
from iodine.errors import UserError
from multi_object_datasets import (
    balls,
    clevr_with_masks,
    files,
    multi_dsprites,
    multi_mnist,
    objects_room,
    shapes,
    tetrominoes,
)
from multi_object_datasets.image_folder import PictureFolder


def _generate(name, variant=""):
    """Returns the command that generates a data set."""
    variant = f" --variant {variant}" if variant else ""
    command = f"python -m multi_object_datasets.generate {name}{variant}"
    return f"generate it ({command} --num-examples N --out FILE)"


def _generate_file(path, name, num_examples, **options):
    """Generates a default file, with seed 0, unless another process has done so meanwhile."""
    from multi_object_datasets import generate  # Needed only here.

    path.parent.mkdir(exist_ok=True)
    with files.only_one_process(path):
        if not path.exists():
            print(f"no {path} yet: generating {num_examples} scenes", file=sys.stderr)
            generate.generate(name, num_examples=num_examples, path=path, seed=0, **options)


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

    num_examples: ClassVar[int]

    def _default_file(self):
        """Returns (name of the default file, name of its generator, variant)."""
        name = self.scene_format.name
        return f"{name}_train.tfrecords", name, None

    def _make_file(self):
        file_name, name, variant = self._default_file()
        path = Path("multi_object_datasets", file_name)
        if [Path(file) for file in files.expand(self.path)] != [path]:
            super()._make_file()
        _generate_file(path, name, self.num_examples, variant=variant)


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
    num_examples = 60000  # As many as the paper trained on.

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
    num_examples = 60000  # As many as the paper trained on.


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
    num_examples = 30000

    def __post_init__(self):
        super().__post_init__()
        self.scene_format = _variant_format(balls, self.dataset_variant)
        self.how_to_get_it = _generate("balls", self.dataset_variant)
        _check_num_frames(self.num_frames, self.scene_format)
        if self.dataset_variant == "sequences":
            self.factors, self.num_examples = {}, 10000

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
    num_examples: ClassVar = {"test": 10000, "train": 60000}

    def __post_init__(self):
        super().__post_init__()
        self.scene_format = _variant_format(multi_mnist, self.dataset_variant)
        self.how_to_get_it = _generate("multi_mnist", self.dataset_variant)

    def _make_file(self):
        folder = Path("multi_object_datasets")
        paths = {
            split: folder / f"multi_mnist_{self.dataset_variant}_{split}.tfrecords"
            for split in self.num_examples
        }
        if [Path(file) for file in files.expand(self.path)] != list(paths.values()):
            super()._make_file()
        for split, path in paths.items():
            options = {"variant": self.dataset_variant, "split": split}
            _generate_file(path, "multi_mnist", self.num_examples[split], **options)


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
    num_examples = 60000


@dataclasses.dataclass(eq=False)
class ImageFolder(SceneDataset):
    """PNG and JPEG files of one's own, see `multi_object_datasets.image_folder.PictureFolder`."""

    how_to_get_it = "make a folder of PNG or JPEG files"

    def _source(self):
        folders = files.expand(self.path)
        if len(folders) != 1:
            raise UserError(f"data.path must name one folder of pictures, not {self.path}")
        return PictureFolder(
            folders[0], self.image_dim, self.crop_region, self.framing, self.on_error
        )
