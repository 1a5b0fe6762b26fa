"""Configs for AIR."""

from iodine.configurations.multi_dsprites import multi_dsprites_data
from iodine.configurations.named_config import named_config
from iodine.configurations.plans import data_plan

NUM_TEST_SCENES = 10000
ENTRIES = {
    "n_z": 50,
    "num_components": 4,  # the background and three objects, one a step
    "batch_size": 64,
    # Three times the published rate counts after a quarter of the steps; less at the end.
    "learn_rate": 0.0003,
    "stages": [
        {"until": 12000},
        {"until": 16000, "learn_rate": 0.0001},
        {"until": 20000, "learn_rate": 0.00003},
    ],
    "save_summaries_steps": 100,
    "eval_images": NUM_TEST_SCENES,
}


def multi_mnist_data(c, variant, **options):
    """Plan of a variant of Multi-MNIST, whose test scenes are a file of their own."""
    name = f"multi_object_datasets/multi_mnist_{variant}"
    paths = [f"{name}_test.tfrecords", f"{name}_train.tfrecords"]
    return {**data_plan(c, "MultiMNIST", "", dataset_variant=variant), "path": paths, **options}


def _plans(c, data, patch_dim, place_prior_mean):
    return {
        "data": data,
        "model": {
            "constructor": "iodine.baselines.air.AIR",
            "n_z": c.n_z,
            "num_components": c.num_components,
            "estimator": "exact",  # or reinforce
            "patch_dim": patch_dim,
            "place_prior_mean": place_prior_mean,
        },
        "optimizer": {
            "constructor": "iodine.optimizer.Adam",
            "learning_rate": c.learn_rate,
            "rate_factors": {"baseline": 10.0},
        },
    }


@named_config(**ENTRIES, image_dim=[50, 50])
def air(c):
    """Multi-MNIST, up to two digits in 50×50 pixels.

    26 minutes of one core count the digits of 99 % of the scenes right, the mean of five seeds.
    """
    # Held out is all of the first file.
    data = multi_mnist_data(c, "standard", held_out=NUM_TEST_SCENES)
    return _plans(c, data, patch_dim=[28, 28], place_prior_mean=[3.0, 0.0, 0.0])


@named_config(**ENTRIES, image_dim=[64, 64])
def air_small(c):
    """Multi-MNIST, up to two digits of 9 to 18 pixels in 64×64.

    Half a minute of an H100 counts the digits of 92 % of the scenes right, the mean of three
    seeds.
    """
    data = multi_mnist_data(c, "small", held_out=NUM_TEST_SCENES)
    return _plans(c, data, patch_dim=[18, 18], place_prior_mean=[4.5, 0.0, 0.0])


@named_config(
    **{**ENTRIES, "eval_images": 320}, image_dim=[64, 64], dataset_variant="binarized_few"
)
def air_dsprites(c):
    """Multi-dSprites, up to two white sprites of 10 to 20 pixels in 64×64.

    An hour or more of one core counts the sprites of 90 % of the scenes right, the mean of three
    seeds.
    """
    data = multi_dsprites_data(c)
    return _plans(c, data, patch_dim=[18, 18], place_prior_mean=[4.5, 0.0, 0.0])


@named_config(
    **{
        **ENTRIES,
        "learn_rate": 0.05,
        "stages": [{"until": 400}, {"until": 600, "learn_rate": 0.005}],
        "initial_weights": "air",
    },
    image_dim=[50, 50],
)
def air_prior(c):
    """The trained `air`, whose prior of presence is learned by the ELBO; all else stays as it is.

    A minute of one core takes the prior of no, one and two digits from 99, 1 and 0 % to 33, 35 and
    33 %.
    """
    plans = air.function(c)
    plans["model"]["learned_presence_prior"] = True
    # Posterior and decoder stay those of `air`: what the ELBO gains is the prior's doing alone.
    frozen = ("recurrent_net", "patch_encoder", "patch_decoder")
    plans["optimizer"]["rate_factors"] = dict.fromkeys(frozen, 0.0)
    return plans
