"""The commands of README.md as they stand there: the driver plans them, and papermill's parameters are a notebook's."""

import re
import shlex
from pathlib import Path

import cli
import paper
import pytest
import yaml

from p2d_lib import parameters

REPOSITORY = Path(__file__).resolve().parents[2]


def _commands() -> list[str]:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", readme, re.M | re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    starts = ("./run_all.sh", ".venv/bin/papermill", ".venv/bin/torchrun ")
    return [re.sub(r"  +#.*", "", line) for line in lines if line.startswith(starts)]


COMMANDS = _commands()
APP = "./run_all.sh app"


def test_the_readme_has_commands_of_each_kind():
    assert sum(command.startswith("./run_all.sh") for command in COMMANDS) >= 8
    assert sum("papermill" in command for command in COMMANDS) == 2
    assert sum(command.startswith(".venv/bin/torchrun") for command in COMMANDS) == 2


DRIVERS = [command for command in COMMANDS if command.startswith("./run_all.sh") and not command.startswith(APP)]


@pytest.mark.parametrize("command", DRIVERS)
def test_the_driver_plans_what_the_readme_says(command, tmp_path, monkeypatch, capsys):
    words = shlex.split(command)[1:]
    for k, word in enumerate(words):
        if word.startswith("path/to/"):
            (tmp_path / word).mkdir(parents=True)
            words[k] = str(tmp_path / word)
    monkeypatch.setenv("P2D_HAM10000", str(tmp_path))
    monkeypatch.setattr(paper, "RUNS", tmp_path)
    assert paper.run_paper(cli.arguments([*words, "--dry-run"]), words) == 0
    planned = capsys.readouterr().err
    assert planned.count("/8]") == 8 and "it has not been made" in planned


def test_the_app_takes_what_the_readme_gives_it():
    from p2d_lib.app.command import arguments

    for command in (command for command in COMMANDS if command.startswith(APP)):
        assert arguments(shlex.split(command)[2:]).host == "127.0.0.1"


@pytest.mark.parametrize("command", [command for command in COMMANDS if "papermill" in command])
def test_what_the_readme_gives_to_papermill_are_parameters_of_that_notebook(command):
    words = shlex.split(command)
    notebook = Path(words[1])
    assert (REPOSITORY / notebook).exists() and words[words.index("--cwd") + 1] == "notebooks"
    values = {words[k + 1]: words[k + 2] for k, word in enumerate(words) if word == "-p"}
    for k, word in enumerate(words):
        if word == "-y":
            values |= yaml.safe_load(words[k + 1])
    parameters.check(notebook.stem, parameters.profile("smoke")[notebook.stem] | values)


def test_the_command_that_shares_training_among_gpus_is_there():
    words = shlex.split(next(command for command in COMMANDS if command.startswith(".venv/bin/torchrun")))
    module = words[words.index("-m") + 1]
    assert (REPOSITORY / f"{module.replace('.', '/')}.py").exists()
