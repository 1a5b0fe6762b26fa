"""Plots of what models make of scenes, under the name that the reference's users import them by."""

from iodine.figures.decompositions import example_plot, inputs_plot, iterations_plot

__all__ = ["example_plot", "inputs_plot", "iterations_plot"]
