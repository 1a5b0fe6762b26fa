"""A model that is trained once, looked at as often as it takes."""

import sys

from sacred.utils import convert_to_nested_dict

from experiments.events import read_events
from iodine import checkpoints
from iodine.build import build, build_model
from iodine.data.provenance import check_never_trained_on
from iodine.errors import UserError
from iodine.evaluate import evaluation
from iodine.main import ex, get_config
from iodine.train import run, stages


class Run:
    """A model that is trained once, with one seed.

    Args:
      name: of the run, and of its directory of checkpoints in `parent`.
      config_name: of the named config.
      updates: {dotted key: value}, as on the command line.
      parent: directory of all runs.

    Attributes:
      last_step: number of the last training step.
    """

    def __init__(self, name, config_name, updates, parent):
        self.name = name
        self.config_name = config_name
        self.directory = parent / name
        self.updates = updates
        self._stages = stages.plan_stages(get_config(config_name, updates))
        self.last_step = self._stages[-1].until

    def _config(self, differences, updates=()):
        return get_config(
            self.config_name, {**self.updates, **differences, "stages": [], **dict(updates)}
        )

    def step(self):
        """Number of steps made so far.

        Raises:
          UserError: if what was trained there is something else.
        """
        if not checkpoints.checkpoints_in(str(self.directory)):
            return 0
        path = checkpoints.latest_checkpoint(str(self.directory))
        step, record = checkpoints.step_of(path), checkpoints.read_record(path)
        if step > self.last_step:
            raise UserError(
                f"'{self.directory}' has been trained for {step} steps, more than "
                f"{self.last_step}: choose another --out"
            )
        stage = next(stage for stage in self._stages if stage.number == record["stage"])
        recorded = {**record["config"], "stages": []}
        for line in run.differences_from(recorded, self._config(stage.differences)):
            raise UserError(f"'{self.directory}' holds {line}: choose another --out")
        return step

    def train(self):
        """Trains, from where the run was stopped if it was."""
        updates = {
            "save_images_steps": 10 * self.last_step,  # never
            **self.updates,
            "checkpoint_dir": str(self.directory),
            "continue_run": "auto",
        }
        nested = convert_to_nested_dict(updates)
        ex.run("main", nested, [self.config_name], options={"--loglevel": "ERROR"})

    def load(self, **updates):
        """Restores the trained model.

        Args:
          **updates: entries of the config that differ from training.

        Returns:
          (model, dataset), built as the last stage of training had them, but with the refinements
          of the config itself, as `evaluate` has them.

        Raises:
          UserError: if the data's held-out scenes are such that the model was trained on.
        """
        differences = dict(self._stages[-1].differences)
        differences.pop("num_iters", None)
        config = self._config(differences, updates)
        dataset = build(config["data"], "data")
        model = build_model(config["model"], dataset)
        path = checkpoints.latest_checkpoint(str(self.directory))
        record = checkpoints.restore_model(path, model, dataset.image_shape)
        if line := check_never_trained_on(record.get("data"), dataset):
            print(line, file=sys.stderr)
        return model, dataset

    def score(self, select=lambda info: {}, **updates):
        """Metrics of the trained model on held-out scenes.

        Args:
          select: as for `evaluation.score_held_out`.
          **updates: as for `load`.

        Returns:
          As `evaluation.score_held_out`: {name: array [scenes, ...]}.
        """
        model, dataset = self.load(**updates)
        num_images = get_config(self.config_name, self.updates)["eval_images"]
        return evaluation.score_held_out(model, dataset, num_images, 0, select)

    def curves(self, names):
        """Curves of scalars of training, each of one batch: {name: {"steps", "values"}}."""
        return read_events(self.directory, names)[0]

    def minutes(self):
        """Minutes that training took, between the first and the last of what it logged."""
        return read_events(self.directory, [])[1]
