"""Writes a page to play with the slots of a model: one file, which decodes them in the browser."""

import base64
import io
import json
import os
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from iodine.data import image_files
from iodine.errors import UserError
from iodine.evaluate import prediction, readouts, result_files
from iodine.evaluate.explore_decoder import describe
from iodine.figures.latents import latent_kl
from multi_object_datasets.image_files import image_paths

FILES = Path(__file__).parent.parent / "figures" / "explore"
MAX_SHOWN = 8  # scenes on the page
MAX_FITTED = 32  # scenes whose slots the sliders are fitted to
MAX_LATENTS = 6  # sliders of single latents
MAX_BYTES = 6_000_000  # of the page


def explore(model, dataset, checkpoint, images, out, seed):
    """Writes the page.

    Args:
      model: a `Model`, restored.
      dataset: `SceneDataset` that it was trained on; with images its file is not read.
      checkpoint: path of the checkpoint that the model was restored from.
      images: images to show instead of held-out scenes, as for `image_paths`; or None.
      out: path of the page.
      seed: of noise and blends.

    Raises:
      UserError: if the page cannot compute the model's decoder or would be too large.
      DatasetError: if an image cannot be used.
    """
    result_files.check_result_path(out, "page.html")
    decoder, weights = describe(model)
    titles, info = infer_scenes(model, dataset, images, seed)
    height, width, channels = dataset.image_shape
    latents = info["latent"]["z_mean"][: len(titles)]  # [scenes, T, K, Z]
    content = {
        "name": os.path.basename(os.path.dirname(os.path.abspath(checkpoint))),
        "kind": type(model).__name__,
        "size": [height, width],
        "decoder": decoder,
        "weights": encode_floats(weights),
        "scenes": [
            {"title": title, "image": encode_image(image)}
            for title, image in zip(titles, info["data"]["image"][:, -1])
        ],
        "states": latents.shape[1],
        "slots": latents.shape[2],
        "latents": encode_floats(latents),
        "prior": prior(model),
        "spread": rounded(info["latent"]["z_mean"][:, -1].reshape(-1, model.n_z).std(axis=0)),
        "readouts": fit_readouts(model, info, dataset, seed),
        "sliders": latent_sliders(model, info),
    }
    page = fill_page(content)
    if len(page.encode()) > MAX_BYTES:
        raise UserError(
            f"the page would have {len(page.encode()) / 1e6:.1f} MB, more than "
            f"{MAX_BYTES / 1e6:.0f}: explore smaller images, data.image_dim=[H, W]"
        )
    result_files.write_text(out, page)
    print(f"wrote {out} ({len(page.encode()) / 1e6:.1f} MB): open it in a browser")


def infer_scenes(model, dataset, images, seed):
    """Runs the model on scenes.

    Args:
      model, dataset, images, seed: as for `explore`.

    Returns:
      (titles of the scenes to show, what `Model.eval` returned for these and more, as NumPy arrays,
      of data, latents, last masks and KL).
    """
    if images is None:
        batches = list(prediction.first_scenes(dataset("test"), MAX_FITTED))
        found = sum(len(numbers) for _, numbers in batches)
        titles = [f"Scene {i + 1}" for i in range(min(found, MAX_SHOWN))]
    else:
        paths = image_paths(images)[:MAX_SHOWN]
        batches, found = image_files.batches(paths, dataset), len(paths)
        titles = [os.path.basename(path) for path in paths]

    def select(info):
        data = {k: v for k, v in info["data"].items() if k in KEPT}
        latent = {k: v for k, v in info["latent"].items() if k in ("z_mean", "z_std")}
        masks = {"pred_mask": info["outputs"]["pred_mask"][:, -1:]}
        return {"data": data, "latent": latent, "outputs": masks}

    parts, numbers = [], []
    for some, picked in prediction.infer(model, batches, found, seed, select):
        parts.append(picked)
        numbers += list(some)
    info = tf.nest.map_structure(lambda *values: np.concatenate(values), *parts)
    if images is not None:  # Those that cannot be used may have been left out.
        titles = [titles[number] for number in numbers]
    return titles, info


KEPT = ("image", "true_mask", "visibility", "factors")


def encode_floats(values):
    """Encodes an array as base64 of little-endian float32."""
    return base64.b64encode(np.asarray(values, "<f4").tobytes()).decode()


def encode_image(image):
    """Encodes an image [H, W, C] in [0, 1] as the data URL of a PNG file."""
    pixels = np.uint8(np.round(255 * np.clip(image, 0.0, 1.0)))
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(
        file, "png", optimize=True
    )
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def prior(model):
    """The prior of a slot, {"mean": [Z], "std": [Z]}, or None where there is no normal one."""
    if not hasattr(model, "sample_prior"):
        return None
    if not hasattr(model, "latent_dist"):
        return {"mean": [0.0] * model.n_z, "std": [1.0] * model.n_z}
    dist = model.latent_dist(tf.zeros([model.latent_dist.num_params(model.n_z)]))
    if type(dist).__name__ != "Normal":
        return None
    return {"mean": dist.mean().numpy().tolist(), "std": dist.stddev().numpy().tolist()}


def fit_readouts(model, info, dataset, seed):
    """Fits the read-outs that sliders and dragging use.

    Args:
      model, dataset, seed: as for `explore`.
      info: what `infer_scenes` returned.

    Returns:
      List of {name, w [Z], b, direction [Z], range [lowest, highest]}, the centre's x and y in
      pixels first; empty for models without several slots, or of whose objects too few are found.
      A read-out is w·z + b. The direction is what added to z raises it by 1.
    """
    z = info["latent"]["z_mean"][:, -1]  # [N, K, Z]
    if z.shape[1] == 1:
        return []
    height, width, channels = dataset.image_shape
    latents, properties = readouts.decoded_objects(model, z, dataset.image_shape, seed)
    if len(latents) < readouts.MIN_OBJECTS:
        return []
    properties = properties * np.array([width, height, min(height, width), *[1.0] * channels])
    names = readouts.property_names(channels)
    w, b = readouts.fit(latents, properties)
    matched, true = readouts.true_properties(info, dataset.num_background, seed)
    ranges = [np.quantile(values, [0.02, 0.98]) for values in properties.T]
    if true:
        w_true, b_true = readouts.fit(matched, np.stack(list(true.values()), -1))
        w, b, names = np.concatenate([w, w_true]), np.concatenate([b, b_true]), [*names, *true]
        ranges += [(0.0, 1.0)] * len(true)
    rows = zip(names, w, b, readouts.directions(latents, w), ranges)
    return [
        {
            "name": name,
            "w": rounded(weights),
            "b": float(offset),
            "direction": rounded(direction),
            "range": rounded(limits),
        }
        for name, weights, offset, direction, limits in rows
    ]


def latent_sliders(model, info):
    """Picks the latents that say most, those with the highest KL or else the largest variance.

    Args:
      model: a `Model`.
      info: what `infer_scenes` returned.

    Returns:
      List of {latent: its number from 0, kl: nats or None, range: [lowest, highest]}.
    """
    mean = info["latent"]["z_mean"][:, -1].reshape(-1, model.n_z)
    kl = None
    if "z_std" in info["latent"]:
        std = info["latent"]["z_std"][:, -1].reshape(-1, model.n_z)
        kl = latent_kl(model, mean, std).mean(axis=0)
    order = np.argsort(-(mean.var(axis=0) if kl is None else kl))[:MAX_LATENTS]
    centre, spread = mean.mean(axis=0), 3.0 * mean.std(axis=0) + 1e-3
    return [
        {
            "latent": int(i),
            "kl": None if kl is None else round(float(kl[i]), 2),
            "range": rounded([centre[i] - spread[i], centre[i] + spread[i]]),
        }
        for i in order
    ]


def rounded(values):
    """Numbers as a list for JSON, of six digits."""
    return [float(f"{value:.6g}") for value in values]


def fill_page(content):
    """Puts the style sheet, the scripts and the content into the page, which names their files."""
    names = ("page.css", "decoder.js", "page.js")
    parts = {name: (FILES / name).read_text(encoding="utf-8") for name in names}
    page = (FILES / "page.html").read_text(encoding="utf-8")
    # Within a script nothing may look like its end.
    text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    for place, filling in (
        ('<link rel="stylesheet" href="page.css">', f"<style>\n{parts['page.css']}</style>"),
        (
            '<script type="text/plain" id="decoder" src="decoder.js"></script>',
            f'<script type="text/plain" id="decoder">\n{parts["decoder.js"]}</script>',
        ),
        (
            '<script type="application/json" id="content"></script>',
            f'<script type="application/json" id="content">{text}</script>',
        ),
        ('<script src="page.js"></script>', f"<script>\n{parts['page.js']}</script>"),
    ):
        before, found, after = page.partition(place)
        assert found, place
        page = before + filling + after
    return page
