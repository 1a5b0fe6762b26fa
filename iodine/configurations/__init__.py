"""The named configs, a module for each family of data sets or models.

Each config registers itself in `named_config.NAMED_CONFIGS` when its module is imported.
"""

import importlib

# In the order in which the configs are listed.
FAMILIES = (
    "demo",
    "vae",
    "tetrominoes",
    "multi_dsprites",
    "clevr",
    "objects_room",
    "shapes",
    "paper",
    "air",
    "textured_mnist",
    "slot_attention",
    "monet",
    "rnn_nem",
)
for family in FAMILIES:
    importlib.import_module(f"{__name__}.{family}")
