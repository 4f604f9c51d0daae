"""The hint of an error message: the known name that is nearest to a wrong one."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ ": did you mean 'seeds'?" where one of the known names is near, else ""; to be put behind the wrong name."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else ""
