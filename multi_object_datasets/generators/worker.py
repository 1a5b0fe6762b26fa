"""A worker process of the generator: requests come on stdin, serialised scenes go to stdout.

A process of its own, started anew rather than forked, because Blender and 3D libraries do not share
one with TensorFlow; it ends when its stdin is closed, so also when its parent dies.
"""

import os
import pickle
import sys

import numpy as np

from multi_object_datasets import generators
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.generators import example

SPLITS = ("train", "test")


def scene_rng(seed, split, index):
    """Returns the random generator of one scene, a function of (seed, split, index) alone."""
    return np.random.default_rng(np.random.SeedSequence([seed, SPLITS.index(split), index]))


def draw(request):
    """Returns the serialised scenes [start, stop) that a request asks for."""
    module, variant = generators.load(request["name"], request["variant"])
    seed, split = request["seed"], request["split"]
    sources = generators.load_sources(request["name"], split, request.get("digits"))
    return [
        example.encode(module.scene(scene_rng(seed, split, i), variant, **sources))
        for i in range(request["start"], request["stop"])
    ]


def main():
    # Blender talks on stdout: keep that for the records alone.
    records = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    while True:
        try:
            request = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            reply = draw(request)
        except DatasetError as error:
            reply = error
        try:
            pickle.dump(reply, records, protocol=pickle.HIGHEST_PROTOCOL)
            records.flush()
        except BrokenPipeError:  # The parent died while the scenes were drawn.
            os._exit(1)


if __name__ == "__main__":
    main()
