"""Configs for AIR."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import data_plan

NUM_TEST_SCENES = 10000
# Three times the published rate counts after a quarter of the steps; less at the end.
STAGES = [
    {"until": 12000},
    {"until": 16000, "learn_rate": 0.0001},
    {"until": 20000, "learn_rate": 0.00003},
]
ENTRIES = {
    "n_z": 50,
    "num_components": 4,  # the background and three objects, one a step
    "batch_size": 64,
    "learn_rate": 0.0003,
    "stages": STAGES,
    "save_summaries_steps": 100,
    "eval_images": NUM_TEST_SCENES,
}
DIGITS = {"patch_dim": [28, 28], "place_prior_mean": [3.0, 0.0, 0.0]}
SMALL_OBJECTS = {"patch_dim": [18, 18], "place_prior_mean": [4.5, 0.0, 0.0]}


def _plans(data, n_z, num_components, learn_rate, **model):
    return {
        "data": data,
        "model": {
            "constructor": "iodine.baselines.air.AIR",
            "n_z": n_z,
            "num_components": num_components,
            "estimator": "exact",  # or reinforce
            **model,
        },
        "optimizer": {
            "constructor": "iodine.optimizer.Adam",
            "learning_rate": learn_rate,
            "rate_factors": {"baseline": 10.0},
        },
    }


def _multi_mnist(variant, batch_size, image_dim):
    name = f"multi_object_datasets/multi_mnist_{variant}"
    return {
        **data_plan("MultiMNIST", "", batch_size, image_dim, dataset_variant=variant),
        "path": [f"{name}_test.tfrecords", f"{name}_train.tfrecords"],
        "held_out": NUM_TEST_SCENES,  # all of the first file
    }


@named_config(**ENTRIES, image_dim=[50, 50])
def air(n_z, num_components, batch_size, image_dim, learn_rate):
    """Multi-MNIST, up to two digits in 50×50 pixels."""
    data = _multi_mnist("standard", batch_size, image_dim)
    return _plans(data, n_z, num_components, learn_rate, **DIGITS)


@named_config(**ENTRIES, image_dim=[64, 64])
def air_small(n_z, num_components, batch_size, image_dim, learn_rate):
    """Multi-MNIST, up to two digits of 9 to 18 pixels in 64×64."""
    data = _multi_mnist("small", batch_size, image_dim)
    return _plans(data, n_z, num_components, learn_rate, **SMALL_OBJECTS)


@named_config(**{**ENTRIES, "eval_images": 320}, image_dim=[64, 64])
def air_dsprites(n_z, num_components, batch_size, image_dim, learn_rate):
    """Multi-dSprites, up to two white sprites of 9 to 18 pixels in 64×64."""
    variant = "binarized_few"
    file_name = f"multi_dsprites_{variant}.tfrecords"
    data = data_plan("MultiDSprites", file_name, batch_size, image_dim, dataset_variant=variant)
    return _plans(data, n_z, num_components, learn_rate, **SMALL_OBJECTS)
