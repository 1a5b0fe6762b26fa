"""Plots of what models make of scenes, under the name that the reference's users import them by."""

from iodine.figures.decompositions import example_plot, inputs_plot, iterations_plot
from iodine.figures.tiles import show_coords, show_img, show_mask, show_mat

__all__ = [
    "example_plot",
    "inputs_plot",
    "iterations_plot",
    "show_coords",
    "show_img",
    "show_mask",
    "show_mat",
]
