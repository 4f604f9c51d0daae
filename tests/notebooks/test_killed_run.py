"""What users do: notebook 03 with an untrained base, killed and started again, goes on and leaves the same bytes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
from tiny_run import make_run

from p2d_lib.files import sha256
from p2d_lib.run import Run
from p2d_lib.words.wording import Wording

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = {
    "run": "tiny", "base": "random", "base_steps": 40, "batch_size": 4, "lora_steps": 4, "lora_rank": 2,
    "baselines": ["scratch-unet"], "baseline_size": 32, "baseline_steps": 4, "scout_steps": 4, "scout_batch_size": 8,
    "alignment_steps": 2, "alignment_batch_size": 8, "num_inference_steps": 2, "checkpoint_minutes": 0.0,
}  # fmt: skip


def _start(home: Path) -> subprocess.Popen:
    """Starts the notebook as README shows it."""
    (home / "settings.yaml").write_text(json.dumps(SETTINGS))  # which is YAML, too
    notebook, executed = REPOSITORY / "notebooks" / "03_finetune.ipynb", home / "executed.ipynb"
    command = [sys.executable, "-m", "papermill", notebook, executed, "--cwd", notebook.parent]
    command += ["-f", home / "settings.yaml", "-k", "python3", "--no-progress-bar"]
    environment = {**os.environ, "P2D_HOME": str(home), "P2D_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    log = (home / "papermill.log").open("a")
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _finish(process: subprocess.Popen, home: Path) -> None:
    assert process.wait(timeout=600) == 0, (home / "papermill.log").read_text()[-3000:]


def _kill_once_there_is(file: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
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
    """Two homes with what 01 and 02 leave: in one 03 runs through, in the other it is killed and started again."""
    killed, through = tmp_path_factory.mktemp("killed"), tmp_path_factory.mktemp("through") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("P2D_HOME", str(killed))
        make_run("tiny", 42)
        with Run("tiny", "02_describe").writing("wording") as path:
            path.write_text(json.dumps(asdict(Wording("phrases", max_features=8, max_tokens=77))))
    shutil.copytree(killed, through)
    undisturbed, victim = _start(through), _start(killed)
    folder = killed / "data" / "runs" / "tiny"
    _kill_once_there_is(folder / "scratch" / "03_finetune" / "checkpoints" / "base.pt", victim)
    assert not (folder / "base").exists()
    _finish(_start(killed), killed)
    _finish(undisturbed, through)
    return {"killed": killed, "through": through}


def test_the_base_continues_from_its_checkpoint(homes):
    printed = {}
    for name, home in homes.items():
        executed = json.loads((home / "executed.ipynb").read_text())
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
