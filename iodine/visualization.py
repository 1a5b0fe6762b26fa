"""Shows what a trained model does with held-out scenes, or with anyone's own pictures."""

import os

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from iodine import evaluation, latents
from iodine.modules import plotting
from iodine.modules.utils import UserError
from iodine.objects import match_objects, select_objects
from iodine.report import Report

NUM_SCENES = 4  # held-out scenes to show
NUM_DETAILED = 2  # how many of them with iterations, inputs and traversals
NUM_SAMPLES = 16


def read_picture(path, image_shape):
    """Reads a picture file, crops its middle to the model's aspect ratio and resizes that.

    Prints a line that says so.

    Args:
      path: any file that Pillow reads.
      image_shape: (H, W, C) that the model was trained on.

    Returns:
      float32 [H, W, C] in [0, 1].

    Raises:
      UserError: if the file cannot be read or has another number of channels.
    """
    height, width, channels = image_shape
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            if picture.mode in ("1", "P"):
                picture = picture.convert("L" if picture.mode == "1" else "RGB")
            picture.load()
    # What Pillow raises for files of all kinds of wrong content.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read the picture '{path}': {reason}") from error
    mode = {1: "L", 3: "RGB"}[channels]
    if picture.mode != mode:
        raise UserError(
            f"the picture '{path}' has {len(picture.getbands())} channels (mode {picture.mode}), "
            f"the model needs {channels} (mode {mode}): convert it first"
        )
    scale = min(picture.width / width, picture.height / height)
    crop_width, crop_height = round(width * scale), round(height * scale)
    left, top = (picture.width - crop_width) // 2, (picture.height - crop_height) // 2
    print(
        f"{path}: {picture.width}x{picture.height}, the middle {crop_width}x{crop_height} "
        f"resized to {width}x{height}"
    )
    middle = picture.crop((left, top, left + crop_width, top + crop_height))
    resized = middle.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32).reshape(image_shape) / 255.0


def run_model(model, batch, seed):
    """Runs a model on a few scenes.

    Args:
      model: a `Model`, restored.
      batch: as for `Model.eval`.
      seed: of the noise.

    Returns:
      What `Model.eval` returns, as NumPy arrays.
    """
    noise = evaluation.scene_noise(model, tf.range(len(batch["image"])), seed)
    info = tf.function(model.eval, autograph=False)(batch, noise)
    return tf.nest.map_structure(lambda x: x.numpy(), info)


def sample_prior(model, image_shape, seed):
    """Decodes draws from the prior: (images [N, 1, H, W, C], masks [N, K, H, W, 1])."""
    shape = [NUM_SAMPLES, model.num_components, model.n_z]
    noise = tf.random.stateless_normal(shape, seed=[seed, 1])
    samples = model.sample_prior(NUM_SAMPLES, image_shape, noise)
    return samples["recons"].numpy(), samples["pred_mask"].numpy()


# ---------------------------------------------------------------- parts of the page


def add_scenes(report, info, model, names):
    """Adds the decomposition of all scenes, and details of the first ones.

    Args:
      report: `Report` to add to.
      info: what `run_model` returned.
      model: a `Model`.
      names: of the scenes to show in detail.
    """
    num_scenes = len(info["data"]["image"])
    with_truth = "true_mask" in info["data"]
    score = "the foreground ARI" if with_truth else "the mean squared error"
    report.add_heading("Decomposition")
    report.add_figure(
        "decomposition",
        plotting.example_plot(info, range(num_scenes)),
        "Each row is a scene. The frame of a slot has the colour of its mask; each slot shows "
        f"its component before masking. Left: {score}.",
    )
    report.add_figure(
        "decomposition_masked",
        plotting.example_plot(info, range(num_scenes), mask_components=True),
        "The same, each component as far as its mask lets it through.",
    )
    report.add_heading("Losses and metrics over the iterations")
    report.add_figure(
        "curves",
        plotting.curves_plot(info, model.METRICS),
        "Thin lines: the scenes above. Thick lines: their mean.",
    )
    for b, name in enumerate(names):
        report.add_heading(f"{name} in detail")
        report.add_figure(
            f"iterations_{b + 1}",
            plotting.iterations_plot(info, b),
            "What each refinement makes of the scene. Left: image, reconstruction and, a row for "
            "each slot, components. Right: masks and mask logits.",
        )
        report.add_figure(
            f"inputs_{b + 1}",
            plotting.inputs_plot(info, b),
            "What the refinement network sees at the last refinement, a row for each slot. Red is "
            "positive, blue negative; the constant inputs are left out.",
        )
        report.add_figure(
            f"traversals_{b + 1}",
            latents.traversal_plot(model, info, b),
            "Latent traversals: each row sets one latent to nine values and leaves all else as it "
            "is. Slots in the order of their KL divergence, and within each slot the latents with "
            "the highest, which the labels give.",
        )


def add_samples(report, model, image_shape, seed):
    """Adds draws from the prior."""
    report.add_heading("Samples from the prior")
    report.add_figure(
        "samples",
        plotting.samples_plot(*sample_prior(model, image_shape, seed)),
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
    points, factors = objects
    if len(points) < latents.MIN_OBJECTS:
        print(f"no projections: {len(points)} visible objects are too few, raise eval_images")
        return
    report.add_heading("Projections of object latents")
    report.add_figure(
        "projections",
        latents.projection_plot(latents.project(points, seed), factors, kinds),
        f"Posterior means of the slots that cover {len(points)} visible objects best, projected to "
        "the plane, each column coloured by one true factor.",
    )


def metric_rows(values, metrics):
    """A table of means over scenes, values being {metric: [N, T]}, metrics {metric: label}."""
    num_steps = values["mse"].shape[1]
    rows = [["metric", "mean ± standard error", *[f"after {t}" for t in range(num_steps)]]]
    for name, label in metrics.items():
        if name in values:
            entry = evaluation.mean_and_stderr(values[name])
            steps = [f"{value:.4g}" for value in entry["per_iteration"]]
            rows.append([label, f"{entry['mean']:.4g} ± {entry['stderr']:.2g}", *steps])
    return rows


# ---------------------------------------------------------------- the whole


def show_pictures(report, model, batch, names, seed):
    """Fills a report with what a model makes of pictures without ground truth.

    Args:
      report: `Report` to add to.
      model: a `Model`, restored.
      batch: {"image": [B, 1, H, W, C]}.
      names: of the B pictures.
      seed: of the noise.
    """
    info = run_model(model, batch, seed)
    figures = {
        "mse": info["metrics"]["mse"],
        "recons": info["losses"]["recons"],
        "kl": info["losses"]["kl"].sum(axis=-1),
    }
    rows = [["picture", *[model.METRICS[key] for key in figures]]]
    rows += [[name, *[f"{v[b, -1]:.5g}" for v in figures.values()]] for b, name in enumerate(names)]
    report.add_table(rows)
    add_scenes(report, info, model, names)


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
        selected = evaluation.select_metrics(info)
        if info["data"].get("factors"):
            selected |= match_objects(info, model.num_background)
        return selected

    print(f"running {num_images} held-out scenes", flush=True)
    batches = evaluation.first_scenes(dataset("test"), num_images, dataset.batch_size)
    values = evaluation.run_model(model, batches, num_images, seed, select)
    report.add_text(f"Means over {num_images} held-out scenes, at the end and by refinements:")
    report.add_table(metric_rows(values, model.METRICS))
    num_detailed = min(NUM_DETAILED, len(batch["image"]))
    names = [f"Scene {b + 1}" for b in range(num_detailed)]
    add_scenes(report, run_model(model, batch, seed), model, names)
    if "latents" in values:
        regressor = model.factor_evaluator
        kinds = {name: kind for name, _, kind in regressor.mapping} if regressor else {}
        objects = select_objects(values)
        points = objects.pop("latents")
        factors = {name.removeprefix("factor/"): value for name, value in objects.items()}
        add_projections(report, (points, factors), kinds, seed)


def visualize(model, dataset, checkpoint, pictures, out, num_images, seed):
    """Writes figures of a trained model as PNG files, and report.html, which shows them all.

    Args:
      model: a `Model`, restored.
      dataset: data set of `iodine.modules.data`; with pictures its file is not read.
      checkpoint: path of the checkpoint that the model was restored from.
      pictures: path, or list of paths, of pictures to show instead of held-out scenes, or None.
      out: directory to write to, new or empty; report-STEP beside the checkpoint if None.
      num_images: number of scenes for metrics and projections.
      seed: of noise, samples and projections.

    Raises:
      UserError: for a picture that cannot be used, a directory that holds something already, or
        too few held-out scenes.
    """
    if pictures is None:
        batch = next(dataset("test").as_numpy_iterator())
        batch = tf.nest.map_structure(lambda x: x[:NUM_SCENES], batch)
    else:
        paths = [pictures] if isinstance(pictures, str) else pictures
        images = [read_picture(path, dataset.image_shape) for path in paths]
        batch = {"image": np.stack(images)[:, None]}  # [B, 1, H, W, C]
    if out is None:
        step = checkpoint.rsplit("-", 1)[-1]
        out = os.path.join(os.path.dirname(checkpoint), f"report-{step}")
    report = Report(out, f"IODINE: {checkpoint}")
    if pictures is None:
        show_held_out_scenes(report, model, dataset, batch, num_images, seed)
    else:
        names = [os.path.basename(path) for path in paths]
        show_pictures(report, model, batch, names, seed)
    add_samples(report, model, dataset.image_shape, seed)
    print(f"wrote {report.write()}")
