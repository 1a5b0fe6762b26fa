"""How many CPUs this process may use."""

import math
import os
import pathlib


def available_cpus(cgroup="/sys/fs/cgroup"):
    """Returns the number of CPUs that this process may use, at least 1.

    That is, of those that it may run on, as many as its container's quota of CPU time fills.

    Args:
      cgroup: directory of the container's control group, version 2 or 1.
    """
    if hasattr(os, "sched_getaffinity"):  # On Linux.
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, math.ceil(min(count, _quota(pathlib.Path(cgroup)))))


def _quota(cgroup):
    """Returns the CPUs' worth of time that a control group may use, infinite without a limit."""
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota, period = (
                (cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
            )
        # Without a limit, version 2 says max and version 1 says -1.
        return math.inf if quota == "max" or int(quota) < 0 else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf
