"""Generates scenes like the published ones, in the published file format.

    python -m multi_object_datasets.generate NAME --num-examples N --seed S --out FILE

The same seed gives the same bytes, whatever the number of workers. An interrupted generation keeps
its finished parts in FILE.parts and continues from them; FILE itself appears only when it is whole.
"""

import concurrent.futures
import contextlib
import gzip
import json
import os
import pathlib
import pickle
import shutil
import struct
import subprocess
import sys
import threading

from multi_object_datasets import files, generators, progress, records
from multi_object_datasets.arguments import Parser
from multi_object_datasets.cpus import available_cpus
from multi_object_datasets.digits import DOWNLOAD
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.generators.worker import SPLITS


class _Worker:
    """A worker process; `draw` asks it for scenes."""

    def __init__(self):
        root = str(pathlib.Path(__file__).resolve().parent.parent)
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "multi_object_datasets.generators.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is for this process alone, which then ends its workers.
            start_new_session=True,
            # Draws with one core: the others have workers of their own.
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )

    def draw(self, request):
        """Returns the scenes of a request, serialised; raises the worker's DatasetError."""
        try:
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()
            reply = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            raise DatasetError(
                f"a worker process of the {request['name']} generator ended "
                f"(exit code {self._process.wait()}); "
                "the same command continues from the finished parts"
            ) from error
        if isinstance(reply, DatasetError):
            raise reply
        return reply

    def close(self):
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):  # Of a request that it died before reading.
            self._process.stdin.close()
        self._process.stdout.close()


def _write_part(part, scenes):
    """Writes a GZIP TFRecord file under a temporary name and renames it when it is whole."""
    temporary = part.with_suffix(".partial")
    with open(temporary, "wb") as file:
        # Without file name and time in its header, for the same scenes to give the same bytes.
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as stream:
            for scene in scenes:
                length = struct.pack("<Q", len(scene))
                for data in (length, scene):
                    stream.write(data + records.masked_crc(data))
        files.sync(file)
    files.replace(temporary, part)


def _is_whole(part, num_scenes):
    """Returns whether there is a part with so many scenes; says so on stderr of one without."""
    if not part.exists():
        return False
    try:
        count = sum(1 for _ in records.read_records(part))
        problem = f"{part}: {count} scenes, not {num_scenes}"
    except DatasetError as error:
        count, problem = None, str(error)
    if count != num_scenes:
        print(f"{problem}; drawing it again", file=sys.stderr)
    return count == num_scenes


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
    if sys.stderr is None or sys.stderr.isatty():
        with progress.progress_bar(total, "scene", desc=label, initial=done) as bar:
            yield bar.update
        return

    def update(count):
        nonlocal done
        tenth = 10 * done // total
        done += count
        if 10 * done // total > tenth:
            print(f"{label}: {done} of {total} scenes", file=sys.stderr, flush=True)

    yield update


def _draw_parts(missing, requests, workers, update):
    """Has worker processes draw the missing parts.

    Args:
      missing: the parts to draw.
      requests: {part: request}.
      workers: number of processes.
      update: called with the number of scenes of each part when it is written.
    """
    local, started = threading.local(), []

    def draw(part):
        if not hasattr(local, "worker"):
            local.worker = _Worker()
            started.append(local.worker)
        request = requests[part]
        _write_part(part, local.worker.draw(request))
        return request["stop"] - request["start"]

    pool = concurrent.futures.ThreadPoolExecutor(min(workers, len(missing)))
    try:
        for future in concurrent.futures.as_completed([pool.submit(draw, p) for p in missing]):
            update(future.result())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in started:
            worker.close()


def generate(
    name, num_examples, seed, path, split="train", variant=None, workers=None, digits=None
):
    """Generates a file of scenes.

    Args:
      name: data set, one of `generators.NAMES`.
      num_examples: number of scenes.
      seed: non-negative int; scene i is a function of (name, variant, seed, split, i).
      path: file to write, GZIP TFRecords as published; must not exist yet; `~` is the home.
      split: "train" or "test": the two draw from seeds apart.
      variant: one of the data set's variants, default its first.
      workers: number of processes, default the number of CPUs that this process may use.
      digits: where multi_mnist's digits come from, see `digits.load`; default the shipped ones.

    Raises:
      DatasetError: bad arguments, `path` exists, its parts belong to other arguments, or the digits
        cannot be read.
    """
    module, variant = generators.load(name, variant)
    if split not in SPLITS:
        raise DatasetError(f"split {split!r} must be one of {', '.join(SPLITS)}")
    workers = available_cpus() if workers is None else workers
    for label, value, least in (
        ("num_examples", num_examples, 1),
        ("seed", seed, 0),
        ("workers", workers, 1),
    ):
        if value < least:
            raise DatasetError(f"{label} must be at least {least}, not {value}")
    path = pathlib.Path(path).expanduser()
    if path.exists():
        raise DatasetError(f"{path} exists; remove it or give another name")

    generators.load_sources(name, split, digits)  # Fails here, not in each worker.
    scenes = {"name": name, "variant": variant, "seed": seed, "split": split}
    if digits is not None:
        scenes["digits"] = digits if digits == DOWNLOAD else os.path.abspath(digits)
    directory = path.with_name(path.name + ".parts")
    try:
        with _parts(directory, {**scenes, "num_examples": num_examples}):
            requests = {}
            for start in range(0, num_examples, module.CHUNK_SIZE):
                stop = min(start + module.CHUNK_SIZE, num_examples)
                part = directory / f"{start:09d}.tfrecords"
                requests[part] = {**scenes, "start": start, "stop": stop}
            counts = {part: r["stop"] - r["start"] for part, r in requests.items()}
            missing = [part for part in requests if not _is_whole(part, counts[part])]
            done = num_examples - sum(counts[part] for part in missing)
            with _progress(path.name, done, num_examples) as update:
                if missing:
                    _draw_parts(missing, requests, workers, update)
            # Gzip files one after the other are a gzip file.
            whole = directory / "whole"
            with open(whole, "wb") as target:
                for part in requests:
                    with open(part, "rb") as source:
                        shutil.copyfileobj(source, target)
                files.sync(target)
            if path.exists():
                raise DatasetError(
                    f"{path} was made by someone else meanwhile; parts are in {directory}"
                )
            files.replace(whole, path)
            for part in requests:
                part.unlink()
    except OSError as error:
        raise DatasetError(f"cannot write {path}: {error}") from error


def main(argv=None):
    parser = Parser(
        prog="python -m multi_object_datasets.generate", description=__doc__.split("\n")[0]
    )
    parser.add_argument("name", metavar="NAME", help=", ".join(generators.NAMES))
    parser.add_argument("--num-examples", type=int, required=True, metavar="N")
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
