"""The training loop: steps, what is printed of them, checkpoints, signals."""

import contextlib
import signal
import sys
import time

import tensorflow as tf
from tqdm import tqdm

from iodine.checkpoints import CheckpointWriter, latest_checkpoint, restore
from iodine.errors import UserError
from iodine.train.devices import distribute, is_chief, replica_local_variables
from iodine.train.learner import Learner, Progress
from iodine.train.summaries import Summaries

BAR_SECONDS = 0.1  # between two drawings of the progress bar
MAX_BROKEN = 10  # steps in a row without a finite gradient: it is the weights, not a scene


class Interrupted(Exception):
    """A signal ended the training, after the step under way and a checkpoint."""

    def __init__(self, signal_number):
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


class WorkerLost(Exception):
    """Another worker of the cluster is gone, so that no step can be finished."""


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


@contextlib.contextmanager
def catch_signals():
    """Notes SIGINT and SIGTERM in the list that it yields; a second one acts as usual."""
    caught = []
    numbers = (signal.SIGINT, signal.SIGTERM)

    def note(number, _):
        caught.append(number)
        restore_handlers()
        print(f"{signal.Signals(number).name}: finishing this step, then saving", file=sys.stderr)

    def restore_handlers():
        for n, handler in previous.items():
            signal.signal(n, handler)

    previous = {n: signal.signal(n, note) for n in numbers}
    try:
        yield caught
    finally:
        restore_handlers()


class ProgressBar:
    """A bar on a terminal, nothing elsewhere.

    Args:
      start: steps made before.
      total: number of the last step.
      batch_size: scenes in a step.
    """

    def __init__(self, start, total, batch_size):
        # Not through sys.stderr, of which Sacred would keep each of a million drawings.
        self.bar = tqdm(initial=start, total=total, unit="step", disable=None, file=sys.__stderr__)
        self.batch_size = batch_size
        self.start = start
        self.began = self.drawn = time.monotonic()

    def update(self, step, scalars, printed):
        """Moves the bar to a step, and looks at its scalars where it is time to draw it."""
        if self.bar.disable:
            return
        now = time.monotonic()
        if now - self.drawn > BAR_SECONDS:
            self.drawn = now
            figures = {
                name: _loss(float(scalars[scalar][-1]))
                for name, (_, scalar) in printed.items()
                if scalar in scalars
            }
            rate = (step - self.start) * self.batch_size / (now - self.began)
            self.bar.set_postfix(**figures, images_s=f"{rate:.1f}", refresh=False)
        self.bar.update(step - self.bar.n)

    def print(self, line):
        """Prints a line above the bar, at once wherever it goes."""
        tqdm.write(line)
        sys.stdout.flush()


def next_num_steps(step, steps_per_call, last):
    """Number of steps to make in one call after `step`, so that calls end on multiples."""
    if step % steps_per_call or step + steps_per_call > last:
        return 1
    return steps_per_call


def check_periods(steps_per_call, *periods):
    """Raises a `UserError` unless steps_per_call divides the periods."""
    for every in periods:
        if every % steps_per_call:
            raise UserError(
                f"steps_per_call={steps_per_call} has to divide save_summaries_steps, "
                f"save_images_steps and save_checkpoint_steps, and {every} is no multiple of it"
            )


def train(
    dataset,
    model,
    optimizer,
    strategy,
    seed,
    checkpoint_dir,
    continue_run,
    stop_after_steps,
    log_scalar,
    initial_weights=None,
    save_summaries_steps=10,
    save_images_steps=1000,
    save_checkpoint_steps=1000,
    steps_per_call=1,
    xla="auto",
    record=None,
    last_step=None,
    stage=None,
):
    """Trains a model until `stop_after_steps`.

    Args:
      dataset: data set of `iodine.modules.data`.
      model: a `Model`, made under `replica_local_variables(strategy)`.
      optimizer: an `iodine.optimizer.Adam`, likewise.
      strategy: the distribution strategy.
      seed: of batches and noise; a continued run keeps the one that it began with.
      checkpoint_dir: directory of checkpoints and event files.
      continue_run: go on from the latest checkpoint there.
      stop_after_steps: number of the last step.
      log_scalar: function of (name, value, step) that gets the means that are printed.
      initial_weights: path of a checkpoint whose model's weights a new run begins with; random ones
        if None.
      save_summaries_steps: print and log means every so many steps.
      save_images_steps: write pictures for TensorBoard every so many steps.
      save_checkpoint_steps: save every so many steps.
      steps_per_call: number of steps in one compiled call; has to divide the three periods.
      xla: as for `Learner`.
      record: what checkpoints are to remember beside seed and refinement_batch_size, for JSON.
      last_step: number of the last step of all stages, for the progress bar; stop_after_steps if
        None.
      stage: number of the stage, None where there is one alone.

    Returns:
      {name: mean}, the means that were logged last.

    Raises:
      Interrupted: after SIGINT or SIGTERM; the step under way has been finished and saved.
      WorkerLost: if another worker is gone.
      UserError: if the loss stays infinite or NaN, a checkpoint cannot be read or written, or the
        batch size cannot be split.
    """
    check_periods(steps_per_call, save_summaries_steps, save_images_steps, save_checkpoint_steps)
    batch = next(iter(dataset("summary")))
    batch_size = batch["image"].shape[0]
    if batch_size % strategy.num_replicas_in_sync:
        raise UserError(
            f"batch_size={batch_size} cannot be split over {strategy.num_replicas_in_sync} devices"
        )
    if model.refinement_batch_size is None:
        model.refinement_batch_size = batch_size
    progress = Progress(model, seed)
    with replica_local_variables(strategy):
        model.initialize(dataset.image_shape)
    learner = Learner(model, optimizer, progress, strategy, xla)
    if learner.has_peers and steps_per_call > 1:
        raise UserError("steps_per_call has to be 1 where several workers train together")
    state = {"model": model, "optimizer": optimizer, "progress": progress}
    if continue_run:
        restore(latest_checkpoint(checkpoint_dir), **state)
    elif initial_weights:
        restore(latest_checkpoint(initial_weights), model=model)
    writer = summaries = None
    if is_chief(strategy):
        record = {
            **(record or {}),
            "seed": int(progress.seed),
            "refinement_batch_size": model.refinement_batch_size,
        }
        writer = CheckpointWriter(checkpoint_dir, record, **state)
        summaries = Summaries(checkpoint_dir, model, batch)

    step = int(tf.convert_to_tensor(optimizer.step))
    if step >= stop_after_steps:
        raise UserError(
            f"'{checkpoint_dir}' has been trained for {step} steps already: "
            f"set stop_after_steps above that"
        )
    # Compact, to be expanded on the device, where masks are ten times as large.
    train_batches = dataset("train", int(progress.seed), step, compact=True)
    batches = distribute(strategy, train_batches)
    bar = ProgressBar(step, last_step or stop_after_steps, batch_size)
    means, first_of_means = {}, step - int(progress.count)
    if stage is not None and writer:
        log_scalar("stage", stage, step)
    with catch_signals() as signals, bar.bar:
        while step < stop_after_steps:
            num_steps = next_num_steps(step, steps_per_call, stop_after_steps)
            try:
                scalars = learner.steps(batches, num_steps, signalled=bool(signals))
            except tf.errors.OpError as error:
                if not learner.has_peers:
                    raise
                raise WorkerLost(
                    f"another worker is gone ({str(error).splitlines()[0]}); go on from "
                    f"{latest_checkpoint(checkpoint_dir)}"
                ) from error
            step += num_steps
            stopping = learner.anyone_signalled(scalars) if learner.has_peers else bool(signals)
            last = stopping or step == stop_after_steps
            saving = writer and (last or step % save_checkpoint_steps == 0)
            printing = step % save_summaries_steps == 0
            if saving or printing:
                broken = check_finite(progress, writer, checkpoint_dir, step, stop_after_steps)
                # What was saved before a row of broken steps may have led to it.
                saving = saving and (last or not broken)
            # The means come first, for the checkpoint to begin new ones, then what no event file
            # that cannot be written may prevent.
            if printing:
                means, count = progress.pop_means()
                left_out, first_of_means = step - first_of_means - count, step
            if saving:
                writer.save(step)
            bar.update(step, scalars, model.PRINTED)
            if printing and writer:
                if left_out:
                    bar.print(f"{step:>6d} left out: {left_out} without a finite gradient")
                if means:
                    bar.print(format_means(step, means, model.PRINTED))
                for name, mean in means.items():
                    log_scalar(name, mean, step)
                shown = {name: value[-1] for name, value in scalars.items()}
                summaries.write_scalars(shown if stage is None else shown | {"stage": stage}, step)
            if writer and step % save_images_steps == 0:
                summaries.write_pictures(step)
            if stopping:
                learner.wait_for_peers()
                raise Interrupted(signals[0] if signals else signal.SIGTERM)
    learner.wait_for_peers()  # what comes next may read the checkpoint
    return means


def check_finite(progress, writer, checkpoint_dir, step, stop_after_steps):
    """Looks for steps whose loss or gradient was not finite, which change no weights.

    A scene whose refinements run away makes one, now and then.

    Returns:
      Whether the latest step was one.

    Raises:
      UserError: if the latest MAX_BROKEN steps were, or the last ones of the training. Weights that
        were saved right before led to it, so that they are taken back.
    """
    broken = progress.check()
    if broken is None:
        return False
    first, loss, norm = broken
    if step - first + 1 < MAX_BROKEN and step < stop_after_steps:
        return True
    if writer and writer.latest and writer.latest.endswith(f"-{first - 1}"):
        writer.drop_latest()
    raise UserError(
        f"the loss of step {first} is {loss}, its gradient norm {norm}, and no step up to {step} "
        f"was better; last good checkpoint: {writer.latest if writer else checkpoint_dir}"
    )
