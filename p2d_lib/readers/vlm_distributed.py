"""Fits the LoRA of the vision-language model on several GPUs, before 07 runs:

    ./run_all.sh --profile paper --to 06_classify
    torchrun --standalone --nproc_per_node 4 -m p2d_lib.readers.vlm_distributed paper
    ./run_all.sh --profile paper

Each process computes its share of every batch (07_readers.vlm_batch_size). The finished fit lies in the run's scratch
folder, from which 07 takes it. Parameters are those of the run (data/runs/<run>/parameters.json).
"""

import argparse
import json
import os

from p2d_lib import parameters
from p2d_lib.device import set_up
from p2d_lib.models import vlm_tiny
from p2d_lib.models.processes import processes
from p2d_lib.readers import vlm_tuning
from p2d_lib.run import ArtefactError, Run, home

NOTEBOOK = "07_readers"


def fit(run_name: str) -> None:
    """Converts the base where that is needed, and fits its LoRA. Raises ArtefactError where the run has no parameters
    yet, ValueError for a model that is made here, which one process fits in less time than several."""
    folder = home() / "data" / "runs" / run_name
    file = folder / "parameters.json"
    if not file.exists():
        raise ArtefactError(f"{file} is missing: run ./run_all.sh --run {run_name} --to 06_classify first")
    p = parameters.check(NOTEBOOK, json.loads(file.read_text())[NOTEBOOK], str(file))
    if p.vlm_model in ("", vlm_tiny.NAME):
        raise ValueError(f"{file}: vlm_model is {p.vlm_model!r}; on several GPUs a folder or hub id is fitted")
    device = set_up()
    if not processes(device).is_main_process:
        os.environ["P2D_RUN_MARK"] = str(folder)  # the main process holds the run's lock for all
    run = Run(run_name, NOTEBOOK, p.model_dump())
    cases = run.read("cases")
    train = cases[cases["split"] == "train"].reset_index(drop=True)
    vlm_tuning.fitted(run, p, train, run.read("descriptions"), device)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the run's folder under data/runs")
    fit(parser.parse_args().run)
