"""Images per second of the input pipeline, beside a plain loop over the one-byte-string reader.

    python -m benchmarks.input_pipeline [--seconds S]

All on one core, and all from the same files in one run: scenes of the parity fixtures, or made up,
repeated. The columns:
- plain loop: `tf.io.parse_single_example` of one-byte strings, crop, resize and batch, as the
  reference reads;
- packed: training batches from the packed file, shuffled over the whole set;
- ratio: packed over plain loop;
- packing: the rate at which a file is packed, once.
"""

import os
import pathlib
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if hasattr(os, "sched_setaffinity"):
    # Before TensorFlow starts its threads.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np
import tensorflow as tf

from iodine.data import datasets
from multi_object_datasets import objects_room, pack, records, shapes
from multi_object_datasets.arguments import Parser
from multi_object_datasets.generators import example
from multi_object_datasets.scene_file import SceneFile

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "tests" / "parity"


def made_up_scene(scene_format, rng):
    """Returns a serialised scene of blocks of colour in the given format."""
    scene = {}
    for name, (shape, dtype, _) in scene_format.features.items():
        if name == "mask":
            rows = np.arange(shape[1])[:, None, None] * shape[0] // shape[1]
            mask = rows == np.arange(shape[0])[:, None, None, None]
            scene[name] = np.broadcast_to(255 * mask, shape).astype(np.uint8)
        elif name == "image":
            blocks = rng.integers(0, 256, (shape[0] // 4, shape[1] // 4, shape[2]), np.uint8)
            scene[name] = blocks.repeat(4, axis=0).repeat(4, axis=1)
        else:
            scene[name] = rng.random(shape).astype(dtype)
    return example.encode(scene)


def plain_loop(dataset):
    """Returns endless batches of a data set as the reference reads them, dicts of tensors."""
    features = dataset.scene_format.features
    spec = {
        name: tf.io.FixedLenFeature([int(np.prod(shape))], tf.string)
        if dtype == np.uint8
        else tf.io.FixedLenFeature(shape, tf.float32)
        for name, (shape, dtype, _) in features.items()
    }

    def resize(op, images):
        images = images if dataset.crop_region is None else cropped(images)
        return op(images=images, size=dataset.image_dim, half_pixel_centers=False)

    def cropped(images):
        (top, bottom), (left, right) = dataset.crop_region
        return images[..., top:bottom, left:right, :]

    def parse(record):
        scene = tf.io.parse_single_example(record, spec)
        for name, (shape, dtype, stored_axes) in features.items():
            if dtype == np.uint8:
                value = tf.io.decode_raw(scene[name], tf.uint8)[:, 0]
                if stored_axes is not None:
                    stored_shape = np.empty(len(shape), int)
                    stored_shape[list(stored_axes)] = shape
                    value = tf.transpose(tf.reshape(value, stored_shape), stored_axes)
                scene[name] = tf.reshape(value, shape)
        image = tf.cast(scene.pop("image"), tf.float32)[None] / 255
        mask = tf.cast(scene.pop("mask"), tf.float32) / 255
        return {
            "image": resize(tf.raw_ops.ResizeBilinear, image),
            "mask": resize(tf.raw_ops.ResizeNearestNeighbor, mask)[None],
            **scene,
        }

    scenes = tf.data.TFRecordDataset(dataset.path, "GZIP").map(parse)
    return scenes.repeat().batch(dataset.batch_size, drop_remainder=True).prefetch(1)


def rate(batches, batch_size, seconds):
    """Returns the images per second of an endless dataset, from the second batch on."""
    iterator = iter(batches)
    next(iterator)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        next(iterator)
        count += batch_size
    return count / (time.perf_counter() - start)


def measure(constructor, serialised, repeats, batch_size, seconds):
    """Returns the rates of plain loop, packed and packing; the first two are medians of three.

    Args:
      constructor: data set of `iodine.modules.data`.
      serialised: records to write, `repeats` times over.
      repeats: see there.
      batch_size: number of scenes in a batch.
      seconds: how long to measure each rate.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "scenes.tfrecords")
        with tf.io.TFRecordWriter(path, "GZIP") as writer:
            for record in serialised * repeats:
                writer.write(record)
        packed = constructor(path, batch_size)
        source = SceneFile(path, packed.scene_format, packed.image_dim, packed.crop_region)
        start = time.perf_counter()
        num_scenes = len(pack.open_scenes(source))
        packing = num_scenes / (time.perf_counter() - start)
        rates = [
            [
                rate(batches(), packed.batch_size, seconds)
                for batches in (lambda: plain_loop(packed), lambda: packed("train"))
            ]
            for _ in range(3)
        ]
    return *np.median(rates, axis=0), packing


def main():
    parser = Parser(prog="python -m benchmarks.input_pipeline", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    seconds = parser.parse_args().seconds

    def fixture(case):
        return list(records.read_records(FIXTURES / case / "scenes.tfrecords"))

    rng = np.random.default_rng(0)
    room = made_up_scene(objects_room.SCENE_FORMATS["train"], rng)
    shape_scene = made_up_scene(shapes.SCENE_FORMAT, rng)
    # Data set, serialised scenes, how often to write them, batch size.
    cases = {
        "clevr_with_masks": (datasets.CLEVR, fixture("clevr6_small"), 32, 4),
        "multi_dsprites": (datasets.MultiDSprites, fixture("multi_dsprites_small"), 512, 16),
        "tetrominoes": (datasets.Tetrominoes, fixture("tetrominoes_small"), 1024, 128),
        "objects_room": (datasets.ObjectsRoom, [room], 512, 16),
        "shapes": (datasets.Shapes, [shape_scene], 2048, 128),
    }
    print(f"images/s on one core{'':9}plain loop   packed  ratio  packing", flush=True)
    for name, case in cases.items():
        plain, packed, packing = measure(*case, seconds)
        print(
            f"{name:<28}{plain:>11.1f}{packed:>9.0f}{packed / plain:>7.0f}{packing:>9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
