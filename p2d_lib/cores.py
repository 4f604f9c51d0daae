"""How many CPU cores this process may use, and work that is shared among them."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Job, Result = TypeVar("Job"), TypeVar("Result")


def cores() -> int:
    """The cores that the system gives this process (a cluster's job has fewer than its machine), at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers() -> int:
    """Threads or processes that compute at once: as `P2D_THREADS` says, else one for each core of `cores`."""
    return int(os.environ.get("P2D_THREADS") or cores())


def shared(work: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
    """work(job) for each job, in order, as they are done.

    As many processes share the work as `workers` says; one job, or one process, is computed here. After an error, or
    when the iterator is closed, jobs that wait are not begun.
    """
    processes = min(len(jobs), workers())
    if processes <= 1:
        yield from map(work, jobs)
        return
    pool = ProcessPoolExecutor(processes, get_context("spawn"))
    try:
        yield from pool.map(work, jobs)
    finally:
        pool.shutdown(cancel_futures=True)
