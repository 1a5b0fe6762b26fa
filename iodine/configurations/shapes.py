"""Configs for Shapes."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import (
    BINARY_PIXELS,
    data_plan,
    optimizer_plan,
    small_plan,
    tiny_plans,
)

ENTRIES = {"n_z": 16, "num_components": 4, "image_dim": [28, 28]}
SHAPE_FACTORS = [["shape", 4, "categorical"], ["x", 1, "scalar"], ["y", 1, "scalar"]]


def shapes_data(batch_size, image_dim):
    """Plan of the data set."""
    return data_plan("Shapes", "shapes_train.tfrecords", batch_size, image_dim)


@named_config(
    **ENTRIES,
    num_iters=5,
    batch_size=128,
    learn_rate=lambda batch_size: 0.0003 * (batch_size / 256) ** 0.5,
)
def shapes(n_z, num_components, num_iters, batch_size, image_dim, kl_weight, learn_rate):
    """Three binary shapes, 28×28."""
    return {
        "data": shapes_data(batch_size, image_dim),
        "model": small_plan(
            n_z,
            num_components,
            num_iters,
            hidden_sizes=[128],
            factors=SHAPE_FACTORS,
            pixel_dist=BINARY_PIXELS,
            kl_weight=kl_weight,
        ),
        "optimizer": optimizer_plan(learn_rate),
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
def shapes_fast(batch_size, image_dim, **entries):
    """shapes with small networks, on scenes that grow."""
    data = shapes_data(batch_size, image_dim)
    return tiny_plans(
        data, **entries, decay_steps=4000, factors=SHAPE_FACTORS, pixel_dist=BINARY_PIXELS
    )
