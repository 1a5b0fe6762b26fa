"""Training: one step on all devices, and the loop around it."""

import contextlib
import math
import os
import signal
import sys
import time

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from iodine.checkpoints import CheckpointWriter, latest_checkpoint, restore
from iodine.modules.utils import UserError

MAX_GRADIENT_NORM = 5.0


class Interrupted(Exception):
    """A signal ended the training, after the step under way and a checkpoint."""

    def __init__(self, signal_number):
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


# ---------------------------------------------------------------- devices


def create_strategy(name):
    """Creates the distribution strategy that a config names.

    Args:
      name: "one_device", "mirrored" (all GPUs of this machine), "multi_worker_mirrored" (the
        cluster that the environment variable TF_CONFIG describes), or "auto", which takes the last
        where TF_CONFIG is set, the second where there are several GPUs, and else the first.

    Raises:
      UserError: for another name, or if TF_CONFIG is needed and not set.
    """
    if name == "auto":
        if os.environ.get("TF_CONFIG"):
            name = "multi_worker_mirrored"
        elif len(tf.config.list_logical_devices("GPU")) > 1:
            name = "mirrored"
        else:
            name = "one_device"
    if name == "one_device":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "multi_worker_mirrored":
        if not os.environ.get("TF_CONFIG"):
            raise UserError("strategy=multi_worker_mirrored needs the environment's TF_CONFIG")
        return tf.distribute.MultiWorkerMirroredStrategy()
    raise UserError(
        f"unknown strategy '{name}', use auto, one_device, mirrored or multi_worker_mirrored"
    )


@contextlib.contextmanager
def replica_local_variables(strategy):
    """Scope whose variables each replica keeps and updates for itself.

    All replicas make the same update from the same averaged gradients, as with
    `snt.distribute.Replicator`, but for any strategy.
    """

    def creator(next_creator, **kwargs):
        kwargs["synchronization"] = tf.VariableSynchronization.ON_READ
        kwargs["aggregation"] = tf.VariableAggregation.ONLY_FIRST_REPLICA
        if kwargs.get("trainable") is None:
            kwargs["trainable"] = True
        return next_creator(**kwargs)

    if strategy.num_replicas_in_sync == 1:
        yield
        return
    with strategy.scope(), tf.variable_creator_scope(creator):
        yield


def is_chief(strategy):
    """Whether this process is the one that writes checkpoints and summaries."""
    resolver = strategy.cluster_resolver
    return resolver is None or not resolver.task_id


def distribute(strategy, dataset):
    """Splits global batches over the replicas, in order.

    Args:
      strategy: the distribution strategy.
      dataset: `tf.data.Dataset` of global batches with static shapes.

    Returns:
      An iterator whose elements `Learner.step` takes.
    """
    num_replicas = strategy.num_replicas_in_sync
    if num_replicas == 1:
        return iter(dataset.prefetch(tf.data.AUTOTUNE))

    def split(batch):
        def per_replica(x):
            return tf.reshape(x, [num_replicas, x.shape[0] // num_replicas, *x.shape[1:]])

        return tf.nest.map_structure(per_replica, batch)

    def local_dataset(context):
        num_local = num_replicas // context.num_input_pipelines
        first = context.input_pipeline_id * num_local
        shares = dataset.map(split).flat_map(
            lambda batch: tf.data.Dataset.from_tensor_slices(
                tf.nest.map_structure(lambda x: x[first : first + num_local], batch)
            )
        )
        return shares.prefetch(tf.data.AUTOTUNE)

    return iter(strategy.distribute_datasets_from_function(local_dataset))


# ---------------------------------------------------------------- one step


class Learner(tf.Module):
    """One training step over all replicas.

    Args:
      model: an `IODINE` whose variables have been created.
      optimizer: an `iodine.optimizer.Adam`; its moments are made here, so that a checkpoint has
        them from the start.
      seed: of the noise. Step and seed together determine it.
      strategy: the distribution strategy that model and optimizer were made under.
      jit_compile: whether XLA compiles loss and gradients; None for where it pays, on a GPU, and
        not over several replicas, whose sums it cannot compile.
    """

    def __init__(self, model, optimizer, seed, strategy, jit_compile=None):
        super().__init__()
        self.model = model
        self.optimizer = optimizer
        self.strategy = strategy
        self.seed = seed
        if jit_compile is None:
            on_gpu = bool(tf.config.list_logical_devices("GPU"))
            jit_compile = on_gpu and strategy.num_replicas_in_sync == 1
        if jit_compile:
            self._loss_and_gradients = tf.function(
                self._loss_and_gradients, autograph=False, jit_compile=True
            )
        with replica_local_variables(strategy):
            optimizer.initialize(model.trainable_variables)

    def _loss_and_gradients(self, batch, noise):
        """Returns the model's scalars and the gradients of the loss by all parameters."""
        parameters = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss, scalars, _ = self.model(batch, noise)
        return scalars, tape.gradient(loss, parameters, unconnected_gradients="zero")

    def _replica_step(self, batch, noise):
        context = tf.distribute.get_replica_context()
        model, optimizer = self.model, self.optimizer
        num_scenes = batch["image"].shape[0]
        if noise is None:
            # All replicas draw the noise of the whole batch, and each takes its part: a step is the
            # same on any number of devices.
            noise = tf.random.stateless_normal(
                [
                    model.num_iters + 1,
                    num_scenes * self.strategy.num_replicas_in_sync,
                    model.num_components,
                    model.n_z,
                ],
                seed=tf.stack([tf.cast(self.seed, tf.int64), optimizer.step]),
            )
        first = context.replica_id_in_sync_group * num_scenes
        noise = noise[:, first : first + num_scenes]

        scalars, gradients = self._loss_and_gradients(batch, noise)
        if self.strategy.num_replicas_in_sync > 1:
            # The mean over the global batch has to come before the clipping.
            gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        gradients, norm = tf.clip_by_global_norm(gradients, MAX_GRADIENT_NORM)
        optimizer.apply(gradients, model.trainable_variables)
        return {**scalars, "debug/global_grad_norm": norm}

    @tf.function(autograph=False)
    def step(self, batch, noise=None):
        """Updates the parameters once.

        Args:
          batch: an element of what `distribute` returns.
          noise: standard-normal [num_iters + 1, global B, K, Z], drawn from seed and step if None.

        Returns:
          The model's scalars and debug/global_grad_norm (before clipping), {name: float32 []}.
        """
        scalars = self.strategy.run(self._replica_step, args=(batch, noise))
        return {
            name: self.strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None)
            for name, value in scalars.items()
        }

    def steps(self, batches, num_steps):
        """Updates the parameters several times.

        Args:
          batches: what `distribute` returned.
          num_steps: how often, a Python int.

        Returns:
          The scalars of each step, {name: float32 [num_steps]}.
        """
        if num_steps == 1:
            scalars = self.step(next(batches))
            return {name: value[None] for name, value in scalars.items()}
        return self._steps_in_one_call(batches, num_steps)

    @tf.function(autograph=False)
    def _steps_in_one_call(self, batches, num_steps):
        """As `steps`, compiled as one, which spares the host's part between them."""
        first = self.step(next(batches))
        results = {
            name: tf.TensorArray(tf.float32, num_steps).write(0, value)
            for name, value in first.items()
        }

        def body(i, results):
            scalars = self.step(next(batches))
            return i + 1, {name: array.write(i, scalars[name]) for name, array in results.items()}

        _, results = tf.while_loop(lambda i, _: i < num_steps, body, [1, results])
        return {name: array.stack() for name, array in results.items()}


class Progress(tf.Module):
    """What a run has to remember beside its weights: the seed, and means under way.

    Args:
      seed: of the run.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed = tf.Variable(seed, dtype=tf.int64, trainable=False)
        self.count = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.loss_sum = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self.ari_sum = tf.Variable(0.0, dtype=tf.float64, trainable=False)

    def add(self, loss, ari):
        """Takes in the figures of one step; ari is NaN where there are no true masks."""
        self.count.assign_add(1)
        self.loss_sum.assign_add(loss)
        self.ari_sum.assign_add(ari)

    def pop_means(self):
        """Returns {"loss", "ari"}, the means since the last call; no ARI without true masks."""
        count = float(self.count)
        means = {"loss": float(self.loss_sum) / count, "ari": float(self.ari_sum) / count}
        for variable in (self.count, self.loss_sum, self.ari_sum):
            variable.assign(tf.zeros_like(variable))
        return {name: mean for name, mean in means.items() if not math.isnan(mean)}


# ---------------------------------------------------------------- the loop


def format_means(step, means):
    """The line that is printed about a step, from what `Progress.pop_means` returned."""
    line = f"{step:>6d} Loss: {means['loss']: >12.2f}"
    return line + (f"\t\tARI-nobg:{means['ari']: >6.2f}" if "ari" in means else "")


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


class Summaries:
    """Writes scalars and pictures for TensorBoard.

    Args:
      directory: where the event files go.
      model: the model to show.
      batch: the fixed batch that the pictures show the first scenes of.
      num_images: how many scenes of it.
    """

    def __init__(self, directory, model, batch, num_images=4):
        self.writer = tf.summary.create_file_writer(directory)
        batch_size = batch["image"].shape[0]
        self.scenes = tf.nest.map_structure(lambda x: x[:num_images], batch)
        self.draw = tf.function(
            lambda: model.get_overview_images(self.scenes, batch_size=batch_size), autograph=False
        )

    def write(self, scalars, step):
        """Writes the scalars {name: value} and the pictures of this step."""
        with self.writer.as_default(step=step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
            for name, image in self.draw().items():
                tf.summary.image(name, image)
        self.writer.flush()


def check_finite(scalars, last_step, last_checkpoint):
    """Raises a `UserError` if a loss or gradient of the steps up to last_step is not finite.

    A finite loss with an infinite gradient would spoil the weights all the same.
    """
    losses, norms = scalars["loss/total"], scalars["debug/global_grad_norm"]
    for step, loss, norm in zip(range(last_step - len(losses) + 1, last_step + 1), losses, norms):
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise UserError(
                f"the loss of step {step} is {loss}, its gradient norm {norm}; "
                f"last good checkpoint: {last_checkpoint}"
            )


def train(
    dataset,
    model,
    optimizer,
    strategy,
    seed,
    checkpoint_dir,
    continue_run,
    save_summaries_steps,
    save_checkpoint_steps,
    stop_after_steps,
    log_scalar,
    steps_per_call=1,
):
    """Trains a model until `stop_after_steps`.

    Args:
      dataset: data set of `iodine.modules.data`.
      model: an `IODINE`, made under `replica_local_variables(strategy)`.
      optimizer: an `iodine.optimizer.Adam`, likewise.
      strategy: the distribution strategy.
      seed: of batches and noise; a continued run keeps the one that it began with.
      checkpoint_dir: directory of checkpoints and event files.
      continue_run: go on from the latest checkpoint there.
      save_summaries_steps: print and log the mean loss and ARI every so many steps.
      save_checkpoint_steps: save every so many steps.
      stop_after_steps: number of the last step.
      log_scalar: function of (name, value, step) that gets the mean loss and ARI.
      steps_per_call: number of steps in one compiled call; has to divide the three numbers above.

    Returns:
      {"loss", "ari"}, the means that were logged last.

    Raises:
      Interrupted: after SIGINT or SIGTERM; the step under way has been finished and saved.
      UserError: if the loss is not finite, a checkpoint cannot be read or written, or the batch
        size cannot be split.
    """
    batch = next(iter(dataset("summary")))
    batch_size = batch["image"].shape[0]
    if batch_size % strategy.num_replicas_in_sync:
        raise UserError(
            f"batch_size={batch_size} cannot be split over {strategy.num_replicas_in_sync} devices"
        )
    if steps_per_call > 1 and strategy.cluster_resolver is not None:
        raise UserError("steps_per_call has to be 1 where several workers train together")
    for every in (save_summaries_steps, save_checkpoint_steps, stop_after_steps):
        if every % steps_per_call:
            raise UserError(
                f"steps_per_call={steps_per_call} has to divide save_summaries_steps, "
                f"save_checkpoint_steps and stop_after_steps, and {every} is no multiple of it"
            )
    progress = Progress(seed)
    with replica_local_variables(strategy):
        model.initialize(dataset.image_shape)
    learner = Learner(model, optimizer, progress.seed, strategy)
    state = {"model": model, "optimizer": optimizer, "progress": progress}
    if continue_run:
        restore(latest_checkpoint(checkpoint_dir), **state)
    writer = summaries = None
    if is_chief(strategy):
        writer = CheckpointWriter(checkpoint_dir, **state)
        summaries = Summaries(checkpoint_dir, model, batch)

    start = int(tf.convert_to_tensor(optimizer.step))
    if start >= stop_after_steps:
        raise UserError(
            f"'{checkpoint_dir}' has been trained for {start} steps already: "
            f"set stop_after_steps above that"
        )
    batches = distribute(strategy, dataset("train", seed=int(progress.seed), start_step=start))
    means = {}
    with (
        catch_signals() as signals,
        # On a terminal only; elsewhere the printed lines say all.
        tqdm(initial=start, total=stop_after_steps, unit="step", disable=None) as bar,
    ):
        began = time.monotonic()
        for step in range(start + steps_per_call, stop_after_steps + 1, steps_per_call):
            scalars = learner.steps(batches, steps_per_call)
            scalars = {name: value.numpy() for name, value in scalars.items()}
            check_finite(scalars, step, writer.latest if writer else checkpoint_dir)
            losses = scalars["loss/total"]
            aris = scalars.get("loss/ari_nobg", np.full_like(losses, math.nan))
            for loss, ari in zip(losses, aris):
                progress.add(loss, ari)
            rate = (step - start) * batch_size / (time.monotonic() - began)
            bar.set_postfix(loss=f"{loss:.2f}", ari=f"{ari:.2f}", images_s=f"{rate:.1f}")
            bar.update(steps_per_call)

            if step % save_summaries_steps == 0:
                means = progress.pop_means()
                if writer:
                    tqdm.write(format_means(step, means))
                    for name, mean in means.items():
                        log_scalar(name, mean, step)
                    summaries.write({name: value[-1] for name, value in scalars.items()}, step)
            last = signals or step == stop_after_steps
            if writer and (last or step % save_checkpoint_steps == 0):
                writer.save(step)
            if signals:
                raise Interrupted(signals[0])
    return means
