"""Scene generators, one module for each data set.

What a data set's files hold, and its `VARIANTS`, the first one being the default, is said by the
module of the same name in `multi_object_datasets`, which reads them. Every generator has
- `CHUNK_SIZE`: scenes written before the next safe point for an interrupted generation;
- `scene(rng, variant)`: one scene drawn from a `numpy.random.Generator`, as a dict of arrays. uint8
  arrays are stored as one byte per element, float32 arrays as float lists, both flattened;
- where scenes are made of images, `load_sources(split, path)`: further arguments of `scene`, read
  from the user's file, or for None from what is shipped.
"""

import importlib

from multi_object_datasets.errors import DatasetError

NAMES = (
    "tetrominoes",
    "multi_dsprites",
    "clevr_with_masks",
    "objects_room",
    "shapes",
    "balls",
    "multi_mnist",
)


def load(name, variant=None):
    """Imports a generator and checks the variant.

    Args:
      name: one of `NAMES`.
      variant: one of the data set's `VARIANTS`, or None for the first.

    Returns:
      (module, variant), the variant None for a data set without variants.

    Raises:
      DatasetError: no such generator or variant.
    """
    if name not in NAMES:
        raise DatasetError(f"no generator {name!r}; there are: {', '.join(NAMES)}")
    module = importlib.import_module(f"{__name__}.{name}")
    variants = importlib.import_module(f"multi_object_datasets.{name}").VARIANTS
    if variant is None:
        return module, (variants or (None,))[0]
    if variant not in variants:
        known = ", ".join(variants) or "none"
        raise DatasetError(f"{name} has no variant {variant!r}; there are: {known}")
    return module, variant


def load_sources(name, split, path=None):
    """Reads what a generator's scenes are made of.

    Args:
      name: one of `NAMES`.
      split: "train" or "test".
      path: the user's file, None for what is shipped.

    Returns:
      Further keyword arguments of the generator's `scene`, none for most.

    Raises:
      DatasetError: the file cannot be used, or the generator has no use for one.
    """
    module, _ = load(name)
    if hasattr(module, "load_sources"):
        return module.load_sources(split, path)
    if path is not None:
        raise DatasetError(f"{name} takes no digits")
    return {}
