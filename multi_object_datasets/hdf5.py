"""HDF5 files of scenes, in the layout that PyTorch projects exchange.

The groups `train` and `test` each hold `imgs` [N, H, W, C] and `masks` [N, L, H, W, 1], both uint8,
and the data set's other features as `factors/NAME` [N, ...]. Sequences have a further axis of
frames, the second one. `export` writes such files; other projects' files may lack the factors, or
one of the groups, and may have masks of 0 and 1 instead of 0 and 255.

The scenes of `test` come first, so that they are those that `data.held_out` holds out.
"""

import numpy as np

from multi_object_datasets.errors import DatasetError
from multi_object_datasets.progress import bar
from multi_object_datasets.scene_format import Feature, SceneFormat

SPLITS = ("test", "train")
IMAGES, MASKS, FACTORS = "imgs", "masks", "factors"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_BLOCK = 64  # Scenes read at a time.
MAX_ENTITIES = 256  # The numbers of a label map are uint8.


def is_hdf5(path):
    """Returns whether a file is an HDF5 file; not if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False


def open_file(path, mode="r"):
    """Opens an HDF5 file.

    Raises:
      DatasetError: it cannot be opened, or the package h5py is not there.
    """
    try:
        import h5py  # Needed only for such files.
    except ImportError:
        raise DatasetError(f"{path}: HDF5 files need the package h5py (pip install h5py)") from None
    try:
        return h5py.File(path, mode)
    except OSError as error:
        raise DatasetError(f"{path}: cannot open the HDF5 file ({error})") from None


def scene_format(path, like=None):
    """Returns the SceneFormat of a file's scenes.

    Args:
      path: HDF5 file.
      like: SceneFormat of the data set that it should be of: images need the same channels and
        frames, but may have any size, any number of entities and any features.

    Raises:
      DatasetError: it has another layout, or `like` is of other images.
    """
    with open_file(path) as file:
        arrays = _arrays(file, path)[0][1]
        shapes = {name: array.shape[1:] for name, array in arrays.items()}
        kinds = {name: _kind(array.dtype) for name, array in arrays.items()}
    image, mask = shapes["image"], shapes["mask"]
    is_scene = len(image) in (3, 4) and (*image[:-1], 1) == (*mask[:-4], *mask[-3:])
    if not is_scene or 0 in image + mask or mask[-4] > MAX_ENTITIES:
        raise DatasetError(
            f"{path}: not a file of scenes: {IMAGES} {list(image)} and {MASKS} {list(mask)} a scene"
        )
    if like is not None:
        wanted = like.features["image"].shape
        if (wanted[:-3], wanted[-1]) != (image[:-3], image[-1]):
            raise DatasetError(
                f"{path}: not scenes of {like.name}: {IMAGES} are {'x'.join(map(str, image))}, "
                f"wanted {'x'.join(map(str, wanted))} but for the size"
            )
    return SceneFormat("hdf5", {name: Feature(shapes[name], kinds[name]) for name in shapes})


def read_scenes(path, scene_format, progress=None):
    """Yields a file's scenes, those of `test` first, as dicts of arrays.

    Args:
      path: HDF5 file.
      scene_format: their SceneFormat.
      progress: text for a progress bar, None for none.

    Raises:
      DatasetError: the file is damaged, or lacks a feature, or has it in another shape.
    """
    number = 0
    with open_file(path) as file:
        splits = _arrays(file, path)
        total = sum(len(arrays["image"]) for _, arrays in splits)
        with bar(label=progress, total=total, unit="scene") as shown:
            for split, arrays in splits:
                _check(arrays, scene_format, f"{path}: group {split}")
                for start in range(0, len(arrays["image"]), _BLOCK):
                    try:
                        block = {
                            name: arrays[name][start : start + _BLOCK].astype(feature.dtype)
                            for name, feature in scene_format.features.items()
                        }
                    except OSError as error:
                        raise DatasetError(
                            f"{path}: record {number}: damaged file ({error})"
                        ) from None
                    for scene in zip(*block.values()):
                        yield _with_full_masks(dict(zip(block, scene)))
                        number += 1
                        shown.update()
    if number == 0:
        raise DatasetError(f"{path}: record 0: the file holds no scenes")


def _arrays(file, path):
    """Returns [(split, {feature: h5py's data set})] of an open file; raises DatasetError."""
    found = []
    for split in SPLITS:
        group = file.get(split)
        if group is None:
            continue
        if not hasattr(group, "keys") or not {IMAGES, MASKS} <= group.keys():
            raise DatasetError(f"{path}: group {split} has no {IMAGES} and {MASKS}")
        arrays = {"image": group[IMAGES], "mask": group[MASKS]}
        for name in ("image", "mask"):
            if getattr(arrays[name], "dtype", None) != np.uint8:
                raise DatasetError(f"{path}: {arrays[name].name[1:]} are not uint8")
        factors = group.get(FACTORS, {})
        if not hasattr(factors, "items"):
            raise DatasetError(f"{path}: {factors.name[1:]} is no group")
        for name, array in factors.items():
            # Groups and dangling links have no type.
            if hasattr(array, "dtype") and array.dtype.kind in "biuf" and name not in arrays:
                arrays[name] = array
        found.append((split, arrays))
    if not found:
        raise DatasetError(f"{path}: has no group {' or '.join(SPLITS)}, so no scenes")
    return found


def _kind(dtype):
    """Returns the type that an array is read as: uint8 as it is, other numbers as float32."""
    return np.uint8 if dtype == np.uint8 else np.float32


def _check(arrays, scene_format, where):
    """Raises a DatasetError unless the arrays have a format's features."""
    count = len(arrays["image"])
    for name, feature in scene_format.features.items():
        if name not in arrays:
            raise DatasetError(f"{where}: has no '{name}'")
        if arrays[name].shape != (count, *feature.shape):
            raise DatasetError(
                f"{where}: '{name}' is {list(arrays[name].shape)}, wanted {[count, *feature.shape]}"
            )


def _with_full_masks(scene):
    """Returns a scene with masks of 0 and 255 where they are of 0 and 1."""
    if scene["mask"].max(initial=0) == 1:
        scene["mask"] = scene["mask"] * np.uint8(255)
    return scene
