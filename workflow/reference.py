"""The committed results that a run is compared with: tables/reference/<profile>, made from a run and its reruns.

The folder holds the run's tables as CSV; in reruns/<name> the tables of each rerun that came out otherwise; and
origin.json, what all of it was made from, with a perceptual hash of each figure. No image, no path of a machine.
"""

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import finished
import request
import verify_figures
from cli import Refused
from places import HOME, REPOSITORY, RUNS
from progress import say
from stages import StageError, Stages
from verify_origin import NOTHING, SHORT, changed, edited_tables, origin
from verify_tables import Reference, Table, read_folder

from p2d_lib.artefacts import ARTEFACTS, NOTEBOOKS
from p2d_lib.files import atomic, file_sha256, read_record, remove

FOLDER = REPOSITORY / "tables" / "reference"
AGAIN = "run ./run_all.sh --make-reference again, or take the folder anew from git"


def load(folder: Path) -> tuple[Reference, dict]:
    """A reference and its origin. A folder of CSV files without origin.json, such as tables/<run>, will do: it has no
    reruns, and its origin is that of the run of its name. Raises Refused."""
    if not folder.is_dir():
        made = "./run_all.sh --make-reference makes one from a finished run"
        raise Refused(f"there is no reference {folder}: {made}, --against DIR names another folder of tables")
    tables, record = read_folder(folder), _record(folder / "origin.json")
    if not tables:
        raise Refused(f"{folder} holds no table (*.csv)")
    if not record:
        return Reference(tables), _origin_of_run(folder.name) if folder.parent == HOME / "tables" else {}
    _refuse_edited(folder, record["tables"])
    for name, each in record["reruns"].items():
        _refuse_edited(folder / "reruns" / name, each.get("tables", {}))
    reruns = {name: _rerun(folder / "reruns" / name, tables, each) for name, each in record["reruns"].items()}
    return Reference(tables, reruns, {name: each["same_parameters"] for name, each in record["reruns"].items()}), record


def _origin_of_run(run: str) -> dict:
    """As origin.json has it, without reruns; {} where there is no run."""
    record = origin(RUNS / run)
    return record | {"figures": verify_figures.hashes(HOME / "figures" / run), "reruns": {}} if record else {}


def _record(path: Path) -> dict:
    """The origin of a reference; {} where the folder has none. Raises Refused for a file that is none."""
    record = read_record(path)
    parts = [record.get(name) for name in ("notebooks", "artefacts", "tables", "reruns")]
    if path.exists() and not all(isinstance(part, dict) for part in parts):
        raise Refused(f"{path} does not say what the reference was made from: {AGAIN}")
    return record


def _refuse_edited(folder: Path, digests: Mapping[str, str]) -> None:
    for name, digest in digests.items():
        path = folder / f"{name}.csv"
        if not path.exists() or file_sha256(path)[:SHORT] != digest:
            raise Refused(f"{path} is not what the reference was made with (origin.json): {AGAIN}")


def _rerun(folder: Path, tables: Mapping[str, Table], record: dict) -> dict[str, Table]:
    """All tables of a rerun; those that are not in its folder are as in the reference."""
    return {name: table for name, table in {**tables, **read_folder(folder)}.items() if name not in record["missing"]}


def make(options: argparse.Namespace, argv: list[str]) -> int:
    """Writes the reference of a profile from its run; returns the exit code.

    options.make_reference: finished reruns of it. options.rerun_on: numbers of cores on which the run is first made
    once more, which takes as long as the run; such a rerun is kept and continued like any run. Raises Refused.
    """
    run = options.run or options.profile
    reruns = {f"{run}-on-{cores}": cores for cores in options.rerun_on}
    names = list(dict.fromkeys([*options.make_reference, *reruns]))
    finished.check_profile(options.profile)
    for name in (run, *options.make_reference):
        _checked(name)
    if run in names:
        raise Refused(f"--make-reference {run}: a run is no rerun of itself: name other runs, or --rerun-on N")
    if reruns and (why := next(filter(None, _outdated(options, run).values()), "")):
        raise Refused(
            f"run {run} would come out otherwise today ({why}), and so would its reruns: give the options that it was "
            f"made with, or make it anew first: ./run_all.sh --run {run}"
        )
    for name, cores in reruns.items():
        from paper import run_paper

        say(f"Run {name}: {run} once more, on {cores} {'core' if cores == 1 else 'cores'}")
        _forget_audit(options, name)
        if code := run_paper(argparse.Namespace(**{**vars(options), "run": name, "cores": cores}), argv):
            return code
    folder = write(FOLDER / options.profile, run, names)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1024
    say(f"{folder}: {len(list(folder.glob('*.csv')))} tables, {len(names)} reruns, {size:.0f} kB")
    return 0


def _outdated(options: argparse.Namespace, run: str) -> dict[str, str]:
    """Why each notebook of a run has to run with these options; "" for one that is up to date. Raises Refused."""
    stages = Stages(RUNS / run, request.parameters(argparse.Namespace(**{**vars(options), "run": run})))
    try:
        return {notebook: stages.why(notebook) for notebook in NOTEBOOKS}
    except StageError as error:
        raise Refused(str(error)) from None


def _forget_audit(options: argparse.Namespace, run: str) -> None:
    """Removes what 05 found in an earlier pass over a rerun whose 04 is made anew, which would refuse images by it."""
    why = _outdated(options, run)
    if any(why[notebook] for notebook in NOTEBOOKS[: NOTEBOOKS.index("04_sample") + 1]):
        remove(RUNS / run / ARTEFACTS["memorisation"].path)


def write(folder: Path, run: str, reruns: list[str]) -> Path:
    """Makes the reference folder of a run and its reruns, all of them finished. Raises Refused."""
    record = _checked(run)
    record["figures"] = verify_figures.hashes(HOME / "figures" / run)
    record["reruns"] = {name: _compared(record, run, name) for name in reruns}
    with atomic(folder) as partial:
        partial.mkdir()
        _copy(run, partial)
        for name in reruns:
            (partial / "reruns" / name).mkdir(parents=True)
            _copy(name, partial / "reruns" / name, beside=partial)
            copied = sorted((partial / "reruns" / name).glob("*.csv"))
            record["reruns"][name]["tables"] = {path.stem: file_sha256(path)[:SHORT] for path in copied}
        (partial / "origin.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return folder


def _checked(run: str) -> dict:
    """The origin of a finished run from nothing whose tables nobody has changed. Raises Refused."""
    finished.check_run(RUNS, run)
    if edited := edited_tables(RUNS / run, HOME / "tables" / run):
        raise Refused(f"table {edited[0]} of run {run} was changed since it was made: ./run_all.sh --run {run}")
    record = origin(RUNS / run)
    for notebook, facts in record["notebooks"].items():
        if facts["earlier"] not in ("", NOTHING):
            raise Refused(
                f"{notebook} of run {run} obeyed {facts['earlier']}, which an earlier pass over the run had left, so "
                f"its tables are not those of a run from nothing: delete this file in {RUNS / run}, then "
                f"./run_all.sh --run {run} --from {notebook}, with the options of this run"
            )
    return record


def _compared(record: dict, run: str, name: str) -> dict:
    """What a rerun differs in. Raises Refused where that is more than seed, device and threads."""
    rerun = _checked(name)
    differs = list(dict.fromkeys(words for notebook in NOTEBOOKS for words in changed(record, rerun, notebook)))
    seeds = [words for words in differs if words.startswith("parameter seed:")]
    wrong = [words for words in differs if words not in seeds and not words.startswith(("device:", "threads:"))]
    if wrong:
        raise Refused(
            f"run {name} is no rerun of {run}: {wrong[0]}. A rerun differs in seed, device or threads alone: "
            f"./run_all.sh --run {name}, with the options of {run}"
        )
    missing = sorted(_names(run) - _names(name))
    shares = verify_figures.differences(record["figures"], HOME / "figures" / name)
    return {"same_parameters": not seeds, "differs": differs, "missing": missing, "figures": shares}


def _names(run: str) -> set[str]:
    return {path.stem for path in (HOME / "tables" / run).glob("*.csv")}


def _copy(run: str, folder: Path, beside: Path | None = None) -> None:
    """Copies a run's tables; beside: only those that are other than there."""
    for path in sorted((HOME / "tables" / run).glob("*.csv")):
        if beside is None or not (beside / path.name).exists():
            other = beside is None
        else:
            other = path.read_bytes() != (beside / path.name).read_bytes()
        if other:
            shutil.copyfile(path, folder / path.name)
