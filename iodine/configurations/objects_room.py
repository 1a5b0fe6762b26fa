"""Configs for Objects Room."""

from iodine.configurations.named_config import named_config
from iodine.configurations.plans import data_plan, logistic_pixels, optimizer_plan, small_plan

ENTRIES = {
    "n_z": 32,
    "num_components": 7,
    "image_dim": [64, 64],
    "pixel_scale": 0.03,
    "learn_rate": lambda batch_size: 0.0003 * (batch_size / 128) ** 0.5,
}


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
        "data": data_plan(
            "ObjectsRoom",
            f"objects_room_{variant}.tfrecords",
            batch_size,
            image_dim,
            dataset_variant=variant,
            **dict(data),
        ),
        "model": small_plan(
            n_z,
            num_components,
            num_iters,
            hidden_sizes=[128],
            pixel_dist=logistic_pixels(pixel_scale),
            num_background=4,
            **model,
        ),
        "optimizer": optimizer_plan(learn_rate),
    }


@named_config(**ENTRIES, num_iters=5, batch_size=16)
def objects_room(**entries):
    """Still pictures of a room with three objects."""
    return _plans("train", **entries)


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
