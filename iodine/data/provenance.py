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
    if now["content"] != trained["content"]:
        return f"{dataset.path} is another file than the one that the model was trained on"
    # Held out are the first scenes of the file, all of them if training leaves none alone.
    if 0 < now["held_out"] <= trained["held_out"] or not _may_share_scenes(trained, now):
        return None
    keep = f"keep to data.held_out={trained['held_out']}, or " if trained["held_out"] else ""
    raise UserError(
        f"the model was trained on scenes of {dataset.path} that would be tested (training left "
        f"alone the first {trained['held_out']}): {keep}generate others (python -m "
        "multi_object_datasets.generate with --split test) and name them with data.path="
    )


def _may_share_scenes(first, second):
    """Returns whether a number of objects passes both object filters."""

    def limits(filters):
        fewest, most = filters["min_num_objects"], filters["max_num_objects"]
        return 0 if fewest is None else fewest, float("inf") if most is None else most

    (fewest, most), (other_fewest, other_most) = limits(first), limits(second)
    return max(fewest, other_fewest) <= min(most, other_most)
