"""A tiny tetrominoes model, trained once for all tests of a process that show it."""

import functools
import tempfile

from tests.helpers import tiny

NUM_STEPS = 3


@functools.cache
def run():
    """Trains for three steps: (directory, which goes when the tests end; what it printed).

    The checkpoint is in run_1 of the directory.
    """
    directory = tempfile.TemporaryDirectory()
    updates = {
        "checkpoint_dir": f"{directory.name}/run",
        "stop_after_steps": NUM_STEPS,
        "save_images_steps": 1,
    }
    code, stdout, stderr = tiny.run_here(*tiny.arguments(**updates))
    assert code == 0, stderr
    return directory, stdout


def checkpoint_dir():
    """Directory of the checkpoint and of the event file."""
    return f"{run()[0].name}/run_1"
