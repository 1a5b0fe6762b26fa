"""Writes scenes for other frameworks: an HDF5 file, or NumPy's npz.

    python -m multi_object_datasets.export FILE --to hdf5 --out FILE.h5 [--held-out 320]

Both hold `train/imgs`, `train/masks` and `train/factors/NAME`, and the same of `test`, which has
the first scenes of FILE: those that are held out of training here. The module `hdf5` tells their
shapes. Scenes are written as they are read, so that a file may be larger than memory.
"""

import os
import pathlib
import shutil
import signal
import sys
import tempfile
import zipfile

import numpy as np

from multi_object_datasets import files, formats, hdf5
from multi_object_datasets.arguments import Parser, open_closed_streams
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.scene_format import HELD_OUT

KINDS = ("hdf5", "npz")
_BLOCK = 64  # Scenes written at a time.
_CHUNK = 1 << 18  # Bytes that an HDF5 file compresses together, at most, unless a scene has more.


class _HDF5Writer:
    """Writes arrays to a new HDF5 file, block by block."""

    def __init__(self, path):
        self._file = hdf5.open_file(path, "w")

    def append(self, name, block):
        """Appends [n, ...] to the array of a name."""
        if name not in self._file:
            scenes = max(1, min(1024, _CHUNK // block[0].nbytes))
            self._file.create_dataset(
                name,
                (0, *block.shape[1:]),
                block.dtype,
                maxshape=(None, *block.shape[1:]),
                chunks=(scenes, *block.shape[1:]),
                compression="gzip",
                compression_opts=1,
            )
        array = self._file[name]
        array.resize(len(array) + len(block), axis=0)
        array[-len(block) :] = block

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()


class _NPZWriter:
    """Writes arrays to a new npz file, each to a file beside it until their lengths are known."""

    def __init__(self, path):
        self._path = path
        self._arrays = {}  # {name: (open file, type, shape of a scene's value)}

    def append(self, name, block):
        """Appends [n, ...] to the array of a name."""
        if name not in self._arrays:
            file = open(self._path.with_name(f"{self._path.name}.{len(self._arrays)}"), "w+b")
            self._arrays[name] = file, block.dtype, block.shape[1:]
        self._arrays[name][0].write(np.ascontiguousarray(block))

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        if error is None:
            self._put_together()

    def _put_together(self):
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_DEFLATED, True, 1) as out:
            for name, (file, dtype, shape) in self._arrays.items():
                with file, out.open(f"{name}.npy", "w", force_zip64=True) as target:
                    size = dtype.itemsize * int(np.prod(shape))
                    header = {
                        "descr": dtype.str,
                        "fortran_order": False,
                        "shape": (file.tell() // size, *shape),
                    }
                    np.lib.format.write_array_header_1_0(target, header)
                    file.seek(0)
                    shutil.copyfileobj(file, target)


def export(path, kind, out, held_out=HELD_OUT):
    """Writes the scenes of a file in another format.

    Args:
      path: file of scenes, glob or list of these, see `files.expand`.
      kind: one of `KINDS`.
      out: file to write; must not exist yet; `~` is the user's home.
      held_out: number of first scenes that `test` has; `train` has the others.

    Raises:
      DatasetError: the file cannot be read or `out` not written, `out` exists, or no scene is left
        for `train`.
    """
    if kind not in KINDS:
        raise DatasetError(f"there is no kind {kind!r}; there are: {', '.join(KINDS)}")
    if held_out < 0:
        raise DatasetError(f"held_out must be at least 0, not {held_out}")
    out = pathlib.Path(files.expand_home(out))
    _check_new(out)
    scene_format = formats.recognise(path)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
            partial = pathlib.Path(folder, out.name)
            with (_HDF5Writer if kind == "hdf5" else _NPZWriter)(partial) as writer:
                scenes = formats.read_numbered_scenes(path, scene_format, progress="exporting")
                number = _write((scene for _, _, scene in scenes), writer, held_out)
            if number <= held_out:
                raise DatasetError(
                    f"{path} has {number} scenes, no more than are held out ({held_out}): none is "
                    "left for train"
                )
            with open(partial, "rb+") as file:
                files.sync(file)
            _check_new(out)  # Another process may have written it meanwhile.
            files.replace(partial, out)
    except OSError as error:
        raise DatasetError(f"cannot write {out}: {error.strerror or error}") from None


def _check_new(out):
    """Raises a DatasetError if there is a file already."""
    if os.path.lexists(out):
        raise DatasetError(f"{out} exists; remove it or give another name")


def _write(scenes, writer, held_out):
    """Writes all scenes, the first ones to `test`; returns their number."""
    block, number = [], 0

    def flush(split):
        for name in block[0] if block else ():
            place = {"image": hdf5.IMAGES, "mask": hdf5.MASKS}.get(name, f"{hdf5.FACTORS}/{name}")
            writer.append(f"{split}/{place}", np.stack([scene[name] for scene in block]))
        block.clear()

    for scene in scenes:
        if number == held_out:
            flush("test")
        block.append(scene)
        number += 1
        if len(block) == _BLOCK:
            flush("test" if number <= held_out else "train")
    flush("test" if number <= held_out else "train")
    return number


def main(argv=None):
    """Exports the file named on the command line; returns the exit code."""
    open_closed_streams()
    parser = Parser(
        prog="python -m multi_object_datasets.export", description=__doc__.split("\n")[0]
    )
    parser.add_argument("path", metavar="FILE", help="file of scenes of any data set, or a glob")
    parser.add_argument("--to", required=True, metavar="|".join(KINDS), dest="kind")
    parser.add_argument("--out", required=True, metavar="FILE")
    parser.add_argument(
        "--held-out",
        type=int,
        default=HELD_OUT,
        metavar="N",
        help=f"first scenes, for test ({HELD_OUT})",
    )
    try:
        arguments = parser.parse_args(argv)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        export(**vars(arguments))
        print(f"wrote {arguments.out}")
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
