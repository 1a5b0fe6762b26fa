"""IODINE (Greff et al. 2019) on TensorFlow 2 and Sonnet 2."""

import os
import sys
import tempfile


def _import_tensorflow():
    """Imports TensorFlow, whose libraries each write the same notes to stderr, and keeps them once.

    They come before any log level counts, from C++, so that only the file descriptor can be caught.
    """
    # Its converter for phones, which nothing here uses, would import JAX where that is installed.
    had_jax = "jax" in sys.modules
    sys.modules.setdefault("jax", None)
    with tempfile.TemporaryFile() as notes:
        stderr = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            if not had_jax:
                del sys.modules["jax"]
            os.dup2(stderr, 2)
            os.close(stderr)
            notes.seek(0)
            lines = notes.read().decode(errors="replace").splitlines()
            # What differs between the copies is the time before the bracket.
            for line in {line.rpartition("] ")[2]: line for line in lines}.values():
                print(line, file=sys.stderr)


# TensorFlow Probability needs the older Keras anyway, and the newer one takes a second to import.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
if "tensorflow" not in sys.modules:
    _import_tensorflow()
