"""Measures by the overlap of regions: exact values of cases made by hand."""

import itertools

import numpy as np
import pytest

from multi_object_datasets.segmentation_metrics import MEASURES, segmentation_measures

BLANK = 255


def measures(true, pred, first_label=1):
    """Returns the measures of one image."""
    scores = segmentation_measures(np.array([true]), np.array([pred]), first_label)
    assert tuple(scores) == MEASURES
    assert all(score.shape == (1,) and score.dtype == np.float64 for score in scores.values())
    return [float(score[0]) for score in scores.values()]


@pytest.mark.parametrize(
    ("true", "pred", "first_label", "miou", "best", "covering"),
    [
        # Names of regions do not matter.
        ([0, 0, 1, 1, 2], [7, 7, 0, 0, 3], 1, 1, 1, 1),
        ([0, 0, 1, 1, 2], [7, 7, 0, 0, 3], 0, 1, 1, 1),
        # Everything in one region: a third and a sixth of it each; only one object gets it.
        ([0, 0, 0, 1, 1, 2], [0] * 6, 1, (2 / 6) / 2, (2 / 6 + 1 / 6) / 2, (2 * 2 + 1) / 6 / 3),
        # A slot that bleeds into the background: 2 pixels of 4.
        ([0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1], 1, 1 / 2, 1 / 2, 1 / 2),
        ([0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1], 0, 1 / 2, 1 / 2, 1 / 2),
        # An object in two halves.
        ([0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 2, 2], 1, 1 / 2, 1 / 2, 1 / 2),
        # Matched one to one, the second object cannot have its best region, which is the first's.
        (
            [1, 1, 2, 2, 2],
            [0, 0, 0, 0, 1],
            1,
            (1 / 2 + 1 / 3) / 2,
            (1 / 2 + 2 / 5) / 2,
            (2 / 2 + 3 * 2 / 5) / 5,
        ),
        # A greedy matching would begin with 1/2 and leave 0.
        (
            [1, 1, 1, 1, 2, 2],
            [0, 0, 0, 1, 0, 0],
            1,
            (1 / 4 + 2 / 5) / 2,
            (1 / 2 + 2 / 5) / 2,
            (4 / 2 + 2 * 2 / 5) / 6,
        ),
        # The four first entities are no objects.
        ([0, 1, 2, 3, 4, 4], [0, 0, 0, 0, 0, 1], 4, 1 / 2, 1 / 2, 1 / 2),
        # Pixels without an entity do not count, not as part of a region either.
        ([0, 1, 1, BLANK, BLANK], [0, 1, 1, 1, 2], 1, 1, 1, 1),
    ],
)
def test_hand_made_cases_have_their_exact_scores(true, pred, first_label, miou, best, covering):
    expected = [miou, best, covering, best]
    np.testing.assert_allclose(measures(true, pred, first_label), expected, rtol=1e-12)


@pytest.mark.parametrize("true", [[0, 0, 0, 0], [BLANK] * 4, [0, 0, BLANK, BLANK]])
def test_an_image_without_objects_has_no_score(true):
    assert np.isnan(measures(true, [0, 1, 2, 0])).all()


def test_each_image_is_scored_by_itself():
    rng = np.random.default_rng(0)
    true, pred = rng.integers(0, 4, (5, 3, 4)), rng.integers(0, 6, (5, 3, 4))
    together = segmentation_measures(true, pred)
    for i in range(5):
        alone = measures(true[i].ravel(), pred[i].ravel())
        np.testing.assert_array_equal([score[i] for score in together.values()], alone)
    empty = segmentation_measures(true[:0], pred[:0])
    assert all(score.shape == (0,) for score in empty.values())


@pytest.mark.parametrize("seed", range(20))
def test_random_segmentations_agree_with_the_definitions(seed):
    rng = np.random.default_rng(seed)
    true, pred = rng.integers(0, 4, 40), rng.integers(0, rng.integers(1, 6), 40)
    objects = [true == i for i in range(1, 4) if (true == i).any()]
    regions = [pred == k for k in np.unique(pred)]
    iou = [[(i & k).sum() / (i | k).sum() for k in regions] for i in objects]
    padded = [row + [0] * len(objects) for row in iou]  # Of empty regions.
    choices = itertools.permutations(range(len(padded[0])), len(objects))
    matched = max(sum(row[k] for row, k in zip(padded, choice)) for choice in choices)
    best = [max(row) for row in iou]
    sizes = [i.sum() for i in objects]
    mean = np.mean(best)
    expected = [matched / len(objects), mean, np.dot(best, sizes) / sum(sizes), mean]
    np.testing.assert_allclose(measures(true, pred), expected, rtol=1e-12)
