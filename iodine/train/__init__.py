"""Training: a run, its stages, the loop and the step."""
