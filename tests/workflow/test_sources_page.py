"""docs/SOURCES.md names tables, figures, parameters and commands that are there."""

import re
import shlex
from pathlib import Path

import pytest

from p2d_lib import parameters
from p2d_lib.artefacts import NOTEBOOKS

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "SOURCES.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
ROWS = [row for row in ROWS if row[0] != "feature"]
SYSTEMS = re.findall(r"^## (.+)", PAGE, re.M)
PROFILES = {path.stem for path in (REPOSITORY / "params").glob("*.yaml")}
SAVED = {  # by the cells of all notebooks
    name
    for path in (REPOSITORY / "notebooks").glob("*.ipynb")
    for name in re.findall(r'(?:tables|figures)\.save\(\s*(?:\\n\",\s*\")?run, \\"(\w+)\\"', path.read_text("utf-8"))
}


def names(text: str) -> list[str]:
    return re.findall(r"`([tf]\d_\w+)`", text)


def problems(row: list[str]) -> list[str]:
    """What a row of a table names that is not there, or leaves out."""
    _, command, shows = row
    wrong = [name for name in names(shows) if name not in SAVED]
    if not names(shows) and shows != "the files":
        wrong.append("shows in no table, figure or file")
    named = re.findall(r"\b(0\d_\w+)\.(\w+)", command)
    wrong += [f"{notebook}.{name}" for notebook, name in dict.fromkeys(named) if not _is_parameter(notebook, name)]
    profiles = re.findall(r"(?:^|; )(\w+)(?= \(|$|; )", re.sub(r"`[^`]*`", "", command).strip())
    wrong += [f"profile {name}" for name in profiles if name not in PROFILES]
    commands = [part for part in re.findall(r"`([^`]+)`", command) if " " in part]
    if not (profiles or named or commands):
        wrong.append("names no command")
    wrong += [problem for part in commands for problem in _command_problems(part)]
    return wrong or [problem for profile in profiles for problem in _not_in_profile(profile, command)]


def _is_parameter(notebook: str, name: str) -> bool:
    return notebook in NOTEBOOKS and name in parameters.MODELS[notebook].model_fields


def _command_problems(command: str) -> list[str]:
    words = shlex.split(command)
    if words[0] == "./run_all.sh":
        return [] if set(words) & {"--set", "--profile"} else [f"{command} sets nothing"]
    if words[:2] == [".venv/bin/python", "-m"]:
        return [] if (REPOSITORY / words[2].replace(".", "/") / "__main__.py").exists() else [f"no module {words[2]}"]
    return [f"{words[0]} is no command of this project"]


def _not_in_profile(profile: str, command: str) -> list[str]:
    """Parameters in brackets after a profile that are off there, and values after one that it does not hold."""
    wrong, bracket = [], re.search(rf"\b{profile} \(([^)]*)\)", command)
    for notebook, name, values in re.findall(r"`(0\d_\w+)\.(\w+)`(?:: ([^)]*))?", bracket[1] if bracket else ""):
        value = parameters.profile(profile)[notebook][name]
        wrong += [] if value else [f"{profile} has no {notebook}.{name}"]
        wrong += [f"{profile} has no {one} in {name}" for one in re.findall(r"`([^`]+)`", values) if one not in value]
    return wrong


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_each_feature_names_a_command_and_what_shows_it_and_all_of_that_is_there(row):
    assert len(row) == 3 and not problems(row)


def test_the_page_has_the_five_systems_and_says_what_is_missing():
    assert len(SYSTEMS) == 6 and SYSTEMS[-1] == "What is missing"
    assert len(ROWS) >= 50


def test_a_name_that_is_not_there_is_noticed():
    assert len(SAVED) > 80
    assert problems(["x", "smoke", "`t9_nothing`"]) == ["t9_nothing"]
    assert problems(["x", "smoke (`06_classify.stepz`)", "`t6_arms`"]) == ["06_classify.stepz"]
    assert problems(["x", "huge", "`t6_arms`"]) == ["profile huge"]
    assert problems(["x", "smoke", "in the code"]) == ["shows in no table, figure or file"]
    assert problems(["x", "", "`t6_arms`"]) == ["names no command"]
    assert problems(["x", "`./run_all.sh --set 06_classify.stepz=3`", "`t6_arms`"]) == ["06_classify.stepz"]
    assert problems(["x", "`.venv/bin/python -m p2d_lib.nothing`", "`t6_arms`"]) == ["no module p2d_lib.nothing"]
    assert problems(["x", "smoke (`01_prep.min_entropy`)", "`t6_arms`"]) == ["smoke has no 01_prep.min_entropy"]
    assert problems(["x", "smoke (`06_classify.arms`: `mixed@9x`)", "`t6_arms`"]) == ["smoke has no mixed@9x in arms"]
