"""Scenes of more objects than a config trains on, and with a combination that it never sees."""

from iodine.errors import UserError
from iodine.main import build
from multi_object_datasets import generate
from multi_object_datasets.balls import NUM_BALLS

# What generalization leaves out: red balls in the left half, green spheres, the red square piece.
COMBINATIONS = {
    "Balls": {"color": [[1, 0, 0], [1, 0, 0]], "x": [0, 4]},
    "CLEVR": {"color": [3, 3], "shape": [1, 1]},
    "Tetrominoes": {"color": [[1, 0, 0], [1, 0, 0]], "shape": [19, 19]},
}


def larger_scenes(lab):
    """Updates of a config for held-out scenes of more objects, with as many slots as they need.

    For Balls a file of the variant `crowded` is generated; a config that limits the number of
    objects gets the scenes of its file that have more.

    Args:
      lab: the `Experiment`.

    Returns:
      {dotted key: value}.

    Raises:
      UserError: if the data has no larger scenes.
    """
    config = lab.get_config()
    plan = config["data"]
    if data_name(lab) == "Balls":
        count = config["eval_images"]
        path = lab.out / "runs" / f"balls_crowded_{count}.tfrecords"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            generate.generate("balls", count, 0, path, split="test", variant="crowded")

        return {
            "data.path": str(path),
            "data.dataset_variant": "crowded",
            "data.held_out": count,
            "num_components": NUM_BALLS["crowded"] + 1,
        }
    if plan.get("max_num_objects") is None:
        raise UserError(f"'{lab.config}' has no larger scenes: use demo, or clevr6 and its like")
    entities = build(plan, "data").scene_format.features["mask"].shape[0]
    return {
        "data.min_num_objects": plan["max_num_objects"] + 1,
        "data.max_num_objects": None,
        "num_components": entities,
    }


def data_name(lab):
    """The class of an experiment's data set, by name."""
    return lab.get_config()["data"]["constructor"].rpartition(".")[2]


def combination(lab):
    """What `data.leave_out` is to leave out of an experiment's training scenes.

    Raises:
      UserError: if none is named for the data set.
    """
    name = data_name(lab)
    if name not in COMBINATIONS:
        raise UserError(
            f"no combination to leave out of {name}: {', '.join(COMBINATIONS)} have one"
        )
    return COMBINATIONS[name]
