"""Fits base, adapter and the baselines from scratch on several GPUs, before 03 runs:

    ./run_all.sh --profile paper --to 02_describe
    torchrun --standalone --nproc_per_node 4 -m p2d_lib.finetune.distributed paper
    ./run_all.sh --profile paper

Each process computes its share of every batch. It leaves finished checkpoints in the run's scratch folder, from which
03 continues without fitting again. Parameters are those of the run (data/runs/<run>/parameters.json), so the sum over
processes equals one process but for float rounding. .venv/bin/torchrun comes with PyTorch. `./run_all.sh --processes 4`
does all of this in one start, on the GPUs of one machine. On several machines that share the run's folder, start one
torchrun on each with --nnodes and --rdzv_backend c10d (docs/HOWTO.md, "Run on a cluster"): the processes agree on their
ranks by themselves.
"""

import argparse
import json
import os

from p2d_lib import parameters
from p2d_lib.device import set_up
from p2d_lib.finetune.stages import Stages
from p2d_lib.models.pixel_baselines import SCRATCH
from p2d_lib.models.processes import processes
from p2d_lib.run import ArtefactError, Run, home

NOTEBOOK = "03_finetune"


def fit_all(run_name: str) -> Stages:
    """Fits what several processes can share. Raises ArtefactError where the run has no parameters yet."""
    folder = home() / "data" / "runs" / run_name
    file = folder / "parameters.json"
    if not file.exists():
        raise ArtefactError(f"{file} is missing: run ./run_all.sh --run {run_name} --to 02_describe first")
    p = parameters.check(NOTEBOOK, json.loads(file.read_text())[NOTEBOOK], str(file))
    device = set_up()
    state = processes(device)
    if not state.is_main_process:
        os.environ["P2D_RUN_MARK"] = str(folder)  # the main process holds the run's lock for all
    with state.main_process_first():  # the file of pixels is made once
        stages = Stages(Run(run_name, NOTEBOOK, p.model_dump()), p, device)
    stages.adapter(stages.base())
    for _ in stages.baselines([name for name in p.baselines if name in SCRATCH]):
        pass  # a baseline is fitted when the loop reaches it, and leaves its checkpoint
    return stages


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the run's folder under data/runs")
    fit_all(parser.parse_args().run)
