"""How the commands that are not Sacred's take their arguments, and where they print."""

import argparse
import os
import sys


class Parser(argparse.ArgumentParser):
    """Answers a mistake with one line and exit code 1, as all commands of the project."""

    def error(self, message):
        sys.exit(f"error: {message} (--help says what there is)")


def open_closed_streams():
    """Opens the null device in place of the standard streams that a daemon has closed.

    Else the next file that is opened would have the number of stderr, and what any library or
    child process prints there would be written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken, which is this one.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))
