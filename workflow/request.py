"""The run that the command line requests: its parameters and stages, checked before anything runs."""

import argparse
import json
import os
from pathlib import Path

import outside
from cli import Refused

from p2d_lib.artefacts import NOTEBOOKS
from p2d_lib.device import DeviceError, requested
from p2d_lib.parameters import ParameterError, profile
from p2d_lib.suggest import did_you_mean


def parameters(options: argparse.Namespace) -> dict[str, dict]:
    """{notebook: {parameter: value}}, validated, with all paths absolute. Raises Refused."""
    try:
        requested()
    except DeviceError as error:
        raise Refused(str(error)) from None
    values = _profile(options)
    for notebook, name in outside.FOLDERS:
        values[notebook][name] = _folder(values[notebook][name], f"{notebook}.{name}")
    for notebook, name in outside.TABLES:
        if table := values[notebook][name]:
            values[notebook][name] = str(Path(table).expanduser().resolve())
            if not Path(values[notebook][name]).is_file():
                raise Refused(f"there is no file {table} ({notebook}.{name})")
    _find_images(values["01_prep"], options)
    return values


def _profile(options: argparse.Namespace) -> dict[str, dict]:
    overrides = [f"{notebook}.seed={options.seed}" for notebook in NOTEBOOKS if options.seed is not None]
    overrides += options.set
    if options.data:
        overrides.append(f"01_prep.data={json.dumps(options.data)}")
    try:
        return profile(options.profile, options.run, tuple(overrides))
    except ParameterError as error:
        raise Refused(" ".join(str(error).split())) from None


def _folder(value: str, parameter: str) -> str:
    """A folder's absolute path, since kernels run elsewhere; anything else is a hub id, or a name that ships here."""
    path = Path(value).expanduser()
    if "/" in value and path.exists():
        return str(path.resolve())
    if value.startswith(("/", "./", "../", "~")):
        raise Refused(f"there is no folder {value} ({parameter})")
    return value


def _find_images(prep: dict, options: argparse.Namespace) -> None:
    """Makes the paths of the image set absolute. Raises Refused for a set that does not exist."""
    source = prep["source"]
    if source == "phantom":
        if options.data:
            raise Refused(
                f"--data names a set of images, and profile {options.profile} renders the phantom: "
                "add --profile mini (or --set 01_prep.source=ham10000)"
            )
        return
    if source.endswith((".yaml", ".yml")):
        from p2d_lib.prep import layouts, pixels

        prep["source"] = str(Path(source).expanduser().resolve())
        try:
            layouts.load(prep["source"])
        except pixels.DataError as error:
            raise Refused(str(error)) from None
    folder = prep["data"] or (os.environ.get("P2D_HAM10000", "") if source == "ham10000" else "")
    if folder:
        prep["data"] = str(Path(folder).expanduser().resolve())
        if not Path(prep["data"]).is_dir():
            raise Refused(f"there is no folder {prep['data']} ({source}, from --data, 01_prep.data or P2D_HAM10000)")
    elif not options.dry_run:  # which shows the plan without any images
        raise Refused(
            f"source {source} is a set of images: give its folder with --data DIR"
            f"{' or P2D_HAM10000=DIR' if source == 'ham10000' else ''} (README.md says where to get it)"
        )


def stages(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The stages up to --to, and those of them that --from forces. Raises Refused."""
    notebooks = list(NOTEBOOKS)
    last = _position(options.last, notebooks, "--to") if options.last else len(notebooks) - 1
    first = _position(options.first, notebooks, "--from") if options.first else len(notebooks)
    targets = notebooks[: last + 1]
    if options.first and first > last:
        raise Refused(f"--from {options.first} lies behind --to {options.last}")
    if options.cores < 1:
        raise Refused(f"--cores {options.cores}: at least one core is needed")
    return targets, notebooks[first : last + 1]


def _position(name: str, notebooks: list[str], option: str) -> int:
    if name not in notebooks:
        raise Refused(f"{option} {name}: no such notebook{did_you_mean(name, notebooks)}")
    return notebooks.index(name)
