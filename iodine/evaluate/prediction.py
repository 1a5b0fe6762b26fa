"""Runs a model on scenes: their batches, their noise, and what is kept of the results."""

import sys
import time

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from multi_object_datasets import progress

LOG_SECONDS = 60  # from one line about progress to the next where there is no terminal
MEASURED_SECONDS = 5  # of work, that an estimate of the rest is made from
SHORT_SECONDS = 20  # of work that is left, about which nothing is said


def pad_batch(batch, batch_size):
    """Repeats a batch's last scene until it has batch_size scenes, for one compiled function."""

    def pad(x):
        return np.concatenate([x, np.repeat(x[-1:], batch_size - len(x), axis=0)])

    return tf.nest.map_structure(pad, batch)


def first_scenes(batches, num_images):
    """Yields the first scenes of a data set.

    Args:
      batches: `tf.data.Dataset` of batches.
      num_images: number of scenes in all.

    Yields:
      (batch of NumPy arrays, numbers of its scenes int32 [n]), fewer than asked for if there are
      not as many.
    """
    done = 0
    for batch in batches.as_numpy_iterator():
        count = min(len(batch["image"]), num_images - done)
        numbers = np.arange(done, done + count, dtype=np.int32)
        yield tf.nest.map_structure(lambda x, n=count: x[:n], batch), numbers
        done += count
        if done == num_images:
            return


def held_out_scenes(dataset, num_images):
    """Returns how many scenes a data set holds out, num_images at most.

    Prints a line to stderr where they are fewer.
    """
    found = sum(len(numbers) for _, numbers in first_scenes(dataset("test"), num_images))
    if found < num_images:
        print(
            f"only {found} scenes are held out: taking these, not eval_images={num_images} "
            "(data.path=FILE names a file of more)",
            file=sys.stderr,
        )
    return found


def scene_noise(model, numbers, seed):
    """Noise that depends on the seed and on each scene's number, whatever the batch.

    Args:
      model: a `Model`.
      numbers: of the scenes, int32 [B].
      seed: int32 [].

    Returns:
      Standard-normal draws of the model's `noise_shape(B)`.
    """
    shape = model.noise_shape(1)

    def draw(number):
        return tf.random.stateless_normal(shape, seed=tf.stack([seed, number]))[:, 0]

    return tf.stack([draw(number) for number in tf.unstack(numbers)], axis=1)


def infer(model, batches, num_images, seed, select, bounds=False):
    """Runs a model on scenes, batch by batch, with a progress bar.

    A line on stderr says how long the rest takes, if that is long.

    Args:
      model: a `Model`, restored.
      batches: yields (batch of NumPy arrays, numbers of its scenes int32 [n]); none is larger than
        the first.
      num_images: number of scenes in all; those from 0 that no batch has count as done.
      seed: of the noise.
      select: function of what `model.eval` returned that picks tensors [B, ...], nested as it
        likes; nothing else is computed.
      bounds: whether the metrics are to have the model's `bounds` too.

    Yields:
      (numbers of a batch's scenes, what was picked, as NumPy arrays [n, ...]).
    """

    @tf.function(autograph=False)
    def infer_batch(batch, numbers):
        info = model.eval(batch, scene_noise(model, numbers, seed))
        if bounds:
            seeds = tf.stack([tf.fill(tf.shape(numbers), seed), numbers], axis=1)
            info["metrics"] |= model.bounds(batch, seeds)
        return select(info)

    batch_size, start, is_told = None, None, False
    with progress_bar(num_images, "scene") as bar:
        for batch, numbers in batches:
            count, batch_size = len(numbers), batch_size or len(numbers)
            padded = pad_batch((batch, numbers), batch_size)
            tensors = tf.nest.map_structure(tf.constant, padded)
            if start is None:
                if not tf.config.functions_run_eagerly():
                    infer_batch.get_concrete_function(*tensors)  # Once: no part of the estimate.
                start = time.perf_counter()
            picked = infer_batch(*tensors)
            yield numbers, tf.nest.map_structure(lambda x, n=count: x.numpy()[:n], picked)
            done, seconds = int(numbers[-1]) + 1, time.perf_counter() - start
            bar.update(done - bar.n)
            if not is_told and seconds >= MEASURED_SECONDS:
                tell_what_is_left(seconds, done, num_images)
                is_told = True


def tell_what_is_left(seconds, done, num_images):
    """Prints to stderr how long the rest of the scenes takes, if that is long.

    Args:
      seconds: that the first ones took.
      done: number of these.
      num_images: number of scenes in all.
    """
    rest = seconds / done * (num_images - done)
    if rest > SHORT_SECONDS:
        tqdm.write(f"{num_images} scenes: {progress.duration(rest)} left", file=sys.stderr)


def run_model(model, batches, num_images, seed, select, bounds=False):
    """Runs a model on scenes.

    Args:
      model, batches, num_images, seed, bounds: as for `infer`.
      select: as for `infer`, returning {name: tensor}.

    Returns:
      {name: array [num_images, ...]}.
    """
    results = [picked for _, picked in infer(model, batches, num_images, seed, select, bounds)]
    return {name: np.concatenate([r[name] for r in results]) for name in results[0]}


def progress_bar(total, unit):
    """A progress bar on stderr; where that is no terminal, its state every LOG_SECONDS."""
    return progress.progress_bar(total, unit, LOG_SECONDS)
