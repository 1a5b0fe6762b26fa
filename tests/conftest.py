"""Four logical CPU devices for the whole session, so that tests can train on several."""

import os

# Test files run side by side, one a core. Before TensorFlow starts, and for child processes too.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import tensorflow as tf  # noqa: E402

import iodine  # noqa: E402, F401

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)
