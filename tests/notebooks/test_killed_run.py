"""What users do: a run with an untrained base, killed in 03 and started again, goes on and leaves the same bytes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from p2d_lib.files import sha256

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = (
    "01_prep.n_images=240", "01_prep.tail=0.0", "01_prep.image_size=32", "02_describe.describers=[template]",
    "03_finetune.base=random", "03_finetune.base_steps=40", "03_finetune.batch_size=4", "03_finetune.lora_steps=4",
    "03_finetune.lora_rank=2", "03_finetune.baselines=[scratch-unet]", "03_finetune.baseline_size=32",
    "03_finetune.baseline_steps=4", "03_finetune.scout_steps=4", "03_finetune.alignment_steps=2",
    "03_finetune.num_inference_steps=2", "03_finetune.checkpoint_minutes=0.0",
)  # fmt: skip


def _start(home: Path, until: str) -> subprocess.Popen:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    driver = [sys.executable, str(REPOSITORY / "workflow" / "drive.py"), "--run", "tiny", "--cores", "1"]
    environment = {**os.environ, "P2D_HOME": str(home)}
    log = (home / "driver.log").open("a")
    return subprocess.Popen([*driver, "--to", until, *settings], env=environment, stdout=log, stderr=log)


def _finish(process: subprocess.Popen, home: Path) -> None:
    assert process.wait(timeout=300) == 0, (home / "driver.log").read_text()[-3000:]


def _kill_once_there_is(file: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not file.exists():
        assert process.poll() is None and time.monotonic() < deadline, f"{file} was not written"
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    for each in (process, *children):
        each.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(children, timeout=10)


@pytest.fixture(scope="module")
def homes(tmp_path_factory) -> dict[str, Path]:
    """Two homes with the same 01 and 02: in one 03 runs through, in the other it is killed and started again."""
    first, second = tmp_path_factory.mktemp("killed"), tmp_path_factory.mktemp("through") / "home"
    _finish(_start(first, "02_describe"), first)
    shutil.copytree(first, second)
    through, killed = _start(second, "03_finetune"), _start(first, "03_finetune")
    scratch = first / "data" / "runs" / "tiny" / "scratch" / "03_finetune"
    _kill_once_there_is(scratch / "checkpoints" / "base.pt", killed)
    assert not (first / "data" / "runs" / "tiny" / "base").exists()
    _finish(_start(first, "03_finetune"), first)
    _finish(through, second)
    return {"killed": first, "through": second}


def test_the_base_continues_from_its_checkpoint(homes):
    printed = {}
    for name, home in homes.items():
        executed = json.loads((home / "data/runs/tiny/notebooks/03_finetune.ipynb").read_text())
        outputs = [output for cell in executed["cells"] for output in cell.get("outputs", ())]
        printed[name] = "".join("".join(output.get("text", "")) for output in outputs)
    steps = printed["killed"].split("base: continues after step ")[1].split()[0]
    assert int(steps) >= 20
    assert "continues" not in printed["through"] and "begins at step 0" not in printed["killed"]


@pytest.mark.parametrize("artefact", ["base", "adapter", "baselines", "scout", "alignment"])
def test_both_leave_the_same_bytes(homes, artefact):
    killed, through = (sha256(home / "data" / "runs" / "tiny" / artefact) for home in homes.values())
    assert killed == through


def test_both_leave_the_same_table_and_figures(homes):
    for file in ("tables/tiny/t3_training.csv", "figures/tiny/f3_losses.png", "figures/tiny/f3_samples.png"):
        killed, through = ((home / file).read_bytes() for home in homes.values())
        assert killed == through, file
