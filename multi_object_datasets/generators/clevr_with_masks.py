"""CLEVR with masks, 240x320: scenes sampled as in CLEVR, rendered with Blender (`clevr_blender`).

The published files hold 3 to 10 objects (variant `clevr`); `clevr6` draws 3 to 6, the scenes that
the paper trains on. `clevr6_coarse` holds the scenes of `clevr6`, with the same masks and factors,
but its images are rendered at 120x160 and enlarged, in a fraction of the time: for training at
image sizes where the difference does not show.
"""

import numpy as np
from PIL import Image

from multi_object_datasets.clevr_with_masks import IMAGE_SIZE, MAX_NUM_ENTITIES
from multi_object_datasets.generators.clevr_layout import sample
from multi_object_datasets.generators.masks import one_hot

CHUNK_SIZE = 10
# Size of the rendered image in percent of the published one.
PERCENTAGES = {"clevr": 100, "clevr6": 100, "clevr6_coarse": 50}

MIN_PIXELS = 200  # That every object shows, or the scene is sampled again.


def scene(rng, variant):
    """Draws and renders one scene in which every object shows at least MIN_PIXELS pixels."""
    # Here, because only the processes that render load Blender.
    from multi_object_datasets.generators import clevr_blender

    while True:
        factors, view = sample(rng, variant)
        clevr_blender.arrange(factors, view)
        labels = clevr_blender.render_labels()
        count = int(factors["visibility"].sum()) - 1
        if np.bincount(labels.reshape(-1), minlength=count + 1)[1:].min() >= MIN_PIXELS:
            break
    image = clevr_blender.render_image(int(rng.integers(2**31)), PERCENTAGES[variant])
    height, width = IMAGE_SIZE
    if image.shape[:2] != (height, width):
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    return {"image": image, "mask": one_hot(labels, MAX_NUM_ENTITIES), **factors}
