"""What threads of one process do is what one after the other would have done."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from image_pca import executors
from image_pca.executors import ThreadExecutor
from image_pca.moments import BLAS_THREADS
from threadpoolctl import threadpool_info, threadpool_limits


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> ThreadExecutor:
    monkeypatch.setattr(executors, "cores", lambda: 4)
    return ThreadExecutor()


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_results_come_in_their_order_and_several_items_are_at_work(four: ThreadExecutor) -> None:
    together = threading.Barrier(4, timeout=30)

    def work(tick: Any, item: int) -> int:
        together.wait()
        tick(item)
        return item * item

    told: list[int] = []
    assert four.map(work, list(range(8)), told.append) == [item * item for item in range(8)]
    assert (len(told), max(told)) == (8, sum(range(8)))
    assert told == sorted(told)


def test_an_item_that_fails_fails_the_whole_and_others_do_not_begin(four: ThreadExecutor) -> None:
    begun: list[int] = []

    def work(tick: Any, item: int) -> None:
        begun.append(item)
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"):
        four.map(work, list(range(1000)), int)
    assert len(begun) < 1000


def test_threads_that_end_their_limit_of_the_blas_do_not_end_that_of_others(four: ThreadExecutor) -> None:
    """With other numbers of threads come other sums."""
    together = threading.Barrier(2, timeout=30)

    def work(tick: Any, item: int) -> set[int]:
        with threadpool_limits(BLAS_THREADS):
            together.wait()
            if item % 2:
                together.wait()
                return blas_threads()
        together.wait()
        return {BLAS_THREADS}

    with threadpool_limits(2):
        before = blas_threads()
        assert four.map(work, [0, 1], int) == [{BLAS_THREADS}, {BLAS_THREADS}]
        assert blas_threads() == before
