"""Reads TFRecord files record by record, and `tf.Example`s of one-byte strings fast.

The published files store an image as a list of one-byte strings, over a million for one CLEVR
scene, which the general parsers take apart one by one. On the wire each of them is the three bytes
0x0A 0x01 VALUE, so a strided view of the list is the image.

Every error names the file and the record, counted from 0. TensorFlow's own record reader takes a
file that was cut between two records for a whole one; this one reads a compressed stream to its
end mark and checksum. (Of a file without compression nobody can tell.)
"""

import os
import struct
import sys
import zlib

import google_crc32c
import numpy as np
import tqdm

from multi_object_datasets import files
from multi_object_datasets.errors import DatasetError

_CHUNK = 1 << 20  # Bytes read, and at most decompressed, at a time.
_MAX_RECORD = 1 << 26  # Bytes; 20 times CLEVR's, and what a length in a foreign file may cost.
_ANY_HEADER = 47  # Tells zlib to accept a GZIP or a ZLIB stream, and to check its checksum.
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5  # Protocol buffer wire types.


def read_numbered_records(path, read_buffer_size=None, progress=None):
    """Yields (file, number, record) of one or more files, each file's records counted from 0.

    Args:
      path: file, glob or list of these, see `files.expand`.
      read_buffer_size, progress: as for `read_records`.
    """
    for file in files.expand(path):
        for number, record in enumerate(read_records(file, read_buffer_size, progress)):
            yield file, number, record


def read_records(path, read_buffer_size=None, progress=None):
    """Yields the records of a TFRecord file, compressed (GZIP or ZLIB) or not, checksums verified.

    Args:
      path: the file.
      read_buffer_size: bytes to read at a time, default 1 MiB.
      progress: text for a progress bar on stderr, shown on a terminal; None shows none.

    Yields:
      bytes, one serialised record after the other.

    Raises:
      DatasetError: the file is missing, unreadable, empty, truncated, damaged or foreign.
    """
    number = 0
    try:
        with (
            open(path, "rb") as file,
            tqdm.tqdm(
                total=os.fstat(file.fileno()).st_size,
                desc=progress,
                unit="B",
                unit_scale=True,
                # None: no bar unless on a terminal.
                disable=True if progress is None or sys.stderr is None else None,
            ) as bar,
        ):
            stream = _open_stream(file, read_buffer_size or _CHUNK, bar.update)
            while (header := stream.take(12, or_end=True)) is not None:
                _check_crc(header[:8], header[8:], "the length of the record")
                (length,) = struct.unpack("<Q", header[:8])
                if length > _MAX_RECORD:
                    raise DatasetError(
                        f"{path}: record {number}: its {length} bytes are no scene's (at most "
                        f"{_MAX_RECORD})"
                    )
                body = stream.take(length + 4)
                _check_crc(body[:-4], body[-4:], "the record")
                yield body[:-4]
                number += 1
    except OSError as error:
        raise DatasetError(f"{path}: cannot read it ({error.strerror})") from None
    except zlib.error as error:
        if number == 0:
            raise DatasetError(
                f"{path}: record 0: not a TFRecord file, or damaged ({error})"
            ) from None
        raise DatasetError(f"{path}: record {number}: damaged file ({error})") from None
    except EOFError:
        raise DatasetError(
            f"{path}: record {number}: the file is truncated; copy, download or generate it again"
        ) from None
    except _ChecksumError as error:
        raise DatasetError(f"{path}: record {number}: wrong checksum of {error}") from None
    if number == 0:
        raise DatasetError(f"{path}: record 0: the file holds no records")


class _ChecksumError(Exception):
    """A TFRecord checksum that does not match."""


def masked_crc(data):
    """Returns the checksum that TFRecord files store: a rotated CRC-32C plus a constant."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _check_crc(data, stored, what):
    """Compares data with its stored checksum."""
    if masked_crc(data) != stored:
        raise _ChecksumError(what)


def _open_stream(file, read_size, update):
    """Returns the stream of a file: a plain one where a record's checked length is at its start."""
    start = file.read(12)
    file.seek(0)
    is_plain = len(start) == 12 and masked_crc(start[:8]) == start[8:]
    return (_Stream if is_plain else _CompressedStream)(file, read_size, update)


class _Stream:
    """A file, read in pieces."""

    def __init__(self, file, read_size, update):
        self._file, self._read_size, self._update = file, read_size, update
        self._plain = bytearray()

    def take(self, size, or_end=False):
        """Returns the next `size` bytes; with `or_end`, None where the stream properly ends."""
        while len(self._plain) < size:
            block = self._next_block()
            if block is None:
                if or_end and not self._plain:
                    return None
                raise EOFError
            self._plain += block
        data = bytes(memoryview(self._plain)[:size])
        del self._plain[:size]
        return data

    def _next_block(self):
        """Returns some bytes, or None at the end."""
        return self._read() or None

    def _read(self):
        """Returns some bytes of the file, none at its end."""
        block = self._file.read(self._read_size)
        self._update(len(block))
        return block


class _CompressedStream(_Stream):
    """The content of a file of one or several GZIP or ZLIB members."""

    def __init__(self, file, read_size, update):
        super().__init__(file, read_size, update)
        self._inflater = None
        self._compressed = b""

    def _next_block(self):
        """Returns some decompressed bytes, or None at the end of the last member."""
        if not self._compressed:
            self._compressed = self._read()
        between_members = self._inflater is None or self._inflater.eof
        if not self._compressed:
            if not between_members:
                raise EOFError
            return None
        if between_members:
            self._inflater = zlib.decompressobj(wbits=_ANY_HEADER)
        block = self._inflater.decompress(self._compressed, _CHUNK)
        self._compressed = self._inflater.unconsumed_tail or self._inflater.unused_data
        return block


def parse_example(record):
    """Parses a serialised `tf.Example`.

    Args:
      record: bytes.

    Returns:
      {name: array}: float32 and int64 for lists of numbers; uint8 for a bytes list, its strings
      put end to end.

    Raises:
      ValueError: the bytes are no `tf.Example`.
    """
    try:
        return {
            bytes(name).decode(): _parse_feature(feature)
            for features in _subfields(memoryview(record), 1)
            for entry in _subfields(features, 1)
            for name, feature in [(*_subfields(entry, 1), *_subfields(entry, 2))]
        }
    except (IndexError, ValueError, struct.error) as error:
        raise ValueError("not a tf.Example") from error


def _parse_feature(feature):
    """Returns the values of a Feature message as an array."""
    for number, kind in ((1, np.uint8), (2, np.float32), (3, np.int64)):
        for values in _subfields(feature, number):
            if number == 1:
                return _parse_bytes_list(values)
            if number == 2:
                # Packed, as all of TensorFlow's writers store them.
                return np.frombuffer(b"".join(_subfields(values, 1)), kind)
            return np.array([v for block in _subfields(values, 1) for v in _varints(block)], kind)
    return np.zeros([0], np.uint8)


def _parse_bytes_list(values):
    """Returns the strings of a BytesList message, end to end, as a uint8 array."""
    raw = np.frombuffer(values, np.uint8)
    if raw.size % 3 == 0:
        triples = raw.reshape(-1, 3)
        if (triples[:, 0] == 0x0A).all() and (triples[:, 1] == 0x01).all():
            return triples[:, 2]
    return np.frombuffer(b"".join(_subfields(values, 1)), np.uint8)


def _varint(data, start):
    """Returns (the variable-length integer at `start`, the position after it)."""
    value = 0
    for position in range(start, start + 10):  # 64 bits take 10 bytes at most.
        byte = data[position]
        value |= (byte & 0x7F) << 7 * (position - start)
        if byte < 0x80:
            return value, position + 1
    raise ValueError("an integer of more than 64 bits")


def _varints(data):
    """Yields the integers of a packed list, as signed 64-bit numbers."""
    position = 0
    while position < len(data):
        value, position = _varint(data, position)
        yield value - (1 << 64) if value >= 1 << 63 else value


def _subfields(message, wanted):
    """Yields the length-delimited fields of one number in a serialised message."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            _, position = _varint(message, position)
            continue
        if wire_type not in (_FIXED64, _DELIMITED, _FIXED32):
            raise ValueError(f"unknown wire type {wire_type}")
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire_type)
        if size is None:
            size, position = _varint(message, position)
        if position + size > len(message):
            raise ValueError("a field runs past the end of its message")
        if number == wanted and wire_type == _DELIMITED:
            yield message[position : position + size]
        position += size
