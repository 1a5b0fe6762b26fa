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
      None, or a line for the user: these are other files than those trained on, or nobody knows
      all of them.

    Raises:
      UserError: if the model was, or may have been, trained on some of the scenes.
    """
    now = dataset.provenance()
    history = trained or [None]
    known = [entry for entry in history if entry is not None]
    for entry in known:
        if _may_have_shown(entry, now):
            keep = f"keep to data.held_out={entry['held_out']}, or " if entry["held_out"] else ""
            raise UserError(
                f"the model was trained on scenes of {dataset.path} that would be tested (training "
                f"left alone the first {entry['held_out']}): {keep}generate others (python -m "
                "multi_object_datasets.generate with --split test) and name them with data.path="
            )
    if len(known) < len(history):
        return (
            "the checkpoint does not say which scenes it was trained on: make sure that it was not "
            f"on those held out of {dataset.path}"
        )
    if all(entry["content"] != now["content"] for entry in known):
        return f"{dataset.path} is another file than the model was trained on"
    return None


def _may_have_shown(entry, now):
    """Returns whether training on one data set may have shown scenes that another holds out.

    Args:
      entry: of the history.
      now: provenance of the data set to evaluate on.
    """
    if now["content"] != entry["content"]:
        return False
    # Held out are the first scenes of the file, all of them if training leaves none alone.
    if 0 < now["held_out"] <= entry["held_out"]:
        return False
    return _may_share_scenes(entry, now)


def _may_share_scenes(first, second):
    """Returns whether a number of objects passes both object filters."""

    def limits(filters):
        fewest, most = filters["min_num_objects"], filters["max_num_objects"]
        return 0 if fewest is None else fewest, float("inf") if most is None else most

    (fewest, most), (other_fewest, other_most) = limits(first), limits(second)
    return max(fewest, other_fewest) <= min(most, other_most)
