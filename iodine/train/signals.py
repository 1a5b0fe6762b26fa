"""Signals that end a training after a checkpoint."""

import contextlib
import signal

from iodine.train.output import say

# Ctrl-C, `kill` and schedulers, a terminal that closes, and Slurm's warning (--signal=USR1@60).
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


@contextlib.contextmanager
def catch_signals():
    """Notes the signals that ask for an end in the list that it yields.

    A second SIGINT or SIGTERM acts as usual. SIGHUP may come several times as a terminal closes,
    from the shell and from the system, and is only noted. Under `nohup` it stays ignored.
    """
    caught = []
    previous = {}

    def note(number, _):
        caught.append(number)
        if number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, previous[number])
        # Python may be in the middle of printing, which cannot be begun anew.
        with contextlib.suppress(RuntimeError):
            say(f"{signal.Signals(number).name}: finishing this step, then saving", "stderr")

    for name in NAMES:
        number = getattr(signal, name, None)  # Windows lacks the last two.
        if number is not None and (name, signal.getsignal(number)) != ("SIGHUP", signal.SIG_IGN):
            previous[number] = signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
