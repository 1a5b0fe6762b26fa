"""Which scenes a model was trained on, so that it is not evaluated on them."""

from iodine.errors import UserError


def check_never_trained_on(trained, dataset):
    """Makes sure that a model was not trained on the scenes that a data set holds out.

    Args:
      trained: what `SceneDataset.provenance` returned for training, or None if nobody knows.
      dataset: `SceneDataset` to evaluate on.

    Returns:
      None, or a line for the user: it is another file than the one trained on, or nobody knows.

    Raises:
      UserError: the model was, or may have been, trained on some of them.
    """
    if trained is None:
        return (
            "the checkpoint does not say which scenes it was trained on: make sure that it was not "
            f"on those held out of {dataset.path}"
        )
    now = dataset.provenance()
    if _left_alone(trained, now):
        return None
    if now["content"] != trained["content"]:
        if "share" in trained and "share" in now:
            return (
                f"{dataset.path} has other images than the folder that the model was trained on; "
                "of those in both it may have been trained on some"
            )
        return f"{dataset.path} is another file than the one that the model was trained on"
    if not _may_share_scenes(trained, now):
        return None
    if "share" in now:
        share = f"keep to data.held_out={trained['share']}, or " if trained.get("share") else ""
        raise UserError(
            f"the model was trained on images of {dataset.path} that would be tested: {share}name "
            "a folder of others with data.path="
        )
    keep = f"keep to data.held_out={trained['held_out']}, or " if trained["held_out"] else ""
    raise UserError(
        f"the model was trained on scenes of {dataset.path} that would be tested (training left "
        f"alone the first {trained['held_out']}): {keep}generate others (python -m "
        "multi_object_datasets.generate with --split test) and name them with data.path="
    )


def _left_alone(trained, now):
    """Returns whether training certainly left alone all scenes that are held out now."""
    if "share" in now:
        # Images whose content's hash is below a share, whatever folder they are in.
        return 0 < now["share"] <= trained.get("share", 0)
    # The first scenes of the file; none if training and testing share all.
    return now["content"] == trained["content"] and 0 < now["held_out"] <= trained["held_out"]


def _may_share_scenes(first, second):
    """Returns whether a number of objects passes both object filters."""

    def limits(filters):
        fewest, most = filters["min_num_objects"], filters["max_num_objects"]
        return 0 if fewest is None else fewest, float("inf") if most is None else most

    (fewest, most), (other_fewest, other_most) = limits(first), limits(second)
    return max(fewest, other_fewest) <= min(most, other_most)
