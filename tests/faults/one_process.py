"""The paper without its imports: ./run_all.sh in processes that are forked from one that has imported everything.

A start then takes a second in place of a minute, so that hundreds of kills are affordable. The driver, its plan, the
stages and the cells are those of a run; what stands in for the rest: the driver calls the stages in their order
(Snakemake does so in a run), each in a process of its own, and a stage executes the cells by itself (a kernel does).
"""

import json
import mmap
import os
import pkgutil
import re
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ABOVE = ("p2d_lib.app", "p2d_lib.release")  # what no notebook imports
WRITES = {"open": 1, "os.mkdir": 1, "os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.link": 2}  # event: its paths
OPENED_TO_WRITE = os.O_WRONLY | os.O_RDWR


def import_everything() -> None:
    """Imports all that notebooks import. Figures are coarse, since drawing them would take half of the time."""
    import matplotlib

    matplotlib.use("Agg")
    import p2d_lib

    for module in pkgutil.walk_packages(p2d_lib.__path__, "p2d_lib."):
        if not module.name.startswith(ABOVE) and not module.name.endswith("__main__"):
            import_module(module.name)
    for name in ("diffusers", "transformers", "peft", "timm", "open_clip", "IPython.display", "nbconvert", "papermill"):
        import_module(name)
    matplotlib.rcParams["savefig.dpi"] = 40


class Writes:
    """Counts what a run is about to write, and kills it, or does it another harm, before one of these writes.

    A write is a file opened to be written to, or a file or folder that is made, renamed or removed, below `home`. Its
    kind is the operation with the path, digits left out: all checkpoints of a fit are one kind. at: (kind, n), the n-th
    write of that kind, from 1. harm: what happens before it; by default the whole process group is killed. log: takes
    the kind of each write, one a line.
    """

    def __init__(
        self,
        home: Path,
        at: tuple[str, int] | None = None,
        log: Path | None = None,
        harm: Callable[[], None] = lambda: os.killpg(0, signal.SIGKILL),
    ):
        self._home, self._at, self._harm = str(home), at, harm
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC) if log else None
        self._met = mmap.mmap(-1, 8)  # shared by all processes of the run

    def __call__(self, event: str, arguments: tuple) -> None:
        if event not in WRITES or (event == "open" and not self._opens_to_write(arguments)):
            return
        named = [path for path in arguments[: WRITES[event]] if isinstance(path, str | bytes | os.PathLike)]
        paths = [os.fsdecode(path) for path in named]
        if not paths or not paths[-1].startswith(self._home):
            return
        kind = kind_of_write(event, paths[-1].removeprefix(self._home))
        if self._log:
            os.write(self._log, f"{kind}\n".encode())
        if self._at and kind == self._at[0]:
            met = int.from_bytes(self._met[:], "little") + 1
            self._met[:] = met.to_bytes(8, "little")
            if met == self._at[1]:
                self._harm()

    @staticmethod
    def _opens_to_write(arguments: tuple) -> bool:
        _, mode, flags = arguments
        return bool(set(mode or "") & set("wax+")) or bool((flags or 0) & OPENED_TO_WRITE)


def kind_of_write(event: str, path: str) -> str:
    """ "os.rename /data/runs/micro/cases.parquet": the operation and the path, without what differs between two runs.

    Files within a folder that is not whole yet are one kind for each ending, and so are tables and figures.
    """
    path = re.sub(r"/\.([^/]+?)\.[^./]+\.\d+\.[^./]*\.partial", r"/(partial of \1)", path)  # files.atomic's folders
    path = re.sub(r"\(partial of [^/]*\)/[^/]*/.*(\.\w+)$", r"(partial)/*\1", path)
    path = re.sub(r"/(\(partial of )?[tf]\d_[^/.]*\.", r"/\1*.", path)
    return f"{event} {re.sub(r'[0-9a-f]{12,}|[0-9]+', '#', path)}"


def counted(log: Path) -> Counter[str]:
    """How often each kind of write stands in a log."""
    return Counter(log.read_text().splitlines())


def start(
    home: Path, arguments: Sequence[str], writes: Writes | None = None, run: str = "micro", log: Path | None = None
) -> int:
    """Starts ./run_all.sh --run RUN with P2D_HOME=home in a process group of its own; returns its process number.

    log: takes what it prints (default: <run>.log in the home)."""
    home.mkdir(parents=True, exist_ok=True)
    if process := os.fork():
        return process
    code = 70
    try:
        os.setsid()
        printed = os.open(log or home / f"{run}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        os.environ.update(P2D_HOME=str(home), P2D_THREADS="1", P2D_RUN_MARK=str(home / "data" / "runs" / run))
        if writes:
            sys.addaudithook(writes)
        code = _drive(["--run", run, "--cores", "1", *arguments])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _drive(arguments: Sequence[str]) -> int:
    sys.path.insert(0, str(REPOSITORY / "workflow"))
    import drive
    import paper

    paper._snakemake = _stages_in_their_order
    return drive.main(list(arguments))


def _stages_in_their_order(folder: Path, _cores: int, _profile: Path, progress) -> int:
    """What Snakemake does with one core and no shards; the return code."""
    for notebook in json.loads((folder / "plan.json").read_text())["stages"]:
        if not (process := os.fork()):
            os._exit(_stage(folder, notebook))
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        progress.update()
        if code:
            return code
    return 0


def _stage(folder: Path, notebook: str) -> int:
    os.chdir(folder)
    import stage

    from p2d_lib import files

    files._cleaned.clear()  # in a run this process is not its driver's copy
    sys.modules["execute"] = sys.modules[__name__]
    try:
        return stage.main(notebook)
    except BaseException:
        traceback.print_exc()
        return 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def execute(notebook: str, parameters: dict, executed: Path) -> None:
    """Runs the code cells of a notebook in this process; leaves its title as the executed notebook."""
    import matplotlib.pyplot as plt
    from IPython.display import display

    from p2d_lib.files import atomic

    source = json.loads((REPOSITORY / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    with atomic(executed) as partial:
        partial.write_text(json.dumps({**source, "cells": source["cells"][:1]}), encoding="utf-8")
    os.chdir(REPOSITORY / "notebooks")
    variables = {**parameters, "display": display}
    for cell in source["cells"]:
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", ()):
            exec(compile("".join(cell["source"]), f"{notebook}:{cell['id']}", "exec"), variables)
    plt.close("all")
    os.chdir(executed.parents[1])
