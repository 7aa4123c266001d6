"""The same plain function over a list of items: on Spark, or in this process."""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import shutil
import sys
import tempfile
import threading
import zipimport
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Sequence, TypeVar

from .errors import JobError, TaskError, from_task_text

Item = TypeVar("Item")
Result = TypeVar("Result")
Tick = Callable[[int], None]

POLL_SECONDS = 0.5
MOST_PARTITIONS = 20_000


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalExecutor:
    """One item after the other, here; the engine has all cores."""

    def __init__(self) -> None:
        self.threads = cores()

    def map(
        self, function: Callable[[Tick, Item], Result], items: Sequence[Item], progress: Callable[[int], None]
    ) -> list[Result]:
        """function(tick, item) of each item, in their order; progress(total ticks) is called as they come."""
        ticks = 0

        def tick(count: int) -> None:
            nonlocal ticks
            ticks += count
            progress(ticks)

        return [function(tick, item) for item in items]

    def versions(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        """Nothing to stop."""


class SparkExecutor:
    """One Spark task an item; Spark's slots times the engine's threads are the cores."""

    def __init__(self, name: str) -> None:
        from pyspark import SparkConf, SparkContext  # noqa: PLC0415  (there may be no Spark at all)

        self._folder = tempfile.mkdtemp(prefix="orchard-")
        conf = SparkConf().setAppName(name)
        conf.setIfMissing("spark.ui.enabled", "false")
        conf.setIfMissing("spark.ui.showConsoleProgress", "false")
        conf.setIfMissing("spark.master", "local[*]")
        try:
            self._context: Any = SparkContext.getOrCreate(conf)
            self._context.setLogLevel("WARN")
            self._context.addPyFile(package_archive(self._folder))
        except Exception as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise _spark_failed(error) from error
        is_local = str(self._context.master).startswith("local")
        slots = max(1, self._context.defaultParallelism)
        task_cpus = int(self._context.getConf().get("spark.task.cpus", "1"))
        self.threads = max(1, cores() // slots) if is_local else task_cpus

    def map(
        self, function: Callable[[Tick, Item], Result], items: Sequence[Item], progress: Callable[[int], None]
    ) -> list[Result]:
        """function(tick, item) of each item, in their order; progress(total ticks) is called twice a second."""
        if not items:
            return []
        ticks = self._context.accumulator(0)

        def run(part: Iterable[Item]) -> Iterator[Result]:
            for item in part:
                try:
                    yield function(ticks.add, item)
                except JobError as error:
                    raise TaskError(error) from error
            _settle()

        parts = self._context.parallelize(list(items), min(len(items), MOST_PARTITIONS))
        with _polled(lambda: progress(ticks.value)):
            try:
                return list(parts.mapPartitions(run).collect())
            except Exception as error:
                raise _spark_failed(error) from error

    def versions(self) -> dict[str, str]:
        java = self._context._jvm.java.lang.System.getProperty("java.version")
        return {"spark": self._context.version, "java": str(java), "spark_master": self._context.master}

    def close(self) -> None:
        with contextlib.suppress(Exception):  # the JVM may be the thing that failed
            self._context.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _settle() -> None:
    """Make the next task in this worker process start at once.

    Before each task Spark invalidates the import caches, which makes Python (3.10+) read the index of its archive again for
    every package that came out of one, and after each task it collects garbage among all that was ever imported.
    Together that is 0.2 s to 0.5 s a task. Neither does what is dropped here change what can be imported, nor what is freed.
    """
    for path, finder in list(sys.path_importer_cache.items()):
        if isinstance(finder, zipimport.zipimporter):
            del sys.path_importer_cache[path]
    if not gc.get_freeze_count():
        gc.freeze()


def package_archive(folder: str) -> str:
    """A zip of this package's modules, for the tasks' import path."""
    here = Path(__file__).resolve().parent
    staged = Path(folder) / "stage"
    (staged / here.name).mkdir(parents=True)
    for module in here.glob("*.py"):
        shutil.copy2(str(module), str(staged / here.name / module.name))
    return shutil.make_archive(str(Path(folder) / here.name), "zip", str(staged))


@contextlib.contextmanager
def _polled(poll: Callable[[], None]) -> Iterator[None]:
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(POLL_SECONDS):
            poll()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        poll()


def _spark_failed(error: Exception) -> JobError:
    text = str(error)
    known = from_task_text(text)
    if known is not None:
        return known
    print(text, file=sys.stderr)
    if "No space left on device" in text:
        return JobError(
            "The disk is full",
            f"{platform.node()}, Spark's folders",
            "Spark could not write its files.",
            "Free some space (spark.local.dir, /tmp) and run again; finished work is kept.",
        )
    if "Python worker exited unexpectedly" in text or "Python worker failed to connect back" in text:
        return JobError(
            "A Python worker of Spark died",
            platform.node(),
            "Something ended the process; most often the host was out of memory.",
            "Give the host more memory or swap, or use fewer task slots, and run again; finished work is kept.",
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "Exception" in line]
    return JobError(
        "Spark failed",
        platform.node(),
        (errors or lines or [type(error).__name__])[-1][:500],
        "The log has the whole of it.",
    )


def context_of(executor: Any) -> str:
    """How the work was done, for the manifest."""
    return "spark" if isinstance(executor, SparkExecutor) else "local"
