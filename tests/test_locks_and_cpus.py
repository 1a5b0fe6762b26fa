"""Locks on files, and the number of CPUs."""

import concurrent.futures
import errno
import os
import stat
import subprocess
import sys
import time

import pytest
import tensorflow as tf

from iodine.checkpoints import CheckpointWriter, read_checkpoint
from iodine.errors import UserError
from multi_object_datasets import files
from multi_object_datasets.cpus import available_cpus
from multi_object_datasets.generate import generate
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


def fail_to_sync_directories(monkeypatch, number):
    """Gives the process a file system whose directories cannot be synced: an errno says why."""
    fsync = os.fsync

    def fail(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_directories_takes_files(tmp_path, monkeypatch, number):
    fail_to_sync_directories(monkeypatch, number)
    generate("shapes", 3, 0, tmp_path / "scenes", workers=1)
    assert (tmp_path / "scenes").exists()
    variable = tf.Variable(1.0)
    writer = CheckpointWriter(str(tmp_path / "c"), {}, model=tf.train.Checkpoint(v=variable))
    assert read_checkpoint(writer.save(1))["model/v/.ATTRIBUTES/VARIABLE_VALUE"] == 1.0


def test_a_directory_that_cannot_be_synced_for_another_reason_is_an_error(tmp_path, monkeypatch):
    fail_to_sync_directories(monkeypatch, errno.EIO)
    with pytest.raises(OSError):
        files.sync_paths(tmp_path)
    writer = CheckpointWriter(str(tmp_path), {}, model=tf.train.Checkpoint(v=tf.Variable(1.0)))
    with pytest.raises(UserError, match="cannot write the checkpoint of step 1"):
        writer.save(1)


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
