"""The adjusted Rand index: exact values, scikit-learn's score, and the cases that are no number
elsewhere."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import adjusted_rand_score

from multi_object_datasets.segmentation_metrics import adjusted_rand_index


def one_hot(labels, depth):
    """Returns float32 [1, n, depth] of a list of labels; -1 gives a row of zeros."""
    return np.array([np.arange(depth) == np.array(labels)[:, None]], np.float32)


@pytest.mark.parametrize(
    ("true", "predicted", "score"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], 1.0),
        ([0, 0, 1, 1], [1, 1, 0, 0], 1.0),  # Names of clusters do not matter.
        ([0, 0, 1, 1], [0, 1, 0, 1], -0.5),  # No true pair found: worse than chance.
        ([0, 0, 1, 1], [0, 0, 1, 2], 4 / 7),
        ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2], 8 / 33),
        ([0, 0, 1, 1, -1, -1], [0, 0, 1, 1, 0, 1], 1.0),  # Uncounted points do not matter.
        ([0, -1, 0, 1, 1, -1], [0, 1, 1, 0, 1, 2], -0.5),
    ],
)
def test_hand_made_cases_have_their_exact_score(true, predicted, score):
    ari = adjusted_rand_index(one_hot(true, 2), one_hot(predicted, 3))
    assert ari.dtype == tf.float32
    np.testing.assert_allclose(ari, [score], rtol=1e-6)


@pytest.mark.parametrize(
    ("true", "predicted", "score"),
    [
        ([0] * 6, [2] * 6, 1.0),
        ([-1] * 6, [0, 1, 2, 0, 1, 2], 1.0),
        ([-1, -1, 1, -1, -1, -1], [0, 1, 2, 0, 1, 2], 1.0),
        ([-1, 0, 1, 2, -1, -1], [0, 2, 1, 0, 1, 2], 1.0),
        ([0] * 6, [0, 1, 2, 0, 1, 2], 0.0),
        ([0, 1, 2, 0, 1, 2], [0] * 6, 0.0),
    ],
    ids=[
        "both one cluster",
        "empty foreground",
        "one counted point",
        "all points alone in both",
        "one true cluster",
        "one predicted cluster",
    ],
)
def test_degenerate_clusterings_have_the_documented_score(true, predicted, score):
    ari = adjusted_rand_index(one_hot(true, 3), one_hot(predicted, 3))
    np.testing.assert_array_equal(ari, [score])


@pytest.mark.parametrize("agreement", [0.0, 0.5, 0.95, 1.0])
def test_random_clusterings_score_as_in_scikit_learn(agreement):
    rng = np.random.default_rng(0)
    true = rng.integers(0, 7, (4, 64 * 64))
    keep = rng.random(true.shape) < agreement
    predicted = np.where(keep, true % 5, rng.integers(0, 5, true.shape))
    scores = np.eye(5)[predicted] + 0.3 * rng.random((*true.shape, 5))  # argmax as predicted
    ari = tf.function(adjusted_rand_index)(np.eye(7)[true], scores)
    expected = [adjusted_rand_score(t, p) for t, p in zip(true, predicted)]
    np.testing.assert_allclose(ari, expected, atol=2e-6)


def test_foreground_score_ignores_the_background_as_in_scikit_learn():
    rng = np.random.default_rng(1)
    true, predicted = rng.integers(0, 4, (2, 900)), rng.integers(0, 3, (2, 900))
    ari = adjusted_rand_index(np.eye(4)[true][..., 1:], np.eye(3)[predicted])
    expected = [adjusted_rand_score(t[t > 0], p[t > 0]) for t, p in zip(true, predicted)]
    np.testing.assert_allclose(ari, expected, atol=2e-6)


def test_float32_is_enough_where_nearly_all_points_share_a_cluster():
    true, predicted = np.zeros([2, 128 * 128], int)
    true[0], predicted[:2] = 1, 1
    ari = adjusted_rand_index(np.eye(2)[true][None], np.eye(2)[predicted][None])
    np.testing.assert_allclose(ari, [adjusted_rand_score(true, predicted)], rtol=1e-6)


def test_arguments_go_by_the_references_names():
    with tf.Graph().as_default():
        ari = adjusted_rand_index(
            true_mask=one_hot([0, 0, 1, 1], 2), pred_mask=one_hot([0, 0, 1, 1], 2), name="score"
        )
        assert ari.name.startswith("score/")


def test_no_more_points_than_groups_is_an_error():
    masks = np.zeros([1, 4, 4], np.float32)
    with pytest.raises(ValueError, match="more points than groups: got 4 points, 4 true and 4"):
        adjusted_rand_index(masks, masks)
    adjusted_rand_index(masks, masks[..., :3])  # More points than groups of one side will do.
