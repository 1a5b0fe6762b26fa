"""Segments any number of image files of one's own, and writes what each slot holds of each."""

import io
import os

import numpy as np
import tensorflow as tf
from PIL import Image

from iodine.data import image_files
from iodine.evaluate import prediction
from iodine.evaluate.metrics import three_digits
from iodine.figures import decompositions
from iodine.figures.colors import slot_colors
from iodine.figures.report import Report
from multi_object_datasets.image_files import image_paths

NUM_SHOWN = 16  # image files in the report
MAX_BYTES = 230  # of a name, which leaves room for endings in the 255 of most file systems
ALL_SLOTS = "slots"  # name of the file with the latents of all image files
LATENTS = ("z_mean", "z_std")  # those that a model has


def last_iteration(info):
    """Picks what is written and shown of `Model.eval`'s results, the last iteration alone (T 1)."""
    names = ("recons", "pred_mask", "components")
    return {
        "data": {"image": info["data"]["image"][:, -1:]},
        "outputs": {name: info["outputs"][name][:, -1:] for name in names},
        "latent": {n: info["latent"][n][:, -1:] for n in LATENTS if n in info["latent"]},
        "metrics": {"mse": info["metrics"]["mse"][:, -1:]},
    }


def output_names(paths):
    """Names for what is written of image files: theirs without suffix, numbered if two are alike.

    Capitals make no difference, as on some file systems. A name is cut where its file's would be
    too long for the file system.
    """
    names, taken = [], {ALL_SLOTS}
    for path in paths:
        stem = os.path.splitext(os.path.basename(path))[0]
        stem = os.fsdecode(os.fsencode(stem)[:MAX_BYTES])
        name, number = stem, 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        names.append(name)
    return names


def label_map(masks):
    """An image of the slot that each pixel belongs to.

    Args:
      masks: [K, H, W, 1].

    Returns:
      Pillow's palette image, whose indices are the slots from 0 in the colours of `slot_colors`.
    """
    labels = Image.fromarray(np.argmax(masks[..., 0], axis=0).astype(np.uint8), "P")
    labels.putpalette(np.uint8(np.round(255 * np.array(slot_colors(len(masks))))).tobytes())
    return labels


def write_arrays(report, name, arrays):
    """Writes {name: array} as NAME.npz to a report's directory."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    report.write_file(f"{name}.npz", buffer.getvalue())


def write_slots(report, name, path, info, b):
    """Writes the label map and the arrays of an image file.

    Args:
      report: `Report`, to whose directory they go.
      name: of the files, NAME_labels.png and NAME.npz.
      path: of the image file.
      info: what `last_iteration` picked, as NumPy arrays.
      b: place of its image in the batch.

    Returns:
      What `ALL_SLOTS` has of it: {"path": path, "area": share of the pixels in each mask [K],
      "z_mean" and "z_std" [K, Z]}.
    """
    masks = info["outputs"]["pred_mask"][b, 0]  # [K, H, W, 1]
    labels = io.BytesIO()
    label_map(masks).save(labels, "png")
    latents = {latent: values[b, 0] for latent, values in info["latent"].items()}
    arrays = {
        "path": path,
        "image": info["data"]["image"][b, 0],
        "masks": masks[..., 0],
        "components": info["outputs"]["components"][b, 0],
        **latents,
    }
    report.write_file(f"{name}_labels.png", labels.getvalue())
    write_arrays(report, name, arrays)
    return {"path": path, "area": masks.mean(axis=(1, 2, 3)), **latents}


def segment(model, dataset, checkpoint, images, out, seed):
    """Writes the slots of image files: label maps, arrays, and a report of the first ones.

    Only `data.batch_size` images are in memory at a time.

    Args:
      model: a `Model`, restored.
      dataset: data set that it was trained on; its file is not read.
      checkpoint: path of the checkpoint that the model was restored from.
      images: as for `image_files.image_paths`.
      out: directory to write to, new or empty. For each image file, NAME_labels.png has the slot
        of each pixel as its palette index. NAME.npz has path, of the file; image [H, W, C] as the
        model saw it, masks [K, H, W] and components [K, H, W, C], float32 in [0, 1]; and the
        latents z_mean and, if the model infers it, z_std [K, Z]. slots.npz has, of all N files,
        path [N], area [N, K] (the share of the pixels in each mask), and the latents [N, K, Z].
        report.html shows the first files, decomposition.png among it.
      seed: of the noise, which also depends on the file's place in the list.

    Raises:
      UserError: if the directory is not empty.
      DatasetError: if an image file cannot be used.
    """
    paths = image_paths(images)
    names, shown, errors, slots = output_names(paths), [], {}, []
    batches = image_files.batches(paths, dataset)
    with Report(out, f"{type(model).__name__}: {checkpoint}") as report:
        for numbers, info in prediction.infer(model, batches, len(paths), seed, last_iteration):
            for b, number in enumerate(numbers):
                slots.append(write_slots(report, names[number], paths[number], info, b))
                errors[number] = info["metrics"]["mse"][b, 0]
            if (room := NUM_SHOWN - sum(len(part["data"]["image"]) for part in shown)) > 0:
                shown.append(tf.nest.map_structure(lambda x, n=room: x[:n].copy(), info))
        write_arrays(report, ALL_SLOTS, {k: np.stack([s[k] for s in slots]) for k in slots[0]})
        info = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *shown)
        add_images(report, info, {paths[number]: error for number, error in errors.items()})
        print(f"wrote the slots of {_files(errors)} and {report.write()}")


def _files(paths):
    return "one image file" if len(paths) == 1 else f"{len(paths)} image files"


def add_images(report, info, errors):
    """Adds the decomposition of the first image files.

    Args:
      report: `Report` to add to.
      info: what `last_iteration` picked of them.
      errors: {path: mean squared error} of all image files, in their order.
    """
    num_shown = len(info["data"]["image"])
    worst = max(errors, key=errors.get)
    mean = three_digits(np.mean(list(errors.values())))
    report.add_text(
        f"{_files(errors).capitalize()}. Mean squared error: mean {mean}, largest "
        f"{three_digits(errors[worst])} ({worst})."
    )
    report.add_figure(
        "decomposition",
        decompositions.example_plot(
            info, range(num_shown), row_labels=[str(i + 1) for i in range(num_shown)]
        ),
        "Each row is an image file, as the table below numbers them. The frame of a slot has the "
        "colour of its mask; each slot shows its component before masking.",
    )
    labels = np.argmax(info["outputs"]["pred_mask"][:, 0, ..., 0], axis=1)  # [B, H, W]
    rows = [["", "image file", "MSE", "slots in use"]]
    for i, (path, error) in enumerate(list(errors.items())[:num_shown]):
        rows.append([str(i + 1), path, three_digits(error), str(len(np.unique(labels[i])))])
    report.add_table(rows)
