"""`tf.Example` messages straight from arrays, byte for byte what a protobuf writer would give.

The published files hold one byte-string for each pixel value: over a million for a CLEVR scene, far
too slow through the protobuf API. On the wire each of them is the three bytes 0x0A 0x01 VALUE, so
NumPy can lay out a whole list.
"""

import numpy as np


def _varint(number):
    """Returns a non-negative integer as a protobuf varint."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(tag, payload):
    """Returns a length-delimited field (wire type 2) of the given number."""
    return bytes([tag << 3 | 2]) + _varint(len(payload)) + payload


def _feature(array):
    """Returns the `tf.train.Feature` of an array: bytes_list (field 1) or float_list (field 2)."""
    if array.dtype == np.uint8:
        values = np.empty((array.size, 3), np.uint8)
        values[:, 0] = 0x0A
        values[:, 1] = 1
        values[:, 2] = array.reshape(-1)
        return _field(1, values.tobytes())
    if array.dtype == np.float32:
        return _field(2, _field(1, array.astype("<f4").tobytes()))
    raise TypeError(f"features are uint8 or float32, not {array.dtype}")


def encode(features):
    """Serialises a scene as a `tf.Example`.

    Args:
      features: {name: array}, uint8 (stored as one-byte strings, one per element) or float32, of
        any shape; stored flattened and in the order of their names.

    Returns:
      bytes.
    """
    entries = (
        _field(1, _field(1, name.encode()) + _field(2, _feature(features[name])))
        for name in sorted(features)
    )
    return _field(1, b"".join(entries))
