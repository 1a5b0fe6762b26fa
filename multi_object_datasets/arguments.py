"""How the commands that are not Sacred's take their arguments."""

import argparse
import sys


class Parser(argparse.ArgumentParser):
    """Answers a mistake with one line and exit code 1, as all commands of the project."""

    def error(self, message):
        sys.exit(f"error: {message} (--help says what there is)")
