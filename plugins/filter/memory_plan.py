"""The memory plan of Spark on a host: heaps of driver and executors, and how much a worker offers."""

from __future__ import annotations

from typing import Any, Callable

SHARE = 0.25
STEP_MB = 256
LEAST_MB = 1024
MOST_DRIVER_MB, MOST_EXECUTOR_MB = 4096, 8192
SYSTEM_MB = 1024
# A Python process with the model loaded.
PROCESS_MB = 768


def _heap_mb(memory_mb: int, most: int) -> int:
    """Return a quarter of the memory in MB, in steps: they keep the figure when a kernel reports a few pages less than before."""
    return max(LEAST_MB, min(most, int(memory_mb * SHARE) // STEP_MB * STEP_MB))


def driver_memory_mb(memory_mb: int) -> int:
    """Return the heap of Spark's driver in MB: a share of the host's memory."""
    return _heap_mb(memory_mb, MOST_DRIVER_MB)


def executor_memory_mb(memory_mb: int) -> int:
    """Return the heap of an executor in MB: a quarter of the memory, since most of it is for the Python processes beside it."""
    return _heap_mb(memory_mb, MOST_EXECUTOR_MB)


def worker_memory_mb(memory_mb: int) -> int:
    """Return what a worker offers to executors in MB: room for two, those of a notebook and of a run."""
    return 2 * executor_memory_mb(memory_mb)


def worker_cores(memory_mb: int, processors: int) -> int:
    """Return how many tasks a worker runs at once: as many as it has processors, and memory for Python processes."""
    return max(1, min(int(processors), (int(memory_mb) - SYSTEM_MB - executor_memory_mb(memory_mb)) // PROCESS_MB))


class FilterModule:
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name → function."""
        functions = (driver_memory_mb, executor_memory_mb, worker_memory_mb, worker_cores)
        return {function.__name__: function for function in functions}
