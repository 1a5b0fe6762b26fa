"""Devices that training runs on: strategies, variables on each replica, the split of batches."""

import contextlib
import json
import os
import re
import signal

import tensorflow as tf

from iodine.errors import UserError

ADDRESS = re.compile(r".+:\d+")  # of a worker


def create_strategy(name):
    """Creates the distribution strategy that a config names.

    Args:
      name: "one_device", "mirrored" (all GPUs of this machine), "multi_worker_mirrored" (the
        cluster that the environment variable TF_CONFIG describes), or "auto", which takes the last
        where TF_CONFIG is set, the second where there are several GPUs, and else the first.

    Raises:
      UserError: if the name is unknown, or TF_CONFIG is needed and missing or invalid.
    """
    if name == "auto":
        if os.environ.get("TF_CONFIG"):
            name = "multi_worker_mirrored"
        elif len(tf.config.list_logical_devices("GPU")) > 1:
            name = "mirrored"
        else:
            name = "one_device"
    if name == "one_device":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "multi_worker_mirrored":
        if not os.environ.get("TF_CONFIG"):
            raise UserError("strategy=multi_worker_mirrored needs the environment's TF_CONFIG")
        _check_cluster(os.environ["TF_CONFIG"])
        print("joining the cluster that TF_CONFIG describes", flush=True)
        with _signals_of_the_system():
            return tf.distribute.MultiWorkerMirroredStrategy()
    raise UserError(
        f"unknown strategy '{name}', use auto, one_device, mirrored or multi_worker_mirrored"
    )


@contextlib.contextmanager
def _signals_of_the_system():
    """Ctrl-C ends the process at once.

    While TensorFlow waits for other workers, it holds Python's lock, so that no handler in Python
    would run. It takes SIGTERM for itself, and it is taken back at the end.
    """
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


def _check_cluster(description):
    """Raises a `UserError` unless TF_CONFIG describes a cluster and a task of it."""
    try:
        described = json.loads(description)
        task, cluster = described["task"], described["cluster"]
        tasks = cluster[task["type"]]
        is_one = (
            task["type"] in ("chief", "worker")
            and all(isinstance(addresses, list) for addresses in cluster.values())
            and all(ADDRESS.fullmatch(address) for group in cluster.values() for address in group)
            and 0 <= int(task["index"]) < len(tasks)
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        is_one = False
    if not is_one:
        raise UserError(
            f"the environment's TF_CONFIG describes no cluster with this task: {description}, not "
            '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
        )


def set_memory_growth(growth):
    """Lets TensorFlow take GPU memory as it needs it instead of all at once, if `growth`.

    Has to come before the first use of a GPU; where one is in use already, it stays as it is.
    """
    for device in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(device, growth)


@contextlib.contextmanager
def replica_local_variables(strategy):
    """Scope whose variables each replica keeps and updates for itself.

    All replicas make the same update from the same averaged gradients, as with
    `snt.distribute.Replicator`, but for any strategy.
    """

    def creator(next_creator, **kwargs):
        kwargs["synchronization"] = tf.VariableSynchronization.ON_READ
        kwargs["aggregation"] = tf.VariableAggregation.ONLY_FIRST_REPLICA
        if kwargs.get("trainable") is None:
            kwargs["trainable"] = True
        return next_creator(**kwargs)

    if strategy.num_replicas_in_sync == 1:
        yield
        return
    with strategy.scope(), tf.variable_creator_scope(creator):
        yield


def distribute(strategy, dataset):
    """Splits global batches over the replicas, in order.

    Args:
      strategy: the distribution strategy.
      dataset: `tf.data.Dataset` of global batches with static shapes.

    Returns:
      An iterator whose elements `Learner.step` takes.
    """
    num_replicas = strategy.num_replicas_in_sync
    if num_replicas == 1:
        gpus = tf.config.list_logical_devices("GPU")
        if gpus:
            return iter(dataset.apply(tf.data.experimental.prefetch_to_device(gpus[0].name)))
        return iter(dataset.prefetch(tf.data.AUTOTUNE))

    def split(batch):
        def per_replica(x):
            return tf.reshape(x, [num_replicas, x.shape[0] // num_replicas, *x.shape[1:]])

        return tf.nest.map_structure(per_replica, batch)

    def local_dataset(context):
        num_local = num_replicas // context.num_input_pipelines
        first = context.input_pipeline_id * num_local
        shares = dataset.map(split).flat_map(
            lambda batch: tf.data.Dataset.from_tensor_slices(
                tf.nest.map_structure(lambda x: x[first : first + num_local], batch)
            )
        )
        return shares.prefetch(tf.data.AUTOTUNE)

    return iter(strategy.distribute_datasets_from_function(local_dataset))
