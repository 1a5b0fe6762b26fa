"""Figure 10: an ambiguous arrangement, taken apart differently from different noise.

    python -m experiments.multistability

Shows a model of Tetrominoes scenes of pieces of one colour that have several valid decompositions,
each scene many times, and counts which of them it finds. Without --steps and --seeds it takes the
model in the config's `checkpoint_dir` if there is one. The paper: one scene gives different
decompositions, and the latents take different paths there.
"""

from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA

from experiments import experiment
from iodine.evaluate import prediction
from iodine.figures import curves, decompositions
from iodine.figures.tiles import show_img, show_mask, tile_figure
from multi_object_datasets import generate
from multi_object_datasets.generators import tetrominoes
from multi_object_datasets.segmentation_metrics import adjusted_rand_index

NUM_SCENES = 32
NUM_DRAWS = 16  # of noise, for each scene
SAME = 0.9  # foreground ARI from which on a result counts as one of the valid decompositions


class Ambiguous(NamedTuple):
    """What a model made of one scene.

    Attributes:
      image: [H, W, C].
      valid: label maps of the valid decompositions, [D, H, W], 0 the background.
      masks: what the model made of each draw, [draws, K, H, W].
      z: posterior means, [draws, T, K, Z].
      scores: foreground ARI of each draw with each valid decomposition, [draws, D].
    """

    image: np.ndarray
    valid: np.ndarray
    masks: np.ndarray
    z: np.ndarray
    scores: np.ndarray

    def found(self):
        """Number of the decomposition that each draw found, -1 for none, [draws]."""
        return np.where(self.scores.max(axis=1) >= SAME, self.scores.argmax(axis=1), -1)


def valid_labels(factors, image_dim):
    """Label maps of all valid decompositions of a scene, [D, H, W].

    Args:
      factors: of the scene, as for `tetrominoes.decompositions`.
      image_dim: (H, W); pixels are picked as the data set does where it resizes masks.
    """
    labels = []
    for pieces in tetrominoes.decompositions(factors):
        _, mask = tetrominoes.render(pieces)  # [L, 35, 35, 1]
        label = mask[..., 0].argmax(axis=0)
        rows, columns = (np.arange(n) * len(label) // n for n in image_dim)
        labels.append(label[rows][:, columns])
    return np.stack(labels)


def foreground_ari(true, pred):
    """Foreground ARI of label maps [D, H, W] and [draws, H, W] with each other, [draws, D]."""

    def one_hot(labels, count):
        return np.float32(labels.reshape(len(labels), -1, 1) == np.arange(count))

    true_groups, pred_groups = one_hot(true, true.max() + 1)[..., 1:], one_hot(pred, pred.max() + 1)
    draws, count = len(pred), len(true)
    scores = adjusted_rand_index(
        np.tile(true_groups, [draws, 1, 1]), np.repeat(pred_groups, count, axis=0)
    )
    return scores.numpy().reshape(draws, count)


def look(run, path, num_scenes, num_draws):
    """Runs a model on ambiguous scenes.

    Args:
      run: the `Run`.
      path: file of the scenes.
      num_scenes: how many of them.
      num_draws: of noise for each.

    Returns:
      List of `Ambiguous`.
    """
    model, dataset = run.load(
        **{"data.path": str(path), "data.held_out": num_scenes, "data.batch_size": 1}
    )
    scenes = [batch for batch, _ in prediction.first_scenes(dataset("test"), num_scenes)]

    def repeated():
        for number, batch in enumerate(scenes):
            image = np.repeat(batch["image"], num_draws, axis=0)
            yield {"image": image}, np.arange(num_draws, dtype=np.int32) + number * num_draws

    def select(info):
        return {"mask": info["outputs"]["pred_mask"][:, -1, ..., 0], "z": info["latent"]["z_mean"]}

    results = []
    picked = prediction.infer(model, repeated(), num_scenes * num_draws, 0, select)
    for batch, (_, found) in zip(scenes, picked):
        factors = {name: values[0] for name, values in batch["factors"].items()}
        x, y = factors.pop("position").T
        factors |= {"x": x, "y": y, "shape": factors["shape"][:, 0]}
        valid = valid_labels(factors, dataset.image_dim)
        scores = foreground_ari(valid, found["mask"].argmax(axis=1))
        results.append(Ambiguous(batch["image"][0, 0], valid, found["mask"], found["z"], scores))
    return results


def measure(lab, num_scenes=NUM_SCENES, num_draws=NUM_DRAWS):
    """Counts decompositions, and follows the latents of the scene that has most of them.

    Args:
      lab: the `Experiment`.
      num_scenes: ambiguous scenes.
      num_draws: of noise for each.

    Returns:
      {"scenes": list of {"valid": number of valid decompositions, "found": how many draws found
      each, "none": how many found none, "best_ari": mean}, "paths": the shown scene's latents in
      the plane of their first two principal components, [draws, T, K, 2], "path_found": the number
      of the decomposition that each draw ended in}.
    """
    (run, *_) = lab.train_or_take({"full": {}})["full"]
    path = lab.out / "runs" / f"tetrominoes_ambiguous_{num_scenes}.tfrecords"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        generate.generate("tetrominoes", num_scenes, 0, path, split="test", variant="ambiguous")
    results = look(run, path, num_scenes, num_draws)
    shown = max(results, key=lambda scene: (len(set(scene.found()) - {-1}), scene.scores.mean()))
    latents = shown.z.reshape(-1, shown.z.shape[-1])
    plane = PCA(2).fit_transform(latents).reshape(*shown.z.shape[:-1], 2)
    lab.write_picture("scene", picture(shown))
    return {
        "scenes": [
            {
                "valid": len(scene.valid),
                "found": [int(np.sum(scene.found() == d)) for d in range(len(scene.valid))],
                "none": int(np.sum(scene.found() == -1)),
                "best_ari": float(scene.scores.max(axis=1).mean()),
            }
            for scene in results
        ],
        "paths": np.round(plane, 3).tolist(),
        "path_found": shown.found().tolist(),
    }


def picture(scene):
    """The scene, its valid decompositions, and below each one the model's masks that found it."""
    count = len(scene.valid)
    figure, axes = tile_figure(2, 1 + count, 0.9, 1.0)
    show_img(scene.image, ax=axes[0, 0])
    axes[0, 0].set_title("scene", **decompositions.TITLE)
    found, background = scene.found(), np.arange(tetrominoes.NUM_PIECES + 1)[:, None, None]
    for d, labels in enumerate(scene.valid):
        show_mask(np.float32(labels == background), axes[0, 1 + d], background=True)
        axes[0, 1 + d].set_title(f"{np.sum(found == d)} of {len(found)}", **decompositions.TITLE)
        if (found == d).any():
            show_mask(scene.masks[found == d][0], axes[1, 1 + d])
    return figure


def draw(figures):
    """Draws how often each scene's decompositions were found, and the paths of the latents.

    Args:
      figures: as `measure` returned.

    Returns:
      `matplotlib.figure.Figure`.
    """
    titles = ("draws by decomposition (grey: none valid)", "latents of a scene, two components")
    figure, (bars, paths) = curves.panels(titles, "ambiguous scene", height=3.1)
    order = sorted(figures["scenes"], key=lambda scene: (scene["none"], -max(scene["found"])))
    for place, scene in enumerate(order):
        bottom = 0
        for number, count in enumerate(sorted(scene["found"], reverse=True)):
            bars.bar(place, count, bottom=bottom, color=f"C{number}", width=0.8)
            bottom += count
        bars.bar(place, scene["none"], bottom=bottom, color="lightgrey", width=0.8)
    paths.set_xlabel("")
    for draw_, found in zip(np.array(figures["paths"]), figures["path_found"]):
        color = "lightgrey" if found < 0 else f"C{found}"
        for path in draw_.transpose(1, 0, 2):  # [T, 2], of each slot
            paths.plot(*path.T, color=color, linewidth=0.5, zorder=1 if found < 0 else 2)
            paths.plot(*path[-1], ".", color=color, markersize=4, zorder=3)
    return figure


if __name__ == "__main__":
    experiment.main("multistability", __doc__, measure, draw, config="tetrominoes_fast")
