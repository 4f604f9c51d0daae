"""The hint of an error message: the known name that is nearest to a wrong one."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ ": did you mean 'seeds'?" where a known name is near, or begins so, else ""; to be put behind the wrong name."""
    if not name:
        return ""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5) or [one for one in known if one.startswith(name)]
    return f": did you mean {close[0]!r}?" if close else ""
