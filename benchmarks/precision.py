"""Whether mixed precision trains as well: `python -m benchmarks.precision [--steps N]`.

Trains a small model on Tetrominoes of 18×18 pixels for the same steps (initial weights, batches and
noise) in float32 and in mixed bfloat16, prints both curves and draws them.
"""

import argparse

import matplotlib
import numpy as np
import tensorflow as tf

from iodine import training
from iodine.main import build, get_config

matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402

STEPS_PER_POINT = 50
UPDATES = {
    "batch_size": 16,
    "n_z": 16,
    "learn_rate": 0.001,
    "data.image_dim": [18, 18],
    "model.decoder.pixel_decoder.cnn_opt.output_channels": [16, 16, 16, None],
    "model.refinement_core.encoder_net.cnn_opt.output_channels": [16, 16, 16],
    "model.refinement_core.encoder_net.mlp_opt.output_sizes": [64],
    # A wider likelihood than the paper's, under which objects come apart sooner.
    "model.output_dist.component_dist.scale_val": 0.1,
}


def train(precision, num_steps, seed):
    """Trains one model: {"loss", "ari"}, means over STEPS_PER_POINT steps each."""
    config = get_config("tetrominoes", {**UPDATES, "precision": precision})
    tf.random.set_seed(seed)
    dataset, model, optimizer = (build(config[k]) for k in ("data", "model", "optimizer"))
    model.initialize(dataset.image_shape)
    strategy = tf.distribute.get_strategy()
    learner = training.Learner(model, optimizer, seed, strategy)
    batches = training.distribute(strategy, dataset("train", seed=seed))
    curves = {"loss": [], "ari": []}
    for step in range(STEPS_PER_POINT, num_steps + 1, STEPS_PER_POINT):
        scalars = [learner.step(next(batches)) for _ in range(STEPS_PER_POINT)]
        curves["loss"].append(np.mean([s["loss/total"] for s in scalars]))
        curves["ari"].append(np.mean([s["loss/ari_nobg"] for s in scalars]))
        means = f"loss {curves['loss'][-1]:9.2f}  foreground ARI {curves['ari'][-1]:.3f}"
        print(f"{precision:<16}{step:>6d}  {means}", flush=True)
    return curves


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="precision.png", help="the picture")
    args = parser.parse_args()
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for precision in ("float32", "mixed_bfloat16"):
        curves = train(precision, args.steps, args.seed)
        for axis, values in zip(axes, curves.values()):
            steps = STEPS_PER_POINT * np.arange(1, len(values) + 1)
            axis.plot(steps, values, label=precision, linewidth=1.2)
    axes[0].set(xlabel="step", ylabel="loss (nats an image)", ylim=(None, 0))
    axes[1].set(xlabel="step", ylabel="foreground ARI", ylim=(0, None))
    axes[0].legend(frameon=False)
    figure.savefig(args.out, dpi=120)


if __name__ == "__main__":
    main()
