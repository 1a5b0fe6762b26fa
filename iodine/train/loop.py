"""The training loop: steps, what is told and saved of them, and when they end."""

import signal
from typing import NamedTuple

import tensorflow as tf

from iodine.checkpoints import CheckpointWriter, restore
from iodine.errors import Interrupted, UserError
from iodine.train.devices import distribute, replica_local_variables
from iodine.train.learner import Learner, Progress
from iodine.train.output import ProgressBar, format_means, say
from iodine.train.signals import catch_signals
from iodine.train.summaries import Summaries
from iodine.train.workers import check_same_state, is_chief

MAX_BROKEN = 10  # steps in a row without a finite gradient: it is the weights, not a scene
SOON = 10  # steps after which a user who waits for a sign of life sees the first loss


class Options(NamedTuple):
    """What a training is told beside its parts.

    Attributes:
      seed: of batches and noise. A resumed run keeps the one that it began with.
      directory: where checkpoints and event files go.
      until: number of the last step.
      resume_from: path of the checkpoint to resume from, None for a new run.
      initial_weights: path of a checkpoint whose model's weights a new run begins with; None for
        random ones.
      save_summaries_steps: means are printed and logged every so many steps.
      save_images_steps: summary images are written every so many steps.
      save_checkpoint_steps: a checkpoint is saved every so many steps, and at the end.
      steps_per_call: number of steps in one compiled call; has to divide the three periods.
      xla: "auto", True or False, see `Learner`.
      record: what checkpoints remember beside seed and refinement_batch_size, a dict for JSON; None
        for nothing.
      last_step: number of the last step of all stages, which the progress bar shows; None where it
        is `until`.
      stage: number of the stage; None where there is one alone.
    """

    seed: int
    directory: str
    until: int
    resume_from: str | None = None
    initial_weights: str | None = None
    save_summaries_steps: int = 10
    save_images_steps: int = 1000
    save_checkpoint_steps: int = 1000
    steps_per_call: int = 1
    xla: bool | str = "auto"
    record: dict | None = None
    last_step: int | None = None
    stage: int | None = None


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


def create_learner(dataset, model, optimizer, strategy, batch_size, options):
    """Creates the `Learner` of a training, and restores what it begins with on all workers.

    Args:
      dataset, model, optimizer, strategy, options: see `train`.
      batch_size: number of scenes in a step, on all devices.

    Raises:
      UserError: if a checkpoint cannot be read, or the workers or devices cannot work together.
    """
    if batch_size % strategy.num_replicas_in_sync:
        raise UserError(
            f"batch_size={batch_size} cannot be split over {strategy.num_replicas_in_sync} devices"
        )
    if model.refinement_batch_size is None:
        model.refinement_batch_size = batch_size
    progress = Progress(model, options.seed)
    with replica_local_variables(strategy):
        model.initialize(dataset.image_shape)
    learner = Learner(model, optimizer, progress, strategy, options.xla)
    if learner.has_peers and options.steps_per_call > 1:
        raise UserError("steps_per_call has to be 1 where several workers train together")
    problem = None
    try:
        if options.resume_from:
            restore(options.resume_from, model=model, optimizer=optimizer, progress=progress)
        elif options.initial_weights:
            may_lack = [f"model/{name}" for name in model.ADDED]
            for key in restore(options.initial_weights, may_lack, model=model):
                if is_chief(strategy):
                    say(f"'{options.initial_weights}' lacks {key}, which starts as in a new model")
    except UserError as error:
        problem = error
    variables = [*model.variables, *optimizer.variables, progress.seed]
    check_same_state(strategy, int(tf.convert_to_tensor(optimizer.step)), variables, problem)
    return learner


def train(dataset, model, optimizer, strategy, options, log_scalar):
    """Trains a model until step `options.until`.

    Args:
      dataset: a `SceneDataset`.
      model: a `Model`, made under `replica_local_variables(strategy)`.
      optimizer: an `iodine.optimizer.Adam`, likewise.
      strategy: the distribution strategy.
      options: `Options`.
      log_scalar: function of (name, value, step) that gets the means that are printed.

    Returns:
      {name: mean}, the means that were logged last.

    Raises:
      Interrupted: after a signal that asks for an end; the step under way has been finished and
        saved.
      UserError: if the loss stays infinite or NaN, a checkpoint cannot be read or written, the
        batch size cannot be split, or the steps have been made already.
    """
    check_periods(
        options.steps_per_call,
        options.save_summaries_steps,
        options.save_images_steps,
        options.save_checkpoint_steps,
    )
    batch = next(iter(dataset("summary")))
    batch_size = batch["image"].shape[0]
    learner = create_learner(dataset, model, optimizer, strategy, batch_size, options)
    step = int(tf.convert_to_tensor(optimizer.step))
    if step >= options.until:
        raise UserError(
            f"'{options.directory}' has been trained for {step} steps already: "
            f"set stop_after_steps above that"
        )
    bar = ProgressBar(step, options.last_step or options.until, batch_size, model.PRINTED)
    loop = _Loop(learner, options, log_scalar, step, bar)
    if is_chief(strategy):
        loop.write_to_directory(batch)
    # Compact, to be expanded on the device, where masks are ten times as large.
    seed = int(learner.progress.seed)
    batches = distribute(strategy, dataset("train", seed, step, compact=True))
    with catch_signals() as signals, bar.bar:
        return loop.run(batches, signals)


class _Loop:
    """A training under way.

    Args:
      learner: the `Learner`, restored.
      options: `Options`.
      log_scalar: see `train`.
      step: number of steps made before.
      bar: the `ProgressBar`.
    """

    def __init__(self, learner, options, log_scalar, step, bar):
        self.learner = learner
        self.model = learner.model
        self.progress = learner.progress
        self.options = options
        self.log_scalar = log_scalar
        self.step = self.began = step
        self.bar = bar
        self.first_of_means = step - int(self.progress.count)
        self.means = {}
        self.has_told = False
        self.writer = self.summaries = None

    def write_to_directory(self, batch):
        """Lets this process write checkpoints, summaries of this batch, and all that is told."""
        options = self.options
        record = {
            **(options.record or {}),
            "seed": int(self.progress.seed),
            "refinement_batch_size": self.model.refinement_batch_size,
        }
        self.writer = CheckpointWriter(
            options.directory,
            record,
            model=self.model,
            optimizer=self.learner.optimizer,
            progress=self.progress,
        )
        self.summaries = Summaries(options.directory, self.model, batch, self.step)
        if options.stage is not None:
            self.log_scalar("stage", options.stage, self.step)

    def run(self, batches, signals):
        """Makes the steps; `signals` is the list of those that were caught, see `train`."""
        learner, options = self.learner, self.options
        while self.step < options.until:
            num_steps = next_num_steps(self.step, options.steps_per_call, options.until)
            scalars = learner.steps(batches, num_steps, signalled=bool(signals))
            self.step += num_steps
            stopping = learner.anyone_signalled(scalars) if learner.has_peers else bool(signals)
            self._after_steps(scalars, last=stopping or self.step == options.until)
            if stopping:
                learner.wait_for_peers()
                raise Interrupted(signals[0] if signals else signal.SIGTERM)
        learner.wait_for_peers()  # what comes next may read the checkpoint
        return self.means

    def _after_steps(self, scalars, last):
        """Saves, prints and logs what is due.

        Args:
          scalars: of the steps of the latest call, {name: float32 [steps]}.
          last: whether no further step follows.
        """
        options, step = self.options, self.step
        printing = step % options.save_summaries_steps == 0
        saving = last or step % options.save_checkpoint_steps == 0
        if saving or printing:
            num_broken = self._check_finite()
            # What was saved in a row of broken steps may have led to it.
            saving = last or (saving and not num_broken)
            if last and num_broken and self.writer:
                say(
                    f"warning: left out at the end: {num_broken} without a finite gradient",
                    "stderr",
                )
        # The means come first, for the checkpoint to begin new ones, then what no event file that
        # cannot be written may prevent.
        left_out = 0
        if printing:
            self.means, count = self.progress.pop_means()
            left_out, self.first_of_means = step - self.first_of_means - count, step
        if saving and self.writer:
            self.writer.save(step)
        self.bar.update(step, scalars)
        if not self.writer:
            return
        if printing:
            self._tell(self.means, left_out)
            self._log(scalars)
        elif not self.has_told and step - self.began >= SOON:
            self._tell(self.progress.means()[0])
        if step % options.save_images_steps == 0:
            self.summaries.write_images(step)

    def _tell(self, means, left_out=0):
        """Prints means, and how many steps are not among them."""
        self.has_told = True
        if left_out:
            say(f"{self.step:>6d} left out: {left_out} without a finite gradient")
        if means:
            say(format_means(self.step, means, self.model.PRINTED))

    def _log(self, scalars):
        """Logs the means, and for TensorBoard the latest step's scalars."""
        for name, mean in self.means.items():
            self.log_scalar(name, mean, self.step)
        shown = {name: value[-1] for name, value in scalars.items()}
        if self.options.stage is not None:
            shown["stage"] = self.options.stage
        self.summaries.write_scalars(shown, self.step)

    def _check_finite(self):
        """Looks for steps whose loss or gradient was not finite, which change no weights.

        A scene whose refinements run away makes one, now and then.

        Returns:
          Number of the latest steps in a row that were such.

        Raises:
          UserError: if they are MAX_BROKEN or more. Weights that were saved right before them, or
            among them, led to it, so that they are taken back.
        """
        broken = self.progress.check()
        if broken is None:
            return 0
        first, loss, norm = broken
        num_broken = self.step - first + 1
        if num_broken < MAX_BROKEN:
            return num_broken
        latest = self.options.directory
        if self.writer:
            self.writer.drop_from(first - 1)
            latest = self.writer.latest
        raise UserError(
            f"the loss of step {first} is {loss}, its gradient norm {norm}, and no step up to "
            f"{self.step} was better; last good checkpoint: {latest}"
        )
