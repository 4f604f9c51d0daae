"""Weights that a run names and that cannot be had or used, noticed before the first notebook.

Looking needs torch, which the driver does without: a process of its own looks, and only where a parameter names other
weights than those that ship. Run as a script, it reads {notebook: parameters} and writes the list of problems, in JSON.
"""

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # where PYTHONSAFEPATH is set, it is not there

import outside

from p2d_lib.parameters import naming_weights

SHIPPED = (
    *("", "tiny", "random", "scout", "tiny_resnet", "three_conv", "alignment"),
    *("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"),
)
HUB = "hf-hub:"  # before a hub id in the names of open_clip
BACKBONES = (("03_finetune", "scout_backbone"), ("06_classify", "backbone"), ("06_classify", "study_backbone"))


def problems(values: dict[str, dict]) -> list[str]:
    """What is wrong with the weights that parameters of these notebooks name; [] where none but shipped ones are."""
    if not named(values) and not backbones(values):
        return []
    check = subprocess.run(
        [sys.executable, "-X", "utf8", __file__],
        input=json.dumps(values),
        capture_output=True,
        encoding="utf-8",
    )
    if check.returncode:  # what hinders this check hinders the notebooks, and they say so
        return []
    return json.loads(check.stdout.splitlines()[-1])


def named(values: dict[str, dict]) -> list[tuple[str, str, str]]:
    """(notebook, parameter, value) of all weights that are named and do not ship."""
    return [
        (notebook, name, value)
        for notebook, name in naming_weights()
        if notebook in values
        for value in outside.as_list(values[notebook][name])
        if value not in SHIPPED and not _is_no_folder(value)
    ]


def backbones(values: dict[str, dict]) -> list[tuple[str, str, str]]:
    """(notebook, parameter, value) of all networks of classifiers that do not ship."""
    networks = [(notebook, name, values[notebook][name]) for notebook, name in BACKBONES if notebook in values]
    return [(notebook, name, value) for notebook, name, value in networks if value not in SHIPPED]


def _is_no_folder(value: str) -> bool:
    """Whether a path leads to no folder, which request.py has said."""
    return value.startswith(("/", "./", "../", "~")) and not Path(value).is_dir()


def listed(values: dict[str, dict]) -> dict[str, list[tuple[str, str]]]:
    """Of each notebook: (parameter, weights and what is done with them) of all that do not ship; nothing is loaded."""
    by_notebook, marks = {}, naming_weights()
    for notebook, name, value in named(values):
        use = marks[notebook, name].use
        by_notebook.setdefault(notebook, []).append((name, f"{value} ({use})" if use else value))
    for notebook, name, value in backbones(values):
        by_notebook.setdefault(notebook, []).append((name, value))
    return by_notebook


def _check(values: dict[str, dict]) -> list[str]:
    from p2d_lib.models import extractors, weights
    from p2d_lib.models.base_fitness import misfit_of_folder

    sentences, marks = [], naming_weights()
    for notebook, name, value in named(values):
        parameter, mark = f"{notebook}.{name}", marks[notebook, name]
        if mark.before:  # an extractor
            try:
                extractors.find(value)  # downloads what this machine lacks, so that 05 does not wait for a network
            except (weights.WeightsError, OSError, LookupError, ValueError) as error:
                sentences.append(f"{parameter}: {value}: {error}")
        elif not mark.of_open_clip or value.startswith(HUB):
            try:
                source = weights.resolve(value.removeprefix(HUB))
            except weights.WeightsError as error:
                sentences.append(f"{parameter}: {error}")
                continue
            if name == "base" and not source.commit and (problem := misfit_of_folder(Path(source.name))):
                sentences.append(f"{parameter}: {value}: {problem}")
    for notebook, name, value in backbones(values):
        if problem := _unfit_backbone(value):
            sentences.append(f"{notebook}.{name}: {value!r}: {problem}")
    return sentences


def _unfit_backbone(backbone: str) -> str:
    from p2d_lib.models.classifier_backbones import check

    try:
        check(backbone)
    except ValueError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    print(json.dumps(_check(json.load(sys.stdin))))
