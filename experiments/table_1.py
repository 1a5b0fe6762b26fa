"""Table 1: foreground ARI of each data set, beside the paper's.

    python -m experiments.table_1 --config demo --seeds 0 1 2

Trains a config with each seed, or takes the model in its `checkpoint_dir` where neither --seeds nor
--steps is given, evaluates it, and adds it to the rows that the results have already.
"""

import json

import numpy as np

from experiments import experiment
from iodine.evaluate import metrics
from iodine.figures import curves
from iodine.figures.tiles import FONT_SIZE

# Mean and standard deviation over five seeds, as the paper gives them.
PAPER = {
    "clevr6": (0.988, 0.000),
    "multi_dsprites": (0.767, 0.056),
    "tetrominoes": (0.992, 0.004),
    "multi_dsprites_binarized": (0.648, 0.172),
    "shapes": (0.910, 0.119),
}
TITLE = "foreground ARI (blue: seeds here; grey: the paper's mean and deviation)"
METRICS = ("ari_nobg", "ari", "mse", "miou")


def paper_row(config):
    """The paper's (mean, standard deviation) of the data set of a config, or None."""
    return PAPER.get(config.removesuffix("_fast").removesuffix("_coarse").removesuffix("_paper"))


def measure(lab):
    """Evaluates one config with all seeds.

    Args:
      lab: the `Experiment`.

    Returns:
      {config: {"seeds": list of {metric: as `metrics.mean_and_stderr`}, "mean" and "std" of the
      foreground ARI over seeds, "paper": (mean, standard deviation) or None}}, with earlier rows.
    """
    path, rows = lab.out / "table_1.json", {}
    if path.exists():
        rows = json.loads(path.read_text())["figures"]
    runs = lab.train_or_take({"full": {}})["full"]
    seeds = [metrics.summarize(run.score(), METRICS) for run in runs]
    scores = np.array([seed["ari_nobg"]["mean"] for seed in seeds], float)
    rows[lab.config] = {
        "seeds": seeds,
        "mean": float(np.mean(scores)),
        "std": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        "paper": paper_row(lab.config),
    }
    return rows


def draw(rows):
    """Draws a row for each config: a dot for each seed, the paper's mean and deviation as a bar.

    Args:
      rows: as `measure` returned.

    Returns:
      `matplotlib.figure.Figure`.
    """
    figure, (ax,) = curves.panels([TITLE], "", height=0.9 + 0.3 * len(rows))
    for place, row in enumerate(rows.values()):
        if row["paper"]:
            mean, std = row["paper"]
            ax.errorbar(mean, place, xerr=std, fmt="|", color="grey")
        scores = np.array([seed["ari_nobg"]["mean"] for seed in row["seeds"]], float)
        ax.plot(scores, [place] * len(scores), "o", color="C0", markersize=4)
    ax.set_yticks(range(len(rows)), rows, fontsize=FONT_SIZE)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(0, 1.02)
    return figure


if __name__ == "__main__":
    experiment.main("table_1", __doc__, measure, draw)
