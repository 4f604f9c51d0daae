"""How many CPU cores this process may use."""

import os


def cores() -> int:
    """The cores that the system gives this process (a cluster's job has fewer than its machine), at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
