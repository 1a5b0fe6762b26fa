"""One training step over all replicas, and what a run counts while it makes many."""

import math

import tensorflow as tf

from iodine.data.batches import expand
from iodine.errors import UserError
from iodine.train.devices import replica_local_variables
from iodine.train.output import say
from iodine.train.workers import num_workers, value_of_chief

SIGNALLED = "debug/signalled"
XLA_CHOICES = ("auto", True, False)


class Progress(tf.Module):
    """What a run has to remember beside its weights: the seed, and means under way.

    The figures are added up where the step runs, so that the host need not wait for each step.

    Args:
      model: the `Model`, whose `PRINTED` names the figures.
      seed: of the run.
    """

    def __init__(self, model, seed):
        super().__init__()
        self.scalars = {name: scalar for name, (_, scalar) in model.PRINTED.items()}
        self.seed = tf.Variable(seed, dtype=tf.int64, trainable=False)
        self.count = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.sums = {
            name: tf.Variable(0.0, dtype=tf.float64, trainable=False) for name in self.scalars
        }
        # Steps that each figure is defined in: no ARI without true masks, or without an object.
        self.counts = {
            name: tf.Variable(0.0, dtype=tf.float64, trainable=False) for name in self.scalars
        }
        # Number, loss and gradient norm of the first of the latest steps in a row that were not
        # finite; -1 for none.
        self.broken = tf.Variable([-1.0, 0.0, 0.0], dtype=tf.float64, trainable=False)

    def add(self, scalars, step):
        """Takes in the scalars of step number `step`, leaving out those that are not finite."""
        loss, norm = scalars["loss/total"], scalars["debug/global_grad_norm"]
        finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)
        self.count.assign_add(tf.cast(finite, tf.int64))
        for name, scalar in self.scalars.items():
            value = tf.cast(scalars.get(scalar, math.nan), tf.float64)
            defined = finite & ~tf.math.is_nan(value)
            self.sums[name].assign_add(tf.where(defined, value, 0.0))
            self.counts[name].assign_add(tf.cast(defined, tf.float64))
        found = tf.cast(tf.stack([tf.cast(step, tf.float32), loss, norm]), tf.float64)
        row = tf.where(self.broken[0] >= 0, self.broken, found)
        self.broken.assign(tf.where(finite, tf.constant([-1.0, 0.0, 0.0], tf.float64), row))

    @tf.function(autograph=False)
    def _fetch(self):
        count = tf.cast(self.count, tf.float64)
        return count, tf.stack([*self.sums.values()]), tf.stack([*self.counts.values()])

    def check(self):
        """Looks at the latest step.

        Returns:
          None if it was finite, else (step, loss, gradient norm) of the first of the steps in a row
          up to it that were not.
        """
        step, loss, norm = self.broken.numpy()
        return None if step < 0 else (int(step), loss, norm)

    def means(self):
        """Looks at the steps since the last `pop_means`.

        Returns:
          ({name: mean}, of the figures that there are; number of steps that are in the means).
        """
        count, sums, counts = (values.numpy() for values in self._fetch())
        figures = zip(self.sums, sums.tolist(), counts.tolist())
        return {name: total / n for name, total, n in figures if n}, int(count)

    def pop_means(self):
        """As `means`, and begins new ones."""
        means = self.means()
        for variable in (self.count, *self.sums.values(), *self.counts.values()):
            variable.assign(tf.zeros_like(variable))
        return means


class Learner(tf.Module):
    """One training step over all replicas.

    Args:
      model: a `Model` whose variables have been created.
      optimizer: an `iodine.optimizer.Adam`; its moments are made here, so that a checkpoint has
        them from the start.
      progress: `Progress`. Its seed and the step together determine the noise.
      strategy: the distribution strategy that model and optimizer were made under.
      xla: whether XLA compiles loss and gradients. "auto" takes it where it pays, on a GPU, and
        does without it, saying so in a line, if it cannot compile them in the first step.

    Raises:
      UserError: if xla is invalid.
    """

    def __init__(self, model, optimizer, progress, strategy, xla="auto"):
        super().__init__()
        if xla not in XLA_CHOICES:
            raise UserError(f"xla={xla!r}: use auto, True or False")
        self.model = model
        self.optimizer = optimizer
        self.strategy = strategy
        self.progress = progress
        # Sums over workers wait for all of them, so that one cannot stop without the others.
        self.has_peers = num_workers(strategy) > 1
        self.signalled = tf.Variable(0.0, trainable=False)
        self.xla = bool(tf.config.list_logical_devices("GPU")) if xla == "auto" else xla
        self.may_do_without_xla = xla == "auto"
        self._is_compiled = not self.xla  # or else whether XLA can compile it is not known yet
        self._compiled = tf.function(self._loss_and_gradients, autograph=False, jit_compile=True)
        with replica_local_variables(strategy):
            optimizer.initialize(model.trainable_variables)

    def _loss_and_gradients(self, batch, noise):
        """Returns the model's scalars and the gradients of the loss by all parameters."""
        parameters = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss, scalars, _ = self.model(batch, noise)
        return scalars, tape.gradient(loss, parameters, unconnected_gradients="zero")

    def _replica_gradients(self, batch, noise):
        context = tf.distribute.get_replica_context()
        num_scenes = batch["image"].shape[0]
        if noise is None:
            # All replicas draw the noise of the whole batch, and each takes its part: a step is the
            # same on any number of devices.
            noise = tf.random.stateless_normal(
                self.model.noise_shape(num_scenes * self.strategy.num_replicas_in_sync),
                seed=tf.stack([self.progress.seed, self.optimizer.step]),
            )
        first = context.replica_id_in_sync_group * num_scenes
        noise = noise[:, first : first + num_scenes]
        return (self._compiled if self.xla else self._loss_and_gradients)(batch, noise)

    def _replica_step(self, batch, noise):
        batch = expand(batch)
        # Sums over replicas come before and after what XLA compiles, which cannot compile them.
        scalars, gradients = self._replica_gradients(self.model.observe(batch), noise)
        if self.strategy.num_replicas_in_sync > 1:
            # The mean over the global batch has to come before the clipping.
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        norm = tf.linalg.global_norm(gradients)
        if self.model.max_gradient_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self.model.max_gradient_norm, norm)
        # Refinements run away on a scene now and then; its gradient would spoil the weights.
        usable = tf.math.is_finite(norm)
        self.optimizer.apply(gradients, self.model.trainable_variables, usable)
        scalars["debug/global_grad_norm"] = norm
        if self.has_peers:
            scalars[SIGNALLED] = tf.identity(self.signalled)
        return scalars

    @tf.function(autograph=False)
    def step(self, batch, noise=None):
        """Updates the parameters once.

        Args:
          batch: an element of what `devices.distribute` returns, compact or not (see
            `iodine.data.batches.expand`).
          noise: standard-normal, of the model's `noise_shape(global B)`, drawn from seed and step
            if None.

        Returns:
          The model's scalars and debug/global_grad_norm (before clipping), {name: float32 []}.
        """
        scalars = self.strategy.run(self._replica_step, args=(batch, noise))
        scalars = {name: self._over_replicas(name, value) for name, value in scalars.items()}
        self.progress.add(scalars, self.optimizer.step)
        return scalars

    def _over_replicas(self, name, values):
        """The mean of a scalar over replicas; an ARI's is over those where it is defined."""
        reduce, ops = self.strategy.reduce, tf.distribute.ReduceOp
        if self.strategy.num_replicas_in_sync == 1 or not name.startswith("loss/ari"):
            return reduce(ops.MEAN, values, axis=None)
        defined, total = self.strategy.run(_defined, args=(values,))
        return reduce(ops.SUM, total, axis=None) / reduce(ops.SUM, defined, axis=None)

    def steps(self, batches, num_steps, signalled=False):
        """Updates the parameters several times.

        Args:
          batches: what `devices.distribute` returned.
          num_steps: how often, a Python int.
          signalled: whether this process was asked to stop; `anyone_signalled` tells all workers.

        Returns:
          The scalars of each step, {name: float32 [num_steps]}.
        """
        if signalled and self.has_peers:
            self.signalled.assign(1.0)
        if num_steps > 1 and self._is_compiled:
            return self._steps_in_one_call(batches, num_steps)
        calls = []
        for _ in range(num_steps):
            step = self.step if self._is_compiled else self._first_step
            calls.append(step(next(batches)))
        return {name: tf.stack([call[name] for call in calls]) for name in calls[0]}

    def wait_for_peers(self):
        """Returns when all workers have called it."""
        value_of_chief(self.strategy, 0)

    def anyone_signalled(self, scalars):
        """Whether any worker was asked to stop before the step that gave these scalars."""
        return bool(scalars[SIGNALLED][-1] > 0)

    def _first_step(self, batch):
        """As `step`; if XLA cannot compile it, runs without XLA where xla is "auto".

        Raises:
          UserError: if XLA cannot compile the step and it was asked for.
        """
        # A step that fails may have changed what does not wait for the gradients.
        state = [(variable, tf.convert_to_tensor(variable)) for variable in self.variables]
        try:
            scalars = self.step(batch)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            reason = str(error).strip().splitlines()[-1]
            if not self.may_do_without_xla:
                raise UserError(
                    f"XLA cannot compile the step, xla=False does without: {reason}"
                ) from error
            say(f"warning: XLA cannot compile the step, training without it: {reason}", "stderr")
            self.xla = False
            for variable, value in state:
                variable.assign(value)
            self.step = tf.function(self.step.python_function, autograph=False)
            scalars = self.step(batch)
        self._is_compiled = True
        return scalars

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


def _defined(value):
    """(1 and a scalar, or 0 and 0 where it is NaN)."""
    defined = tf.cast(~tf.math.is_nan(value), value.dtype)
    return defined, tf.where(tf.math.is_nan(value), 0.0, value)
