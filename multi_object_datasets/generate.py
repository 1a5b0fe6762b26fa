"""Generates scenes like the published ones, in the published file format.

    python -m multi_object_datasets.generate NAME --num-scenes N --seed S --out FILE

The same seed gives the same bytes, whatever the number of workers. An interrupted generation keeps
its finished parts in FILE.parts and continues from them; FILE itself appears only when it is whole.
With --shard I/N each of N machines draws a part of the whole, FILE-I-of-N.
"""

import argparse
import contextlib
import gzip
import json
import os
import pathlib
import shutil
import sys
import time

from multi_object_datasets import files, generators
from multi_object_datasets.arguments import Parser, open_closed_streams
from multi_object_datasets.cpus import available_cpus
from multi_object_datasets.digits import DOWNLOAD
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.generators import example, pool
from multi_object_datasets.generators.worker import SPLITS, scene_rng
from multi_object_datasets.progress import on_terminal, progress_bar

_MEASURED = 0.3  # Seconds for which scenes are drawn to estimate how long all take.


@contextlib.contextmanager
def _parts(directory, plan):
    """Makes or reopens the directory of finished parts; holds its lock for the `with` block.

    The directory is removed at the end if no parts are left in it.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with files.only_one_process(directory, wait=False):
        directory.mkdir(exist_ok=True)
        plan_file, text = directory / "plan.json", json.dumps(plan)
        found = plan_file.read_text() if plan_file.exists() else ""
        if not found:  # Empty if another one was killed just here.
            plan_file.write_text(text)
        elif found != text:
            raise DatasetError(
                f"{directory} holds the parts of another generation, {found}; "
                "give the same arguments to continue it, or remove the directory"
            )
        try:
            yield
        finally:
            if not any(directory.glob("*.tfrecords")):
                shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _progress(label, done, total):
    """Gives the function that reports progress: a bar on a terminal, else a line for each tenth."""
    if on_terminal():
        with progress_bar(total, "scene", desc=label, initial=done) as bar:
            yield bar.update
        return

    def update(count):
        nonlocal done
        tenth = 10 * done // total
        done += count
        if 10 * done // total > tenth:
            print(f"{label}: {done} of {total} scenes", file=sys.stderr, flush=True)

    yield update


def _check_arguments(num_scenes, seed, split, workers):
    """Raises a DatasetError for a value that makes no sense."""
    if split not in SPLITS:
        raise DatasetError(f"split {split!r} must be one of {', '.join(SPLITS)}")
    for label, value, least in (
        ("num_scenes", num_scenes, 1),
        ("seed", seed, 0),
        ("workers", workers, 1),
    ):
        if value < least:
            raise DatasetError(f"{label} must be at least {least}, not {value}")


def _chunks_of_shard(chunks, index, count):
    """Returns the part of a list of chunks that one of several machines draws."""
    if not 0 <= index < count:
        raise DatasetError(
            f"--shard {index}/{count}: I/N needs an N of 1 or more and an I from 0 to N - 1"
        )
    if count > len(chunks):
        raise DatasetError(
            f"shard {index}/{count}: these scenes make {len(chunks)} parts at most; "
            "use fewer shards or more scenes"
        )
    return chunks[len(chunks) * index // count : len(chunks) * (index + 1) // count]


def _draw_missing_parts(requests, workers, label):
    """Has those parts drawn that are not there yet.

    Args:
      requests: {part: request}.
      workers: number of processes.
      label: text for the progress.
    """
    counts = {part: request["stop"] - request["start"] for part, request in requests.items()}
    missing = [part for part in requests if not pool.is_whole(part, counts[part])]
    total = sum(counts.values())
    done = total - sum(counts[part] for part in missing)
    with _progress(label, done, total) as update:
        if missing:
            pool.draw_parts(missing, requests, workers, update)


def _join(parts, whole, path):
    """Joins parts to one file, under a temporary name until it is whole, and removes them."""
    # Gzip files one after the other are a gzip file.
    with open(whole, "wb") as target:
        for part in parts:
            with open(part, "rb") as source:
                shutil.copyfileobj(source, target)
        files.sync(target)
    if path.exists():
        raise DatasetError(
            f"{path} was made by someone else meanwhile; parts are in {whole.parent}"
        )
    files.replace(whole, path)
    for part in parts:
        part.unlink()


def estimated_seconds(name, num_scenes, variant=None, split="train", workers=None):
    """Returns how long a generation takes, by drawing some of its scenes.

    Args:
      name, num_scenes, variant, split, workers: as for `generate`.
    """
    module, variant = generators.load(name, variant)
    sources = generators.load_sources(name, split)
    count, start = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - start < _MEASURED:
        gzip.compress(example.encode(module.scene(scene_rng(0, split, count), variant, **sources)))
        count += 1
    seconds = (time.perf_counter() - start) / count
    return seconds * num_scenes / (workers or available_cpus())


def generate(
    name,
    num_scenes,
    seed,
    path,
    split="train",
    variant=None,
    workers=None,
    digits=None,
    shard=None,
):
    """Generates a file of scenes.

    Args:
      name: data set, one of `generators.NAMES`.
      num_scenes: number of scenes, of all shards together.
      seed: non-negative int; scene i is a function of (name, variant, seed, split, i).
      path: file to write, GZIP TFRecords as published; must not exist yet; `~` is the home.
      split: "train" or "test": the two draw from seeds apart.
      variant: one of the data set's variants, default its first.
      workers: number of processes, default the number of CPUs that this process may use.
      digits: where multi_mnist's digits come from, see `digits.load`; default the shipped ones.
      shard: (i, n) draws the i-th of n parts alone, counted from 0, into PATH-i-of-n with five
        digits each. The parts one after the other are the bytes of the whole file.

    Raises:
      DatasetError: bad arguments, `path` exists, its parts belong to other arguments, or the digits
        cannot be read.
    """
    module, variant = generators.load(name, variant)
    workers = available_cpus() if workers is None else workers
    _check_arguments(num_scenes, seed, split, workers)
    path = pathlib.Path(files.expand_home(path))
    chunks = [
        (start, min(start + module.CHUNK_SIZE, num_scenes))
        for start in range(0, num_scenes, module.CHUNK_SIZE)
    ]
    if shard is not None:
        chunks = _chunks_of_shard(chunks, *shard)
        path = path.with_name("{}-{:05d}-of-{:05d}".format(path.name, *shard))
    if os.path.lexists(path):
        raise DatasetError(f"{path} exists; remove it or give another name")
    scenes = {"name": name, "variant": variant, "seed": seed, "split": split}
    if digits is not None:
        is_file = digits != DOWNLOAD
        scenes["digits"] = os.path.abspath(files.expand_home(digits)) if is_file else digits
    generators.load_sources(name, split, scenes.get("digits"))  # For its errors.
    plan = {**scenes, "num_scenes": num_scenes, "shard": shard and list(shard)}
    directory = path.with_name(path.name + ".parts")
    try:
        with _parts(directory, plan):
            requests = {
                directory / f"{start:09d}.tfrecords": {**scenes, "start": start, "stop": stop}
                for start, stop in chunks
            }
            _draw_missing_parts(requests, workers, path.name)
            _join(requests, directory / "whole", path)
    except OSError as error:
        raise DatasetError(f"cannot write {path}: {error}") from error


def _shard(text):
    """Returns (I, N) of the text I/N."""
    try:
        index, count = map(int, text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"I/N is wanted, such as 0/4, not {text}") from None
    return index, count


def main(argv=None):
    """Generates the file that the command line asks for; returns the exit code."""
    open_closed_streams()
    parser = Parser(
        prog="python -m multi_object_datasets.generate", description=__doc__.split("\n")[0]
    )
    parser.add_argument("name", metavar="NAME", help=", ".join(generators.NAMES))
    parser.add_argument("--num-scenes", type=int, required=True, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--out", required=True, metavar="FILE", dest="path")
    parser.add_argument("--split", default="train", help="train or test: seeds apart")
    parser.add_argument("--variant", metavar="V", help="variant of the data set")
    parser.add_argument(
        "--digits",
        metavar="FILE",
        help="of multi_mnist: mnist.npz, a folder of MNIST's IDX files, or the word mnist to "
        "download them; default: those that are shipped",
    )
    parser.add_argument("--workers", type=int, metavar="W", help="default: number of CPUs")
    parser.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="draw part I of N alone, counted from 0, into FILE-I-of-N",
    )
    try:
        generate(**vars(parser.parse_args(argv)))
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command continues from the finished parts", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
