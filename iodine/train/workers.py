"""Workers that train together: who is the chief, what they tell each other, and if one is gone."""

import contextlib
import hashlib
import json

import numpy as np
import tensorflow as tf

from iodine import checkpoints
from iodine.errors import UserError, WorkerLost
from multi_object_datasets.errors import dataset_error_within

# Errors of this process itself; any other is what a worker sees when another one is gone.
OWN_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    tf.errors.ResourceExhaustedError,
)


def num_workers(strategy):
    """Number of processes that train together."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return 1
    cluster = resolver.cluster_spec().as_dict()
    return sum(len(cluster.get(kind, [])) for kind in ("chief", "worker"))


def is_chief(strategy):
    """Whether this process is the one that writes checkpoints and summaries.

    TensorFlow's rule: the task of type "chief" if the cluster has one, else the first worker.
    """
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    if resolver.task_type == "chief":
        return True
    has_chief = "chief" in resolver.cluster_spec().as_dict()
    return resolver.task_type == "worker" and not resolver.task_id and not has_chief


def rows_of_workers(strategy, row):
    """Gathers a row of integers of each worker.

    Args:
      strategy: the distribution strategy of all workers.
      row: [N], of this worker.

    Returns:
      int64 [workers, N], the chief's first.
    """
    workers = num_workers(strategy)
    replicas = strategy.num_replicas_in_sync // workers  # of each worker

    def own():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        place = int(replica) // replicas
        rows = np.zeros([workers, len(row)], np.int64)
        if int(replica) % replicas == 0:
            rows[place] = row
        return tf.constant(rows)

    rows = strategy.run(own)
    return strategy.reduce(tf.distribute.ReduceOp.SUM, rows, axis=None).numpy()


def value_of_chief(strategy, value):
    """The chief's integer, for all workers; a process alone keeps its own."""
    return value if num_workers(strategy) == 1 else int(rows_of_workers(strategy, [value])[0, 0])


def told_by_chief(strategy, decide):
    """What the chief decides, for all workers.

    Args:
      strategy: the distribution strategy.
      decide: function without arguments whose result JSON can hold; the chief alone calls it.

    Returns:
      The result, as JSON gives it back where there are several workers.

    Raises:
      UserError: the chief's, on every worker.
    """
    if num_workers(strategy) == 1:
        return decide()
    text, problem = b"", None
    if is_chief(strategy):
        try:
            outcome = {"result": decide()}
        except UserError as error:
            outcome, problem = {"problem": str(error)}, error
        text = json.dumps(outcome).encode()
    length = value_of_chief(strategy, len(text))
    row = np.zeros([length], np.int64)
    row[: len(text)] = np.frombuffer(text, np.uint8)
    text = rows_of_workers(strategy, row)[0].astype(np.uint8).tobytes()
    outcome = json.loads(text)
    if "problem" in outcome:
        raise problem or UserError(outcome["problem"])
    return outcome["result"]


def check_same_state(strategy, step, variables, problem):
    """Makes sure that all workers begin with the same step and weights.

    Args:
      strategy: the distribution strategy.
      step: number of steps that this worker resumes from.
      variables: all that has to be equal.
      problem: `UserError` that kept this worker from restoring them, or None.

    Raises:
      UserError: this worker's problem; on every worker, if the states differ.
    """
    if num_workers(strategy) > 1:
        digest = hashlib.sha256()
        for variable in variables:
            digest.update(tf.convert_to_tensor(variable).numpy().tobytes())
        checksum = int.from_bytes(digest.digest()[:7])
        states = rows_of_workers(strategy, [-1, 0] if problem else [step, checksum]).tolist()
        if problem is None and any(state != states[0] for state in states):
            told = [f"worker {n} {_place(state, states[0])}" for n, state in enumerate(states)]
            raise UserError(
                "the workers do not begin with the same step and weights: "
                f"{', '.join(told)}; all have to see the same files in checkpoint_dir and "
                "initial_weights"
            )
    if problem is not None:
        raise problem


def _place(state, chiefs):
    """Says where a worker begins, by its [step, checksum] and the chief's."""
    step, checksum = state
    if step < 0:
        return "with nothing that it could read"
    differs = step == chiefs[0] and checksum != chiefs[1]
    return f"at step {step}" + (" with other weights" if differs else "")


@contextlib.contextmanager
def noticing_lost_workers(strategy, directory):
    """Turns what TensorFlow says when another worker is gone into `WorkerLost`.

    Args:
      strategy: the distribution strategy.
      directory: of the run's checkpoints, None where it is not known yet.
    """
    try:
        yield
    except tf.errors.OpError as error:
        own = isinstance(error, OWN_ERRORS) or dataset_error_within(error) is not None
        if num_workers(strategy) == 1 or own:
            raise
        found = checkpoints.checkpoints_in(directory) if directory else []
        raise WorkerLost(
            f"another worker is gone ({str(error).splitlines()[0]}); "
            + (f"resume from {found[0]}" if found else "nothing was saved yet, start all again")
        ) from error
