"""Two processes under torchrun fit what one fits, and 03 takes up what they leave."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from tiny_run import make_run, tiny_parameters

from p2d_lib.finetune.stages import Stages
from p2d_lib.models import pipelines, tiny_base
from p2d_lib.run import Run

REPOSITORY = Path(__file__).resolve().parents[2]
CHANGES = {
    "base_steps": 3,
    "lora_steps": 4,
    "lora_text_encoder": True,
    "baselines": ["scratch-unet"],
    "baseline_steps": 2,
}


def test_two_processes_fit_what_one_does_and_03_continues_from_their_checkpoints(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pipelines, "tiny_pipeline", tiny_base.tiny_pipeline)  # the processes know no fixture of a test
    logs = {}
    for name in ("two", "one"):
        monkeypatch.setenv("P2D_HOME", str(tmp_path / name))
        make_run("tiny")
        p = tiny_parameters(**CHANGES)
        if name == "two":
            file = tmp_path / name / "data" / "runs" / "tiny" / "parameters.json"
            file.write_text(json.dumps({"03_finetune": p.model_dump()}))
            torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
            added = {"OMP_NUM_THREADS": "1", "P2D_DEVICE": "cpu", "PYTHONPATH": str(REPOSITORY)}
            entry = ["-m", "p2d_lib.finetune.distributed", "tiny"]
            subprocess.run([*torchrun, *entry], check=True, env={**os.environ, **added}, timeout=120)
        stages = Stages(Run("tiny", "03_finetune", p.model_dump()), p, torch.device("cpu"))
        stages.adapter(stages.base())
        assert [baseline for baseline, _ in stages.baselines(p.baselines)] == p.baselines
        logs[name] = stages.logs
    output = capsys.readouterr().out
    for fit, steps in (("base", 3), ("adapter", 4), ("scratch-unet", 2)):
        assert f"{fit}: continues after step {steps}" in output
        two, one = logs["two"][fit], logs["one"][fit]
        for column in ("loss", "gradient", "val_loss"):
            assert np.allclose(two[column], one[column], atol=1e-4, rtol=1e-3, equal_nan=True), (fit, column)
    assert logs["two"]["adapter"]["val_loss"].notna().any()
