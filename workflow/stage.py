"""Runs one stage in the run's folder: stage.py 05_fidelity; or one shard of it: stage.py 04_sample 3-of-8

The Snakefile's rules call it. Where the stage is up to date by now and not forced, it ends at once. Otherwise it leaves
notebooks/<notebook>.ipynb (executed, also when a cell failed) and stages/<notebook>.json, or on failure
stages/<notebook>.error, one line. Where plan.json asks for several processes, torchrun fits what they can share before
the notebook of 03 is executed.
"""

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # where PYTHONSAFEPATH is set, it is not there

import processes
import psutil
import shards
from advice import with_advice
from progress import record_event
from stages import StageError, Stages

DISTRIBUTED = {"03_finetune": "p2d_lib.finetune.distributed"}  # what several processes fit before a notebook


def main(notebook: str, shard: str = "") -> int:
    begun = psutil.Process().create_time()  # so that imports count
    if "P2D_DRIVER" in os.environ:
        threading.Thread(target=processes.end_with_driver, daemon=True).start()
    folder = Path.cwd()
    parameters = json.loads((folder / "parameters.json").read_text())
    plan = json.loads((folder / "plan.json").read_text())
    stages = Stages(folder, parameters)
    try:
        if notebook not in plan["forced"] and not stages.why(notebook):
            record_event(folder, notebook, "unchanged", shard)
            return 0
        record_event(folder, notebook, "begun", shard)
        if not shard:
            _run(stages, notebook, begun, plan.get("processes", 1))
        elif not shards.is_done(stages, shard):
            shards.run(stages, shard)
    except Exception as failure:  # of the notebook, of its code, of the disk: the driver shows it in one line
        problem = (
            f"{failure}" if isinstance(failure, StageError) else f"{type(failure).__name__}: {failure}".rstrip(": ")
        )
        with suppress(OSError):  # a full disk has no room for its own error
            (folder / "stages" / f"{notebook}.error").write_text(f"{with_advice(problem)}\n")
            record_event(folder, notebook, "failed", shard)
        return 1
    record_event(folder, notebook, "done", shard)
    return 0


def _run(stages: Stages, notebook: str, begun: float, n_processes: int) -> None:
    """Executes the notebook and records the stage. Leaves no artefact of it where that fails."""
    from execute import execute  # papermill takes a second to import

    basis = stages.basis(notebook)
    stages.begin(notebook)
    os.environ["P2D_EXECUTION"] = execution = uuid.uuid4().hex
    try:
        if n_processes > 1 and notebook in DISTRIBUTED:
            _fit_together(DISTRIBUTED[notebook], stages.folder.name, n_processes)
        execute(notebook, stages.parameters[notebook], stages.folder / "notebooks" / f"{notebook}.ipynb")
        stages.end(notebook, basis, execution, time.time() - begun)
    except BaseException:
        stages.remove_artefacts(notebook)
        raise
    stages.digests.save()


def _fit_together(module: str, run: str, n_processes: int) -> None:
    """Fits on several processes of this machine; what they leave in the run's scratch folder, the notebook takes up."""
    threads = max(1, int(os.environ.get("P2D_THREADS", "1")) // n_processes)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(n_processes)]
    environment = {**os.environ, "P2D_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    if code := subprocess.run([*command, "-m", module, run], env=environment).returncode:
        raise StageError(f"{module} on {n_processes} processes failed with return code {code}: its log has the reason")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
