"""Files of made-up scenes for the tests, written with TensorFlow's own writer and messages."""

import pathlib

import numpy as np
import tensorflow as tf

from multi_object_datasets import formats, tetrominoes

PARITY = pathlib.Path(__file__).parent.parent / "parity"


def parity_file(case):
    """Returns the path of the scenes of a parity case, as a string."""
    return str(PARITY / case / "scenes.tfrecords")


def random_scene(scene_format, rng):
    """Returns a scene {name: array} of a SceneFormat, every pixel in one entity at random."""
    scene = {}
    for name, (shape, dtype, _) in scene_format.features.items():
        if name == "mask":
            labels = rng.integers(0, shape[-4], (*shape[:-4], 1, *shape[-3:]))
            scene[name] = np.uint8(255) * (labels == np.arange(shape[-4])[:, None, None, None])
        elif dtype == np.uint8:
            scene[name] = rng.integers(0, 256, shape, np.uint8)
        else:
            scene[name] = rng.random(shape, np.float32)
    scene["mask"] = scene["mask"].astype(np.uint8)
    if "visibility" in scene:
        scene["visibility"] = np.round(scene["visibility"])
    return scene


def serialise(scene, scene_format):
    """Returns a scene as a `tf.Example`, uint8 arrays as one-byte strings."""
    features = {}
    for name, value in scene.items():
        stored_axes = scene_format.features[name].stored_axes
        if stored_axes is not None:
            value = value.transpose(np.argsort(stored_axes))
        if value.dtype == np.uint8:
            data = value.tobytes()
            values = [data[i : i + 1] for i in range(len(data))]
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        else:
            feature = tf.train.Feature(float_list=tf.train.FloatList(value=value.ravel()))
        features[name] = feature
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString()


def read(path, scene_format):
    """Returns the scenes of a file as dicts of arrays, read by this project."""
    return [scene for _, _, scene in formats.read_numbered_scenes(path, scene_format)]


def write(path, records, compression="GZIP"):
    """Writes a TFRecord file of serialised scenes and returns its path as a string."""
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)
    return str(path)


def write_scenes(path, scene_format, number, seed=0):
    """Writes random scenes; returns (path, the scenes)."""
    rng = np.random.default_rng(seed)
    scenes = [random_scene(scene_format, rng) for _ in range(number)]
    return write(path, [serialise(scene, scene_format) for scene in scenes]), scenes


def write_numbered_tetrominoes(tmp_path, number, visible=None):
    """Writes random scenes whose feature value `x[0]` is their number; returns the path.

    `visible` has the number of visible objects of each scene, default at random.
    """
    scene_format, rng = tetrominoes.SCENE_FORMAT, np.random.default_rng(0)
    scenes = [random_scene(scene_format, rng) for _ in range(number)]
    for i, scene in enumerate(scenes):
        scene["x"][0] = i
        if visible is not None:
            scene["visibility"] = np.array(np.arange(4) <= visible[i], np.float32)
    return write(
        tmp_path / "scenes.tfrecords", [serialise(scene, scene_format) for scene in scenes]
    )
