"""What a run comes from, and where two runs part: the first artefact or table that differs, and what differs there."""

import json
import re
from collections.abc import Mapping
from hashlib import sha256 as new_sha256
from pathlib import Path

from p2d_lib.artefacts import ARTEFACTS, NOTEBOOKS, result_parameters
from p2d_lib.files import file_sha256, read_record, sha256, sidecar

SHORT = 16  # hex digits of a digest that are kept
NOTHING = "nothing"
ASPECTS = {  # of a notebook's origin, from the nearest cause to the farthest, and how each is called
    "data": "data",
    "earlier": "from an earlier pass over the run",
    "parameters": "parameter",
    "code": "code",
    "lock": "requirements.lock",
    "packages": "package",
    "device": "device",
    "threads": "threads",
}


def provenance(folder: Path, notebook: str) -> list[tuple[str, dict]]:
    """(artefact, tables or figures; record) of all that a notebook wrote, in its order.

    folder: data/runs/<run>. The record of an artefact also holds its name.
    """
    records = [
        ("artefact", {**read_record(sidecar(folder / each.path)), "name": name}) for name, each in ARTEFACTS.items()
    ]
    for kind in ("tables", "figures"):
        records += [(kind, read_record(path)) for path in sorted((folder / kind).glob("*.provenance.json"))]
    written = [each for each in records if each[1].get("notebook") == notebook]
    return sorted(written, key=lambda each: each[1]["position"])


def portable(value: object) -> object:
    """A parameter's value without folders: of a path only its last part stays ("ham10000=/data/x" is "ham10000=x")."""
    if isinstance(value, dict):
        return {name: portable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [portable(each) for each in value]
    if isinstance(value, str):
        return re.sub(r"(^|=|clip:)(?:~|[A-Za-z]:)?[/\\].*?([^/\\]*)[/\\]*$", r"\1\2", value)
    return value


def origin(folder: Path) -> dict:
    """What a run's artefacts and tables come from, from its provenance; {} where there is no run.

    {"notebooks": {notebook: {"commit": ..., and the ASPECTS}}, "artefacts": {name: digest}, "tables": {name: digest}}.
    folder: data/runs/<run>. Digests are those of results: the seconds that something took do not count.
    """
    records = {notebook: _without_figures(folder, notebook) for notebook in NOTEBOOKS}
    notebooks = {notebook: _facts(folder, notebook, written) for notebook, written in records.items() if written}
    artefacts = {name: _digest(folder, name) for name, each in ARTEFACTS.items() if (folder / each.path).exists()}
    tables = {
        record["artefact"].removesuffix(".csv"): record["sha256"][:SHORT]
        for written in records.values()
        for record in written
        if record["artefact"].endswith(".csv")
    }
    return {"notebooks": notebooks, "artefacts": artefacts, "tables": tables} if notebooks else {}


def _without_figures(folder: Path, notebook: str) -> list[dict]:
    """The provenance of a notebook's artefacts and tables: figures are drawn from these."""
    return [record for kind, record in provenance(folder, notebook) if kind != "figures"]


def _facts(folder: Path, notebook: str, records: list[dict]) -> dict:
    last, stage = records[-1], read_record(folder / "stages" / f"{notebook}.json")
    return {
        "commit": _known(last["commit"]),
        "data": {Path(name).name: digest[:SHORT] for name, digest in stage.get("outside", {}).items()},
        "earlier": _left_earlier(last["earlier"]) if "earlier" in last else "",
        "parameters": portable(result_parameters(last["parameters"])),
        "code": new_sha256(json.dumps(stage.get("code"), sort_keys=True).encode()).hexdigest()[:SHORT]
        if stage.get("code")
        else "",
        "lock": _known(last.get("lock", ""))[:SHORT],
        "packages": last["packages"],
        "device": last["device"],
        "threads": last["threads"],
    }


def _left_earlier(digests: Mapping[str, str]) -> str:
    left = [f"{ARTEFACTS[name].path} ({digest[:SHORT]})" for name, digest in digests.items()]
    return " and ".join(left) or NOTHING


def _known(value: str) -> str:
    return "" if value == "unknown" else value


def _digest(folder: Path, name: str) -> str:
    """The digest of an artefact as it was written, of a table with `seconds` that of its other columns."""
    path, schema = folder / ARTEFACTS[name].path, ARTEFACTS[name].schema
    if schema is not None and "seconds" in schema.columns:
        import pandas as pd

        try:
            table = pd.read_parquet(path).drop(columns=["seconds"], errors="ignore")
        except (OSError, ValueError):  # damaged: its bytes then say so
            return file_sha256(path)[:SHORT]
        return new_sha256(table.to_csv(index=False).encode()).hexdigest()[:SHORT]
    return (read_record(sidecar(path)).get("sha256") or sha256(path))[:SHORT]


def edited_tables(folder: Path, tables: Path) -> list[str]:
    """The tables of a run that are not, byte for byte, what their notebook wrote."""
    return _edited(sorted(tables.glob("*.csv")), folder / "tables")


def edited_figures(folder: Path, figures: Path) -> list[str]:
    """The figures of a run, as PNG, that are not what their notebook wrote."""
    return _edited(sorted(figures.glob("*.png")), folder / "figures")


def _edited(paths: list[Path], records: Path) -> list[str]:
    edited = []
    for path in paths:
        written = read_record(sidecar(records / path.name)).get("sha256")
        if written and written != file_sha256(path):
            edited.append(path.stem)
    return edited


def changed(reference: Mapping, run: Mapping, notebook: str) -> list[str]:
    """What differs in the origin of a notebook's results, in words, in the order of ASPECTS. What is recorded on one
    side only is no difference."""
    before, now = reference["notebooks"].get(notebook, {}), run["notebooks"].get(notebook, {})
    words = []
    for aspect, name in ASPECTS.items():
        then, today = before.get(aspect), now.get(aspect)
        if not then or not today or then == today:
            continue
        if aspect == "code":
            words.append(f"{name}: commit {now['commit']}, was {before['commit']}")
        elif aspect == "lock":
            words.append(f"{name}: digest {today}, was {then}")
        elif isinstance(then, dict):
            differing = [key for key in sorted({*then, *today}) if then.get(key) != today.get(key)]
            words += [f"{name} {key}: {_in_words(today.get(key))}, was {_in_words(then.get(key))}" for key in differing]
        else:
            words.append(f"{name}: {today}, was {then}")
    return words


def other_commit(reference: Mapping, run: Mapping) -> str:
    """The commits, in words, where they differ for any notebook that both have; "" else."""
    for notebook in NOTEBOOKS:
        before, now = (each["notebooks"].get(notebook, {}).get("commit") for each in (reference, run))
        if before and now and before != now:
            return f"commit {now}, was {before}"
    return ""


def _in_words(value: object) -> str:
    return "not there" if value is None else json.dumps(value, ensure_ascii=False)


def first_diverging(reference: Mapping, run: Mapping, tables: set[str]) -> tuple[str, str] | None:
    """(name, notebook) of the first artefact or table that differs, None where there is none.

    tables: those with a cell that is not the same; a table's notebook is the one with its number.
    """
    for notebook in NOTEBOOKS:
        for name, artefact in ARTEFACTS.items():
            before, now = reference["artefacts"].get(name), run["artefacts"].get(name)
            if artefact.made_by == notebook and before and now and before != now:
                return artefact.path, notebook
        for table in run["tables"] | reference["tables"]:
            if table in tables and table.startswith(f"t{int(notebook[:2])}_"):
                return f"{table}.csv", notebook
    return None
