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
    loop.train(
        build(config["data"]),
        model,
        optimizer,
        strategy,
        seed=config["seed"],
        checkpoint_dir=f"{out}.checkpoints",
        continue_run=False,
        save_summaries_steps=1,
        save_checkpoint_steps=3,
        stop_after_steps=3,
        log_scalar=lambda name, value, step: None,
    )
    np.savez(out, *[v.numpy() for v in model.trainable_variables])


if __name__ == "__main__":
    main(sys.argv[1])
