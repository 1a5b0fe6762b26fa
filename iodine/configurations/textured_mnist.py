"""Config of textured MNIST, where objects have to be told apart by their textures."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import data_plan, logistic_pixels, optimizer_plan, small_plan


@named_config(
    n_z=32,
    num_components=2,
    num_iters=5,
    batch_size=16,
    image_dim=[32, 32],
    pixel_scale=0.1,
    learn_rate=0.0005,
)
def textured_mnist(
    n_z, num_components, num_iters, batch_size, image_dim, pixel_scale, kl_weight, learn_rate
):
    """A digit of one texture on another one, 32×32."""
    name = "multi_object_datasets/multi_mnist_textured"
    data = data_plan("MultiMNIST", "", batch_size, image_dim, dataset_variant="textured")
    return {
        "data": {**data, "path": [f"{name}_test.tfrecords", f"{name}_train.tfrecords"]},
        "model": small_plan(
            n_z,
            num_components,
            num_iters,
            hidden_sizes=[128],
            pixel_dist=logistic_pixels(pixel_scale),
            kl_weight=kl_weight,
        ),
        "optimizer": optimizer_plan(learn_rate),
    }
