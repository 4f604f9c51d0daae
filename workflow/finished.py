"""The run that --verify, --make-reference and --crate work on: its name, and whether all notebooks have ended."""

from pathlib import Path

from cli import Refused
from places import REPOSITORY

from p2d_lib.artefacts import NOTEBOOKS
from p2d_lib.files import read_record
from p2d_lib.locks import RunBusy, refuse_driven
from p2d_lib.parameters.types import folder_name
from p2d_lib.suggest import did_you_mean


def check_profile(name: str) -> None:
    """Raises Refused for a profile that is no file of params/: folders are named after it."""
    known = sorted(path.stem for path in (REPOSITORY / "params").glob("*.yaml"))
    if name not in known:
        raise Refused(f"--profile {name}: no such profile{did_you_mean(name, known)}; there are {', '.join(known)}")


def check_run(runs: Path, name: str) -> None:
    """Raises Refused for a name that no run can have, for a run in which a notebook has not ended, and for one
    that is being made: some of its results would be those of before.

    runs: the folder data/runs.
    """
    try:
        folder_name(name)
    except ValueError as error:
        raise Refused(f"run {name!r}: {error}") from None
    try:
        refuse_driven(runs, name)
    except RunBusy as busy:
        raise Refused(str(busy)) from None
    missing = [notebook for notebook in NOTEBOOKS if not read_record(runs / name / "stages" / f"{notebook}.json")]
    if missing:
        near = "" if (runs / name).exists() else did_you_mean(name, sorted(path.name for path in runs.glob("[!.]*")))
        verb = "has" if len(missing) == 1 else "have"
        raise Refused(
            f"run {name} is not finished ({', '.join(missing)} {verb} not been made)"
            f"{near or ': ./run_all.sh with the options of this run makes it'}"
        )
