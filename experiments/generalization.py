"""Figures 7 and 19: more objects than in training, and a combination that was never seen.

    python -m experiments.generalization

The full model is run with more slots on scenes as in training and on scenes of more objects. A
second one, whose training scenes leave one combination of factors out, is tested on scenes with and
without it. The paper: both kinds of scenes are taken apart as well as those of training.
"""

import numpy as np

from experiments import experiment
from experiments.larger import combination, larger_scenes
from iodine.evaluate import metrics, visualization
from iodine.figures import curves, decompositions

METRICS = ("ari_nobg", "mse")
NUM_SHOWN = 3  # scenes of each kind


def has_combination(data, leave_out):
    """Which scenes have an object with all features of a combination.

    Args:
      data: data set, without `leave_out`.
      leave_out: the combination, as `SceneDataset.leave_out`.

    Returns:
      {number of a held-out scene: bool}.
    """
    numbers = {}
    for filtered in (False, True):
        data.leave_out = leave_out if filtered else None
        for batch in data("test").as_numpy_iterator():
            numbers |= {int(scene): not filtered for scene in batch["scene"]}
    data.leave_out = None
    return numbers


def of_scenes(scores, kept):
    """Mean and standard error of each metric over some scenes.

    Args:
      scores: {metric: [N, T]}.
      kept: bool [N].
    """
    kept_scores = {name: scores[name][kept] for name in METRICS}
    return {**metrics.summarize(kept_scores, METRICS), "num_scenes": int(kept.sum())}


def measure(lab):
    """Trains the two models, evaluates them and draws what they make of some scenes.

    Args:
      lab: the `Experiment`.

    Returns:
      {"objects": {"usual, K slots" and "larger, K slots": {metric: {"mean", "stderr"}}},
      "combination": {"left out", "seen" (in training): {"with", "without": {metric: ...}}}}.
    """
    larger, leave_out = larger_scenes(lab), combination(lab)
    trained = lab.train_or_take({"full": {}, "left_out": {"data.leave_out": leave_out}})
    full, left_out = (runs[0] for runs in trained.values())
    num_slots, more_slots = lab.get_config()["num_components"], larger["num_components"]
    kinds = {
        f"usual, {num_slots} slots": {},
        f"usual, {more_slots} slots": {"num_components": more_slots},
        f"larger, {more_slots} slots": larger,
    }
    objects = {
        kind: metrics.summarize(full.score(**updates), METRICS) for kind, updates in kinds.items()
    }
    _, data = full.load()
    with_it = has_combination(data, leave_out)
    combinations = {}
    for name, run in (("left out", left_out), ("seen", full)):
        scores = run.score(**{"data.leave_out": None})
        kept = np.array([with_it[number] for number in sorted(with_it)])[: len(scores["mse"])]
        combinations[name] = {
            "with": of_scenes(scores, kept),
            "without": of_scenes(scores, ~kept),
        }
    lab.write_picture("more_objects", picture(full, larger, lambda batch: slice(NUM_SHOWN)))
    lab.write_picture(
        "combination",
        picture(
            left_out,
            {"data.leave_out": None},
            lambda batch: [i for i, n in enumerate(batch["scene"]) if with_it[int(n)]][:NUM_SHOWN],
        ),
    )
    return {"objects": objects, "combination": combinations}


def picture(run, updates, choose):
    """What a model makes of some held-out scenes, a row for each.

    Args:
      run: the `Run`.
      updates: of its config.
      choose: function of a batch of scenes that picks some.

    Returns:
      `matplotlib.figure.Figure`.
    """
    model, data = run.load(**updates)
    batch = next(data("test").as_numpy_iterator())
    info = visualization.run_model(model, batch, seed=0, numbers=np.int32(batch["scene"]))
    return decompositions.example_plot(info, b=np.arange(len(batch["image"]))[choose(batch)])


def draw(figures):
    """Draws both comparisons as bars with standard errors.

    Args:
      figures: as `measure` returned.

    Returns:
      `matplotlib.figure.Figure`.
    """
    bars = dict(figures["objects"])
    for training, tests in figures["combination"].items():
        bars |= {f"{training} in training, {test} it": entry for test, entry in tests.items()}
    figure, axes = experiment.metric_panels(METRICS, "")
    for ax, metric in zip(axes, METRICS):
        for number, (label, entry) in enumerate(bars.items()):
            if metric in entry:
                mean, stderr = np.array([entry[metric]["mean"], entry[metric]["stderr"]], float)
                ax.bar(number, mean, yerr=stderr, color=f"C{number}", label=label)
        ax.set_xticks([])
    curves.legend(figure, axes, columns=3)
    return figure


if __name__ == "__main__":
    experiment.main("generalization", __doc__, measure, draw)
