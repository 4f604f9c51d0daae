"""What a stage reads that no notebook makes: tables of the raw set, people's edits and sheets, folders of weights."""

from importlib import import_module
from pathlib import Path

import yaml
from places import HOME, REPOSITORY

from p2d_lib import table_places, yaml_text
from p2d_lib.parameters import naming_weights
from p2d_lib.parameters.classify import external_parts

TABLES = (  # parameters that are a file
    ("02_describe", "edits_file"),
    ("02_describe", "descriptions_file"),
    ("04_sample", "memorisation_table"),
    ("07_readers", "published"),
)
READERS = {  # of a parameter: the module that reads what it names, its function, and how it refuses
    "edits_file": ("describe.edits", "cells", "EditError"),
    "descriptions_file": ("describe.description_files", "records", "DescriptionFileError"),
    "memorisation_table": ("sample.audit_table", "read", "AuditError"),
    "sheets": ("readers.sheet_files", "filled", "SheetError"),
    "published": ("readers.isic2018_people", "read", "PublishedError"),
}


def files(notebook: str, parameters: dict, folder: Path) -> list[Path]:
    """The files and folders from outside that exist. parameters: the notebook's. folder: the run's.

    Of a raw set the metadata tables count, not its thousands of images: after an exchange of images use --from 01_prep.
    """
    named = [parameters[name] for stage, name in TABLES if stage == notebook]
    for (stage, name), weights in naming_weights().items():
        if stage == notebook:
            named += [value.removeprefix(weights.before) for value in as_list(parameters[name])]
    paths = [Path(name) for name in named if name and Path(name).is_absolute()]
    if notebook == "01_prep" and parameters["source"] != "phantom":
        paths += _raw_tables(parameters)
    if notebook == "06_classify":
        for layout, data in map(external_parts, parameters["external"]):
            paths += _raw_tables({"source": layout or "ham10000", "data": data}) if layout != "phantom" else []
    if notebook == "07_readers":
        sheets = HOME / parameters["sheets"] if parameters["sheets"] else folder / "study_filled"
        # not hidden files and those by which Excel (~$) and LibreOffice (.~lock) mark an open sheet
        paths += sorted(path for path in sheets.glob("*.*") if not path.name.startswith((".", "~$")))
    return [path for path in paths if path.exists()]


def misfit(name: str, path: str) -> str:
    """What is wrong with a file of TABLES, or a folder of sheets, whatever the run holds, as the stage that reads it
    says; "" for nothing."""
    module, function, refusal = READERS[name]
    reader = import_module(f"p2d_lib.{module}")  # here, since pandas takes a while to import
    try:
        getattr(reader, function)(Path(path))
    except getattr(reader, refusal) as error:
        return str(error)
    return ""


def as_list(value: str | list[str]) -> list[str]:
    """The values of a parameter that holds one or several."""
    return value if isinstance(value, list) else [value]


def _raw_tables(prep: dict) -> list[Path]:
    is_path = prep["source"].endswith((".yaml", ".yml"))
    layout = Path(prep["source"]) if is_path else REPOSITORY / f"p2d_lib/prep/layouts/{prep['source']}.yaml"
    described = yaml_text.load(layout.read_text(encoding="utf-8-sig"), yaml.BaseLoader)  # all words are text
    tables = [*table_places.existing(Path(prep["data"]), described["metadata"])]
    joined = table_places.existing(tables[0].parent, described.get("joined", ())) if tables else ()
    return [*tables, *joined, *([layout] if is_path else ())]
