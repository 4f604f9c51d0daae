"""Runs one notebook in the run's folder, with its bars on the terminal: execute.py 05_fidelity

The Snakefile's rules call it. It leaves notebooks/<notebook>.ipynb (executed, also when a cell failed) and
stages/<notebook>.json: {"notebook", "seconds", "tables", "figures"}; on failure stages/<notebook>.error, one line.
"""

import json
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import papermill
import psutil
from drive import end_children
from jupyter_client.kernelspec import find_kernel_specs

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def main(notebook: str) -> int:
    if "P2D_DRIVER" in os.environ:
        threading.Thread(target=_end_with_driver, daemon=True).start()
    stage, error = Path("stages", f"{notebook}.json"), Path("stages", f"{notebook}.error")
    for folder in ("stages", "notebooks"):
        Path(folder).mkdir(exist_ok=True)
    error.unlink(missing_ok=True)
    begun = psutil.Process().create_time()  # so that imports count
    try:
        papermill.execute_notebook(
            str(NOTEBOOKS / f"{notebook}.ipynb"),
            f"notebooks/{notebook}.ipynb",
            parameters=json.loads(Path("parameters.json").read_text())[notebook],
            kernel_name="prompt2derm" if "prompt2derm" in find_kernel_specs() else "python3",
            cwd=str(NOTEBOOKS),
            progress_bar=False,
            extra_arguments=["--log-level=50"],  # of the kernel, which warns about TCP on every start
            stdout_file=sys.stdout,
            stderr_file=sys.stdout,  # where the bars are: the terminal
        )
    except papermill.PapermillExecutionError as failure:
        error.write_text(f"{failure.ename}: {failure.evalue.strip().splitlines()[0] if failure.evalue else ''}\n")
        return 1
    except Exception as failure:  # the kernel died, or did not start
        error.write_text(f"{type(failure).__name__}: {failure} (a kernel that dies has often run out of memory)\n")
        return 1
    made = {kind: _made(kind, notebook, begun) for kind in ("tables", "figures")}
    record = {"notebook": notebook, "seconds": round(time.time() - begun, 1), **made}
    partial = stage.with_suffix(".partial")  # drive.py reads it whatever became of this process
    partial.write_text(json.dumps(record, indent=1) + "\n")
    partial.replace(stage)
    return 0


def _made(kind: str, notebook: str, begun: float) -> list[str]:
    """The tables or figures this execution wrote; what an earlier one wrote under other names is removed."""
    made = []
    for sidecar in sorted(Path(kind).glob("*.provenance.json")):
        if json.loads(sidecar.read_text())["notebook"] != notebook:
            continue
        name = sidecar.name.removesuffix(".provenance.json")
        if sidecar.stat().st_mtime >= begun - 1:  # file systems with coarse clocks
            made.append(name)
        else:
            sidecar.unlink()
            Path("../../..", kind, Path.cwd().name, name).unlink(missing_ok=True)
    return made


def _end_with_driver() -> None:
    """Ends Snakemake, kernel and self when the driver is gone (kill -9), so that nothing writes behind its back."""
    with suppress(psutil.NoSuchProcess):
        driver = psutil.Process(int(os.environ["P2D_DRIVER"]))
        while driver.is_running() and driver.status() != psutil.STATUS_ZOMBIE:
            time.sleep(1)
    end_children(os.environ["P2D_RUN_MARK"])
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
