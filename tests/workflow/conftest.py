"""A clone of the workflow with eight tiny notebooks that write every artefact in milliseconds."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from p2d_lib import parameters
from p2d_lib.artefacts import ARTEFACTS, NOTEBOOKS

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "workflow"))  # tests import its scripts

NOTEBOOK = """
import json, os, shutil, sys, time
from pathlib import Path
home, name = Path(os.environ["P2D_HOME"]), "{notebook}"
folder = home / "data" / "runs" / run
sharded = name == "04_sample" and shard[1] > 1
part = f".{{shard[0]}}-of-{{shard[1]}}" if sharded else ""
with (home / "ran.txt").open("a") as ran:
    ran.write(name + part + "\\n")
if name == "04_sample":  # samples 12 images, as the plan of 04 is shared
    images, sampled = folder / "scratch" / name / "key", home / "sampled.txt"
    images.mkdir(parents=True, exist_ok=True)
    for k in range(shard[0], 12, shard[1]):
        if not (images / f"{{k}}.png").exists():
            if os.environ.get("STUB_PREEMPT") == f"{{k}}" and f"{{k}} begun" not in sampled.read_text():
                sampled.open("a").write(f"{{k}} begun\\n")
                os.kill(os.getpid(), 9)
            (images / f"{{k}}.png").write_text(f"image {{k}} of seed {{seed}}")
            sampled.open("a").write(f"{{k}}\\n")
    if sharded:
        mine = dict.fromkeys((f"{{k}}.png" for k in range(shard[0], 12, shard[1])), "")
        (images / f"shard-{{shard[0]}}-of-{{shard[1]}}.json").write_text(json.dumps(dict(images=mine)))
        raise SystemExit(0)
    seed = "".join(path.read_text() for path in sorted(images.glob("*.png")))
    shutil.rmtree(images)
for path in {artefacts}:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix:
        target.write_text(f"{{name}} {{seed}}")
    else:
        target.mkdir()
        (target / "part").write_text(f"{{name}} {{seed}}")
for position, (kind, file) in enumerate((("tables", "t_" + name + ".csv"), ("figures", "f_" + name + ".png"))):
    for place in (folder / kind, home / kind / run):
        place.mkdir(parents=True, exist_ok=True)
    (home / kind / run / file).write_text("a\\n1.23456\\n")
    origin = dict(notebook=name, execution=os.environ["P2D_EXECUTION"], position=position)
    sidecar = folder / kind / (file + ".provenance.json")
    sidecar.write_text(json.dumps(origin))
    behind = time.time() - float(os.environ.get("STUB_CLOCK", "0"))
    os.utime(sidecar, (behind, behind))
if os.environ.get("STUB_FAIL") == name:
    raise ValueError("row 3 of planted.csv is 7, expected 8")
if os.environ.get("STUB_HANG") == name:
    (home / "hanging").write_text(str(os.getpid()))
    time.sleep(120)
"""

# execute.py without papermill and kernels: the graph and the driver are under test, not Jupyter
FAST_EXECUTE = """
import json
from pathlib import Path
from stages import StageError

def execute(notebook, parameters, executed):
    source = Path(__file__).resolve().parents[1] / "notebooks" / f"{notebook}.ipynb"
    executed.write_text(source.read_text())
    try:
        exec("".join(json.loads(source.read_text())["cells"][2]["source"]), dict(parameters))
    except SystemExit:
        pass
    except ValueError as error:
        raise StageError(f"ValueError: {error}") from None
"""
FAST_PAGE = "def write(folder, *_):\n    (folder / 'index.html').write_text(folder.name)\n"


def _as_in_the_foreground() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests that run in the background inherit an ignored one


class Clone:
    """A checkout at `folder` (also its P2D_HOME) whose driver the tests call as a user would."""

    def __init__(self, folder: Path):
        self.folder = folder

    def copy(self, folder: Path, copy_function: Callable = shutil.copy2) -> "Clone":
        return Clone(shutil.copytree(self.folder, folder, copy_function=copy_function))

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("P2D_")}
        return subprocess.Popen(
            [sys.executable, str(self.folder / "workflow" / "drive.py"), *arguments],
            cwd=self.folder.parent,
            env={**inherited, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_as_in_the_foreground,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        process = self.start(*arguments, **environment)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def ran(self) -> list[str]:
        """The notebooks executed since the last call."""
        path = self.folder / "ran.txt"
        names = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return names

    @property
    def run_folder(self) -> Path:
        return self.folder / "data" / "runs" / "smoke"

    def edit(self, notebook: str, change: Callable[[list[dict]], None]) -> None:
        """Changes the cells of a notebook: 0 holds the parameters, 1 an import, 2 the work."""
        path = self.folder / "notebooks" / f"{notebook}.ipynb"
        content = json.loads(path.read_text())
        change(content["cells"])
        path.write_text(json.dumps(content))

    def with_kernels(self) -> "Clone":
        """The same with the real execute.py."""
        shutil.copy(REPOSITORY / "workflow" / "execute.py", self.folder / "workflow")
        return self


def _notebook(notebook: str) -> dict:
    artefacts = [artefact.path for artefact in ARTEFACTS.values() if artefact.made_by == notebook]
    code = NOTEBOOK.format(notebook=notebook, artefacts=artefacts)
    values = "\n".join(f"{name} = {value!r}" for name, value in parameters.profile("smoke")[notebook].items())
    cells = [
        {"cell_type": "code", "source": values, "metadata": {"tags": ["parameters"]}},
        {"cell_type": "code", "source": f"from p2d_lib.{notebook[3:]} import planted", "metadata": {}},
        {"cell_type": "code", "source": code, "metadata": {}},
    ]
    for number, cell in enumerate(cells):
        cell |= {"id": f"cell-{number}", "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "python3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Clone:
    """A clone, with a space in its path, in which the smoke run has been made. Not to be changed: see `clone`."""
    folder = tmp_path_factory.mktemp("finished") / "a clone"
    shutil.copytree(REPOSITORY / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "params", folder / "params")
    parameters_package = Path("p2d_lib", "parameters")
    without_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / parameters_package, folder / parameters_package, ignore=without_caches)
    shutil.copytree(REPOSITORY / "p2d_lib" / "words", folder / "p2d_lib" / "words", ignore=without_caches)
    for path in (REPOSITORY / "p2d_lib").glob("*.py"):
        shutil.copy(path, folder / "p2d_lib")
    (folder / "notebooks").mkdir()
    for notebook in NOTEBOOKS:
        (folder / "notebooks" / f"{notebook}.ipynb").write_text(json.dumps(_notebook(notebook)))
        (folder / "p2d_lib" / notebook[3:]).mkdir()
        (folder / "p2d_lib" / notebook[3:] / "planted.py").write_text("VALUE = 1\n")
    sheets = Path("p2d_lib", "readers", "sheet_files.py")  # by which the driver looks at a folder of sheets
    shutil.copy(REPOSITORY / sheets, folder / sheets)
    layouts = Path("p2d_lib", "prep", "layouts")
    shutil.copytree(REPOSITORY / layouts, folder / layouts, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (folder / "workflow" / "execute.py").write_text(FAST_EXECUTE)
    (folder / "workflow" / "page.py").write_text(FAST_PAGE)
    clone = Clone(folder)
    code, output = clone.run()
    assert code == 0, output
    assert clone.ran() == list(NOTEBOOKS)
    return clone


@pytest.fixture
def clone(finished, tmp_path) -> Clone:
    """The finished clone, moved: paths inside a run are relative, so nothing has to run again for that."""
    return finished.copy(tmp_path / "b clone")
