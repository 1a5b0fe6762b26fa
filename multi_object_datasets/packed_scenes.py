"""A file of packed scenes, which is read at any position, at memory speed.

A header of 4096 bytes (JSON); one record of fixed size for each scene; and a table with each
record's checksum (CRC-32C) and a copy of its visibility, for an object filter to read without
touching all records.

The header says what the scenes were packed from, and holds a checksum of itself and of the table,
which is verified on opening. A record is verified when it is read, so that opening the 8 GB of
CLEVR takes no longer than opening a few scenes.
"""

import json
import os

import google_crc32c
import numpy as np

from multi_object_datasets import files
from multi_object_datasets.errors import DatasetError

_VERSION = 3
_HEADER_SIZE = 4096


class Unusable(Exception):
    """Says why a file of packed scenes cannot be used."""


class PackedScenes:
    """An open file of packed scenes.

    Attributes:
      path: of the file.
      nbytes: its size.
      dtype: structured type of a scene.
      visibility: [N, L] float32; None for scenes without masks.
    """

    def __init__(self, path, identity):
        """Opens a file.

        Args:
          path: of the file.
          identity: dict of what the scenes have to be packed from.

        Raises:
          Unusable: they were packed from something else, or the file is damaged.
          FileNotFoundError: there is no such file.
        """
        identity = {"version": _VERSION, **identity}
        try:
            with open(path, "rb") as file:
                header = json.loads(file.read(_HEADER_SIZE))
                checksum = header.pop("checksum")
                if {key: header[key] for key in identity} != identity:
                    raise Unusable(
                        f"{path} was packed from another version of the file, or with another crop"
                    )
                count = header["num_scenes"]
                dtype = np.dtype(
                    [(name, kind, tuple(shape)) for name, kind, shape in header["dtype"]]
                )
                end = _HEADER_SIZE + count * dtype.itemsize
                row = _table_row(dtype)
                if file.seek(0, os.SEEK_END) != end + count * row.itemsize:
                    raise Unusable(f"{path} is damaged (wrong size)")
                file.seek(end)
                table = file.read()
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Unusable(f"{path} is damaged (no header)") from None
        if checksum != _checksum(header, table):
            raise Unusable(f"{path} is damaged (wrong checksum)")
        self.path, self.dtype, self.nbytes = path, dtype, end + len(table)
        self._table = np.frombuffer(table, row)
        self._records = np.memmap(path, dtype, "r", offset=_HEADER_SIZE, shape=(count,))

    def __len__(self):
        return len(self._records)

    @property
    def visibility(self):
        return self._table["visibility"] if "visibility" in self._table.dtype.names else None

    def feature(self, name):
        """Returns a feature of all scenes, [N, ...], which are not verified."""
        return np.array(self._records[name])

    def read(self, numbers):
        """Returns scenes, after verifying them.

        Args:
          numbers: [n] of the scenes.

        Returns:
          Array [n] of `dtype`.

        Raises:
          DatasetError: a scene is damaged.
        """
        scenes = self._records[numbers]
        for number, scene, checksum in zip(numbers, scenes, self._table["checksum"][numbers]):
            if google_crc32c.value(scene.tobytes()) != checksum:
                raise DatasetError(
                    f"{self.path}: scene {number} is damaged; remove the file, it is packed anew"
                )
        return scenes

    def verify(self):
        """Reads all scenes; raises Unusable if one is damaged."""
        try:
            for number in range(len(self)):
                self.read([number])
        except DatasetError:
            raise Unusable(f"{self.path} is damaged (scene {number})") from None


def write(path, identity, scenes):
    """Writes a file of packed scenes, under a temporary name until it is whole.

    What an earlier writer left of it, killed while it wrote, is overwritten; so only one process
    may write the file at a time.

    Args:
      path: `pathlib.Path` of the file.
      identity: dict of what the scenes are packed from.
      scenes: yields dicts of arrays, of the same names, types and shapes.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        with open(temporary, "wb") as file:
            file.write(b"\0" * _HEADER_SIZE)
            dtype, table = None, []
            for scene in scenes:
                if dtype is None:
                    dtype = np.dtype([(k, v.dtype.str, v.shape) for k, v in scene.items()])
                    record, row = np.empty([], dtype), np.empty([], _table_row(dtype))
                for name, value in scene.items():
                    record[name] = value
                data = record.tobytes()
                file.write(data)
                row["checksum"] = google_crc32c.value(data)
                if "visibility" in row.dtype.names:
                    row["visibility"] = record["visibility"]
                table.append(row.tobytes())
            table = b"".join(table)
            file.write(table)
            header = {
                "version": _VERSION,
                **identity,
                "num_scenes": len(table) // row.itemsize,
                "dtype": [(name, dtype[name].base.str, dtype[name].shape) for name in dtype.names],
            }
            header["checksum"] = _checksum(header, table)
            file.seek(0)
            file.write(json.dumps(header).encode().ljust(_HEADER_SIZE - 1) + b"\n")
            files.sync(file)
        files.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _table_row(dtype):
    """Returns the type of a scene's row in the table."""
    fields = [("checksum", "<u4")]
    if "visibility" in dtype.names:
        fields.append(("visibility", "<f4", dtype["visibility"].shape))
    return np.dtype(fields)


def _checksum(header, table):
    """Returns the CRC-32C of the header and the table."""
    return google_crc32c.extend(google_crc32c.value(json.dumps(header).encode()), table)
