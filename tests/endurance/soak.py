"""Whether a long run stays as it began: `python -m tests.endurance.soak [--steps N]`.

Trains a tiny model on a terminal of its own, with a file and a database observer and TensorBoard,
and prints memory, disk and steps/s as they develop; from the tenth part on they should be flat.
"""

import json
import os
import pathlib
import pty
import re
import termios
import threading
import time

from multi_object_datasets.arguments import Parser
from tests.helpers import tiny

NUM_SAMPLES = 10
STEP = re.compile(rb"^ *(\d+) Loss:", re.MULTILINE)


def resident_megabytes(pid):
    """Memory that a process holds, in MB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def megabytes_of(directory):
    """Size of all files below a directory, in MB."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 1e6


class Terminal:
    """A terminal that a process writes to; keeps the number of the last step it printed."""

    def __init__(self):
        self.side, self.process_side = pty.openpty()
        termios.tcsetwinsize(self.process_side, (40, 140))  # rows and columns
        self.step = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        kept = b""
        while True:
            try:
                kept = (kept + os.read(self.side, 65536).replace(b"\r", b"\n"))[-4096:]
            except OSError:  # what Linux gives where other systems give an end of file
                return
            steps = STEP.findall(kept)
            if steps:
                self.step = int(steps[-1])


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/soak"))
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    observers = ["-F", str(args.out / "sacred"), "-s", f"sqlite:///{args.out}/sacred.sqlite"]
    words = tiny.arguments(
        checkpoint_dir=args.out / "run",
        stop_after_steps=args.steps,
        save_summaries_steps=10,
        save_images_steps=1000,
        save_checkpoint_steps=1000,
        data__cache=args.out,
    )
    terminal = Terminal()
    process = tiny.start(
        *observers, *words, stdout=terminal.process_side, stderr=terminal.process_side
    )
    os.close(terminal.process_side)
    print("| step | steps/s | memory MB | disk MB |\n| --- | --- | --- | --- |", flush=True)
    samples, last_step, last_time = [], 0, time.monotonic()
    while process.poll() is None:
        time.sleep(0.5)
        if terminal.step < (len(samples) + 1) * args.steps // NUM_SAMPLES:
            continue
        if process.poll() is not None:
            break
        step, now = terminal.step, time.monotonic()
        rate = (step - last_step) / (now - last_time)
        samples.append((step, rate, resident_megabytes(process.pid), megabytes_of(args.out)))
        print("| {} | {:.1f} | {:.0f} | {:.1f} |".format(*samples[-1]), flush=True)
        last_step, last_time = step, now
    assert process.returncode == 0, process.returncode
    (record,) = (args.out / "sacred").glob("[0-9]*")
    status = json.loads((record / "run.json").read_text())["status"]
    size = (record / "cout.txt").stat().st_size
    print(f"{status}; {size / args.steps:.2f} characters of output kept for each step")


if __name__ == "__main__":
    main()
