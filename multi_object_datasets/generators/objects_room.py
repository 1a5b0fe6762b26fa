"""Objects Room, 64x64: a room of coloured walls and floor under the sky, with objects on the floor.

Rendered with Mitsuba (`room_mitsuba`). The first four entities are sky, floor and two wall halves.
The variant `sequences` holds 16 frames of a scene whose camera moves at one velocity.
"""

from multi_object_datasets.generators.masks import one_hot
from multi_object_datasets.generators.room_layout import FIRST_OBJECT, sample
from multi_object_datasets.objects_room import MAX_NUM_ENTITIES

CHUNK_SIZE = 50


def scene(rng, variant):
    """Draws and renders one scene; its first frame shows at least one object if there are any."""
    # Here, because only the processes that render load Mitsuba.
    from multi_object_datasets.generators import room_mitsuba

    while True:
        room = sample(rng, variant)
        images, labels = room_mitsuba.render(room, seed=int(rng.integers(2**31)))
        if not room["objects"] or labels[0].max() >= FIRST_OBJECT:
            break
    mask = one_hot(labels, MAX_NUM_ENTITIES[variant])  # [frames, L, 64, 64, 1]
    if variant != "sequences":
        images, mask = images[0], mask[0]
    return {"image": images, "mask": mask}
