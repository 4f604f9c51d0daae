"""What each stage of a run was made from and what it made, compared with the present files. Contents decide, not dates.

A stage is one notebook. When it has run to its end, stages/<notebook>.json in the run's folder records, as digests,
what its results depend on and all that it made. It is up to date as long as these are what they were:
- the artefacts that it reads (artefacts.READS) and what it reads from outside (outside.py);
- its parameters;
- the code of its cells and of the modules that they reach (sources.py);
- the artefacts, tables and figures that it made.
Not among them: the number of cores, the device, the installed packages.
"""

import json
import os
from pathlib import Path

import outside
import sources
from digests import Digests
from places import HOME, REPOSITORY

from p2d_lib.artefacts import ARTEFACTS, NOTEBOOKS, READS, result_parameters
from p2d_lib.files import atomic, read_record, remove, sidecar

KINDS = ("tables", "figures")


def needs(notebook: str) -> list[str]:
    """The notebooks whose artefacts a notebook reads."""
    makers = {ARTEFACTS[artefact].made_by for artefact in READS[notebook]}
    return [other for other in NOTEBOOKS if other in makers]


class StageError(Exception):
    """Why a stage failed, in one line, with notebook, cell and line where these are known."""


class Stages:
    """The stages of one run. folder: the run's. parameters: {notebook: {name: value}}, of the run as requested."""

    def __init__(self, folder: Path, parameters: dict[str, dict]):
        self.folder, self.parameters = folder, parameters
        self.digests = Digests(folder / ".digests.json")

    def record(self, notebook: str) -> dict | None:
        """What the stage recorded when it ended: None where it never ended, was begun again since, or where the record
        was damaged by hand."""
        return read_record(self.folder / "stages" / f"{notebook}.json") or None

    def basis(self, notebook: str) -> dict[str, dict]:
        """What the stage's results depend on. Raises StageError for code that cannot run."""
        values = self.parameters[notebook]
        read = {artefact: self.folder / ARTEFACTS[artefact].path for artefact in READS[notebook]}
        from_outside = outside.files(notebook, values, self.folder)
        return {
            "parameters": result_parameters(values),
            "code": self._code(notebook),
            "inputs": {artefact: self.digests(path) for artefact, path in read.items() if path.exists()},
            "outside": {_relative(path, self.folder): self.digests(path) for path in from_outside},
        }

    def _code(self, notebook: str) -> dict[str, str]:
        try:
            return sources.digests(REPOSITORY, notebook, self.digests)
        except sources.SourceError as error:
            raise StageError(str(error)) from None

    def why(self, notebook: str, remade: set[str] = frozenset()) -> str:
        """Why the stage has to run, in a few words; "" when it is up to date. Raises StageError for broken code.

        remade: notebooks that will run before it, so that their artefacts are not compared yet.
        """
        basis, recorded = self.basis(notebook), self.record(notebook)
        if not recorded or "made" not in recorded:
            return "it has not been made"
        for aspect, changed in (
            ("parameters", _parameter_changed),
            ("code", "{} has changed"),
            ("outside", "{} has changed"),
            ("inputs", "{} is another than it was made from"),
        ):
            before, now = recorded[aspect], basis[aspect]
            for name in sorted({*before, *now}):
                if aspect == "inputs" and (name not in ARTEFACTS or ARTEFACTS[name].made_by in remade):
                    continue
                if before.get(name) != now.get(name):
                    return changed(name, before, now) if callable(changed) else changed.format(name)
        return self._why_made(recorded)

    def _why_made(self, recorded: dict) -> str:
        executed = self.folder / "notebooks" / f"{recorded['notebook']}.ipynb"
        if not executed.exists():
            return f"the executed notebook {_relative(executed, HOME)} is missing"
        for name, digest in recorded["made"].items():
            path = self.place(name)
            if not path.exists():
                return f"{_relative(path, HOME)} is missing"
            if self.digests(path) != digest:
                return f"{_relative(path, HOME)} has been changed since it was made"
        return ""

    def place(self, name: str) -> Path:
        """Where something lies that a stage made: an artefact's path in the run, or tables/t1_audit.csv."""
        kind, _, file = name.partition("/")
        return HOME / kind / self.folder.name / file if kind in KINDS else self.folder / name

    def begin(self, notebook: str) -> None:
        """Removes what an earlier execution left, so that nothing half made, or of two executions, is read.

        Tables and figures stay until the stage has ended."""
        (self.folder / "notebooks").mkdir(exist_ok=True)
        for suffix in ("json", "error"):
            (self.folder / "stages" / f"{notebook}.{suffix}").unlink(missing_ok=True)
        (self.folder / "notebooks" / f"{notebook}.ipynb").unlink(missing_ok=True)
        self.remove_artefacts(notebook)

    def remove_artefacts(self, notebook: str) -> None:
        for artefact in ARTEFACTS.values():
            if artefact.made_by == notebook:
                path = self.folder / artefact.path
                remove(path)
                remove(sidecar(path))

    def end(self, notebook: str, basis: dict, execution: str, seconds: float) -> None:
        """Records a stage that has run to its end; tables and figures that it no longer makes are removed.

        basis: as it was before. execution: the name that the provenance of all it wrote bears. Raises
        FileNotFoundError for an artefact that the notebook should have made.
        """
        made = {kind: self._written(kind, notebook, execution) for kind in KINDS}
        artefacts = [artefact.path for artefact in ARTEFACTS.values() if artefact.made_by == notebook]
        names = [*artefacts, *(f"{kind}/{name}" for kind in KINDS for name in made[kind])]
        for name in names:
            if not self.place(name).exists():
                raise FileNotFoundError(f"{notebook} ran to its end and left no {name}")
        digests = {name: self.digests(self.place(name)) for name in names}
        record = {"notebook": notebook, "seconds": round(seconds, 1), **made, **basis, "made": digests}
        with atomic(self.folder / "stages" / f"{notebook}.json") as partial:
            partial.write_text(json.dumps(record, indent=1) + "\n")

    def _written(self, kind: str, notebook: str, execution: str) -> list[str]:
        """The tables or figures that one execution wrote, in its order; what an earlier one wrote is removed."""
        written = {}
        for record in sorted((self.folder / kind).glob("*.provenance.json")):
            origin, name = read_record(record), record.name.removesuffix(".provenance.json")
            if origin.get("notebook") != notebook:
                continue
            if origin.get("execution") == execution:
                written[name] = origin["position"]
            else:
                record.unlink()
                self.place(f"{kind}/{name}").unlink(missing_ok=True)
        return sorted(written, key=written.get)


def _parameter_changed(name: str, before: dict, now: dict) -> str:
    if name not in now:
        return f"parameter {name} is no longer one"
    if name not in before:
        return f"parameter {name} is new"
    return f"parameter {name} is {json.dumps(now[name])}, was {json.dumps(before[name])}"


def _relative(path: Path, folder: Path) -> str:
    """Relative to a folder where it lies inside."""
    return os.path.relpath(path, folder) if path.is_relative_to(folder) else str(path)
