"""Runs one stage in the run's folder: stage.py 05_fidelity

The Snakefile's rules call it. Where the stage is up to date by now and not forced, it ends at once. Otherwise it leaves
notebooks/<notebook>.ipynb (executed, also when a cell failed) and stages/<notebook>.json, or on failure
stages/<notebook>.error, one line.
"""

import json
import os
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # where PYTHONSAFEPATH is set, it is not there

import processes
import psutil
from advice import with_advice
from progress import record_event
from stages import StageError, Stages


def main(notebook: str) -> int:
    begun = psutil.Process().create_time()  # so that imports count
    if "P2D_DRIVER" in os.environ:
        threading.Thread(target=processes.end_with_driver, daemon=True).start()
    folder = Path.cwd()
    parameters = json.loads((folder / "parameters.json").read_text())
    forced = json.loads((folder / "plan.json").read_text())["forced"]
    stages = Stages(folder, parameters)
    try:
        if notebook not in forced and not stages.why(notebook):
            record_event(folder, notebook, "unchanged")
            return 0
        record_event(folder, notebook, "begun")
        _run(stages, notebook, begun)
    except Exception as failure:  # of the notebook, of its code, of the disk: the driver shows it in one line
        problem = (
            f"{failure}" if isinstance(failure, StageError) else f"{type(failure).__name__}: {failure}".rstrip(": ")
        )
        with suppress(OSError):  # a full disk has no room for its own error
            (folder / "stages" / f"{notebook}.error").write_text(f"{with_advice(problem)}\n")
            record_event(folder, notebook, "failed")
        return 1
    record_event(folder, notebook, "done")
    return 0


def _run(stages: Stages, notebook: str, begun: float) -> None:
    """Executes the notebook and records the stage. Leaves no artefact of it where that fails."""
    from execute import execute  # papermill takes a second to import

    basis = stages.basis(notebook)
    stages.begin(notebook)
    os.environ["P2D_EXECUTION"] = execution = uuid.uuid4().hex
    try:
        execute(notebook, stages.parameters[notebook], stages.folder / "notebooks" / f"{notebook}.ipynb")
        stages.end(notebook, basis, execution, time.time() - begun)
    except BaseException:
        stages.remove_artefacts(notebook)
        raise
    stages.digests.save()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
