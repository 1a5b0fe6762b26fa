"""Printing to terminals of any encoding, and to readers that leave."""

import codecs
import contextlib
import os
import signal
import sys

SPELLINGS = {"±": "+-", "−": "-", "×": "x", "²": "^2", "Σ": "sum", "∇": "grad", "–": "-"}
SPELLINGS |= {"≥": ">=", "↑": "(higher is better)", "↓": "(lower is better)"}


def spell(error):
    """Codec error handler: spells characters that an encoding lacks, or writes a question mark."""
    text = error.object[error.start : error.end]
    return "".join(SPELLINGS.get(character, "?") for character in text), error.end


def print_whatever_the_encoding():
    """Makes stdout and stderr spell what their encoding lacks, where Python would raise an error.

    Minutes of work must not be lost to a ± that a terminal cannot show, or to a file's name.
    """
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
        reason = _failure_of_stdout()
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


def _failure_of_stdout():
    """Flushes stdout; where that fails, lets all that is left vanish, and returns the error.

    The interpreter would try again when it ends, and complain.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.__stdout__.fileno())
        os.close(nowhere)
        return error
    return None
