"""Figure 12 and appendix A.1: the next frame of a sequence, predicted slot by slot.

    python -m experiments.sequences                       # balls that move
    python -m experiments.sequences --config sequences    # Objects Room, as in the paper

The model refines its slots with each frame and predicts the one after it. Is the prediction better
than the frame before, and does an object keep its slot? The paper: it does both.
"""

import numpy as np
import tensorflow as tf
from matplotlib.ticker import MaxNLocator
from PIL import Image

from experiments import experiment
from iodine.evaluate import metrics, visualization
from iodine.figures import curves
from iodine.figures.summary_images import color_masks
from iodine.figures.tiles import label_row, show_img, tile_figure

MIN_PIXELS = 10  # of an object in a frame, for its slot there to count
GIF_SCALE, GIF_MILLISECONDS = 3, 150
METRICS = ("ari_nobg", "mse")


def select(info):
    """What is needed of each scene beside the metrics.

    Args:
      info: what `Model.eval` returned for sequences.

    Returns:
      {"overlap": pixels of each entity in each slot [B, T, L, K]; "copy_mse": mean squared error of
      the frame before as a prediction [B, T - 1]}.
    """
    labels = tf.argmax(info["outputs"]["pred_mask"][..., 0], axis=2)  # [B, T, H, W]
    slots = tf.one_hot(labels, info["outputs"]["pred_mask"].shape[2])  # [B, T, H, W, K]
    image = info["data"]["image"]
    error = tf.reduce_mean(tf.square(image[:, 1:] - image[:, :-1]), axis=[2, 3, 4])
    overlap = tf.einsum("btlhw,bthwk->btlk", info["data"]["true_mask"][..., 0], slots)
    return {"overlap": overlap, "copy_mse": error}


def kept_slots(overlap, first_frame):
    """Which objects stay in one slot from a frame on.

    Args:
      overlap: pixels of each object in each slot, [N, T, L, K].
      first_frame: the first frame that counts.

    Returns:
      bool [objects], of those that are seen in two of the frames at least.
    """
    objects = (
        overlap[:, first_frame:]
        .transpose(0, 2, 1, 3)
        .reshape(-1, overlap.shape[1] - first_frame, overlap.shape[-1])
    )  # [N * L, frames, K]
    seen = objects.sum(axis=-1) >= MIN_PIXELS
    slot = objects.argmax(axis=-1)
    kept = [len(set(of_one[there])) == 1 for of_one, there in zip(slot, seen) if there.sum() > 1]
    return np.array(kept, bool)


def measure(lab):
    """Trains the model and measures its predictions.

    Args:
      lab: the `Experiment`.

    Returns:
      {"ari_nobg", "mse": mean of each frame's prediction; "num_undefined": {metric: sequences that
      the last frame's mean leaves out}; "copy_mse": of the frame before it as a prediction, from
      the second frame on; "kept": share of objects that stay in one slot from the first, second,
      ... frame on, None where there is no object}.
    """
    run = lab.train_or_take({"full": {}})["full"][0]
    values = run.score(select)
    model, dataset = run.load()
    summary = metrics.summarize(values, METRICS)
    overlap = values["overlap"][:, :, model.num_background :]
    kept = [kept_slots(overlap, first) for first in range(overlap.shape[1] - 1)]
    info = visualization.run_model(model, next(dataset("test").as_numpy_iterator()), seed=0)
    lab.write_picture("film", film(info, 0))
    write_gif(info, lab.out / f"{lab.name}.gif")
    return {
        **{name: entry["per_iteration"] for name, entry in summary.items()},
        "num_undefined": {name: entry["num_undefined"] for name, entry in summary.items()},
        "copy_mse": values["copy_mse"].mean(axis=0).tolist(),
        "kept": [float(share.mean()) if len(share) else None for share in kept],
    }


def rows_of(info, b):
    """{label: [T, H, W, 3]} of what a film shows of scene b."""
    masks = color_masks(tf.constant(info["outputs"]["pred_mask"][b])).numpy()
    return {
        "frame": info["data"]["image"][b],
        "prediction": info["outputs"]["recons"][b, :, 0],
        "masks": masks,
    }


def film(info, b):
    """A strip of all frames of scene b, predictions and masks below."""
    rows = rows_of(info, b)
    figure, axes = tile_figure(len(rows), len(rows["frame"]), 0.5, top=0.0)
    for row, (label, frames) in zip(axes, rows.items()):
        for ax, frame in zip(row, frames):
            show_img(frame, ax=ax)
        label_row(row[0], label)
    return figure


def write_gif(info, path, num_scenes=3):
    """Writes the films of the first scenes, one below the other, as a GIF."""
    scenes = [rows_of(info, b) for b in range(min(num_scenes, len(info["data"]["image"])))]
    films = [np.concatenate(list(scene.values()), axis=2) for scene in scenes]  # [T, H, 3 W, 3]
    frames = np.uint8(np.clip(np.concatenate(films, axis=1), 0, 1) * 255)
    frames = frames.repeat(GIF_SCALE, axis=1).repeat(GIF_SCALE, axis=2)
    first, *others = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=others, duration=GIF_MILLISECONDS, loop=0)


def draw(figures):
    """Draws metrics of each frame, and the share of objects that keep their slot.

    Args:
      figures: as `measure` returned.

    Returns:
      `matplotlib.figure.Figure`.
    """
    titles = [metric.label for metric in metrics.named(METRICS).values()]
    figure, (ari, mse, kept) = curves.panels(
        [*titles, "objects that keep their slot"], "frame", height=2.2
    )
    frames = range(1, 1 + len(figures["mse"]))
    for ax in (ari, mse, kept):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ari.plot(frames, np.array(figures["ari_nobg"], float), color="C0")
    curves.fit_axis(ari, metrics.METRICS["ari_nobg"].limits)
    mse.plot(frames, np.array(figures["mse"], float), color="C0", label="prediction")
    mse.plot(frames[1:], figures["copy_mse"], color="grey", label="the frame before")
    mse.set_yscale("log")
    shares = [np.nan if share is None else share for share in figures["kept"]]
    kept.plot(frames[:-1], shares, color="C0")
    kept.set_xlabel("from this frame on", fontsize=kept.xaxis.label.get_size())
    kept.set_ylim(-0.05, 1.05)
    curves.legend(figure, [mse])
    return figure


if __name__ == "__main__":
    experiment.main("sequences", __doc__, measure, draw, config="demo_sequences")
