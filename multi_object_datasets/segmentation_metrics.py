"""The adjusted Rand index, which compares a predicted segmentation with the true one."""

import tensorflow as tf


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
