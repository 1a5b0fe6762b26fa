"""Config of textured MNIST, where objects have to be told apart by their textures."""

from iodine.configurations.air import multi_mnist_data
from iodine.configurations.named_config import named_config
from iodine.configurations.plans import (
    SMALL_NETWORKS,
    iodine_plan,
    logistic_pixels,
    optimizer_plan,
)


@named_config(
    n_z=32,
    num_components=2,
    num_iters=5,
    batch_size=16,
    image_dim=[32, 32],
    pixel_scale=0.1,
    learn_rate=0.0005,
)
def textured_mnist(c):
    """A digit of one texture on another one, 32×32, which the paper's model does not segment.

    Nor does this one after 20 minutes of one core.
    """
    return {
        "data": multi_mnist_data(c, "textured"),
        "model": iodine_plan(c, **SMALL_NETWORKS, hidden_sizes=[128], pixels=logistic_pixels(c)),
        "optimizer": optimizer_plan(c),
    }
