"""Balls: three coloured balls without overlap on black, 14x14 pixels.

The variant `crowded` has five, `single` one. In `sequences` three balls move through 16 frames, in
front of one another, each at one velocity until it meets an edge.
"""

import numpy as np

from multi_object_datasets.balls import IMAGE_SIZE, NUM_BALLS, SEQUENCE_LENGTH
from multi_object_datasets.generators.masks import one_hot
from multi_object_datasets.generators.tetrominoes import COLORS

CHUNK_SIZE = 5000
TRIES = 20  # to find room for one more ball

BALL = np.array(
    [
        [0, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1],
        [0, 1, 1, 1, 0],
    ],
    bool,
)
DIAMETER = len(BALL)
LAST_PLACE = IMAGE_SIZE[0] - DIAMETER  # Of a ball's top row or left column.
MAX_SPEED = 1.0  # pixels a frame along each axis, in `sequences`


def render(factors):
    """Draws a scene from its factors.

    Args:
      factors: dict of arrays with the background first: `x` and `y` [L] (left column and top row
        of the bounding box), `color` [L, 3] (RGB, 0 or 1). Later balls are drawn over earlier
        ones.

    Returns:
      (image uint8 [14, 14, 3], labels uint8 [14, 14], the entity that each pixel shows).
    """
    labels = np.zeros(IMAGE_SIZE, np.uint8)
    for entity in range(1, len(factors["x"])):
        left, top = int(factors["x"][entity]), int(factors["y"][entity])
        labels[top : top + DIAMETER, left : left + DIAMETER][BALL] = entity
    return factors["color"].astype(np.uint8)[labels] * 255, labels


def sample(rng, x, y):
    """Draws the factors of a scene but the places: colours uniform and independent."""
    color = COLORS[rng.integers(len(COLORS), size=len(x))]
    return {
        "x": np.concatenate([[0], x]).astype(np.float32),
        "y": np.concatenate([[0], y]).astype(np.float32),
        "color": np.concatenate([np.zeros((1, 3)), color]).astype(np.float32),
        "visibility": np.ones(len(x) + 1, np.float32),
    }


def place(rng, num_balls):
    """Draws places uniform and independent, which may overlap: (x, y) [2, num_balls]."""
    return rng.integers(LAST_PLACE + 1, size=(2, num_balls))


def place_in_turn(rng, num_balls):
    """Draws places without overlap, ball by ball where there is room, as (x, y) [2, num_balls]."""
    while True:
        taken, places = np.zeros(IMAGE_SIZE, bool), []
        for x, y in rng.integers(LAST_PLACE + 1, size=(TRIES * num_balls, 2)):
            window = taken[y : y + DIAMETER, x : x + DIAMETER]
            if not window[BALL].any():
                window[BALL] = True
                places.append((x, y))
                if len(places) == num_balls:
                    return np.transpose(places)


def move(start, velocity, num_frames):
    """Moves balls at one velocity and back from the edges.

    Args:
      start: places in the first frame, [2, num_balls] in pixels.
      velocity: [2, num_balls] in pixels a frame.
      num_frames: T.

    Returns:
      Places rounded to pixels, [T, 2, num_balls].
    """
    way = (start + np.arange(num_frames)[:, None, None] * velocity) % (2 * LAST_PLACE)
    return np.rint(np.minimum(way, 2 * LAST_PLACE - way)).astype(int)


def sequence(rng):
    """Draws the frames of three moving balls, which do not overlap in the first one."""
    start = place_in_turn(rng, NUM_BALLS["sequences"])
    velocity = rng.uniform(-MAX_SPEED, MAX_SPEED, start.shape)
    factors = sample(rng, *start)
    frames = []
    for x, y in move(start, velocity, SEQUENCE_LENGTH):
        image, labels = render({**factors, "x": [0, *x], "y": [0, *y]})
        frames.append({"image": image, "mask": one_hot(labels, len(x) + 1)})
    return {name: np.stack([frame[name] for frame in frames]) for name in ("image", "mask")}


def scene(rng, variant="standard"):
    """Draws one scene without overlap, or a sequence.

    Three balls are placed anew until they do not overlap, so that their places are uniform over all
    of these; of five that would take thousands of draws.
    """
    if variant == "sequences":
        return sequence(rng)
    num_balls = NUM_BALLS[variant or "standard"]
    draw = place_in_turn if variant == "crowded" else place
    while True:
        factors = sample(rng, *draw(rng, num_balls))
        image, labels = render(factors)
        if np.count_nonzero(labels) == num_balls * np.count_nonzero(BALL):
            return {"image": image, "mask": one_hot(labels, num_balls + 1), **factors}
