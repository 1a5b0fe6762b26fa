"""Shows what a trained model does with held-out scenes, or with a user's image files."""

import itertools
import os

import numpy as np
import tensorflow as tf

from iodine import shipped_models
from iodine.data import image_files
from iodine.evaluate import evaluation, factors, metrics, prediction
from iodine.figures import curves, decompositions, latents
from iodine.figures.report import Report
from multi_object_datasets.image_files import image_paths

NUM_SCENES = 4  # held-out scenes to show
NUM_FILES = 8  # image files to show
NUM_DETAILED = 2  # how many of either with iterations, inputs and traversals
NUM_SAMPLES = 16


def run_model(model, batch, seed, numbers=None):
    """Runs a model on a few scenes.

    Args:
      model: a `Model`, restored.
      batch: as for `Model.eval`.
      seed: of the noise.
      numbers: of the scenes, int32 [B], that their noise depends on; 0, 1, ... if None.

    Returns:
      What `Model.eval` returns, as NumPy arrays.
    """
    numbers = np.arange(len(batch["image"]), dtype=np.int32) if numbers is None else numbers
    noise = prediction.scene_noise(model, tf.constant(numbers), seed)
    info = tf.function(model.eval, autograph=False)(batch, noise)
    return tf.nest.map_structure(np.asarray, info)


def sample_prior(model, image_shape, seed):
    """Decodes draws from the prior: (images [N, 1, H, W, C], masks [N, K, H, W, 1])."""
    tf.random.set_seed(seed)  # Each model draws noise of its own shape.
    samples = model.sample_prior(NUM_SAMPLES, image_shape)
    return samples["recons"].numpy(), samples["pred_mask"].numpy()


# ---------------------------------------------------------------- parts of the page


def add_decomposition(report, info):
    """Adds the decomposition of all scenes, info being what `run_model` returned."""
    num_scenes = len(info["data"]["image"])
    with_truth = "true_mask" in info["data"]
    score = "the foreground ARI" if with_truth else "the mean squared error"
    report.add_heading("Decomposition")
    report.add_figure(
        "decomposition",
        decompositions.example_plot(info, range(num_scenes)),
        "Each row is a scene. The frame of a slot has the colour of its mask; each slot shows "
        f"its component before masking. Left: {score}.",
    )
    report.add_figure(
        "decomposition_masked",
        decompositions.example_plot(info, range(num_scenes), mask_components=True),
        "The same, each component as far as its mask lets it through.",
    )


def add_views(report, info, model, names):
    """Adds curves over the iterations, a model's own figures, and details of the first scenes.

    Args:
      report: `Report` to add to.
      info: what `run_model` returned.
      model: a `Model`.
      names: of the scenes to show in detail.
    """
    if info["outputs"]["recons"].shape[1] > 1:
        report.add_heading("Losses and metrics over the iterations")
        report.add_figure(
            "curves",
            curves.curves_plot(metrics.measure(info, model), metrics.named(model.METRICS)),
            "Thin lines: the scenes above. Thick lines: their mean.",
        )
    if figures := model.figures(info):
        report.add_heading(f"{type(model).__name__}'s own view")
        for name, figure, caption in figures:
            report.add_figure(name, figure, caption)
    for b, name in enumerate(names):
        add_details(report, info, model, b, name)


def add_details(report, info, model, b, name):
    """Adds what a model shows of one scene: iterations, inputs, traversals, those that it has.

    Args:
      report, info, model: as for `add_views`.
      b: place of the scene in the batch.
      name: of the scene.
    """
    figures = []
    if info["outputs"]["recons"].shape[1] > 1:
        figures.append(
            (
                "iterations",
                decompositions.iterations_plot(info, b),
                "What each refinement makes of the scene, a row for each. The last row: the image, "
                "the true masks if they are known, and the final logits of the masks.",
            )
        )
    if "inputs" in info:
        figures.append(
            (
                "inputs",
                decompositions.inputs_plot(info, b),
                "What the refinement network sees at the last refinement, a row for each slot. Red "
                "is positive, blue negative; the constant inputs are left out.",
            )
        )
    if latents.can_traverse(model, info):
        figures.append(
            (
                "traversals",
                latents.traversal_plot(model, info, b),
                "Latent traversals: each row sets one latent to nine values and leaves all else as "
                "it is. Slots in the order of their KL divergence, and within each slot the "
                "latents with the highest, which the labels give.",
            )
        )
    if figures:
        report.add_heading(f"{name} in detail")
    for kind, figure, caption in figures:
        report.add_figure(f"{kind}_{b + 1}", figure, caption)


def add_samples(report, model, image_shape, seed):
    """Adds draws from the prior."""
    report.add_heading("Samples from the prior")
    report.add_figure(
        "samples",
        decompositions.samples_plot(*sample_prior(model, image_shape, seed)),
        "Scenes decoded from draws of all slots from the prior, their masks below.",
    )


def add_projections(report, objects, kinds, seed):
    """Adds projections of the latents of all objects.

    Args:
      report: `Report` to add to.
      objects: (latents [objects, Z], {factor: [objects, n]}).
      kinds: {factor: its type}.
      seed: of the projections.
    """
    points, values = objects
    if len(points) < latents.MIN_OBJECTS:
        print(f"no projections: {len(points)} visible objects are too few, raise eval_images")
        return
    points = points[: latents.MAX_OBJECTS]
    values = {name: array[: latents.MAX_OBJECTS] for name, array in values.items()}
    if not np.ptp(points, axis=0).any():  # t-SNE would crash.
        print(f"no projections: the latents of {len(points)} visible objects are all the same")
        return
    report.add_heading("Projections of object latents")
    report.add_figure(
        "projections",
        latents.projection_plot(latents.project(points, seed), values, kinds),
        f"Posterior means of the slots that cover {len(points)} visible objects best, projected to "
        "the plane, each column coloured by one true factor.",
    )


def add_metrics(report, values, names):
    """Adds means over scenes: those of the last iteration, and folded up those of all.

    Args:
      report: `Report` to add to.
      values: {metric: [N, T]}.
      names: of the metrics, a model's `METRICS`.
    """
    summary, named = metrics.summarize(values, names), metrics.named(names)
    num_scenes, num_steps = values["mse"].shape
    report.add_heading(f"Metrics, {num_scenes} held-out scenes")
    rows = [["metric", "mean ± standard error"]]
    rows += [[named[name].heading, metrics.mean_text(entry)] for name, entry in summary.items()]
    report.add_table(rows)
    if num_steps > 1:
        rows = [["after refinement", *map(str, range(num_steps))]]
        for name, entry in summary.items():
            means = map(metrics.three_digits, entry["per_iteration"])
            rows.append([named[name].heading, *means])
        report.add_table(rows, "After each refinement")


# ---------------------------------------------------------------- the whole


def show_image_files(report, model, batch, numbers, paths, seed):
    """Fills a report with what a model makes of image files, which have no ground truth.

    Args:
      report: `Report` to add to.
      model: a `Model`, restored.
      batch: {"image": [B, 1, H, W, C]}.
      numbers: places of the images among the paths, int32 [B].
      paths: of all image files that were named.
      seed: of the noise.
    """
    if len(numbers) < len(paths):
        text = f"{len(numbers)} of {len(paths)} image files; `segment` takes them all."
        print(text)
        report.add_text(text)
    names = [os.path.basename(paths[number]) for number in numbers]
    info = run_model(model, batch, seed, numbers)
    add_decomposition(report, info)
    values, named = metrics.measure(info, model), metrics.named(model.METRICS)
    rows = [["image file", *[named[name].heading for name in values]]]
    for b, name in enumerate(names):
        last = (metrics.as_number(value[b, -1]) for value in values.values())
        rows.append([name, *map(metrics.three_digits, last)])
    report.add_table(rows)
    add_views(report, info, model, names[:NUM_DETAILED])


def show_held_out_scenes(report, model, dataset, batch, num_images, seed):
    """Fills a report with what a model makes of held-out scenes.

    Args:
      report: `Report` to add to.
      model: a `Model`, restored.
      dataset: data set of `iodine.modules.data`.
      batch: its first held-out scenes, to show.
      num_images: number of scenes for metrics and projections.
      seed: of noise and projections.
    """

    def select(info):
        if not info["data"].get("factors"):
            return {}
        return factors.match_objects(info, model.num_background)

    num_images = prediction.held_out_scenes(dataset, num_images)
    print(f"running {num_images} held-out scenes", flush=True)
    values = evaluation.score_held_out(model, dataset, num_images, seed, select)
    num_detailed = min(NUM_DETAILED, len(batch["image"]))
    names = [f"Scene {b + 1}" for b in range(num_detailed)]
    info = run_model(model, batch, seed)
    add_decomposition(report, info)
    add_metrics(report, values, model.METRICS)
    add_views(report, info, model, names)
    if "latents" in values:
        regressor = model.factor_evaluator
        kinds = {name: kind for name, _, kind in regressor.mapping} if regressor else {}
        objects = factors.select_objects(values)
        points = objects.pop("latents")
        objects = {name.removeprefix("factor/"): value for name, value in objects.items()}
        add_projections(report, (points, objects), kinds, seed)


def visualize(model, dataset, checkpoint, images, out, num_images, seed):
    """Writes figures of a trained model as PNG files, and report.html, which shows them all.

    Args:
      model: a `Model`, restored.
      dataset: data set of `iodine.modules.data`; its file is not read if there are image files.
      checkpoint: path of the checkpoint that the model was restored from.
      images: image files to show instead of held-out scenes, as for `image_files.image_paths`, the
        first ones if there are many; or None.
      out: directory to write to, new or empty; if None, report-STEP beside the checkpoint, or under
        the model's name in the working directory for a model of the installed package.
      num_images: number of scenes for metrics and projections.
      seed: of noise, samples and projections.

    Raises:
      UserError: if the directory is not empty, or there are too few held-out scenes.
      DatasetError: if an image file cannot be used.
    """
    if images is None:
        batch = next(dataset("test").as_numpy_iterator())
        batch = tf.nest.map_structure(lambda x: x[:NUM_SCENES], batch)
    else:
        paths = image_paths(images)
        read = itertools.islice(image_files.read_images(paths, dataset), NUM_FILES)
        numbers, arrays = zip(*read)
        batch = {"image": np.stack(arrays)}  # [B, 1, H, W, C]
    if out is None:
        step = checkpoint.rsplit("-", 1)[-1]
        out = os.path.join(shipped_models.folder_for_results(checkpoint), f"report-{step}")
    with Report(out, f"{type(model).__name__}: {checkpoint}") as report:
        if images is None:
            show_held_out_scenes(report, model, dataset, batch, num_images, seed)
        else:
            show_image_files(report, model, batch, np.int32(numbers), paths, seed)
        if hasattr(model, "sample_prior"):
            add_samples(report, model, dataset.image_shape, seed)
        print(f"wrote {report.write()}")
