"""Four logical CPU devices for the whole session, so that tests can train on several.

The files that take longest come first, so that none is left for the end, when other cores are idle.
"""

import os

# Test files run side by side, one a core. Before TensorFlow starts, and for child processes too.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import pytest
import tensorflow as tf

import iodine  # noqa: F401

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)

LONGEST = (
    "test_workers",
    "test_training",
    "test_parity",
    "test_stages",
    "test_configs",
    "test_runs",
    "test_models",
    "test_experiments",
    "test_shipped_models",
    "test_training_process",
    "test_air_runs",
    "test_benchmarks",
    "test_visualize",
    "test_convert_checkpoint",
    "test_air",
    "test_export_step",
    "test_notebook",
    "test_observers",
)


def pytest_collection_modifyitems(items):
    def rank(item):
        return LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST)

    items.sort(key=rank)


@pytest.fixture(scope="module")
def eagerly():
    """Functions run without being compiled, which takes longer than the few steps of most tests.

    For files whose point is not what is compiled.
    """
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
