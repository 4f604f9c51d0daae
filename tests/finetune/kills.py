"""Work that is killed as a power cut would: in a process of its own, by SIGKILL."""

import os
import signal
from collections.abc import Callable

import torch


def killed_or_finished(work: Callable[[], None]) -> int:
    """Does `work` in a process of its own, with one thread; returns how it ended (SIGKILL where it killed itself)."""
    if (child := os.fork()) == 0:
        try:
            torch.set_num_threads(1)
            work()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def kills_itself_after(calls: int, honest: Callable) -> Callable:
    """`honest`, which ends its process by SIGKILL when it is called once more than `calls` times."""
    count = []

    def counted(*arguments, **named):
        count.append(1)
        if len(count) > calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return honest(*arguments, **named)

    return counted
