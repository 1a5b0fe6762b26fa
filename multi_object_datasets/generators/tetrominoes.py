"""Tetrominoes: three tetrominoes without overlap on black, 35x35 pixels.

Drawn exactly as in the published file, shape codes and the shading of a block included. In the
variant `ambiguous` the pieces have one colour, and lie so that the image, which shows blocks but
no pieces, can be taken apart in two or more ways: `decompositions` tells them all.
"""

import numpy as np

from multi_object_datasets.generators.masks import one_hot
from multi_object_datasets.tetrominoes import IMAGE_SIZE, NUM_PIECES

CHUNK_SIZE = 2500

SIDE = IMAGE_SIZE[0]
BLOCK_SIZE = 5

# One block, to be multiplied by the piece's colour: lit from above, with a bevel.
BLOCK = np.array(
    [
        [191, 255, 255, 255, 223],
        [127, 159, 159, 159, 191],
        [127, 159, 159, 159, 191],
        [127, 159, 159, 159, 191],
        [95, 63, 63, 63, 127],
    ],
    np.uint8,
)

COLORS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.float32)

# Rows of blocks, top first, for each shape code. All 19 orientations have a code, 17 of them occur
# in the data set; 4 and 8 are the ones left out.
SHAPES = {
    1: "1111",
    2: "1/1/1/1",
    3: "111/100",
    4: "100/111",
    5: "001/111",
    6: "111/001",
    7: "11/01/01",
    8: "01/01/11",
    9: "11/10/10",
    10: "10/10/11",
    11: "110/011",
    12: "011/110",
    13: "01/11/10",
    14: "10/11/01",
    15: "010/111",
    16: "111/010",
    17: "01/11/01",
    18: "10/11/10",
    19: "11/11",
}
SAMPLED_SHAPES = tuple(code for code in SHAPES if code not in (4, 8))


def _pixels(rows):
    """Returns the bool [h, w] pixels of a shape written as rows of blocks."""
    blocks = np.array([[block == "1" for block in row] for row in rows.split("/")])
    return blocks.repeat(BLOCK_SIZE, axis=0).repeat(BLOCK_SIZE, axis=1)


PIXELS = {code: _pixels(rows) for code, rows in SHAPES.items()}

# Top left pixels of each shape's blocks, from its bounding box's; row by row.
BLOCKS = {
    code: [tuple(place) for place in BLOCK_SIZE * np.argwhere(pixels[::BLOCK_SIZE, ::BLOCK_SIZE])]
    for code, pixels in PIXELS.items()
}


def render(factors):
    """Draws a scene from its factors.

    Args:
      factors: dict of arrays with the background first: `x` [4] (top row of the bounding box, in
        pixels), `y` [4] (its left column), `shape` [4] (codes of `SHAPES`), `color` [4, 3]
        (RGB, 0 or 1). Later pieces are drawn over earlier ones.

    Returns:
      (image uint8 [35, 35, 3], mask uint8 [4, 35, 35, 1] of 0 and 255, one-hot over the
      entities).
    """
    image = np.zeros((*IMAGE_SIZE, 3), np.uint8)
    labels = np.zeros(IMAGE_SIZE, np.uint8)
    for entity in range(1, NUM_PIECES + 1):
        pixels = PIXELS[int(factors["shape"][entity])]
        height, width = pixels.shape
        top, left = int(factors["x"][entity]), int(factors["y"][entity])
        window = np.s_[top : top + height, left : left + width]
        shading = np.tile(BLOCK, (height // BLOCK_SIZE, width // BLOCK_SIZE))
        colored = shading[:, :, None] * factors["color"][entity].astype(np.uint8)
        image[window][pixels] = colored[pixels]
        labels[window][pixels] = entity
    return image, one_hot(labels, NUM_PIECES + 1)


def sample(rng):
    """Draws the factors of a scene.

    Shapes and colours are uniform and independent. Positions are uniform over all joint placements
    without overlap: all three pieces are placed anew until they do not touch the same pixel.

    Args:
      rng: a `numpy.random.Generator`.

    Returns:
      dict of float32 arrays, see `render`, and `visibility` [4].
    """
    shape = rng.choice(SAMPLED_SHAPES, NUM_PIECES)
    color = COLORS[rng.integers(len(COLORS), size=NUM_PIECES)]
    sizes = np.array([PIXELS[code].shape for code in shape])  # [3, 2]
    while True:
        position = rng.integers(SIDE - sizes + 1)  # [3, 2] (top, left)
        if not _overlap(shape, position):
            return _factors(shape, position, color)


def sample_ambiguous(rng):
    """Draws the factors of a scene with two or more `decompositions`.

    Three pieces of one colour lie on a grid of blocks, the grid itself anywhere; shapes, colour and
    places are uniform over what is ambiguous.
    """
    while True:
        shape = rng.choice(SAMPLED_SHAPES, NUM_PIECES)
        color = COLORS[rng.integers(len(COLORS))]
        sizes = np.array([PIXELS[code].shape for code in shape])  # [3, 2]
        offset = rng.integers(BLOCK_SIZE, size=2)  # Of the grid.
        position = offset + BLOCK_SIZE * rng.integers((SIDE - sizes - offset) // BLOCK_SIZE + 1)
        if not _overlap(shape, position):
            factors = _factors(shape, position, np.stack([color] * NUM_PIECES))
            if len(decompositions(factors)) > 1:
                return factors


def decompositions(factors):
    """Returns all ways to take a scene's image apart into the data set's pieces.

    Args:
      factors: as for `render`; pieces must not overlap.

    Returns:
      List of factors, as `sample` returns them: `render` draws the same image from each, with other
      masks. The pieces are in the order of their first blocks, row by row.
    """
    blocks = {}  # {(row, column) of the top left pixel: colour}
    for code, top, left, color in zip(*(factors[k][1:] for k in ("shape", "x", "y", "color"))):
        for row, column in BLOCKS[int(code)]:
            blocks[int(top) + row, int(left) + column] = tuple(color)

    def cover(rest):
        """Yields all ways to cover blocks, as lists of (shape, (top, left), colour)."""
        if not rest:
            yield []
            return
        first = min(rest)  # So it is the first block of its piece.
        for code in SAMPLED_SHAPES:
            corner = np.subtract(first, BLOCKS[code][0])
            piece = {tuple(corner + block) for block in BLOCKS[code]}
            if piece <= rest and all(blocks[block] == blocks[first] for block in piece):
                for others in cover(rest - piece):
                    yield [(code, corner, blocks[first]), *others]

    return [_factors(*map(np.array, zip(*pieces))) for pieces in cover(blocks.keys())]


def _overlap(shape, position):
    """Returns whether two of the pieces touch the same pixel."""
    count = np.zeros(IMAGE_SIZE, np.uint8)
    for code, (top, left) in zip(shape, position):
        height, width = PIXELS[code].shape
        count[top : top + height, left : left + width] += PIXELS[code]
    return count.max() > 1


def _factors(shape, position, color):
    """Returns the factors of a scene of three pieces: codes [3], (top, left) [3, 2], RGB [3, 3]."""
    x, y = np.concatenate([np.zeros((1, 2)), position]).T.astype(np.float32)
    return {
        "x": x,
        "y": y,
        "shape": np.concatenate([[0], shape]).astype(np.float32),
        "color": np.concatenate([np.zeros((1, 3)), color]).astype(np.float32),
        "visibility": np.ones(NUM_PIECES + 1, np.float32),
    }


def scene(rng, variant="standard"):
    """Draws one scene: the features of the published file (see the package's docstring)."""
    factors = sample_ambiguous(rng) if variant == "ambiguous" else sample(rng)
    image, mask = render(factors)
    return {"image": image, "mask": mask, **factors}
