"""kill -9 before chosen writes and at random moments of all stages: the finished run equals an undisturbed one.

    .venv/bin/python tests/faults/kill_points.py --home FOLDER [--writes 12] [--times 5] [--log kill_points.jsonl]

The paper at its smallest size is made twice in processes without imports (one_process.py): undisturbed, in
FOLDER/through, where each write is noted, and in FOLDER/killed (04 reads what 05 has left there before: --stages takes
them in their order). There each stage is killed in its turn, several times in a chain, and started again with the same
command; then it ends, and all that it made is compared bit for bit.
--writes: kills of each stage before a write. Each kind of write of the stage and of its driver has the same chance, so
that the record of a stage is hit as often as its images: between a temporary file and its rename, between a file and
its provenance, in the store of digests, while a checkpoint replaces another. --times: kills of each stage at a random
moment of the time that it took undisturbed. Each kill and each comparison is a line of the log.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "notebooks")]

import one_process  # noqa: E402
from contents import contents, differing  # noqa: E402
from events import noted_in  # noqa: E402
from test_all_eight import MICRO  # noqa: E402

from p2d_lib.artefacts import NOTEBOOKS  # noqa: E402

SMALLEST = (
    *MICRO, "01_prep.n_images=168", "01_prep.tail=0.0", "02_describe.n_described=20",
    "02_describe.captioner_steps=[2, 2]", "03_finetune.checkpoint_minutes=0.0", "03_finetune.scout_steps=20",
    "03_finetune.baselines=[scratch-unet, textual-inversion]", "04_sample.per_class=4", "04_sample.others_per_class=2",
    "04_sample.num_inference_steps=2", "04_sample.sweep_steps=[2]", "04_sample.worst_case_prompts=4",
    "04_sample.worst_case_seeds=2", "04_sample.readout_per_class=6", "04_sample.random_per_class=1",
    "05_fidelity.min_n=3", "06_classify.arms=[real, real+replay, mixed, pretrain]",
    "06_classify.external_images=30", "06_classify.prompt_sources=[class-name, measured]",
    "06_classify.prompts_per_class=1", "07_readers.power_replicates=2",
)  # fmt: skip
CHAIN = 7  # kills, each followed by a start, before a stage may end and is compared
TRIES = 3  # starts for each kill: what was finished before is not written again


class Campaign:
    """Both runs. note: takes each event as keywords."""

    def __init__(self, folder: Path, seed: int, note):
        self.through, self.killed, self.logs = folder / "through", folder / "killed", folder / "writes"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.rng, self.note = random.Random(seed), note

    def undisturbed(self, stage: str) -> float:
        """Makes the stage in FOLDER/through, where it is not there; the seconds that it took, its driver included."""
        log, record = self.logs / f"{stage}.txt", self.logs / f"{stage}.json"
        if not record.exists():
            log.unlink(missing_ok=True)
            started = time.monotonic()
            _finish(self.through, stage, one_process.Writes(self.through, log=log))
            record.write_text(json.dumps(time.monotonic() - started))
        return json.loads(record.read_text())

    def chain(self, stage: str, seconds: float, n_writes: int, n_times: int) -> list[str]:
        """Kills the stage so many times, lets it end and compares; names of files that differ."""
        counts, hits = one_process.counted(self.logs / f"{stage}.txt"), Counter()
        aims = self.rng.sample(["write"] * n_writes + ["time"] * n_times, n_writes + n_times)
        for aim in aims:
            for _ in range(TRIES):
                kind = self.rng.choice(sorted(counts)) if aim == "write" else ""
                at = (kind, self.rng.randint(1, counts[kind])) if kind else None
                moment = self.rng.uniform(0, seconds)
                process = self._start(stage, at)
                if not at:
                    _kill_after(process, moment)
                hit = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
                where = f"{kind} ({at[1]} of {counts[kind]})" if at else f"{moment:.1f} of {seconds:.1f} s"
                self.note(stage=stage, aim=aim, at=where, hit=hit)
                hits[aim] += hit
                if hit:
                    break
        _finish(self.killed, stage)
        one, other = (contents(home, "micro", stage) for home in (self.through, self.killed))
        differ = differing(one, other)
        left = leftovers(self.killed)
        self.note(stage=stage, kills=dict(hits), files=len(one), differ=differ, leftovers=left)
        return [*differ, *left]

    def _start(self, stage: str, at: tuple[str, int] | None) -> int:
        options = [*smallest(stage), *anew(self.killed, stage)]
        return one_process.start(self.killed, options, one_process.Writes(self.killed, at))


def leftovers(home: Path) -> list[str]:
    """Folders of unfinished writes that a finished run still has, outside of scratch folders."""
    return sorted(str(path.relative_to(home)) for path in home.rglob(".*.partial") if "scratch" not in path.parts)


def smallest(stage: str) -> list[str]:
    """The driver's options for the paper at its smallest size up to a stage."""
    return [*(word for setting in SMALLEST for word in ("--set", setting)), "--to", stage]


def anew(home: Path, stage: str) -> list[str]:
    """The driver's options by which a stage that has ended is made anew; none for another."""
    ended = (home / "data" / "runs" / "micro" / "stages" / f"{stage}.json").exists()
    return ["--from", stage] if ended else []


def _finish(home: Path, stage: str, writes: one_process.Writes | None = None) -> None:
    """Runs a stage to its end. Raises RuntimeError where it fails."""
    process = one_process.start(home, smallest(stage), writes)
    if os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]):
        raise RuntimeError(f"{stage} failed: {(home / 'micro.log').read_text()[-3000:]}")


def _kill_after(process: int, seconds: float) -> None:
    """kill -9 of the whole group after so many seconds, unless it ends before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


def main(options: argparse.Namespace) -> int:
    one_process.import_everything()
    note = noted_in(options.log)
    campaign, wrong = Campaign(options.home.resolve(), options.seed, note), 0
    seconds = {stage: campaign.undisturbed(stage) for stage in NOTEBOOKS}
    note(undisturbed={stage: round(took, 1) for stage, took in seconds.items()})
    last = max(NOTEBOOKS.index(stage) for stage in options.stages)  # 04 also reads what a later stage has left
    links = max(1, -(-(options.writes + options.times) // CHAIN))
    for stage in NOTEBOOKS[: last + 1]:
        if stage not in options.stages:
            _finish(campaign.killed, stage)
            continue
        for link in range(links):
            parts = [n // links + (link < n % links) for n in (options.writes, options.times)]
            wrong += len(campaign.chain(stage, seconds[stage], *parts))
    return int(wrong > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="where both runs are made")
    parser.add_argument("--writes", type=int, default=12, help="kills of each stage before a write")
    parser.add_argument("--times", type=int, default=5, help="kills of each stage at a random moment")
    parser.add_argument("--log", type=Path, default=Path("kill_points.jsonl"))
    parser.add_argument("--stages", nargs="+", choices=NOTEBOOKS, default=list(NOTEBOOKS), help="those to be killed")
    parser.add_argument("--seed", type=int, default=0)
    sys.exit(main(parser.parse_args()))
