"""Which scenes a model was trained on, so that it is not evaluated on them."""

from iodine.errors import UserError


def with_entry(history, entry):
    """Adds a data set to the history of what a model was trained on.

    Args:
      history: list of what `SceneDataset.provenance` returned for each data set that the model and
        those whose weights it began with were trained on, None standing for data that nobody knows.
      entry: the same of one more data set, or None.

    Returns:
      The list with the entry in it, once.
    """
    return [*history, entry] if entry not in history else history


def check_never_trained_on(trained, dataset):
    """Makes sure that a model was not trained on the scenes that a data set holds out.

    Args:
      trained: the history that the model's checkpoint remembers, see `with_entry`; None or an empty
        list if it remembers none.
      dataset: `SceneDataset` to evaluate on.

    Returns:
      None, or a line for the user: these are other files than those trained on (but not of scenes
      that are known to be held out, `dataset.only_held_out`), or nobody knows all of them.

    Raises:
      UserError: if the model was, or may have been, trained on some of the scenes.
    """
    now = dataset.provenance()
    history = trained or [None]
    known = [entry for entry in history if entry is not None]
    found = [_relation(entry, now, dataset.path) for entry in known]
    if len(known) < len(history):
        return (
            "the checkpoint does not say which scenes it was trained on: make sure that it was not "
            f"on those held out of {dataset.path}"
        )
    if OTHER_IMAGES in found:
        return (
            f"{dataset.path} has other images than a folder that the model was trained on; "
            "of those in both it may have been trained on some"
        )
    if all(relation == OTHER_FILE for relation in found) and not dataset.only_held_out:
        return f"{dataset.path} is another file than the model was trained on"
    return None


OTHER_FILE, OTHER_IMAGES = "another file", "a folder of other images"


def _relation(entry, now, path):
    """Returns how a data set trained on is related to one that is to test.

    Args:
      entry: of the history.
      now: provenance of the data set to evaluate on.
      path: of that data set.

    Returns:
      OTHER_FILE, OTHER_IMAGES, or None where training certainly left the held-out scenes alone.

    Raises:
      UserError: if training may have shown some of them.
    """
    if _left_alone(entry, now):
        return None
    if now["content"] != entry["content"]:
        return OTHER_IMAGES if "share" in entry and "share" in now else OTHER_FILE
    if not _may_share_scenes(entry, now):
        return None
    if "share" in now:
        share = f"keep to data.held_out={entry['share']}, or " if entry.get("share") else ""
        raise UserError(
            f"the model was trained on images of {path} that would be tested: {share}name a folder "
            "of others with data.path="
        )
    keep = f"keep to data.held_out={entry['held_out']}, or " if entry["held_out"] else ""
    raise UserError(
        f"the model was trained on scenes of {path} that would be tested (training left alone the "
        f"first {entry['held_out']}): {keep}generate others (python -m "
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
