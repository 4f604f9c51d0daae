"""Executes one notebook with papermill, its bars on the terminal."""

import logging
import re
import sys
from pathlib import Path

import nbformat
import papermill
from jupyter_client.kernelspec import find_kernel_specs
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from stages import StageError

from p2d_lib.files import atomic

# It warns of parameters with a second "=" in their line, as in a remark. All have been checked before.
logging.getLogger("papermill").setLevel(logging.ERROR)

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def execute(notebook: str, parameters: dict, executed: Path) -> None:
    """Leaves the executed notebook at `executed`, also when a cell fails. Raises StageError."""
    try:
        papermill.execute_notebook(
            _verbatim(NOTEBOOKS / f"{notebook}.ipynb"),
            _verbatim(executed),
            parameters=parameters,
            kernel_name="prompt2derm" if "prompt2derm" in find_kernel_specs() else "python3",
            cwd=str(NOTEBOOKS),
            progress_bar=False,
            # of the kernel, which warns about TCP on every start, and whose history needs a file system with locks
            extra_arguments=["--log-level=50", "--HistoryManager.enabled=False"],
            stdout_file=sys.stdout,
            stderr_file=sys.stdout,  # where the bars are: the terminal
        )
    except papermill.PapermillExecutionError as failure:
        problem = failure.evalue.strip().splitlines()[0] if failure.evalue else ""
        raise StageError(f"{failure.ename}: {problem} ({_place(failure)})") from None
    except Exception as failure:  # the kernel died, or did not start
        raise StageError(f"{type(failure).__name__}: {failure}") from None
    finally:
        if executed.exists() and executed.stat().st_size:  # papermill makes it empty before it runs
            _fold_bars(executed)


def _verbatim(path: Path) -> str:
    """A path for papermill, which would fill {x} in it with a parameter."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _fold_bars(executed: Path) -> None:
    """Leaves the last line of each progress bar; the terminal has shown the others."""
    notebook = nbformat.read(executed, as_version=4)
    notebook, _ = CoalesceStreamsPreprocessor(enabled=True)(notebook, {})
    with atomic(executed) as partial:
        nbformat.write(notebook, partial)


def _place(failure: papermill.PapermillExecutionError) -> str:
    """ "cell [7], line 3", the number as the executed notebook shows it."""
    traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(failure.traceback))
    line = re.search(rf"Cell In ?\[{failure.exec_count}\], line (\d+)", traceback)
    return f"cell [{failure.exec_count}]" + (f", line {line[1]}" if line else "")
