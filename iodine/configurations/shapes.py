"""Config for Shapes."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import BINARY_PIXELS, data_plan, optimizer_plan, small_plan

SHAPE_FACTORS = [["shape", 4, "categorical"], ["x", 1, "scalar"], ["y", 1, "scalar"]]


@named_config(
    n_z=16,
    num_components=4,
    num_iters=5,
    batch_size=128,
    image_dim=[28, 28],
    learn_rate=lambda batch_size: 0.0003 * (batch_size / 256) ** 0.5,
)
def shapes(n_z, num_components, num_iters, batch_size, image_dim, kl_weight, learn_rate):
    """Three binary shapes, 28×28."""
    return {
        "data": data_plan("Shapes", "shapes_train.tfrecords", batch_size, image_dim),
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
