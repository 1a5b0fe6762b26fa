"""A model that is trained once, looked at as often as it takes."""

from sacred.utils import convert_to_nested_dict

from experiments.events import read_events
from iodine import checkpoints
from iodine.config import get_config, resolve
from iodine.errors import UserError
from iodine.evaluate import evaluation
from iodine.loading import open_model
from iodine.main import ex
from iodine.train import run


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
        self._stages = resolve([config_name], updates).stages
        self.last_step = self._stages[-1][0].until

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
        config = next(c for stage, c in self._stages if stage.number == record["stage"])
        for line in run.differences_from(record["config"], config):
            raise UserError(
                f"'{self.directory}' holds another config, {line}: choose another --out"
            )
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
          (model, dataset), as `evaluate` has them.

        Raises:
          UserError: if the data's held-out scenes are such that the model was trained on.
        """
        words = {**self.updates, **updates, "checkpoint_dir": str(self.directory)}
        opened = open_model(self.config_name, words, for_testing=True)
        return opened.model, opened.dataset

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
