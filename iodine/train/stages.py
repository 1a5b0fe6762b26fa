"""Stages of training: a config's differences from one step to another.

The variables of a model do not depend on the size of its images, its batch or its likelihood, so
that scenes can grow and losses change while it trains. Each stage is a training of its own that
resumes from the checkpoint of the one before: an interruption at a change is like any other.
"""

from typing import NamedTuple

from iodine.entries import of_stage
from iodine.errors import UserError, did_you_mean


class Stage(NamedTuple):
    """A part of a training.

    Attributes:
      number: of the stage, from 1.
      count: how many stages there are.
      begin: number of steps made before it.
      until: number of its last step.
      differences: {entry at the top of the config: its value in this stage}.
      overridden: {entry: its value in the config itself} of the same entries.
    """

    number: int
    count: int
    begin: int
    until: int
    differences: dict
    overridden: dict

    def __str__(self):
        changes = ", ".join(f"{key}={value}" for key, value in self.differences.items())
        place = f"stage {self.number} of {self.count}, steps {self.begin + 1} to {self.until}"
        return f"{place}: {changes or 'as the config says'}"


def plan_stages(config):
    """Returns the `Stage`s of a config, at least one.

    Args:
      config: with `stages`, a list of dicts with `until` and entries that a stage may change, and
        `stop_after_steps`, which ends the last stage where it comes first. A config without stages
        has one, without differences.

    Raises:
      UserError: if the stages are invalid, or a key is unknown.
    """
    stages, last = config["stages"], 0
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise UserError('stages has to be a list such as [{"until": 1000, "image_dim": [16, 16]}]')
    stages = stages or [{"until": config["stop_after_steps"]}]
    known = ["until", *[key for key in of_stage() if config[key] is not None]]
    planned = []
    for number, stage in enumerate(stages, 1):
        for key in stage:
            if key not in known:
                raise UserError(
                    f"stages: stage {number} has an unknown entry '{key}'"
                    f"{did_you_mean(key, known)} (it may have {', '.join(known)})"
                )
        until = stage.get("until")
        if not isinstance(until, int) or isinstance(until, bool) or until <= last:
            raise UserError(
                f"stages: stage {number} needs `until`, the number of its last step, above {last}"
            )
        differences = {key: value for key, value in stage.items() if key != "until"}
        if last < config["stop_after_steps"]:
            until = min(until, config["stop_after_steps"])
            overridden = {key: config[key] for key in differences}
            planned.append(Stage(number, len(stages), last, until, differences, overridden))
        last = until
    return planned


def stages_after(stages, step):
    """Returns those of the stages that are not over after `step` steps."""
    return [stage for stage in stages if stage.until > step]


def override_stages(stages, updates):
    """Changes some of a list of stages.

    Args:
      stages: list of dicts.
      updates: {number of the stage from 1, as a string: {key: value}}, what Sacred makes of
        `stages.2.until=500`.

    Raises:
      UserError: if no stage has this number.
    """
    changed = [dict(stage) for stage in stages]
    for number, differences in updates.items():
        if number not in map(str, range(1, len(stages) + 1)) or not isinstance(differences, dict):
            raise UserError(f"stages.{number}: there are stages.1 to stages.{len(stages)}")
        changed[int(number) - 1] |= differences
    return changed
