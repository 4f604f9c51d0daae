"""./run_all.sh --crate DIR: a finished run as an RO-Crate, in the profile Provenance Run Crate 0.5.

The crate says which notebook made which artefact, table and figure, from what, with which parameters, code and
versions (https://w3id.org/ro/wfrun/provenance/0.5). It holds the tables, the figures of phantom data, the notebooks and
the pins; artefacts and images stay where they are, and only their SHA-256 is named. No path of a machine and no secret
enters it.
"""

import argparse
import json
import os
import re
from datetime import datetime, timedelta
from pathlib import Path

import finished
import sources
from cli import Refused
from places import HOME, REPOSITORY, RUNS
from progress import say
from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate
from verify_origin import portable, provenance

from p2d_lib.artefacts import ARTEFACTS, NOTEBOOKS, READS, result_parameters
from p2d_lib.files import atomic, file_sha256, read_record
from p2d_lib.prep import layouts
from p2d_lib.prep.pixels import DataError
from p2d_lib.write_command import lies_in_a_run

PROFILES = ("process/0.5", "workflow/0.5", "provenance/0.5")
WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
PINS = ("requirements.lock", "requirements-setup.lock", "pyproject.toml", "CITATION.cff", "LICENSE")
SPDX = "https://spdx.org/licenses/"
PHANTOM_LICENCE = "Apache-2.0"  # as of the renderer
SECRET = re.compile(r"key|token|secret|password", re.I)  # in the name of a variable
SHORTEST_SECRET = 8  # characters; shorter values stand in texts by chance


def export(options: argparse.Namespace) -> int:
    """Writes the crate of the run into options.crate; returns 0. Raises Refused."""
    run, target = options.run or options.profile, Path(options.crate).resolve()
    finished.check_profile(options.profile)
    finished.check_run(RUNS, run)
    changed = [name for name in NOTEBOOKS if _code_has_changed(RUNS / run, name)]
    if changed:
        raise Refused(
            f"the code of {changed[0]} is another than run {run} was made with: ./run_all.sh --run {run} first"
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Refused(f"{target} is {'not empty' if target.is_dir() else 'a file'}: name another folder (--crate)")
    if lies_in_a_run(target):
        raise Refused(f"{target} lies in a run: name a folder outside data/runs, tables and figures (--crate)")
    made = RunCrate(run, options.profile)
    try:
        with atomic(target) as partial:
            made.crate.write(partial)
            _refuse_private(partial, made.folders())
    except OSError as error:
        raise Refused(f"{target} cannot be written: {error.strerror}: name another folder (--crate)") from None
    say(f"{os.path.relpath(target)}: run {run} as an RO-Crate (ro-crate-metadata.json)")
    return 0


def _code_has_changed(folder: Path, notebook: str) -> bool:
    """Whether the notebook and the modules that it reaches, which the crate is to hold, are not those of the run."""
    recorded = read_record(folder / "stages" / f"{notebook}.json").get("code")
    return recorded != sources.digests(REPOSITORY, notebook, file_sha256)


class RunCrate:
    """The crate of one run. profile: the file of params/ that it was made with."""

    def __init__(self, run: str, profile: str):
        self.run, self.folder = run, RUNS / run
        self.records = {notebook: provenance(self.folder, notebook) for notebook in NOTEBOOKS}
        self.source = self._parameters("01_prep")["source"]
        self.crate = ROCrate(version="1.1")
        self.outputs: dict[str, list] = {notebook: [] for notebook in NOTEBOOKS}
        self._add_results()
        self.workflow, self.tools = self._add_code(profile)
        self._add_runs()
        self._describe_root()

    def _parameters(self, notebook: str) -> dict:
        return portable(result_parameters(self.records[notebook][-1][1]["parameters"]))

    def folders(self) -> set[str]:
        """The folders and files outside the repository that the run's parameters name."""
        named = json.dumps([records[-1][1]["parameters"] for records in self.records.values()], ensure_ascii=False)
        return set(re.findall(r'(?:"|=|clip:)((?:~|[A-Za-z]:)?[/\\\\][^"]+)"', named))

    def _entity(self, at: str, kind: str, /, **properties: object) -> ContextEntity:
        return self.crate.add(ContextEntity(self.crate, at, properties={"@type": kind, **properties}))

    def _add_results(self) -> None:
        """Tables and figures as files, artefacts by their digests alone."""
        self.artefacts = {}
        for notebook, records in self.records.items():
            for kind, record in records:
                described = {"description": record["caption"], "identifier": f"sha256:{record['sha256']}"}
                described = {name: value for name, value in described.items() if value}
                path = HOME / kind / self.run / record["artefact"]
                if kind != "artefact" and not path.exists():
                    raise Refused(f"{path} is missing: ./run_all.sh --run {self.run} makes it again")
                if kind != "artefact" and file_sha256(path) != record["sha256"]:
                    raise Refused(
                        f"{path} was changed since {notebook} made it: ./run_all.sh --run {self.run} makes it again"
                    )
                if kind == "artefact":
                    name = record["name"]
                    entity = self._entity(f"#artefact-{name}", "CreativeWork", name=ARTEFACTS[name].path, **described)
                    self.artefacts[name] = entity
                elif kind == "figures" and self.source != "phantom":  # they show images whose licence may not allow it
                    entity = self._entity(f"#figure-{path.name}", "CreativeWork", name=path.name, **described)
                else:
                    entity = self.crate.add_file(
                        path, f"{kind}/{path.name}", properties={"name": path.name, **described}
                    )
                self.outputs[notebook].append(entity)

    def _add_code(self, profile: str) -> tuple:
        """The workflow, which is the crate's main entity, and its tools: {notebook: file}."""
        source = REPOSITORY / "workflow" / "Snakefile"
        kinds = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
        properties = {"@type": kinds, "name": "prompt2derm", "version": self._commit()}
        workflow = self.crate.add_workflow(
            source, "workflow/Snakefile", properties=properties, main=True, lang="snakemake"
        )
        tools = {}
        for notebook in NOTEBOOKS:
            path = REPOSITORY / "notebooks" / f"{notebook}.ipynb"
            properties = {"@type": ["File", "SoftwareSourceCode"], "name": notebook}
            tools[notebook] = self.crate.add_file(path, f"notebooks/{path.name}", properties=properties)
        for name in (*PINS, f"params/{profile}.yaml"):
            self.crate.add_file(REPOSITORY / name, name, properties={"name": name})
        workflow["hasPart"] = list(tools.values())
        workflow["step"] = [
            self._entity(f"#step-{name}", "HowToStep", position=str(k), workExample=tool)
            for k, (name, tool) in enumerate(tools.items(), 1)
        ]
        return workflow, tools

    def _commit(self) -> str:
        return self.records[NOTEBOOKS[-1]][-1][1]["commit"]

    def _add_runs(self) -> None:
        """What was executed: the workflow, each notebook, and the steps that Snakemake has organised."""
        actions = {notebook: self._action(notebook) for notebook in NOTEBOOKS}
        parameters = [each for action in actions.values() for each in action["object"] if "parameter" in each.id]
        results = [entity for entities in self.outputs.values() for entity in entities]
        whole = self._entity(
            "#run", "CreateAction", name=f"Run {self.run} of prompt2derm", instrument=self.workflow, object=parameters,
            result=results, startTime=min(action["startTime"] for action in actions.values()),
            endTime=max(action["endTime"] for action in actions.values()),
            actionStatus="http://schema.org/CompletedActionStatus",
        )  # fmt: skip
        controls = [
            self._entity(f"#control-{name}", "ControlAction", instrument=self.crate.get(f"#step-{name}"), object=action)
            for name, action in actions.items()
        ]
        engine = self._entity("https://snakemake.github.io", "SoftwareApplication", name="Snakemake")
        self._entity("#organised", "OrganizeAction", instrument=engine, object=controls, result=whole)
        self.crate.root_dataset["mentions"] = [whole, *actions.values()]

    def _action(self, notebook: str) -> ContextEntity:
        """One notebook's execution: what it read, its parameters, what it wrote, when and on what."""
        last = self.records[notebook][-1][1]
        parameters = [
            self._entity(
                f"#parameter-{notebook}.{name}", "PropertyValue", name=f"{notebook}.{name}", value=_text(value)
            )
            for name, value in self._parameters(notebook).items()
        ]
        versions = ", ".join(f"{name} {version}" for name, version in last["packages"].items())
        ended = datetime.fromisoformat(last["written"])
        return self._entity(
            f"#run-{notebook}", "CreateAction", name=f"Execution of {notebook}", instrument=self.tools[notebook],
            object=[*(self.artefacts[name] for name in READS[notebook] if name in self.artefacts), *parameters],
            result=self.outputs[notebook], endTime=ended.isoformat(),
            startTime=(ended - timedelta(seconds=last["seconds"])).isoformat(),
            actionStatus="http://schema.org/CompletedActionStatus",
            description=f"commit {last['commit']}, device {last['device']}, {last['threads']} threads; {versions}",
        )  # fmt: skip

    def _describe_root(self) -> None:
        root, metadata = self.crate.root_dataset, self.crate.metadata
        profiles = [
            self._entity(f"https://w3id.org/ro/wfrun/{each}", "CreativeWork", name=f"{each.split('/')[0].capitalize()} "
                         "Run Crate", version=each.split("/")[1]) for each in PROFILES
        ]  # fmt: skip
        profiles.append(self._entity(WORKFLOW_CRATE, "CreativeWork", name="Workflow RO-Crate", version="1.0"))
        root["conformsTo"] = profiles
        metadata["conformsTo"] = [{"@id": "https://w3id.org/ro/crate/1.1"}, {"@id": WORKFLOW_CRATE}]
        metadata.extra_contexts.append("https://w3id.org/ro/terms/workflow-run/context")
        data = "phantom data" if self.source == "phantom" else f"images of {self.source}"
        self.crate.name = f"prompt2derm, run {self.run}"
        self.crate.description = (
            f"Tables{' and figures' if self.source == 'phantom' else ''} of one run of prompt2derm ({data}), and what "
            "each was made from. Not for clinical use."
        )
        root["license"] = f"As the licence of {self.source} allows"
        if licence := _licence(self.source):
            at = f"{SPDX}{licence}"
            root["license"] = self._entity(at, "CreativeWork", name=licence, identifier=at)
        self.crate.datePublished = max(record["written"] for each in self.records.values() for _, record in each)


def _licence(source: str) -> str:
    """The SPDX identifier of the licence of a run's images; "" where SPDX has none or no shipped layout names it."""
    if source == "phantom":
        return PHANTOM_LICENCE
    try:
        licence = layouts.load(source).licence
    except DataError:  # the user's own layout, of which the crate knows only the file's name
        return ""
    return "" if licence.startswith("LicenseRef-") else licence


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _refuse_private(folder: Path, folders: set[str]) -> None:
    """Raises Refused where a text file of the crate holds one of the folders or another one of this machine, or the
    value of a variable that is named like a secret, from the environment or .env."""
    here = {str(path) for path in (HOME, REPOSITORY, Path.home()) if len(path.parts) > 2}
    private = dict.fromkeys(here | folders, "a path of this machine")
    private |= {value: f"the value of {name}" for name, value in _variables().items()}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in (".png", ".pdf"):
            text = path.read_text(encoding="utf-8")
            for value, what in private.items():
                if value in text:
                    raise Refused(f"{path.relative_to(folder)} would hold {what}: no crate was written")


def _variables() -> dict[str, str]:
    from dotenv import dotenv_values

    variables = {**dotenv_values(HOME / ".env"), **dotenv_values(".env"), **os.environ}
    secrets = {name: value for name, value in variables.items() if value and SECRET.search(name)}
    return {name: value for name, value in secrets.items() if len(value) >= SHORTEST_SECRET}
