"""The base configuration and the named ones, a module for each family of data sets.

The values at a config's top feed its nested build plans `data`, `model` and `optimizer`.
"""

from iodine.configurations.air import air, air_dsprites, air_small
from iodine.configurations.base import base
from iodine.configurations.clevr import (
    clevr,
    clevr6,
    clevr6_fast,
    clevr6_grayscale,
    clevr6_grayscale_fast,
)
from iodine.configurations.demo import demo, demo_deconv, demo_fast, demo_sequences
from iodine.configurations.monet import (
    monet_clevr6,
    monet_clevr6_fast,
    monet_multi_dsprites,
    monet_multi_dsprites_fast,
    monet_tetrominoes,
    monet_tetrominoes_fast,
)
from iodine.configurations.multi_dsprites import (
    multi_dsprites,
    multi_dsprites_binarized,
    multi_dsprites_binarized_fast,
    multi_dsprites_fast,
)
from iodine.configurations.objects_room import objects_room, objects_room_fast, sequences
from iodine.configurations.paper import clevr6_paper, multi_dsprites_paper, tetrominoes_paper
from iodine.configurations.rnn_nem import (
    rnn_nem_multi_dsprites,
    rnn_nem_multi_dsprites_fast,
    rnn_nem_shapes,
)
from iodine.configurations.shapes import shapes, shapes_fast
from iodine.configurations.slot_attention import (
    slot_attention_clevr6,
    slot_attention_clevr6_fast,
    slot_attention_multi_dsprites,
    slot_attention_multi_dsprites_fast,
    slot_attention_tetrominoes,
    slot_attention_tetrominoes_fast,
)
from iodine.configurations.tetrominoes import tetrominoes, tetrominoes_fast
from iodine.configurations.textured_mnist import textured_mnist
from iodine.configurations.vae import demo_vae

__all__ = ["NAMED_CONFIGS", "base"]

# Commands list these, and `main` registers them.
NAMED_CONFIGS = (
    demo,
    demo_deconv,
    demo_fast,
    demo_sequences,
    demo_vae,
    tetrominoes,
    tetrominoes_fast,
    multi_dsprites,
    multi_dsprites_fast,
    clevr6,
    clevr6_fast,
    clevr,
    clevr6_grayscale,
    clevr6_grayscale_fast,
    multi_dsprites_binarized,
    multi_dsprites_binarized_fast,
    shapes,
    shapes_fast,
    textured_mnist,
    objects_room,
    objects_room_fast,
    sequences,
    clevr6_paper,
    multi_dsprites_paper,
    tetrominoes_paper,
    air,
    air_small,
    air_dsprites,
    slot_attention_tetrominoes,
    slot_attention_tetrominoes_fast,
    slot_attention_multi_dsprites,
    slot_attention_multi_dsprites_fast,
    slot_attention_clevr6,
    slot_attention_clevr6_fast,
    monet_tetrominoes,
    monet_tetrominoes_fast,
    monet_multi_dsprites,
    monet_multi_dsprites_fast,
    monet_clevr6,
    monet_clevr6_fast,
    rnn_nem_shapes,
    rnn_nem_multi_dsprites,
    rnn_nem_multi_dsprites_fast,
)
