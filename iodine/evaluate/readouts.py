"""What a slot's latents say of what it shows, as linear read-outs, and how to change just that.

For many slots, real ones and blends of real ones, what each shows is measured in decoded scenes:
where it is, how large, of which colour. Least squares then give read-outs w·z + b of each property.
Where scenes have true factors, such as shapes, read-outs of these are fitted too.
"""

import numpy as np
import tensorflow as tf

from iodine.evaluate.factors import match_objects

NUM_SCENES = 160  # decoded to fit the measured properties
MAX_SIZE = 64  # pixels of the longer side that they are decoded at
VISIBLE_CHANGE = 0.1  # of a pixel's colour, by which a slot is seen there
OBJECT_SHARES = (0.003, 0.5)  # of the pixels, that an object covers; the background covers more
MIN_OBJECTS = 8  # fewer tell nothing
MIN_R2 = 0.3  # of a read-out of a true factor, on objects that it was not fitted to
RIDGE = 0.01  # share of the latents' mean variance
# Factors that the measured properties stand for.
MEASURED_FACTORS = ("position", "x", "y", "color", "size", "scale")


def measure(components, logits):
    """Measures what slots show, by how the scene would change without each.

    Args:
      components: [N, K, H, W, C].
      logits: of the masks [N, K, H, W, 1].

    Returns:
      (properties [N, K, 3 + C], is_object bool [N, K]). The properties are the centre's x and y
      from 0 to 1 over width and height, where a pixel weighs as the square of the slot's change of
      its colour; the root of the share of pixels that the slot is seen in; the colour there.
    """
    masks = _softmax(logits)
    slots = np.arange(masks.shape[1])
    weights = []
    for k in slots:
        others = slots[slots != k]
        without = np.sum(_softmax(logits[:, others]) * components[:, others], axis=1)
        change = masks[:, k] * (components[:, k] - without)  # [N, H, W, C]
        weights.append(np.sum(np.square(change), axis=-1))
    weights = np.stack(weights, axis=1)  # [N, K, H, W]
    height, width = weights.shape[2:]
    total = np.sum(weights, axis=(2, 3)) + 1e-9
    x = weights.sum(axis=2) @ ((np.arange(width) + 0.5) / width) / total
    y = weights.sum(axis=3) @ ((np.arange(height) + 0.5) / height) / total
    share = np.mean(weights > VISIBLE_CHANGE**2, axis=(2, 3))
    color = np.sum(weights[..., None] * components, axis=(2, 3)) / total[..., None]
    is_object = (OBJECT_SHARES[0] < share) & (share < OBJECT_SHARES[1])
    return np.concatenate([np.stack([x, y, np.sqrt(share)], -1), color], -1), is_object


def _softmax(logits):
    """Softmax over the slots, [N, K, H, W, 1] -> the same."""
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def property_names(num_channels):
    """Names of what `measure` measures of images of so many channels."""
    colors = ["Red", "Green", "Blue"] if num_channels == 3 else ["Brightness"] * num_channels
    return ["Left – right", "Up – down", "Size", *colors]


def decoded_objects(model, scenes, image_shape, seed):
    """Decodes scenes of slots blended from real ones, and measures their objects.

    Args:
      model: a `Model` that decodes.
      scenes: slots of real scenes [N, K, Z].
      image_shape: (H, W, C).
      seed: of the blends.

    Returns:
      (latents [objects, Z], properties [objects, 3 + C]).
    """
    rng = np.random.default_rng(seed)
    *size, channels = image_shape
    scale = min(1.0, MAX_SIZE / max(size))
    shape = (*[max(round(length * scale), 1) for length in size], channels)

    def measured(z):
        parts = []
        for part in np.array_split(z, -(-len(z) // 8)):  # a few at a time, for memory
            decoded = model.decode(tf.constant(part, tf.float32), shape)
            logits = decoded["pred_mask_logits"].numpy()
            parts.append(measure(decoded["components"].numpy(), logits))
        return [np.concatenate(values) for values in zip(*parts)]

    real = scenes[measured(scenes)[1]]
    if len(real) < MIN_OBJECTS:
        return real[:0], np.zeros([0, 3 + channels])
    blended = scenes[rng.integers(len(scenes), size=NUM_SCENES)]
    shape_of_slots = blended.shape[:2]
    first, second = real[rng.integers(len(real), size=(2, *shape_of_slots))]
    share = rng.random((*shape_of_slots, 1))
    is_blended = rng.random((*shape_of_slots, 1)) < 0.6
    blended = np.where(is_blended, share * first + (1.0 - share) * second, blended)
    properties, is_object = measured(blended)
    return blended[is_object], properties[is_object]


def true_properties(info, num_background, seed):
    """Finds true factors that can be read out of the latents and that `measure` says nothing of.

    Whole numbers are taken for classes, each of which is a property of its own.

    Args:
      info: what `Model.eval` returned, as NumPy arrays.
      num_background: number of true entities, the first ones, that are no objects.
      seed: of the choice of objects that a read-out is tried on.

    Returns:
      (latents [objects, Z], {name of the property: its values [objects]}).
    """
    if not info["data"].get("factors"):
        return np.zeros([0, info["latent"]["z_mean"].shape[-1]]), {}
    matched = {k: np.asarray(v) for k, v in match_objects(info, num_background).items()}
    rows = matched["is_object"]
    latents, values = matched["latents"][rows], {}
    for name, factor in info["data"]["factors"].items():
        if name in MEASURED_FACTORS or factor.shape[-1] != 1:
            continue
        factor = factor[rows][:, 0]
        if np.issubdtype(factor.dtype, np.integer):
            classes, counts = np.unique(factor, return_counts=True)
            kept = [c for c, count in zip(classes, counts) if count >= MIN_OBJECTS]
            values |= {f"{name.capitalize()} {c}": (factor == c).astype(float) for c in kept}
    order = np.random.default_rng(seed).permutation(len(latents))
    train, test = order[::2], order[1::2]
    return latents, {
        name: value
        for name, value in values.items()
        if _r2(latents[train], value[train], latents[test], value[test]) > MIN_R2
    }


def _r2(z, y, z_test, y_test):
    w, b = fit(z, y[:, None])
    error = np.sum(np.square(y_test - (z_test @ w.T + b)[:, 0]))
    return 1.0 - error / max(np.sum(np.square(y_test - y_test.mean())), 1e-9)


def fit(z, y):
    """Fits y = w·z + b by least squares with a ridge, z [N, Z], y [N, P]: (w [P, Z], b [P])."""
    centred = z - z.mean(axis=0)
    w = np.linalg.solve(_covariance(z), centred.T @ (y - y.mean(axis=0)) / len(z)).T
    return w, y.mean(axis=0) - w @ z.mean(axis=0)


def _covariance(z):
    covariance = np.cov(z.T, bias=True).reshape(z.shape[1], z.shape[1])
    return covariance + (RIDGE * np.trace(covariance) / len(covariance) + 1e-9) * np.eye(len(z.T))


def directions(z, w):
    """The smallest changes of z that change one read-out by 1 and leave the others as they are.

    A change is measured by how much latents vary: dz is the one with the least dz·C⁻¹·dz, C being
    their covariance.

    Args:
      z: latents of objects [N, Z].
      w: read-outs [P, Z].

    Returns:
      [P, Z].
    """
    moved = w @ _covariance(z)  # [P, Z]
    gram = moved @ w.T
    return np.linalg.solve(gram + 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram)), moved)
