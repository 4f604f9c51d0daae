"""What to do about failures of the machine, by the words in which they are reported."""

import re

MAKE_ROOM = (
    "make room, or name a folder on another disk for all that is made (P2D_HOME=DIR); the same command then continues"
)
CUT_SHORT = f"a file of weights could not be written to its end, as on a full disk: {MAKE_ROOM}"
OWN_PLACE = (
    "make it yours to read and to write, or name another folder for all that is made (P2D_HOME=DIR); the same command "
    "then continues"
)
MORE_MEMORY = (
    "more memory is needed than there is: end other programs, use fewer cores (--cores 1), or ask the scheduler for "
    "more; the same command then continues"
)
ADVICE = {
    r"No space left on device|Disk quota exceeded|File too large": MAKE_ROOM,
    r"enforce fail at inline_container": CUT_SHORT,  # torch.save says no more than that
    r"PermissionError|Read-only file system": OWN_PLACE,
    r"MemoryError|[Oo]ut of memory|(can't|[Cc]annot|[Uu]nable to) allocate|[Kk]ernel died": MORE_MEMORY,
}


def with_advice(problem: str) -> str:
    """A failure in one line, with what to do about it where the machine is to blame."""
    return next((f"{problem}: {advice}" for words, advice in ADVICE.items() if re.search(words, problem)), problem)
