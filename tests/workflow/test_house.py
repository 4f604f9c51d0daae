"""The layers of the design hold: rooms know the ground floor and the models, never one another."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def _lint(folder: Path) -> subprocess.CompletedProcess:
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(lint, cwd=folder, env=environment, capture_output=True, text=True)


def test_no_room_imports_another_and_nothing_below_imports_a_room():
    linted = _lint(REPOSITORY)
    assert linted.returncode == 0, linted.stdout


BREACHES = {
    "classify.planted": ("from p2d_lib.sample import planted", "p2d_lib.sample.planted"),
    "models.planted": ("def lazily():\n    from p2d_lib.sample import planted\n", "p2d_lib.sample.planted"),
    "instruments.planted": ("import p2d_lib.models.planted", "p2d_lib.models.planted"),
    "seeds": ("import p2d_lib.instruments.planted", "p2d_lib.instruments.planted"),
}


def test_planted_breaches_and_a_module_without_a_place_are_caught(tmp_path):
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    library = tmp_path / "p2d_lib"
    shutil.copytree(REPOSITORY / "p2d_lib", library, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    (library / "sample" / "planted.py").write_text("")
    for module, (breach, _) in BREACHES.items():
        (library / f"{module.replace('.', '/')}.py").write_text(breach)
    linted = _lint(tmp_path)
    assert linted.returncode == 1
    for module, (_, imported) in BREACHES.items():
        assert f"p2d_lib.{module} -> {imported}" in linted.stdout, linted.stdout
    (library / "unplaced.py").write_text("VALUE = 1")
    assert "unplaced" in _lint(tmp_path).stdout


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
