"""Worker processes that draw scenes, and the parts of a file that they are written to."""

import concurrent.futures
import contextlib
import gzip
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import threading

from multi_object_datasets import files, records
from multi_object_datasets.errors import DatasetError


class Worker:
    """A worker process; `draw` asks it for scenes."""

    def __init__(self):
        root = str(pathlib.Path(__file__).resolve().parents[2])
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


def write_part(part, scenes):
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


def is_whole(part, num_scenes):
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


def draw_parts(missing, requests, workers, update):
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
            local.worker = Worker()
            started.append(local.worker)
        request = requests[part]
        write_part(part, local.worker.draw(request))
        return request["stop"] - request["start"]

    pool = concurrent.futures.ThreadPoolExecutor(min(workers, len(missing)))
    try:
        for future in concurrent.futures.as_completed([pool.submit(draw, p) for p in missing]):
            update(future.result())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in started:
            worker.close()
