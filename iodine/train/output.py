"""What a training prints: lines about its steps, and a progress bar on a terminal."""

import os
import sys
import time

from tqdm import tqdm

from multi_object_datasets.progress import progress_bar

BAR_SECONDS = 0.1  # between two looks at the figures that the bar shows


def say(line, stream_name="stdout"):
    """Prints a line at once, above the progress bar.

    Training continues where it cannot be printed, because its reader went away (`| head`), its disk
    is full or its terminal was closed.

    Args:
      line: the text.
      stream_name: "stdout" or "stderr".
    """
    stream = getattr(sys, stream_name)
    if stream is None:
        return
    try:
        tqdm.write(line, file=stream)
        stream.flush()
    except OSError as error:
        _discard(stream)
        if stream_name == "stdout":
            say(f"warning: stdout takes no more lines ({error}); training continues", "stderr")


def _discard(stream):
    """Lets a stream's later output, and what it holds back, go nowhere.

    Python would try to write that at its end, and fail.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _loss(value):
    """A loss in digits that tell nats as well as mean squared errors apart."""
    return f"{value:.2f}" if abs(value) >= 1.0 else f"{value:.5f}"


def format_means(step, means, printed):
    """The line that is printed about a step.

    Args:
      step: its number.
      means: {name: value}, the loss first.
      printed: the model's `PRINTED`.
    """
    loss, *others = [(f"{printed[name][0]}:", value) for name, value in means.items()]
    line = f"{step:>6d} {loss[0]} {_loss(loss[1]): >12}"
    return "\t\t".join([line, *[f"{label}{value: >6.2f}" for label, value in others]])


class ProgressBar:
    """A bar on a terminal, nothing elsewhere.

    Args:
      start: steps made before.
      total: number of the last step.
      batch_size: scenes in a step.
      printed: the model's `PRINTED`.
    """

    def __init__(self, start, total, batch_size, printed):
        self.bar = progress_bar(total, "step", initial=start)
        self.batch_size = batch_size
        self.printed = printed
        self.start = start
        self.began = self.drawn = time.monotonic()

    def update(self, step, scalars):
        """Moves the bar to a step, and looks at its scalars where it is time to draw it."""
        if self.bar.disable:
            return
        now = time.monotonic()
        if now - self.drawn > BAR_SECONDS:
            self.drawn = now
            figures = {
                name: _loss(float(scalars[scalar][-1]))
                for name, (_, scalar) in self.printed.items()
                if scalar in scalars
            }
            rate = (step - self.start) * self.batch_size / (now - self.began)
            self.bar.set_postfix(**figures, images_s=f"{rate:.1f}", refresh=False)
        self.bar.update(step - self.bar.n)
