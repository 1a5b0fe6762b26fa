"""Configs for Shapes."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import (
    BINARY_PIXELS,
    SMALL_NETWORKS,
    data_plan,
    halving,
    iodine_plan,
    optimizer_plan,
    tiny_networks,
)

SHAPE_FACTORS = [["shape", 4, "categorical"], ["x", 1, "scalar"], ["y", 1, "scalar"]]
ENTRIES = {"n_z": 16, "num_components": 4, "image_dim": [28, 28]}


def shapes_data(c):
    """Plan of the data set."""
    return data_plan(c, "Shapes", "shapes_train.tfrecords")


@named_config(
    **ENTRIES,
    num_iters=5,
    batch_size=128,
    learn_rate=lambda c: 0.0003 * (c.batch_size / 256) ** 0.5,
)
def shapes(c):
    """Three binary shapes, 28×28; the paper reports an ARI of 0.910."""
    return {
        "data": shapes_data(c),
        "model": iodine_plan(
            c, **SMALL_NETWORKS, hidden_sizes=[128], pixels=BINARY_PIXELS, factors=SHAPE_FACTORS
        ),
        "optimizer": optimizer_plan(c),
    }


# The KL divergence has the weight that the pixels of a stage have of all.
STAGES = [
    {"until": 3400, "num_iters": 4, "image_dim": [14, 14], "kl_weight": 0.25},
    {"until": 8000, "num_iters": 4},
]


@named_config(
    **ENTRIES,
    num_iters=8,
    batch_size=8,
    learn_rate=0.003,
    stages=STAGES,
    save_summaries_steps=100,
)
def shapes_fast(c):
    """`shapes` with small networks, on scenes that grow.

    65 minutes of one core give a foreground ARI of 0.78.
    """
    return {
        "data": shapes_data(c),
        "model": iodine_plan(c, **tiny_networks(32), pixels=BINARY_PIXELS, factors=SHAPE_FACTORS),
        "optimizer": halving(c, 4000),
    }
