"""True objects and the slots that explain them."""

import tensorflow as tf


def match_objects(info, num_background):
    """Finds the latents of each true entity, those of the slot whose mask covers it best.

    Args:
      info: what `Model.eval` returned for data with ground truth.
      num_background: number of entities, the first ones, that are no objects.

    Returns:
      {"latents": final posterior means [B, L, Z], "is_object": bool [B, L], and "factor/NAME"
      [B, L, n] for each factor}. What shows no pixel, as outside of a crop, is no object here.
    """
    true_mask, pred_mask = info["data"]["true_mask"][:, -1], info["outputs"]["pred_mask"][:, -1]
    overlap = tf.einsum("blhwc,bkhwc->blk", true_mask, pred_mask)
    slots = tf.argmax(overlap, axis=-1)  # [B, L]
    seen = tf.reduce_any(true_mask > 0, axis=[2, 3, 4]) & (info["data"]["visibility"] > 0)
    foreground = tf.range(seen.shape[1]) >= num_background
    factors = info["data"].get("factors", {})
    return {
        "latents": tf.gather(info["latent"]["z_mean"][:, -1], slots, batch_dims=1),
        "is_object": seen & foreground,
        **{f"factor/{name}": values for name, values in factors.items()},
    }


def select_objects(values):
    """Picks the objects out of all entities.

    Args:
      values: {name: array}, with what `match_objects` found among them.

    Returns:
      {name: [objects, n]} of latents, factors and predictions.
    """
    prefixes = ("latents", "factor/", "prediction/")
    rows = values["is_object"]
    return {name: value[rows] for name, value in values.items() if name.startswith(prefixes)}


def true_values(regressor, objects, name, size, kind):
    """The values of a factor in the form that a `FactorRegressor` predicts, array [objects, n]."""
    return regressor.target(name, kind, size, {name: objects[f"factor/{name}"]}).numpy()
