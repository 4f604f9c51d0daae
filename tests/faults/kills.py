"""kill -9 at random moments over all stages: the finished run equals, bit for bit, one that nobody disturbed.

    .venv/bin/python tests/faults/kills.py --home FOLDER --kills 100 --log kills.jsonl

makes the run twice at the size of tests/notebooks/test_all_eight.py: undisturbed, in FOLDER/through, and in
FOLDER/killed, where each stage is killed in its turn at random moments of the time that it took undisturbed, and
started again until it ends. Who is killed is random too: all processes, as a power cut does, the driver, or the kernel;
"term" is SIGTERM to the driver, as schedulers send it. A server on this machine describes images for money, and counts
what it was asked. Each kill and each comparison is a line of the log. What is finished in FOLDER stays: the same
command continues.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
for folder in ("describe", "faults", "notebooks"):
    sys.path.insert(0, str(REPOSITORY / "tests" / folder))

from chat_server import ChatServer  # noqa: E402
from contents import contents, differing  # noqa: E402
from events import noted_in  # noqa: E402
from test_all_eight import MICRO  # noqa: E402

from p2d_lib.artefacts import NOTEBOOKS  # noqa: E402

VICTIMS = ("all", "driver", "kernel", "term")
DESCRIBED, AT_ONCE = 12, 2  # images that the server describes, requests at a time
SETTINGS = (
    *MICRO, "02_describe.describers=[template, captioner, api]", f"02_describe.n_described={DESCRIBED}",
    "02_describe.api_model=scripted", "02_describe.api_allow_upload=true", f"02_describe.api_concurrency={AT_ONCE}",
)  # fmt: skip
PART = 0.5  # of a stage's time undisturbed in which it is killed, since it goes on from what is done
TRIES = 3  # starts for each kill: some end before their moment


class Home:
    """A run in a folder of its own, as ./run_all.sh makes it."""

    def __init__(self, folder: Path, url: str):
        self.folder, self.run_folder = folder, folder / "data" / "runs" / "micro"
        self.url = url

    def start(self, stage: str) -> subprocess.Popen:
        """Starts the run up to a stage; one that has ended is made anew."""
        self.folder.mkdir(parents=True, exist_ok=True)
        again = ["--from", stage] if self.has(stage) else []
        settings = [word for setting in SETTINGS for word in ("--set", setting)]
        driver = [sys.executable, str(REPOSITORY / "workflow" / "drive.py"), "--run", "micro", "--cores", "1"]
        environment = {**os.environ, "P2D_HOME": str(self.folder), "P2D_API_BASE_URL": self.url}
        with (self.folder / "driver.log").open("a") as log:
            return subprocess.Popen(
                [*driver, *again, "--to", stage, *settings], env=environment, stdout=log, stderr=log
            )

    def finish(self, stage: str) -> float:
        """Runs a stage to its end; seconds. Raises RuntimeError where it fails."""
        started = time.monotonic()
        if self.start(stage).wait() != 0:
            raise RuntimeError(f"{stage} failed: {(self.folder / 'driver.log').read_text()[-2000:]}")
        return time.monotonic() - started

    def has(self, stage: str) -> bool:
        return (self.run_folder / "stages" / f"{stage}.json").exists()


def _kill(process: subprocess.Popen, victim: str) -> str:
    """Sends the victim's signal; returns what ran then."""
    family = psutil.Process(process.pid).children(recursive=True)
    kernels = [child for child in family if _is(child, "ipykernel_launcher")]
    chosen = {"all": [process, *family], "driver": [process], "kernel": kernels or [process], "term": [process]}[victim]
    running = "a kernel" if kernels else "no kernel yet" if family else "the driver alone"
    for each in chosen:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGTERM if victim == "term" else signal.SIGKILL)
    process.wait()
    psutil.wait_procs(family, timeout=30)
    return running


def _is(process: psutil.Process, module: str) -> bool:
    with suppress(psutil.Error):
        return module in " ".join(process.cmdline())
    return False


def campaign(folder: Path, kills: int, log: Path, stages: list[str], seed: int) -> int:
    """The number of files that differ, and of requests paid twice beyond those under way at a kill."""
    rng, wrong, note = random.Random(seed), 0, noted_in(log)
    with ChatServer() as server:
        through, killed = Home(folder / "through", server.url), Home(folder / "killed", server.url)
        for number, stage in enumerate(stages):
            if not through.has(stage):
                note(stage=stage, seconds=round(through.finish(stage), 1), run="undisturbed")
            seconds = json.loads((through.run_folder / "stages" / f"{stage}.json").read_text())["seconds"]
            asked, hit = len(server.requests), 0
            share = kills // len(stages) + (number < kills % len(stages))
            for _ in range(TRIES * share):
                if hit == share:
                    break
                moment, victim = rng.uniform(0, PART * seconds + 3), rng.choice(VICTIMS)
                process = killed.start(stage)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=moment)
                ended = process.poll() is not None
                running = "it had ended" if ended else _kill(process, victim)
                hit += not ended
                note(stage=stage, kill=hit, after=round(moment, 1), victim=victim, running=running)
            if not killed.has(stage):
                killed.finish(stage)
            paid = len(server.requests) - asked
            spare = max(0, paid - DESCRIBED - hit * AT_ONCE) if stage == "02_describe" else 0
            one, other = (contents(home.folder, "micro", stage) for home in (through, killed))
            differ = differing(one, other)
            note(stage=stage, kills=hit, files=len(one), differ=differ, paid=paid, paid_twice=spare)
            wrong += len(differ) + spare
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="where both runs are made")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--log", type=Path, default=Path("kills.jsonl"))
    parser.add_argument("--stages", nargs="+", choices=NOTEBOOKS, default=list(NOTEBOOKS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(campaign(options.home.resolve(), options.kills, options.log, options.stages, options.seed) > 0)
