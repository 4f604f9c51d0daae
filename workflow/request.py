"""The run that the command line requests: its parameters and stages, checked before anything runs."""

import argparse
import json
import os
from pathlib import Path

import guidance_check
import outside
import weights_check
from cli import Refused
from places import HOME

from p2d_lib.artefacts import NOTEBOOKS
from p2d_lib.device import DeviceError, requested
from p2d_lib.parameters import ParameterError, naming_weights, profile
from p2d_lib.parameters.classify import LAYOUT_FILES, external_parts
from p2d_lib.suggest import did_you_mean


def parameters(options: argparse.Namespace) -> dict[str, dict]:
    """{notebook: {parameter: value}}, validated, with all paths absolute. Raises Refused, which lists all that cannot
    be, so that one correction is enough."""
    problems = []
    try:
        requested()
    except DeviceError as error:
        problems.append(str(error))
    values = _profile(options, problems)
    for (notebook, name), weights in naming_weights().items():
        if notebook in values:
            named, parameter = values[notebook][name], f"{notebook}.{name}"
            absolute = [_weights(each, weights.before, parameter, problems) for each in outside.as_list(named)]
            values[notebook][name] = absolute if isinstance(named, list) else absolute[0]
    for notebook, name in outside.TABLES:
        if table := values.get(notebook, {}).get(name):
            values[notebook][name] = str(Path(table).expanduser().resolve())
            if not Path(values[notebook][name]).is_file():
                problems.append(f"there is no file {table} ({notebook}.{name})")
            elif problem := outside.misfit(name, values[notebook][name]):
                problems.append(f"{notebook}.{name}: {problem}")
    if sheets := values.get("07_readers", {}).get("sheets"):
        values["07_readers"]["sheets"] = str(HOME / Path(sheets).expanduser())
        if not Path(values["07_readers"]["sheets"]).is_dir():
            problems.append(f"there is no folder {values['07_readers']['sheets']} (07_readers.sheets)")
        elif problem := outside.misfit("sheets", values["07_readers"]["sheets"]):
            problems.append(f"07_readers.sheets: {problem}")
    if "01_prep" in values:
        _find_images(values["01_prep"], options, problems)
    if "06_classify" in values:
        external = values["06_classify"]["external"]
        data = values.get("01_prep", {}).get("data", "")
        values["06_classify"]["external"] = [_external(entry, problems, data) for entry in external]
    problems += guidance_check.problems(values)
    if not options.dry_run:
        problems += weights_check.problems(values)
    if problems:
        raise Refused(_listed(problems))
    return values


def _listed(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return "\n- ".join([f"{len(problems)} things must be corrected before anything runs:", *problems])


def _profile(options: argparse.Namespace, problems: list[str]) -> dict[str, dict]:
    """The parameters of those notebooks whose own are all right; what is wrong with others is added to problems."""
    overrides = [f"{notebook}.seed={options.seed}" for notebook in NOTEBOOKS if options.seed is not None]
    overrides += options.set
    if options.data:
        overrides.append(f"01_prep.data={json.dumps(options.data)}")
    try:
        return profile(options.profile, options.run, tuple(overrides))
    except ParameterError as error:
        problems += [" ".join(line.split()) for line in str(error).split("\n")]
        return error.valid


def _weights(value: str, before: str, parameter: str, problems: list[str]) -> str:
    """A folder's absolute path, since kernels run elsewhere; anything else is a hub id, or a name that is known.

    before: what stands before a folder or hub id, and stays there.
    """
    name = value.removeprefix(before)
    path = Path(name).expanduser()
    if path.is_file():
        problems.append(f"{name} is a file, and a folder is needed ({parameter})")
    elif "/" in name and path.exists():
        return value[: -len(name)] + str(path.resolve())
    elif name.startswith(("/", "./", "../", "~")):
        problems.append(f"there is no folder {name} ({parameter})")
    return value


def _find_images(prep: dict, options: argparse.Namespace, problems: list[str]) -> None:
    """Makes the paths of the image set absolute; adds to problems what is wrong with a set."""
    source = prep["source"]
    if source == "phantom":
        if options.data:
            problems.append(
                f"--data names a set of images, and profile {options.profile} renders the phantom: "
                "add --profile mini (or --set 01_prep.source=ham10000)"
            )
        return
    if source.endswith((".yaml", ".yml")):
        prep["source"] = _own_layout(source, problems)
    folder = prep["data"] or (os.environ.get("P2D_HAM10000", "") if source == "ham10000" else "")
    if folder:
        prep["data"] = str(Path(folder).expanduser().resolve())
        if Path(prep["data"]).is_file():
            problems.append(f"{prep['data']} is a file: unpack it and name the folder (--data, 01_prep.data)")
        elif not Path(prep["data"]).is_dir():
            problems.append(f"there is no folder {prep['data']} ({source}, from --data, 01_prep.data or P2D_HAM10000)")
    elif not options.dry_run:  # which shows the plan without any images
        problems.append(
            f"source {source} is a set of images: give its folder with --data DIR"
            f"{' or P2D_HAM10000=DIR' if source == 'ham10000' else ''} (README.md says where to get it)"
        )


def _own_layout(path: str, problems: list[str]) -> str:
    """The absolute path of a layout file."""
    from p2d_lib.prep import layouts, pixels

    absolute = str(Path(path).expanduser().resolve())
    try:
        layouts.load(absolute)
    except pixels.DataError as error:
        problems.append(str(error))
    return absolute


def _external(entry: str, problems: list[str], data: str = "") -> str:
    """An entry of 06_classify.external with absolute paths; adds to problems what is wrong with the set's table and
    files, which 06 would notice hours later. No picture is opened. data: the folder of 01_prep's own set."""
    layout, folder = external_parts(entry)
    if layout == "phantom":
        return entry
    n_before = len(problems)
    if layout.endswith(LAYOUT_FILES):
        layout = _own_layout(layout, problems)
    path = Path(folder).expanduser().resolve()
    if not path.is_dir():
        problems.append(f"there is no folder {path} (06_classify.external)")
    elif str(path) == data:
        problems.append(
            f"06_classify.external: {path} is the set of 01_prep, of which nothing would be left; take it out"
        )
    elif len(problems) == n_before:  # a wrong layout has been named
        from p2d_lib.prep import pixels, raw

        try:
            raw.read(path, layout or "ham10000")
        except pixels.DataError as error:
            problems.append(f"06_classify.external: {error}")
    return f"{layout}={path}" if layout else str(path)


def stages(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The stages up to --to, and those of them that --from forces. Raises Refused."""
    notebooks = list(NOTEBOOKS)
    last = _position(options.last, notebooks, "--to") if options.last else len(notebooks) - 1
    first = _position(options.first, notebooks, "--from") if options.first else len(notebooks)
    targets = notebooks[: last + 1]
    if options.first and first > last:
        raise Refused(f"--from {options.first} lies behind --to {options.last}")
    for option, unit in (("cores", "core"), ("shards", "shard"), ("processes", "process")):
        if getattr(options, option) < 1:
            raise Refused(f"--{option} {getattr(options, option)}: at least one {unit} is needed")
    return targets, notebooks[first : last + 1]


def _position(name: str, notebooks: list[str], option: str) -> int:
    if name not in notebooks:
        raise Refused(f"{option} {name}: no such notebook{did_you_mean(name, notebooks)}")
    return notebooks.index(name)
