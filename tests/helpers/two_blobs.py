"""Scenes that a tiny model learns to take apart in a few hundred steps, and how it is asked to."""

import numpy as np
import tensorflow as tf

from iodine.optimizer import Adam
from iodine.train.learner import Learner, Progress

SIDE = 8


def scenes(seed, count, binary=False):
    """Two blobs of random colours that meet at a random column and fill the picture.

    Args:
      seed: of the scenes.
      count: B.
      binary: instead, two white squares of 3×3, one in each half, and black as a third entity.

    Returns:
      {image [B, 1, 8, 8, 3 or 1], mask [B, 1, L, 8, 8, 1], visibility [B, L], factors {color}}.
    """
    rng = np.random.default_rng(seed)
    if binary:
        mask = np.zeros([count, 1, 3, SIDE, SIDE, 1], np.float32)
        for b in range(count):
            for entity, left in ((1, 0), (2, 4)):
                row, column = rng.integers(SIDE - 2), left + rng.integers(2)
                mask[b, 0, entity, row : row + 3, column : column + 3] = 1
        mask[:, :, 0] = 1 - mask.sum(axis=2)
        colors = np.tile(np.float32([[0], [1], [1]]), [count, 1, 1])
    else:
        left = np.arange(SIDE) < rng.integers(3, SIDE - 2, size=[count, 1])  # [B, W]
        mask = np.stack([left, ~left], axis=1)[:, None, :, None, :, None].astype(np.float32)
        mask = np.repeat(mask, SIDE, axis=3)
        colors = rng.random([count, 2, 3], np.float32)
    return {
        "image": np.einsum("btlhwi,blc->bthwc", mask, colors),
        "mask": mask,
        "visibility": np.ones(colors.shape[:2], np.float32),
        "factors": {"color": colors},
    }


def ari_after_training(model, num_steps, learning_rate, metric="ari", batch_size=16, binary=False):
    """Trains a model and returns the mean of a metric over other scenes, at its last state."""
    data = scenes(0, 32 * batch_size, binary)
    model.initialize(data["image"].shape[2:])
    optimizer = Adam(learning_rate)
    learner = Learner(model, optimizer, Progress(model, 0), tf.distribute.get_strategy(), xla=False)
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(batch_size, drop_remainder=True)
    batches = iter(dataset.cache().repeat())
    for _ in range(num_steps):
        learner.step(next(batches))
    noise = tf.random.stateless_normal(model.noise_shape(32), seed=[0, 1])
    return float(tf.reduce_mean(model.eval(scenes(1, 32, binary), noise)["metrics"][metric][:, -1]))
