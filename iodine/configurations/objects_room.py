"""Configs for Objects Room."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import (
    SMALL_NETWORKS,
    data_plan,
    halving,
    iodine_plan,
    logistic_pixels,
    optimizer_plan,
    tiny_networks,
)

ENTRIES = {
    "n_z": 32,
    "num_components": 7,
    "image_dim": [64, 64],
    "pixel_scale": 0.03,
    "learn_rate": lambda c: 0.0003 * (c.batch_size / 128) ** 0.5,
}


def objects_room_data(c, variant="train", **options):
    """Plan of a variant of the data set."""
    file_name = f"objects_room_{variant}.tfrecords"
    return data_plan(c, "ObjectsRoom", file_name, dataset_variant=variant, **options)


def _model(c, **options):
    pixels = logistic_pixels(c)
    return iodine_plan(c, **SMALL_NETWORKS, hidden_sizes=[128], pixels=pixels, **options)


@named_config(**ENTRIES, num_iters=5, batch_size=16)
def objects_room(c):
    """Still images of a room with three objects, with the networks of `multi_dsprites`.

    Not trained here.
    """
    return {"data": objects_room_data(c), "model": _model(c), "optimizer": optimizer_plan(c)}


# One refinement a frame; the last frame is only predicted.
@named_config(**ENTRIES, num_iters=15, batch_size=4)
def sequences(c):
    """Next-frame prediction in Objects Room, 16 frames of a moving camera (Appendix A.1).

    Not trained here.
    """
    return {
        "data": objects_room_data(c, "sequences", num_frames=c.num_iters + 1),
        "model": _model(
            c,
            refinement_head="iodine.modules.refinement.PredictorCorrectorHead",
            sequential=True,
        ),
        "optimizer": optimizer_plan(c),
    }


# Objects in front of black first, then the room. More refinements come last, as they cost more.
SMALL = {"num_iters": 4, "image_dim": [16, 16], "kl_weight": 0.1}
MEDIUM = {"num_iters": 4, "image_dim": [32, 32], "kl_weight": 0.4}
STAGES = [
    {"until": 2500, **SMALL, "background": 0.0, "pixel_scale": 0.2},
    {"until": 4500, **SMALL, "background": 0.0, "kl_weight": 0.2},
    {"until": 5500, **SMALL, "background": 0.3},
    {"until": 6500, **SMALL, "background": 0.6},
    {"until": 7500, **SMALL},
    {"until": 10140, **MEDIUM},
    {"until": 11000, "num_iters": 4},
    {"until": 11100, **MEDIUM, "learn_rate": 0.001},
    {"until": 13285, **MEDIUM},
    {"until": 13701, "num_iters": 4, "learn_rate": 0.0015},
    {"until": 16669, **MEDIUM},
    {"until": 17484, **MEDIUM, "num_iters": 8},
    {"until": 17754, "num_iters": 8, "learn_rate": 0.0015},
]


@named_config(
    **{
        **ENTRIES,
        "n_z": 16,
        "num_iters": 15,
        "batch_size": 8,
        "pixel_scale": 0.1,
        "kl_weight": 1.6,
        "learn_rate": 0.003,
        "stages": STAGES,
        "save_summaries_steps": 100,
    }
)
def objects_room_fast(c):
    """`objects_room` with small networks, on scenes that grow, whose room is dark at first.

    Five hours of one core give a foreground ARI of 0.76.
    """
    return {
        "data": objects_room_data(c),
        "model": iodine_plan(c, **tiny_networks(32), pixels=logistic_pixels(c)),
        "optimizer": halving(c, 7000),
    }
