"""Training: one step on all devices, and the loop around it."""

import contextlib
import math
import os
import signal
import sys
import time

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
    """

    def __init__(self, model, optimizer, seed, strategy):
        super().__init__()
        self.model = model
        self.optimizer = optimizer
        self.strategy = strategy
        self.seed = seed
        with replica_local_variables(strategy):
            optimizer.initialize(model.trainable_variables)

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

        parameters = model.trainable_variables
        with tf.GradientTape() as tape:
            loss, scalars, _ = model(batch, noise)
        gradients = tape.gradient(loss, parameters, unconnected_gradients="zero")
        if self.strategy.num_replicas_in_sync > 1:
            # The mean over the global batch has to come before the clipping.
            gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        gradients, norm = tf.clip_by_global_norm(gradients, MAX_GRADIENT_NORM)
        optimizer.apply(gradients, parameters)
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
        for step in range(start + 1, stop_after_steps + 1):
            scalars = {name: float(v) for name, v in learner.step(next(batches)).items()}
            loss, ari = scalars["loss/total"], scalars.get("loss/ari_nobg", math.nan)
            # A finite loss with an infinite gradient would spoil the weights all the same.
            if not (math.isfinite(loss) and math.isfinite(scalars["debug/global_grad_norm"])):
                raise UserError(
                    f"the loss of step {step} is {loss}, its gradient norm "
                    f"{scalars['debug/global_grad_norm']}; last good checkpoint: "
                    f"{writer.latest if writer else checkpoint_dir}"
                )
            progress.add(loss, ari)
            rate = (step - start) * batch_size / (time.monotonic() - began)
            bar.set_postfix(loss=f"{loss:.2f}", ari=f"{ari:.2f}", images_s=f"{rate:.1f}")
            bar.update()

            if step % save_summaries_steps == 0:
                means = progress.pop_means()
                if writer:
                    tqdm.write(format_means(step, means))
                    for name, mean in means.items():
                        log_scalar(name, mean, step)
                    summaries.write(scalars, step)
            last = signals or step == stop_after_steps
            if writer and (last or step % save_checkpoint_steps == 0):
                writer.save(step)
            if signals:
                raise Interrupted(signals[0])
    return means
