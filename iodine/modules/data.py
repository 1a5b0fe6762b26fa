"""The data sets, under the name that the reference's plans and its users import them by."""

from iodine.data.datasets import (
    CLEVR,
    Balls,
    ImageFolder,
    MultiDSprites,
    MultiMNIST,
    ObjectsRoom,
    Shapes,
    Tetrominoes,
)

__all__ = [
    "CLEVR",
    "Balls",
    "ImageFolder",
    "MultiDSprites",
    "MultiMNIST",
    "ObjectsRoom",
    "Shapes",
    "Tetrominoes",
]
