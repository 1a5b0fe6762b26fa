"""Adam and its learning rate.

Sonnet's own Adam puts epsilon elsewhere and refuses some distribution strategies, so this one
follows TensorFlow's formula, as the published models were trained with it.
"""

import numbers

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine.errors import UserError


def _number(value, what, wanted, fits):
    """Returns a float; raises a `UserError` that says what is wanted unless it `fits`."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not fits(value):
        raise UserError(f"{what} is {value!r}, use a number {wanted}")
    return float(value)


class ExponentialDecay:
    """Learning rate that falls smoothly: initial · decay_rate^(step / decay_steps).

    Args:
      initial_learning_rate: the learning rate at step 0.
      decay_rate: factor over `decay_steps`.
      decay_steps: number of updates.
      warmup_steps: number of first updates over which the learning rate is multiplied by a factor
        that rises linearly to 1.
      staircase: whether it falls once after every `decay_steps` instead.

    Raises:
      UserError: if an argument is invalid; says which.
    """

    def __init__(
        self, initial_learning_rate, decay_rate, decay_steps, warmup_steps=0, staircase=False
    ):
        self.initial_learning_rate = _number(
            initial_learning_rate, "the initial learning rate", "of 0 or more", lambda x: x >= 0
        )
        self.decay_rate = _number(decay_rate, "decay_rate", "above 0", lambda x: x > 0)
        self.decay_steps = _number(decay_steps, "decay_steps", "above 0", lambda x: x > 0)
        self.warmup_steps = _number(warmup_steps, "warmup_steps", "of 0 or more", lambda x: x >= 0)
        self.staircase = staircase

    def __call__(self, step):
        """Returns the learning rate at an integer step, float32 []."""
        step = tf.cast(step, tf.float32)
        periods = step / self.decay_steps
        if self.staircase:
            periods = tf.floor(periods)
        rate = self.initial_learning_rate * tf.pow(tf.constant(self.decay_rate), periods)
        if self.warmup_steps:
            rate *= tf.minimum((step + 1.0) / self.warmup_steps, 1.0)
        return rate


class Adam(snt.Optimizer):
    """Adam (Kingma & Ba 2015) in TensorFlow's form.

    With t the number of this update, from 1,
    m ← β1·m + (1-β1)·g, v ← β2·v + (1-β2)·g²,
    θ ← θ - lr·sqrt(1-β2^t)/(1-β1^t) · m/(sqrt(v) + ε).

    Args:
      learning_rate: a float, or a function of the number of updates made before.
      beta1: decay of the first moment.
      beta2: decay of the second moment.
      epsilon: added to the root of the second moment.
      rate_factors: {part of a variable's name: what its learning rate is multiplied by}, for parts
        of a model that have to learn faster than the rest, or, with 0, not at all.

    Raises:
      UserError: if an argument is invalid; says which.
    """

    def __init__(
        self, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8, rate_factors=None, name="adam"
    ):
        super().__init__(name=name)
        if not callable(learning_rate):
            learning_rate = _number(
                learning_rate, "learning_rate", "of 0 or more, or a schedule", lambda x: x >= 0
            )
        self.learning_rate = learning_rate
        self.beta1 = _number(beta1, "beta1", "from 0 to below 1", lambda x: 0 <= x < 1)
        self.beta2 = _number(beta2, "beta2", "from 0 to below 1", lambda x: 0 <= x < 1)
        self.epsilon = _number(epsilon, "epsilon", "of 0 or more", lambda x: x >= 0)
        self.rate_factors = rate_factors or {}
        self.step = tf.Variable(0, trainable=False, dtype=tf.int64, name="step")
        self.m = []
        self.v = []

    @snt.once
    def initialize(self, parameters):
        """Makes the moments, all zero, so that they are there before a checkpoint is read."""
        for moments, name in ((self.m, "m"), (self.v, "v")):
            for p in parameters:
                moments.append(tf.Variable(tf.zeros_like(p), trainable=False, name=name))

    def current_learning_rate(self, step):
        """Learning rate after `step` updates, float32 []."""
        rate = self.learning_rate
        return tf.convert_to_tensor(rate(step) if callable(rate) else rate, tf.float32)

    def rate_factors_of(self, parameters):
        """What the learning rate of each variable is multiplied by."""
        return [
            float(np.prod([f for part, f in self.rate_factors.items() if part in p.name]))
            for p in parameters
        ]

    def update(self, gradients, parameters, m, v, step, factors=None):
        """The update as a function of tensors, which changes no variable.

        Args:
          gradients, parameters, m, v: lists of tensors of equal shapes.
          step: number of updates made before, an integer [].
          factors: of the learning rate, a number for each parameter; None for 1.

        Returns:
          (parameters, m, v) after the update, lists of tensors.
        """
        t = tf.cast(step + 1, tf.float32)
        rate = self.current_learning_rate(step)
        rate *= tf.sqrt(1.0 - tf.pow(self.beta2, t)) / (1.0 - tf.pow(self.beta1, t))
        m = [self.beta1 * a + (1.0 - self.beta1) * g for a, g in zip(m, gradients)]
        v = [self.beta2 * a + (1.0 - self.beta2) * tf.square(g) for a, g in zip(v, gradients)]
        parameters = [
            p - factor * rate * a / (tf.sqrt(b) + self.epsilon)
            for p, a, b, factor in zip(parameters, m, v, factors or [1.0] * len(parameters))
        ]
        return parameters, m, v

    def apply(self, updates, parameters, usable=True):
        """Updates the variables.

        Args:
          updates: gradients, already averaged over replicas.
          parameters: the variables, always in the same order.
          usable: bool []; False counts the step and leaves parameters and moments as they are.
        """
        self.initialize(parameters)
        new_values = self.update(
            updates, parameters, self.m, self.v, self.step, self.rate_factors_of(parameters)
        )
        for variables, values in zip((parameters, self.m, self.v), new_values):
            for variable, value in zip(variables, values):
                variable.assign(tf.where(usable, value, variable))
        self.step.assign_add(1)


class ReferenceAdam(Adam):
    """`Adam` with the arguments of TensorFlow 1's `tf.train.AdamOptimizer`, for published plans.

    Nothing here needs `use_locking`.
    """

    def __init__(
        self,
        learning_rate=0.001,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-8,
        use_locking=False,
        name="adam",
    ):
        del use_locking
        super().__init__(learning_rate, beta1, beta2, epsilon, name=name)


class ReferenceDecay(ExponentialDecay):
    """`ExponentialDecay` with the arguments of TensorFlow 1's `tf.train.exponential_decay`.

    The optimizer's step is the global one, so that `global_step` says nothing.
    """

    def __init__(
        self, learning_rate, global_step, decay_steps, decay_rate, staircase=False, name=None
    ):
        del global_step, name
        super().__init__(learning_rate, decay_rate, decay_steps, staircase=staircase)


class ReferenceStep:
    """The global step of published plans, which is not needed: optimizers count steps here."""

    def __init__(self, graph=None):
        del graph
