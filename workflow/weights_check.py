"""Weights that a run names and that cannot be had or used, noticed before the first notebook.

Looking needs torch, which the driver does without: a process of its own looks, and only where a parameter names other
weights than those that ship. Run as a script, it reads {notebook: parameters} and writes the list of problems, in JSON.
"""

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = ("", "tiny", "random", "scout", "tiny_resnet")
HUB = (  # parameters that are a folder, a hub id or id@revision
    ("02_describe", "vlm_model"),
    ("02_describe", "bert_model"),
    ("02_describe", "captioner_model"),
    ("07_readers", "vlm_model"),
    ("03_finetune", "base"),
    ("03_finetune", "baseline_text_encoder"),
    ("03_finetune", "caption_encoder"),
)
SHIPPED_EXTRACTORS = ("efficientnet_lite0", "efficientnet_lite1", "scout")
BACKBONES = (("03_finetune", "scout_backbone"), ("06_classify", "backbone"))


def problems(values: dict[str, dict]) -> list[str]:
    """What is wrong with the weights that the parameters of all notebooks name; [] where none but shipped ones are."""
    ships = all(values[notebook][name] in SHIPPED for notebook, name in (*HUB, *BACKBONES))
    if ships and not _extractors(values):
        return []
    look = subprocess.run(
        [sys.executable, "-X", "utf8", __file__],
        input=json.dumps(values),
        capture_output=True,
        encoding="utf-8",
    )
    if look.returncode:  # what hinders the look hinders the notebooks, and they say so
        return []
    return json.loads(look.stdout.splitlines()[-1])


def _extractors(values: dict[str, dict]) -> dict[str, str]:
    """The extractors whose weights do not ship, each with the parameter that names it."""
    named = dict.fromkeys(values["05_fidelity"]["extractors"], "05_fidelity.extractors")
    named.setdefault(values["04_sample"]["sweep_extractor"], "04_sample.sweep_extractor")
    return {name: parameter for name, parameter in named.items() if name not in SHIPPED_EXTRACTORS}


def _look(values: dict[str, dict]) -> list[str]:
    from p2d_lib.models import extractors, weights
    from p2d_lib.models.base_fitness import misfit_of_folder

    found = []
    for notebook, name in HUB:
        if (value := values[notebook][name]) not in SHIPPED:
            try:
                source = weights.resolve(value)
            except weights.WeightsError as error:
                found.append(f"{notebook}.{name}: {error}")
                continue
            if name == "base" and not source.commit and (problem := misfit_of_folder(Path(source.name))):
                found.append(f"{notebook}.{name}: {value}: {problem}")
    for extractor, parameter in _extractors(values).items():
        try:
            extractors.find(extractor)  # downloads what this machine lacks, so that 05 does not wait for a network
        except (weights.WeightsError, OSError, LookupError, ValueError) as error:
            found.append(f"{parameter}: {extractor}: {error}")
    for notebook, name in BACKBONES:
        if (value := values[notebook][name]) not in SHIPPED and (problem := _unfit_backbone(value)):
            found.append(f"{notebook}.{name}: {value!r}: {problem}")
    return found


def _unfit_backbone(backbone: str) -> str:
    from p2d_lib.models.classifier_backbones import check

    try:
        check(backbone)
    except ValueError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    print(json.dumps(_look(json.load(sys.stdin))))
