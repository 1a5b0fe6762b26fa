"""What the process of a command needs before it begins: quiet imports, streams that never fail."""

import codecs
import contextlib
import glob
import os
import re
import signal
import sys
import tempfile

from multi_object_datasets.arguments import open_closed_streams

# TensorFlow's libraries write these before any log level counts, from C++.
NOTES = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|I\d{4} |"
    rb"\d{4}-\d\d-\d\d [\d:.]+: I |To enable the following instructions"
)
# So does CUDA of a machine without a GPU, as an error.
NO_GPU = re.compile(rb"E\d{4} .*failed call to cuInit")
SPELLINGS = {"±": "+-", "−": "-", "×": "x", "²": "^2", "Σ": "sum", "∇": "grad", "–": "-"}
SPELLINGS |= {"≥": ">=", "↑": "(higher is better)", "↓": "(lower is better)"}
# TensorFlow imports these where they are installed, and needs neither: JAX for its converter for
# phones, Keras (a second) to register optimizers with SavedModels. Both can be imported later.
NEEDLESS = ("jax", "tf_keras.src.optimizers")


def import_tensorflow():
    """Imports TensorFlow without its notes; warnings and last words are shown as they come.

    They can be caught by their file descriptor alone. Another process filters them, so that they
    are shown even if the import ends this one, as on a CPU without AVX.
    """
    open_closed_streams()
    try:
        tempfile.gettempdir()  # TensorFlow's import needs one, and so does Sacred.
    except OSError as error:
        sys.exit(f"error: {error.strerror}: set TMPDIR to a folder with room")
    # TensorFlow Probability needs the older Keras; the newer one takes a second to import.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    missing = [name for name in NEEDLESS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(missing))  # Importing them fails, as if they were missing.
    restore = _filtered_stderr() if hasattr(os, "fork") else lambda: None
    # Ctrl-C ends the import without Python's traceback.
    takes_sigint = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if takes_sigint:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        import tensorflow as tf

        tf.config.list_physical_devices()  # CUDA's libraries are looked for, and missed.
    finally:
        restore()
        if takes_sigint:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        for name in missing:
            del sys.modules[name]


def _filtered_stderr():
    """Lets another process pass on what is written to stderr; returns what ends that."""
    try:
        stderr = os.dup(2)
    except OSError:  # There is none.
        return lambda: None
    has_gpu = bool(glob.glob("/dev/nvidia[0-9]*"))
    source, target = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(target)
        with os.fdopen(source, "rb") as lines:
            for line in lines:
                is_note = NOTES.match(line) or (not has_gpu and NO_GPU.match(line))
                if not is_note:
                    os.write(stderr, line)
        os._exit(0)
    os.close(source)
    os.dup2(target, 2)
    os.close(target)

    def restore():
        os.dup2(stderr, 2)
        os.close(stderr)
        os.waitpid(child, 0)

    return restore


def spell(error):
    """Codec error handler: spells characters that an encoding lacks, or writes a question mark."""
    text = error.object[error.start : error.end]
    return "".join(SPELLINGS.get(character, "?") for character in text), error.end


def print_whatever_the_encoding():
    """Makes stdout and stderr spell what their encoding lacks, where Python would raise an error.

    Minutes of work must not be lost to a ± that a terminal cannot show, or to a file's name. Where
    the process has no stdout or stderr (`2>&-`, daemons), what is printed there goes nowhere.
    """
    open_closed_streams()
    codecs.register_error("iodine.spell", spell)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Not what a test or a notebook put in its place.
            stream.reconfigure(errors="iodine.spell")


@contextlib.contextmanager
def reader_may_leave():
    """Context that ends the process quietly where nobody reads its stdout any more, as in `| head`.

    Raises:
      SystemExit: with the exit code of a program that SIGPIPE ended; or with a line, if stdout
        cannot be written for another reason, such as a full disk.
    """
    try:
        yield
    except BaseException as error:
        # What a full disk did not take is gone from the buffer: only another line tells.
        is_of_a_stream = isinstance(error, OSError) and error.filename is None
        reason = _failure_of_stdout("\n" if is_of_a_stream else "")
        if isinstance(error, BrokenPipeError):
            reason = error
        elif reason is None or not isinstance(error, OSError):
            raise
    else:
        reason = _failure_of_stdout()
    if isinstance(reason, BrokenPipeError):
        sys.exit(128 + signal.SIGPIPE)
    if reason is not None:
        sys.exit(f"error: cannot write to stdout: {reason.strerror}")


def _failure_of_stdout(text=""):
    """Writes text to stdout; where that fails, lets all that is left vanish, and returns the error.

    The interpreter would try again when it ends, and complain.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.write(text)
            sys.stdout.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.__stdout__.fileno())
        os.close(nowhere)
        return error
    return None
