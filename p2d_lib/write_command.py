"""What the commands have in common that write what a run has made into a folder of the user's."""

import sys
from collections.abc import Callable
from pathlib import Path

from p2d_lib.files import refused_by_system
from p2d_lib.home import home


def lies_in_a_run(path: Path) -> bool:
    """Whether a path lies where runs do (data/runs, tables, figures): what is not of a run makes it outdated there, or
    is overwritten by it."""
    here = home().resolve()
    return any(path.resolve().is_relative_to(here / name) for name in ("data/runs", "tables", "figures"))


def run_write(write: Callable[[], str], out: Path, *refusals: type[Exception]) -> int:
    """Prints the sentence that write returns and gives 0; for a refusal, or a folder `out` that cannot be filled, it
    prints that to stderr and gives 1.

    refusals: besides ArtefactError and RunBusy.
    """
    from p2d_lib.locks import RunBusy
    from p2d_lib.run import ArtefactError

    try:
        print(write())
    except (ArtefactError, RunBusy, *refusals) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {refused_by_system(error, out)} (--out)", file=sys.stderr)
        return 1
    return 0
