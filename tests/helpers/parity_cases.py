"""The reference's measured figures in tests/parity, and how far ours are from them.

`python -m tests.helpers.parity_cases` prints the table of errors that the README shows.
"""

import json
import pathlib

import numpy as np
import tensorflow as tf

from iodine.main import build, get_config
from iodine.reference_checkpoints import load_reference_checkpoint, reference_variables

ROOT = pathlib.Path(__file__).parent.parent / "parity"
CASES = sorted(path.parent.name for path in ROOT.glob("*/case.json"))
NUM_STEPS = 3

# The reference's score of these depends on the order in which TensorFlow 1 ran two assignments.
UNORDERED = "eval/factor_regressor/metrics/"

# Scores about 0, in units of 1, that come from differences of large sums.
SCORES = ("/ari", "/ari_nobg")


def error_of(key, value, golden):
    """Relative error by norm; for scores the absolute one."""
    if key.endswith(SCORES):
        return float(np.max(np.abs(np.asarray(value) - golden)))
    return relative_error(value, golden)


def relative_error(value, golden):
    """‖value - golden‖ / ‖golden‖ over all entries."""
    value, golden = np.asarray(value, np.float64), np.asarray(golden, np.float64)
    assert value.shape == golden.shape, (value.shape, golden.shape)
    norm = np.linalg.norm(golden)
    return float(np.linalg.norm(value - golden) / norm) if norm else float(np.any(value != 0))


def flatten(nested, prefix=""):
    """Yields (path joined by slashes, leaf) of nested dicts."""
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


class ParityCase:
    """One run of the reference: its figures, and our model with its weights.

    Args:
      name: of the folder.
      updates: further config updates, {dotted key: value}.
    """

    def __init__(self, name, updates=None):
        case = json.loads((ROOT / name / "case.json").read_text())
        self.name = name
        self.config = get_config(
            case["named_config"], {**case["config_updates"], **(updates or {})}
        )
        self.golden = dict(np.load(ROOT / name / "golden.npz"))
        self.model = build(self.config["model"])
        self.optimizer = build(self.config["optimizer"])
        load_reference_checkpoint(self.model, ROOT / name / "model.ckpt")
        self.variables = reference_variables(self.model)

    @property
    def data(self):
        """The batch that the reference's input pipeline made."""
        batch = {
            "image": self.golden["data/image"],
            "mask": self.golden["data/mask"].astype(np.float32),
            "visibility": self.golden["data/visibility"],
            "factors": {},
        }
        for key, value in self.golden.items():
            if key.startswith("data/factors/"):
                batch["factors"][key.removeprefix("data/factors/")] = value
        return batch

    def eval_errors(self):
        """Relative error of everything that `model.eval` returns, {key: error}."""
        if "eval_noise" not in self.golden:
            return {}
        noise = np.swapaxes(self.golden["eval_noise"], 0, 1)  # [T, B, K, Z]
        result = dict(flatten(tf.function(self.model.eval)(self.data, noise)))
        errors = {}
        for key, golden in self.golden.items():
            is_score = key.removeprefix(UNORDERED) in self.model.factor_evaluator.mean_var
            if not key.startswith("eval/") or is_score:
                continue
            value = result[key.removeprefix("eval/")].numpy()
            if key.startswith(("eval/inputs/spatial", "eval/outputs")):
                value = value[:, [1, -1], ..., ::3, ::3, :]  # as much as the figures hold
            errors[key] = error_of(key, value, golden)
        return errors

    def train_errors(self):
        """Relative errors of three training steps, {key: error}.

        For the variables, the error of how far they moved. Leaves the model trained.
        """
        parameters = {n: v for n, v in self.variables.items() if v.trainable}
        start = {name: variable.numpy() for name, variable in self.variables.items()}
        self.optimizer.initialize(list(parameters.values()))

        @tf.function
        def step(noise):
            data = self.model.observe(self.data)
            with tf.GradientTape() as tape:
                loss, scalars, states = self.model(data, noise)
            gradients = tape.gradient(loss, list(parameters.values()))
            clipped, norm = tf.clip_by_global_norm(gradients, 5.0)
            learning_rate = self.optimizer.current_learning_rate(self.optimizer.step)
            self.optimizer.apply(clipped, list(parameters.values()))
            results = {"loss": loss, "global_norm": norm, "learning_rate": learning_rate}
            results["re"] = tf.stack([state["losses"]["recons"] for state in states])
            results["kl"] = tf.stack([state["losses"]["kl"] for state in states])
            results |= {f"scalars/{name}": value for name, value in scalars.items()}
            results |= {f"grad/{name}": g for name, g in zip(parameters, gradients)}
            results |= {f"grad_norm/{n}": tf.norm(g) for n, g in zip(parameters, gradients)}
            return results

        errors = {}
        for i in range(NUM_STEPS):
            for key, value in step(self.golden[f"train/{i}/noise"]).items():
                if f"train/{i}/{key}" in self.golden:
                    golden = self.golden[f"train/{i}/{key}"]
                    errors[f"train/{i}/{key}"] = error_of(key, value, golden)
        for name, variable in self.variables.items():
            moved = variable.numpy() - start[name]
            errors[f"after/{name}"] = relative_error(
                moved, self.golden[f"after/{name}"] - start[name]
            )
        return errors


def group_of(key):
    """Row of the table that a key belongs to."""
    parts = key.split("/")
    if parts[0] == "eval":
        return "/".join(parts[:3] if parts[1] == "inputs" else parts[:2])
    if parts[0] == "train":
        return f"train/{parts[2]}"
    return parts[0]


def print_table():
    """Prints the largest error of each group of figures, a column for each case."""
    columns = {}
    for name in CASES:
        case = ParityCase(name)
        column = columns.setdefault(name, {})
        for key, error in {**case.eval_errors(), **case.train_errors()}.items():
            column[group_of(key)] = max(column.get(group_of(key), 0.0), error)
    groups = sorted({group for column in columns.values() for group in column})
    print("| figures | " + " | ".join(CASES) + " |")
    print("| --- " * (len(CASES) + 1) + "|")
    for group in groups:
        row = [f"{columns[c][group]:.0e}" if group in columns[c] else "–" for c in CASES]
        print(f"| {group} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    print_table()
