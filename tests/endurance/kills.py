"""Whether any moment is good for a kill: `python -m tests.endurance.kills [--kills N]`.

Trains a tiny model through two stages, killing it (SIGKILL) again and again at random moments and
going on by `continue_run=auto`, until it has been killed so often as asked. All losses that any of
the runs logged have to be those of a run that nothing interrupted, bit for bit. With --workers 2 it
is two workers, one of which is killed.
"""

import json
import pathlib
import random
import shutil
import subprocess
import tempfile
import time

from multi_object_datasets.arguments import Parser
from tests.helpers import tiny
from tests.test_workers import WORKERS, environments

LAST_STEP = 200
STAGES = f'[{{"until": 100, "image_dim": [14, 14], "kl_weight": 0.16}}, {{"until": {LAST_STEP}}}]'
# Where its peer was killed before they met, a worker would wait for an hour.
PEER_SECONDS = 60


def logged(directory):
    """{step: loss} of a run that a FileStorageObserver recorded; Sacred writes every 10 seconds."""
    file = directory / "metrics.json"
    metrics = json.loads(file.read_text()) if file.exists() else {}
    loss = metrics.get("loss", {"steps": [], "values": []})
    return dict(zip(loss["steps"], loss["values"]))


def start(out, num_workers):
    """Starts the training command as so many workers."""
    words = tiny.arguments(
        checkpoint_dir=out / "run",
        continue_run="auto",
        stages=STAGES,
        stop_after_steps=LAST_STEP,
        save_checkpoint_steps=20,
        data__cache=out,
    )
    observers = ["-F", str(out / "sacred")]
    tasks = environments(WORKERS[:num_workers]) if num_workers > 1 else [{}]
    return [
        tiny.start(*(observers if n == 0 else ()), *words, environment=environment)
        for n, environment in enumerate(tasks)
    ]


def finish(processes, timeout=None):
    """Waits for processes, kills those that take too long: exit code of the first one."""
    for process in processes:
        try:
            process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    return processes[0].returncode


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    out = pathlib.Path(tempfile.mkdtemp())
    (out / "whole").mkdir()
    began = time.monotonic()
    assert finish(start(out / "whole", args.workers)) == 0
    seconds = time.monotonic() - began
    expected = logged(out / "whole" / "sacred" / "1")
    assert list(expected) == list(range(1, LAST_STEP + 1))
    kills = compared = finished = 0
    while kills < args.kills:
        work = out / f"killed_{finished}"
        work.mkdir()
        while kills < args.kills:
            processes = start(work, args.workers)
            moment = rng.uniform(0.2, 1.0) * seconds
            time.sleep(moment)
            if processes[0].poll() is not None:
                break
            rng.choice(processes).kill()
            kills += 1
            finish(processes, PEER_SECONDS)
        code = finish(start(work, args.workers))
        # A run that came to its end has nothing left to do.
        assert code in (0, 1), code
        finished += 1
        for record in sorted((work / "sacred").glob("[0-9]*")):
            for step, loss in logged(record).items():
                assert loss == expected[step], (record, step, loss, expected[step])
                compared += 1
        print(f"{kills} kills, {finished} runs finished, {compared} losses equal", flush=True)
    shutil.rmtree(out)


if __name__ == "__main__":
    main()
