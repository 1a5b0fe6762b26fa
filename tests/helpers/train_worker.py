"""One worker of the cluster of TF_CONFIG: `python -m tests.helpers.train_worker OUT.npz`.

Trains the tiny model for three steps and writes this worker's copy of the parameters.
"""

import sys

import numpy as np
import tensorflow as tf

from iodine.main import build, get_config
from iodine.train import devices, loop
from tests.helpers import tiny


def main(out):
    strategy = devices.create_strategy("auto")
    assert isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    config = get_config("tetrominoes", tiny.UPDATES)
    tf.random.set_seed(config["seed"])
    with devices.replica_local_variables(strategy):
        model, optimizer = build(config["model"]), build(config["optimizer"])
    options = loop.Options(
        config["seed"],
        f"{out}.checkpoints",
        until=3,
        save_summaries_steps=1,
        save_checkpoint_steps=3,
    )
    dataset = build(config["data"])
    loop.train(dataset, model, optimizer, strategy, options, lambda name, value, step: None)
    np.savez(out, *[v.numpy() for v in model.trainable_variables])


if __name__ == "__main__":
    main(sys.argv[1])
