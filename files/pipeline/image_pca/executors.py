"""The same plain function over a list of items: on Spark, or in this process."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import shutil
import sys
import tempfile
import threading
import zipimport
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Sequence, TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from .cluster import await_executors, components, place_of, refuse_others
from .errors import JobError, TaskError, from_task_text
from .sizes import MOST_THREADS

Item = TypeVar("Item")
Result = TypeVar("Result")
Tick = Callable[[int], None]

POLL_SECONDS = 0.5
MOST_PARTITIONS = 20_000
DEFAULTS = {"spark.master": "local[*]", "spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """work(item) of each item, in their order, in as many threads as there are processors and the memory plan counts."""
    with ThreadPoolExecutor(min(cores(), MOST_THREADS)) as pool:
        return list(pool.map(work, items))


class LocalExecutor:
    """One item after the other, here; the engine has all cores."""

    slots = 1
    spark = False

    def __init__(self) -> None:
        self.threads = cores()

    def map(
        self, function: Callable[[Tick, Item], Result], items: Sequence[Item], progress: Callable[[int], None]
    ) -> list[Result]:
        """function(tick, item) of each item, in their order; progress(total ticks) is called as they come."""
        ticks = 0
        lock = threading.Lock()

        def tick(count: int) -> None:
            nonlocal ticks
            with lock:
                ticks += count
                progress(ticks)

        return self._each(functools.partial(function, tick), items)

    def _each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        return [work(item) for item in items]

    def versions(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        """Nothing to stop."""


class ThreadExecutor(LocalExecutor):
    """As many items at once as there are processors, here: for what is done outside of the interpreter's lock."""

    def _each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        # A thread that ends its own limit would end that of the others, were there none around them all.
        with threadpool_limits(1):
            return in_threads(work, items)


class SparkExecutor:
    """One Spark task an item; Spark's slots times the engine's threads are the cores.

    Spark starts with the first work: a run that finds everything computed does without.
    """

    spark = True

    def __init__(self, name: str) -> None:
        self._name = name
        self._folder = ""
        self._started: Any = None

    @property
    def threads(self) -> int:
        """Threads of the engine in each task."""
        context = self._context
        if self._here:
            return max(1, cores() // max(1, int(context.defaultParallelism)))
        return int(context.getConf().get("spark.task.cpus", "1"))

    @property
    def slots(self) -> int:
        """Tasks at once on this host: none where a cluster does the work."""
        return int(self._context.defaultParallelism) if self._here else 0

    @property
    def _here(self) -> bool:
        """Whether the tasks are threads of the driver's own Java; those of local-cluster are not."""
        return str(self._context.master).partition("[")[0] == "local"

    @property
    def _context(self) -> Any:
        if self._started is None:
            from pyspark import SparkConf, SparkContext  # noqa: PLC0415  (there may be no Spark at all)

            try:
                # Without Java a SparkConf knows nothing of what spark-submit was told, and everything is "missing".
                SparkContext._ensure_initialized()
                conf = SparkConf().setAppName(self._name)
                for name, value in DEFAULTS.items():
                    conf.setIfMissing(name, value)
                self._folder = tempfile.mkdtemp(prefix="orchard-")
                self._started = SparkContext.getOrCreate(conf)
                self._started.setLogLevel("WARN")
                self._started.addPyFile(package_archive(self._folder))
                if not self._here:
                    print(f"Spark application {self._started.applicationId}", file=sys.stderr, flush=True)
                    await_executors(self._started)
            except JobError:
                raise
            except Exception as error:
                raise _spark_failed(error) from error
        return self._started

    def map(
        self, function: Callable[[Tick, Item], Result], items: Sequence[Item], progress: Callable[[int], None]
    ) -> list[Result]:
        """function(tick, item) of each item, in their order; progress(total ticks) is called twice a second."""
        if not items:
            return []
        ticks = self._context.accumulator(0)
        ours = components()

        def run(part: Iterable[Item]) -> Iterator[Result]:
            for item in part:
                try:
                    refuse_others(ours)
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
        from pyspark import version  # noqa: PLC0415

        found = {"spark": version.__version__}
        if self._started is not None:
            java = self._started._jvm.java.lang.System.getProperty("java.version")
            found.update(java=str(java), spark_master=str(self._started.master))
        return found

    def close(self) -> None:
        if self._started is not None:
            with contextlib.suppress(Exception):  # the JVM may be the thing that failed
                self._started.stop()
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
    place = place_of(text)
    if "No space left on device" in text:
        return JobError(
            "The disk is full",
            f"{place}, Spark's folders",
            "Spark could not write its files.",
            "Free some space (spark.local.dir, /tmp) and run again; finished work is kept.",
        )
    if "ExecutorLostFailure" in text:
        return JobError(
            "An executor of Spark was lost again and again",
            place,
            "Its host went away, or something ended its process there; most often memory ran out.",
            "Look at the cluster with playbooks/status.yml, and run again; finished work is kept.",
        )
    if "Python worker exited unexpectedly" in text or "Python worker failed to connect back" in text:
        return JobError(
            "A Python worker of Spark died",
            place,
            "Something ended the process; most often the host was out of memory.",
            "Give the host more memory or swap, or use fewer task slots, and run again; finished work is kept.",
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "Exception" in line]
    return JobError(
        "Spark failed",
        place,
        (errors or lines or [type(error).__name__])[-1][:500],
        "The log has the whole of it.",
    )
