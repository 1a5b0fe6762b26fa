"""Measures of hard segmentations by the overlap of regions: mean IoU, best overlap, covering.

The overlap of two regions is their intersection over union (IoU, Jaccard's index): the pixels in
both by the pixels in either. All pixels of a predicted region count, whatever they show, so that a
slot that bleeds into the background scores less. The foreground ARI forgives that.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

from multi_object_datasets.image_ops import NO_ENTITY

MEASURES = ("miou", "mbo", "sc", "msc")


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
