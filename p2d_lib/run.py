"""Where a run's artefacts live: checked tables and provenance.

`Run` is the only thing that knows paths. It also keeps a run consistent: a notebook that somebody runs by hand may not
write with other parameters than the run's, nor read what was made with others or changed since.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from p2d_lib.artefacts import ARTEFACTS, result_parameters
from p2d_lib.cores import workers
from p2d_lib.files import atomic, read_record, remove, sha256, sidecar
from p2d_lib.home import home
from p2d_lib.locks import lock_notebook

PACKAGES = ("numpy", "pandas", "scikit-learn", "torch", "diffusers", "transformers", "peft", "open_clip_torch")


class ArtefactError(Exception):
    """An artefact is missing, is not the run's, or does not fit its schema."""


class OtherParameters(Exception):
    """A notebook was given other parameters than the run that it would write into."""


@cache
def _commit() -> str:
    """The commit of this repository; "unknown" without git, and where only a folder above is a repository."""
    repository = Path(__file__).resolve().parents[1]
    if not shutil.which("git") or Path(_git("rev-parse", "--show-toplevel") or "/").resolve() != repository:
        return "unknown"
    return _git("describe", "--always", "--dirty") or "unknown"


@cache
def _pins() -> str:
    """The digest of requirements.lock, by which .venv was made; "unknown" where the library lies elsewhere."""
    path = Path(__file__).resolve().parents[1] / "requirements.lock"
    return sha256(path) if path.exists() else "unknown"


def _git(*arguments: str) -> str:
    """What git says of the library's folder, whatever repository a hook's variables (GIT_DIR) name; "" on failure."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    git = subprocess.run(
        ["git", *arguments], cwd=Path(__file__).parent, env=environment, capture_output=True, encoding="utf-8"
    )
    return git.stdout.strip() if git.returncode == 0 else ""


def _threads() -> int:
    """CPU threads that numerics use: torch's where it is loaded, else as P2D_THREADS says, else one a core."""
    if torch := sys.modules.get("torch"):
        return torch.get_num_threads()
    return workers()


class Run:
    """One run of the paper, as one notebook reads and writes it.

    name: the run's folder under data/runs. notebook: which notebook writes. parameters: its values of all parameters.
    The digests of what was read are remembered, and each artefact written gets a sidecar `<name>.provenance.json` that
    says from what, with which code and how it was made. Outside ./run_all.sh a Run holds the notebook's lock as long as
    it lives. Raises locks.RunBusy where another process writes into the run, OtherParameters where ./run_all.sh made
    the run with other parameters of this notebook, ArtefactError for a name that is no folder's.
    """

    def __init__(self, name: str, notebook: str, parameters: dict | None = None):
        self.name, self.notebook, self.parameters = name, notebook, parameters or {}
        if not name or name == ".." or Path(name).name != name:
            raise ArtefactError(f"run {name!r}: a run is named by its folder in {home() / 'data' / 'runs'}, no path")
        self.folder = home() / "data" / "runs" / name
        self.tables, self.figures = home() / "tables" / name, home() / "figures" / name
        self.execution = os.environ.get("P2D_EXECUTION") or uuid.uuid4().hex  # of the notebook, from first to last cell
        self._inputs: dict[str, str] = {}
        self._earlier: dict[str, str] = {}  # what a later notebook left on an earlier pass, where results follow it
        self._written = 0  # files and folders
        self._started = time.monotonic()
        self.driven = os.environ.get("P2D_RUN_MARK") == str(self.folder)  # the driver holds the run for this process
        if not self.driven:
            self._refuse_other_parameters()
            self._lock = lock_notebook(self.folder.parent, name, notebook, self._part())

    def _part(self) -> str:
        i, n = self.parameters.get("shard", (0, 1))
        return f".{i}-of-{n}" if n > 1 else ""

    def _declared(self, notebook: str) -> dict:
        """The parameters that ./run_all.sh gave a notebook of this run; {} in a run that it has not made."""
        return result_parameters(read_record(self.folder / "parameters.json").get(notebook, {}))

    def _refuse_other_parameters(self) -> None:
        declared, values = self._declared(self.notebook), result_parameters(self.parameters)
        for name in sorted(declared.keys() & values.keys()):
            if declared[name] != values[name]:
                raise OtherParameters(
                    f"run {self.name!r} was made with {self.notebook}.{name} = {declared[name]!r} "
                    f"({self.folder / 'parameters.json'}), and this notebook has {values[name]!r}. A run has one set "
                    "of parameters: set it back, or give these a run of their own: ./run_all.sh --run NAME "
                    f"--set {self.notebook}.{name}={json.dumps(values[name])} --to {self.notebook}"
                )

    def path(self, artefact: str) -> Path:
        """Where an artefact lies. Raises ArtefactError, naming the notebook to run, when it is not there or, made by
        another notebook, is not the run's: changed since it was made, or made with other parameters or inputs."""
        path, made_by = self.folder / ARTEFACTS[artefact].path, ARTEFACTS[artefact].made_by
        if not path.exists():
            raise ArtefactError(f"{path} is missing: {self._make(made_by)} first")
        if artefact not in self._inputs and made_by != self.notebook:
            digest = sha256(path)
            self._check_belongs(artefact, path, digest)
            self._inputs[artefact] = digest
        return path

    def _check_belongs(self, artefact: str, path: Path, digest: str) -> None:
        made_by = ARTEFACTS[artefact].made_by
        provenance = _provenance(path)
        declared, recorded = self._declared(made_by), result_parameters(provenance.get("parameters", {}))
        changed = [name for name in sorted(declared.keys() & recorded.keys()) if declared[name] != recorded[name]]
        problem = ""
        if provenance.get("sha256", digest) != digest:
            problem = f"is not what {made_by} wrote: it was changed since"
        elif changed:
            now, then = declared[changed[0]], recorded[changed[0]]
            problem = f"was made with {made_by}.{changed[0]} = {then!r}, and the run now has {now!r}"
        for name, read in provenance.get("inputs", {}).items():
            if name in ARTEFACTS and _provenance(self.folder / ARTEFACTS[name].path).get("sha256", read) != read:
                problem = problem or f"was made from another {ARTEFACTS[name].path} than the run's"
        if problem:
            raise ArtefactError(f"{path} {problem}: {self._make(made_by)} again")

    def _make(self, notebook: str) -> str:
        return (
            f"run notebooks/{notebook}.ipynb with run={self.name!r} (or ./run_all.sh --run {self.name} --to {notebook})"
        )

    def read(self, artefact: str) -> pd.DataFrame:
        """A table, checked against its schema. Raises ArtefactError for one that is missing, broken or does not fit."""
        return self._table(self.path(artefact), artefact)

    def read_earlier(self, artefact: str) -> pd.DataFrame | None:
        """A table that a later notebook left on an earlier pass over the run; None where there is none.

        It is not noted as an input: `note_earlier` notes it where it counts. Raises ArtefactError as `read` does, and
        for a table that was changed since.
        """
        path, made_by = self.folder / ARTEFACTS[artefact].path, ARTEFACTS[artefact].made_by
        if not path.exists():
            return None
        if _provenance(path).get("sha256", digest := sha256(path)) != digest:
            raise ArtefactError(
                f"{path} is not what {made_by} wrote: it was changed since: run {made_by} again, or delete it to do "
                "without it"
            )
        return self._table(path, artefact)

    def made_with(self, artefact: str) -> dict:
        """The provenance of an artefact: "parameters" and what else `provenance` writes. Raises ArtefactError as `path`
        does, and where there is none."""
        path = self.path(artefact)
        if "parameters" not in (record := _provenance(path)):
            again = self._make(ARTEFACTS[artefact].made_by)
            raise ArtefactError(f"{path} has no provenance, so nobody can say what it was made with: {again} again")
        return record

    def note_earlier(self, artefact: str) -> None:
        """Notes that results follow a table of `read_earlier`: those of a run from nothing are other ones."""
        self._earlier[artefact] = sha256(self.folder / ARTEFACTS[artefact].path)

    def _table(self, path: Path, artefact: str) -> pd.DataFrame:
        try:
            table = pd.read_parquet(path)
        except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
            again = f"delete it and run notebooks/{ARTEFACTS[artefact].made_by}.ipynb again"
            reason = " ".join(str(error).split())[:200]
            raise ArtefactError(f"{path} is not a readable table ({reason}): {again}") from None
        try:
            return _checked(table, artefact)
        except ArtefactError as error:
            raise ArtefactError(
                f"{error}; {path} does not fit: {self._make(ARTEFACTS[artefact].made_by)} again"
            ) from None

    def write(self, artefact: str, table: pd.DataFrame) -> pd.DataFrame:
        """Checks and writes a table; returns it as checked."""
        table = _checked(table.reset_index(drop=True), artefact)
        with self.writing(artefact) as partial:
            table.to_parquet(partial, index=False)
        return table

    @contextmanager
    def writing(self, artefact: str) -> Iterator[Path]:
        """`atomic` for an artefact (a folder, mostly), with its provenance."""
        path = self.folder / ARTEFACTS[artefact].path
        with atomic(path) as partial:
            yield partial
        self.provenance(path, beside=path)

    def scratch(self, name: str) -> Path:
        """A folder for unfinished work (checkpoints, partly sampled sets): it survives a crash."""
        path = self.folder / "scratch" / self.notebook / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def discard(self, name: str) -> None:
        """Removes a scratch folder whose work is finished, so that the same work asked for again is done again."""
        remove(self.scratch(name))

    def provenance(self, path: Path, beside: Path, caption: str = "") -> None:
        """Writes the `sidecar` of `beside`: what `path` is made of; caption: of a table or figure."""
        record = {
            "artefact": path.name,
            "caption": caption,
            "sha256": sha256(path),
            "notebook": self.notebook,
            "parameters": self.parameters,
            "inputs": self._inputs,
            "earlier": self._earlier,
            "commit": _commit(),
            "lock": _pins(),
            "packages": {package: version(package) for package in PACKAGES},
            "device": os.environ.get("P2D_DEVICE", "cpu"),
            "threads": _threads(),
            "execution": self.execution,
            "position": self._written,  # among what this execution wrote, from 0
            "seconds": round(time.monotonic() - self._started, 1),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with atomic(sidecar(beside)) as partial:
            partial.write_text(json.dumps(record, indent=1) + "\n")
        self._written += 1

    @property
    def note(self) -> str:
        """ "phantom data" where the run's cases are the phantom's, else ""."""
        dataset = pd.read_parquet(self.path("cases"), columns=["dataset"])["dataset"]
        return "phantom data" if (dataset == "phantom").all() else ""

    def images(self, table: pd.DataFrame) -> np.ndarray:
        """The images of a cases or synthetic table: uint8 (n, height, width, 3), in the table's order."""
        from p2d_lib.images import load

        folders = {path.split("/")[0] for path in table["path"]}
        for name, artefact in ARTEFACTS.items():
            if artefact.path in folders:
                self.path(name)  # which says what to run where it is missing, and notes it as an input
        return load(self.folder / path for path in table["path"])

    def in_parts(self, table: pd.DataFrame, measure: Callable[[np.ndarray], np.ndarray], size: int = 512) -> np.ndarray:
        """measure(images) of a table's images, `size` at a time since all might fill the memory, joined."""
        return np.concatenate([measure(images) for images, _ in self.parts(table, size)])

    def parts(self, table: pd.DataFrame, size: int = 512) -> Iterator[tuple[np.ndarray, pd.DataFrame]]:
        """A table's images, at most `size` at a time, with their rows."""
        rows = (table.iloc[start : start + size] for start in range(0, len(table), size))
        return ((self.images(part), part) for part in rows)


def _provenance(path: Path) -> dict:
    """An artefact's provenance; {} for one that somebody has put there by hand."""
    return read_record(sidecar(path))


def _checked(table: pd.DataFrame, artefact: str) -> pd.DataFrame:
    """The table in its schema's types. This may change a type but no value: 1.5 does not become 1, nor "no" True."""
    try:
        checked = ARTEFACTS[artefact].schema.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        worst = error.failure_cases.iloc[0]
        if worst["column"] is None:
            problems = {"column_in_dataframe": "is missing", "column_in_schema": "is not one that it has"}
            problem = problems.get(worst["check"], f"fails {worst['check']}")
            raise ArtefactError(f"{artefact}: column {worst['failure_case']!r} {problem}") from None
        value = getattr(worst["failure_case"], "item", lambda: worst["failure_case"])()  # numpy's numbers as Python's
        failures = len(error.failure_cases[["column", "index"]].drop_duplicates())
        raise ArtefactError(
            f"{artefact}: column {worst['column']!r}, row {worst['index']}: {value!r} fails {worst['check']} "
            f"({failures} {'failure' if failures == 1 else 'failures'} in all)"
        ) from None
    for column in checked:
        sides = (side[column].astype(object) for side in (table, checked))
        before, after = (side.where(side.notna(), np.nan) for side in sides)  # pandas' own NA cannot be compared
        altered = before.ne(after) & ~(before.isna() & after.isna())
        if altered.any():
            row = altered.idxmax()
            raise ArtefactError(
                f"{artefact}: column {column!r}, row {row}: {before[row]!r} is no {checked[column].dtype} "
                f"(it would become {after[row]!r})"
            )
    return checked
