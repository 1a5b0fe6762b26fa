"""Measures of predicted segmentations: the adjusted Rand index, and the overlap of regions.

The overlap of two regions is their intersection over union (IoU, Jaccard's index): the pixels in
both by the pixels in either. All pixels of a predicted region count, whatever they show, so that a
slot that bleeds into the background scores less. The foreground ARI forgives that.
"""

import numpy as np

from multi_object_datasets.image_ops import NO_ENTITY

MEASURES = ("miou", "mbo", "sc", "msc")


def adjusted_rand_index(true_mask, pred_mask, name="ari_score"):
    """Computes the adjusted Rand index (ARI) of each image's segmentation.

    The ARI is the share of pairs of points on which two clusterings agree, corrected for chance
    (Hubert and Arabie, "Comparing partitions", 1985): 1 for equal clusterings, 0 on average for
    random ones, and it may be negative. Pass `true_mask[..., 1:]` for the foreground ARI
    ("ARI-nobg"), which leaves out the points of the background.

    With n counted points, N = n(n-1) ordered pairs, and a, b and r the numbers of pairs that the
    true clustering, the predicted one, and at least one of them keep apart,

        ARI = (a + b - r - ab/N) / ((a + b)/2 - ab/N).

    Counting the pairs kept apart, not those together, keeps float32 accurate where nearly all
    points share one cluster. No input gives NaN:

    * both clusterings are one single cluster: 1,
    * no point counts, or only one: 1,
    * every counted point is a cluster of its own in both: 1,
    * one clustering is a single cluster and the other is not: 0.

    Args:
      true_mask: [B, n, L] one-hot true entity of each point, of any numeric type. Points with an
        all-zero row do not count.
      pred_mask: [B, n, K] scores; each point belongs to its highest (to the first on a tie).
      name: of the operation's scope.

    Returns:
      [B] float32.

    Raises:
      ValueError: if n is known and no larger than both L and K, as the score means nothing then
        and the points have most likely been mistaken for the groups.
    """
    import tensorflow as tf  # Here, because the other measures do without.

    true_mask = tf.cast(true_mask, tf.float32)
    pred_mask = tf.convert_to_tensor(pred_mask)
    num_points, num_true, num_pred = (*true_mask.shape[1:], pred_mask.shape[2])
    if None not in (num_points, num_true, num_pred) and num_points <= min(num_true, num_pred):
        raise ValueError(
            f"adjusted_rand_index needs more points than groups: got {num_points} points, "
            f"{num_true} true and {num_pred} predicted groups (masks are [B, n_points, n_groups])."
        )

    with tf.name_scope(name):
        pred_group = tf.one_hot(tf.argmax(pred_mask, axis=-1), tf.shape(pred_mask)[-1])  # [B, n, K]
        counts = tf.matmul(true_mask, pred_group, transpose_a=True)  # [B, L, K]
        return _ari_of_counts(counts)


def _ari_of_counts(counts):
    """Returns the ARI [B] of the numbers of points in each true and predicted group, [B, L, K]."""
    import tensorflow as tf

    n = tf.reduce_sum(counts, axis=[1, 2])  # [B]
    pairs = n * (n - 1.0)

    def pairs_apart(sizes, axis):
        """The ordered pairs of points that lie in different clusters of the given sizes."""
        rest = tf.reshape(n, [-1] + [1] * (len(sizes.shape) - 1)) - sizes
        return tf.reduce_sum(sizes * rest, axis)

    true_apart = pairs_apart(tf.reduce_sum(counts, axis=2), 1)  # [B]
    pred_apart = pairs_apart(tf.reduce_sum(counts, axis=1), 1)
    any_apart = pairs_apart(counts, [1, 2])
    chance = true_apart * tf.math.divide_no_nan(pred_apart, pairs)

    largest = 0.5 * (true_apart + pred_apart) - chance
    # Zero only if both clusterings are one single cluster, or both are all of single points.
    trivial = tf.equal(largest, 0.0)
    score = (true_apart + pred_apart - any_apart - chance) / tf.where(trivial, 1.0, largest)
    return tf.where(trivial, 1.0, score)


def segmentation_measures(true_labels, pred_labels, first_label=1):
    """Scores the segmentation of each image, from 0 to 1.

    With the objects i of an image, |i| their pixels, and IoU(i, k) their overlap with region k:

    * miou: mean of IoU(i, k(i)) over objects, k being the best one-to-one matching (Hungarian
      method; Kuhn, 1955). An object that goes empty, there being fewer regions, counts as 0.
    * mbo, mean best overlap: mean of max_k IoU(i, k) (Pont-Tuset et al., "Multiscale combinatorial
      grouping", 2017; for slots, Seitzer et al., "Bridging the gap to real-world object-centric
      learning", 2023). Several objects may have the same region.
    * sc, segmentation covering: mean of max_k IoU(i, k) weighted by |i| (Arbeláez et al., "Contour
      detection and hierarchical image segmentation", 2011; for slots, Engelcke et al., "GENESIS",
      2020).
    * msc, mean segmentation covering: the same without weights (GENESIS, 2020), and so the same
      number as mbo for hard masks.

    Args:
      true_labels: [B, ...] integers, the entity that each pixel shows. Pixels of `NO_ENTITY` do not
        count, as if they lay outside the image.
      pred_labels: [B, ...] integers from 0, the region that each pixel is in.
      first_label: the first entity that counts as an object: 1 leaves out the background, 0 counts
        it as an object, 4 leaves out the four entities that are no objects in Objects Room.

    Returns:
      {measure: [B] float64}, NaN for an image without an object; means should leave that out
      (`np.nanmean`).
    """
    scores = [
        _scores(true.reshape(-1), pred.reshape(-1), first_label)
        for true, pred in zip(np.asarray(true_labels), np.asarray(pred_labels), strict=True)
    ]
    return dict(zip(MEASURES, np.reshape(scores, (-1, len(MEASURES))).T))


def _scores(true, pred, first_label):
    """Returns the MEASURES of one image's labels, [n] each."""
    from scipy.optimize import linear_sum_assignment  # Here, as it takes half a second to import.

    counted = true != NO_ENTITY
    entities, true = np.unique(true[counted], return_inverse=True)
    regions, pred = np.unique(pred[counted], return_inverse=True)
    both = np.zeros((len(entities), len(regions)))
    np.add.at(both, (true, pred), 1)  # Pixels of each entity in each region.
    sizes = both.sum(axis=1)
    iou = both / (sizes[:, None] + both.sum(axis=0) - both)
    is_object = entities >= first_label
    iou, sizes = iou[is_object], sizes[is_object]  # [objects, regions], [objects]
    if not len(iou):
        return [np.nan] * len(MEASURES)
    matched = iou[linear_sum_assignment(iou, maximize=True)].sum() / len(iou)
    best = iou.max(axis=1)
    return [matched, best.mean(), np.average(best, weights=sizes), best.mean()]
