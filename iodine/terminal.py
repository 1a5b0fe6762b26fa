"""Printing to terminals of any encoding."""

import codecs
import os
import sys

SPELLINGS = {"±": "+-", "−": "-", "×": "x", "²": "^2", "Σ": "sum", "∇": "grad", "–": "-"}


def spell(error):
    """Codec error handler: spells characters that an encoding lacks, or writes a question mark."""
    text = error.object[error.start : error.end]
    return "".join(SPELLINGS.get(character, "?") for character in text), error.end


def print_whatever_the_encoding():
    """Makes stdout and stderr spell what their encoding lacks, where Python would raise an error.

    Minutes of work must not be lost to a ± that a terminal cannot show, or to a file's name. Where
    the process has no stdout or stderr (`2>&-`, daemons), what is printed there goes nowhere.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))
    codecs.register_error("iodine.spell", spell)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Not what a test or a notebook put in its place.
            stream.reconfigure(errors="iodine.spell")
