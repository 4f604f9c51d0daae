"""A disk that becomes full, or read-only, in the middle of a stage: one sentence, and the run then goes on as ever.

    .venv/bin/python tests/faults/disks.py --home FOLDER [--stages 03_finetune 06_classify 08_fairness] [--harms 4]

FOLDER is that of kill_points.py: FOLDER/through holds, or gets, the undisturbed run. A copy of it without the stage and
all later ones lies on a small file system of its own, FOLDER/disturbed. Before one of the writes, each with the same
chance, the file system is filled to its last byte, or all folders lose the right to be written to; the run must end
with return code 1 or 2 and one sentence that names the fault. Then there is room again, the same command continues, is
disturbed once more, and at last ends; all that the stage made is then compared with FOLDER/through. It needs root on
Linux.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import one_process
from contents import contents, copy_before, differing
from events import noted_in
from kill_points import TRIES, Campaign, anew, smallest

from p2d_lib.artefacts import NOTEBOOKS

ROOM = 512 << 20  # bytes of the small file system beside the copy of the run: checkpoints, other scratch files
OBEYS = "-dac_override,-dac_read_search"  # capabilities without which root, too, is refused by a folder's mode
WORDS = {"full": ("No space left on device", "as on a full disk"), "read-only": ("Permission denied",)}


def fill(home: Path) -> None:
    """Writes a file as long as there is room."""
    with (home / "filler").open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2


def set_writable(home: Path, writable: bool) -> None:
    """Gives all folders of a home the right to be written to, or takes it."""
    for folder, _, _ in os.walk(home):
        Path(folder).chmod(0o755 if writable else 0o555)


def mend(home: Path) -> None:
    set_writable(home, True)
    (home / "filler").unlink(missing_ok=True)


HARMS: dict[str, Callable[[Path], None]] = {"full": fill, "read-only": lambda home: set_writable(home, False)}


def mount(home: Path, through: Path) -> None:
    used = sum(path.stat().st_size // 4096 + 1 for path in through.rglob("*")) * 4096
    home.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={used + ROOM}", "tmpfs", str(home)], check=True)


def run(home: Path, log: Path, stage: str, writes: one_process.Writes | None = None) -> tuple[int, str]:
    """Starts the stage, with writes anew where it has ended, and waits; its return code and what it printed."""
    before = log.stat().st_size if log.exists() else 0
    process = one_process.start(home, [*smallest(stage), *(anew(home, stage) if writes else [])], writes, log=log)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return code, log.read_bytes()[before:].decode()


def is_harmed(home: Path) -> bool:
    return (home / "filler").exists() or not os.access(home, os.W_OK)


def fault_of(code: int, printed: str, harm: str) -> str:
    """What is wrong with the way in which a disturbed run ended; "" for nothing."""
    if code not in (1, 2):
        return f"return code {code}"
    if "Traceback" in printed:
        return "a traceback"
    return "" if _names(sentence(printed, harm), harm) else f"no word of {harm}"


def sentence(printed: str, harm: str) -> str:
    """The line that names the fault, else the last one."""
    lines = [line for line in printed.replace("\r", "\n").splitlines() if line.strip()]
    return next((line for line in lines if _names(line, harm)), lines[-1] if lines else "")


def _names(line: str, harm: str) -> bool:
    return any(words in line for words in WORDS[harm])


def disturb(campaign: Campaign, home: Path, stage: str, harms: int) -> int:
    """Harms a stage so many times in turn, lets it end and compares; the number of things that were wrong."""
    log = home.with_suffix(".log")
    written, wrong = (campaign.logs / f"{stage}.txt").read_text().splitlines(), 0
    for number in range(harms):
        harm = list(HARMS)[number % len(HARMS)]
        for _ in range(TRIES):
            moment = campaign.rng.randrange(len(written))  # most of these are the notebook's own
            at = (written[moment], written[: moment + 1].count(written[moment]))
            writes = one_process.Writes(home, at, harm=lambda harm=harm: HARMS[harm](home))
            code, printed = run(home, log, stage, writes)
            hit = is_harmed(home)
            mend(home)
            if hit:
                break
        fault = fault_of(code, printed, harm) if hit and code else ""  # code 0: all had been written by then
        wrong += bool(fault)
        said = sentence(printed, harm)
        campaign.note(stage=stage, harm=harm, at="{} ({})".format(*at), hit=hit, code=code, fault=fault, said=said)
    code, printed = run(home, log, stage)
    if code:
        raise RuntimeError(f"{stage} failed: {printed[-3000:]}")
    one, other = (contents(each, "micro", stage) for each in (campaign.through, home))
    differ = differing(one, other)
    campaign.note(stage=stage, harms=harms, files=len(one), differ=differ)
    return wrong + len(differ)


def main(options: argparse.Namespace) -> int:
    one_process.import_everything()
    campaign, wrong = Campaign(options.home.resolve(), options.seed, noted_in(options.log)), 0
    home = options.home.resolve() / "disturbed"
    for stage in NOTEBOOKS[: NOTEBOOKS.index(max(options.stages)) + 1]:
        campaign.undisturbed(stage)
    for stage in options.stages:
        mount(home, campaign.through)
        try:
            copy_before(campaign.through, home, stage)
            wrong += disturb(campaign, home, stage, options.harms)
        finally:
            subprocess.run(["umount", "-l", str(home)], check=True)
    return int(wrong > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="the folder of kill_points.py")
    parser.add_argument("--stages", nargs="+", choices=NOTEBOOKS, default=["03_finetune", "06_classify", "08_fairness"])
    parser.add_argument("--harms", type=int, default=4, help="of each stage, the two kinds in turn")
    parser.add_argument("--log", type=Path, default=Path("disks.jsonl"))
    parser.add_argument("--seed", type=int, default=0)
    if "OBEYS_MODES" not in os.environ:
        command = ["setpriv", f"--bounding-set={OBEYS}", sys.executable, *sys.argv]
        os.execvpe(command[0], command, {**os.environ, "OBEYS_MODES": "1"})
    sys.exit(main(parser.parse_args()))
