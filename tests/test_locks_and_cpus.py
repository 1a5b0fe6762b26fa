"""Locks on files, and the number of CPUs."""

import concurrent.futures
import os
import subprocess
import sys
import time

import pytest

from multi_object_datasets import files
from multi_object_datasets.cpus import available_cpus
from tests.helpers.generator_process import ROOT


def test_a_lock_that_was_waited_for_still_keeps_others_out(tmp_path):
    # A lock file that its holder removes on leaving would let the second and the third in together.
    inside, most = 0, 0

    def enter(_):
        nonlocal inside, most
        with files.only_one_process(tmp_path / "file"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(24)))
    assert most == 1


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({}, 99),
        ({"cpu.max": "max 100000\n"}, 99),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 99),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_cpus_are_counted_within_a_containers_limits(tmp_path, limits, most):
    for name, text in limits.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    usable = len(os.sched_getaffinity(0))
    assert available_cpus(tmp_path) == min(most, usable)
    one = min(os.sched_getaffinity(0))
    program = (
        f"import os; os.sched_setaffinity(0, {{{one}}});"
        "from multi_object_datasets.cpus import available_cpus; print(available_cpus())"
    )
    output = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)
    assert output.stdout == b"1\n"
