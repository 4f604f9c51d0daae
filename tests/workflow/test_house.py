"""The layers of the design hold: rooms know the ground floor and the models, never one another."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def _lint(folder: Path) -> subprocess.CompletedProcess:
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(lint, cwd=folder, env=environment, capture_output=True, text=True)


def test_no_room_imports_another_and_nothing_below_imports_a_room():
    linted = _lint(REPOSITORY)
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize(
    ("module", "breach"),
    [
        ("classify/planted.py", "from p2d_lib.sample import planted"),
        ("models/planted.py", "def lazily():\n    from p2d_lib.sample import planted\n"),
        ("instruments/planted.py", "import p2d_lib.models.planted"),
        ("seeds.py", "import p2d_lib.instruments.planted"),
        ("unplaced.py", "VALUE = 1"),
    ],
)
def test_a_planted_breach_is_caught(tmp_path, module, breach):
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    shutil.copytree(REPOSITORY / "p2d_lib", tmp_path / "p2d_lib", ignore=shutil.ignore_patterns("__pycache__"))
    for room in ("sample", "classify", "models", "instruments"):
        (tmp_path / "p2d_lib" / room / "planted.py").write_text("")
    (tmp_path / "p2d_lib" / module).write_text(breach)
    linted = _lint(tmp_path)
    assert linted.returncode == 1
    assert "BROKEN" in linted.stdout or "unplaced" in linted.stdout, linted.stdout


def test_rooms_that_compute_without_networks_load_no_torch():
    names = [
        f"p2d_lib.{path.parent.name}.{path.stem}"
        for room in ("prep", "fairness", "instruments")
        for path in (REPOSITORY / "p2d_lib" / room).glob("[a-z]*.py")
    ]
    loads = (
        f"import importlib, sys; [importlib.import_module(name) for name in {names}]; assert 'torch' not in sys.modules"
    )
    imported = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True)
    assert imported.returncode == 0, imported.stderr


def test_the_driver_and_a_stage_that_is_up_to_date_load_no_tables_networks_or_notebooks():
    loads = "import sys, drive, paper, stage; print({'pandas', 'pandera', 'torch', 'papermill'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'workflow'}"}
    imported = subprocess.run([sys.executable, "-c", loads], env=environment, capture_output=True, text=True)
    assert imported.stdout == "set()\n", imported.stderr
