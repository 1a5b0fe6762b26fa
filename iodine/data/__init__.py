"""Scenes for training and testing, and which of them a model has seen."""
