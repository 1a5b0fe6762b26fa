"""Configs for Objects Room."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import (
    data_plan,
    logistic_pixels,
    optimizer_plan,
    small_plan,
    tiny_plans,
)

ENTRIES = {
    "n_z": 32,
    "num_components": 7,
    "image_dim": [64, 64],
    "pixel_scale": 0.03,
    "learn_rate": lambda batch_size: 0.0003 * (batch_size / 128) ** 0.5,
}


def objects_room_data(variant, batch_size, image_dim, **options):
    """Plan of a variant of the data set."""
    file_name = f"objects_room_{variant}.tfrecords"
    return data_plan(
        "ObjectsRoom", file_name, batch_size, image_dim, dataset_variant=variant, **options
    )


def _plans(
    variant,
    n_z,
    num_components,
    num_iters,
    batch_size,
    image_dim,
    pixel_scale,
    learn_rate,
    data=(),
    **model,
):
    return {
        "data": objects_room_data(variant, batch_size, image_dim, **dict(data)),
        "model": small_plan(
            n_z,
            num_components,
            num_iters,
            hidden_sizes=[128],
            pixel_dist=logistic_pixels(pixel_scale),
            **model,
        ),
        "optimizer": optimizer_plan(learn_rate),
    }


@named_config(**ENTRIES, num_iters=5, batch_size=16)
def objects_room(**entries):
    """Still pictures of a room with three objects."""
    return _plans("train", **entries)


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
        "background": 1.0,
        "stages": STAGES,
        "save_summaries_steps": 100,
    }
)
def objects_room_fast(batch_size, image_dim, pixel_scale, background, **entries):
    """objects_room with small networks, on scenes that grow, whose room is dark at first."""
    data = objects_room_data("train", batch_size, image_dim, background=background)
    pixels = logistic_pixels(pixel_scale)
    return tiny_plans(data, **entries, decay_steps=7000, pixel_dist=pixels)


# One refinement a frame; the last frame is only predicted.
@named_config(**ENTRIES, num_iters=15, batch_size=4)
def sequences(num_iters, **entries):
    """Next-frame prediction in Objects Room, 16 frames of a moving camera (Appendix A.1)."""
    return _plans(
        "sequences",
        num_iters=num_iters,
        data={"num_frames": num_iters + 1},
        refinement_head="iodine.modules.refinement.PredictorCorrectorHead",
        sequential=True,
        **entries,
    )
