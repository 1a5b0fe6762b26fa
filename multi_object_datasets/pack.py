"""Packs files of scenes into a cache that is read at any position, at memory speed.

    python -m multi_object_datasets.pack FILE ... [--image-dim H W] [--crop-region T B L R]

The cache, FILE.HxW.packed (see `packed_scenes`), holds the images after crop and resize, the masks
as uint8 label maps, and all other features: 5.0 kB a scene for Tetrominoes, 17 kB for
Multi-dSprites, 115 kB for CLEVR at 128x128. Masks that overlap or are soft are kept as they are.

The cache is bound to the size, the modification time and a hash of both ends of FILE (the end of a
GZIP file holds the checksum of its content). One that no longer fits its file, or is found damaged
on opening or with --verify, is made anew. FILE may also be a folder of images, with --image-dim.
"""

import pathlib
import sys

from multi_object_datasets import (
    clevr_with_masks,
    files,
    formats,
    image_folder,
    image_ops,
    packed_scenes,
)
from multi_object_datasets.arguments import Parser, open_closed_streams
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.scene_file import SceneFile


def open_scenes(source, directory=None, verify=False, quiet=False):
    """Opens the packed scenes of a source, packing it first where that is needed.

    One line on stderr says when and why it is packed.

    Args:
      source: a `SceneFile`, or anything with its `path`, `image_dim` and methods.
      directory: where the cache is, default beside the source.
      verify: whether to read the whole cache, and to pack anew where a scene is damaged.
      quiet: whether to leave out that line and the progress bar, for a few scenes.

    Returns:
      `packed_scenes.PackedScenes`.

    Raises:
      DatasetError: the source cannot be read, or the cache cannot be written.
    """
    cache = _cache_path(source, directory)
    identity = {"source": source.fingerprint(), "settings": source.settings()}
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        packed, _ = _open(cache, identity, verify)
        if packed is None:
            with files.only_one_process(cache):
                # Another process may just have packed it.
                packed, reason = _open(cache, identity, verify)
                if packed is None:
                    if not quiet:
                        print(f"{reason}: packing {source.path} into {cache}", file=sys.stderr)
                    _pack(source, cache, identity, None if quiet else "packing")
                    packed, reason = _open(cache, identity, verify=True)
                    if packed is None:
                        raise DatasetError(f"{cache}: {reason} right after it was written")
    except (OSError, NotImplementedError) as error:  # The latter of file systems without locks.
        raise DatasetError(
            f"{cache}: cannot keep the packed scenes there "
            f"({getattr(error, 'strerror', None) or error}); "
            "give another directory (data.cache=DIR)"
        ) from None
    return packed


def _cache_path(source, directory):
    """Returns the path of the cache of a source, named after the first of its files."""
    first, *others = files.expand(source.path)
    path = pathlib.Path(first).absolute()
    directory = path.parent if directory is None else pathlib.Path(files.expand_home(directory))
    name = f"{path.name}+{len(others)}" if others else path.name
    return directory / f"{name}.{'x'.join(map(str, source.image_dim))}.packed"


def _open(cache, identity, verify):
    """Returns (the PackedScenes, None), or (None, why they cannot be used)."""
    try:
        packed = packed_scenes.PackedScenes(cache, identity)
        if verify:
            packed.verify()
    except FileNotFoundError:
        return None, "first use"
    except packed_scenes.Unusable as error:
        return None, str(error)
    return packed, None


def _pack(source, cache, identity, label):
    """Writes the cache of a source, with a progress bar of that label or, if None, without."""
    try:
        packed_scenes.write(cache, identity, source.scenes(progress=label))
    except image_ops.NoLabelMap as error:
        print(f"{error}: keeping masks as they are, in a larger cache", file=sys.stderr)
        source = source._replace(whole_masks=True)
        packed_scenes.write(cache, identity, source.scenes(progress=label))


def main(arguments=None):
    """Packs the files named on the command line; returns the exit code."""
    open_closed_streams()
    parser = Parser(
        prog="python -m multi_object_datasets.pack",
        description="Pack files of scenes for fast reading. Training does so on first use.",
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="file of scenes of any data set, or folder of images",
    )
    parser.add_argument(
        "--image-dim",
        nargs=2,
        type=int,
        metavar=("HEIGHT", "WIDTH"),
        help="size after resizing (default: 128 128 for CLEVR, else as in the file; a folder of "
        "images has none)",
    )
    parser.add_argument(
        "--crop-region",
        nargs=4,
        type=int,
        metavar=("TOP", "BOTTOM", "LEFT", "RIGHT"),
        help="rows and columns to keep (default: 29 221 64 256 for CLEVR, else all)",
    )
    parser.add_argument("--cache", metavar="DIR", help="where to put the caches (default: beside)")
    parser.add_argument(
        "--verify", action="store_true", help="read the whole caches, pack anew where damaged"
    )
    options = parser.parse_args(arguments)
    for file in options.files:
        try:
            packed = open_scenes(_source(file, options), options.cache, options.verify)
        except (DatasetError, MemoryError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        print(f"{packed.path}: {len(packed)} scenes, {packed.nbytes / 1e6:.1f} MB")
    return 0


def _source(path, options):
    """Returns what to pack as the options ask for, with its data set's usual crop and size."""
    image_dim = crop_region = None
    is_folder = pathlib.Path(files.expand_home(path)).is_dir()
    if not is_folder:
        scene_format = formats.recognise(path)
        image_dim = scene_format.features["image"].shape[-3:-1]
        if scene_format == clevr_with_masks.SCENE_FORMAT:
            image_dim = clevr_with_masks.USUAL_IMAGE_DIM
            crop_region = clevr_with_masks.USUAL_CROP_REGION
    if options.image_dim:
        image_dim = tuple(options.image_dim)
    if image_dim is None:
        raise DatasetError(f"{path} is a folder of images: give their size by --image-dim H W")
    if min(image_dim) < 1:
        raise DatasetError(f"--image-dim must be at least 1 1, not {image_dim[0]} {image_dim[1]}")
    if options.crop_region:
        top, bottom, left, right = options.crop_region
        crop_region = ((top, bottom), (left, right))
    if is_folder:
        (path,) = files.expand(path)
        return image_folder.ImageFolder(path, image_dim, crop_region)
    return SceneFile(path, scene_format, tuple(image_dim), crop_region)


if __name__ == "__main__":
    sys.exit(main())
