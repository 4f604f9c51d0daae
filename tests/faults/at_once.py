"""Two runs at once in one clone, and a second start of each while it is under way, through all stages.

    .venv/bin/python tests/faults/at_once.py --home FOLDER [--to NOTEBOOK]

Two runs of the smallest paper with the same parameters share P2D_HOME and begin at the same moment. Every few seconds
each is started again: such a start must end at once with return code 2 and the sentence of a busy run. At the end both
runs have made the same bytes. The last line tells what happened; the return code is 1 where anything was wrong.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import kill_points
import one_process
from contents import contents, differing

from p2d_lib.artefacts import NOTEBOOKS

RUNS = ("one", "other")
EVERY = 7.0  # seconds between two further starts
BUSY = "is under way (process"


def main(home: Path, last: str) -> int:
    one_process.import_everything()
    arguments = kill_points.smallest(last)
    under_way = {run: one_process.start(home, arguments, run=run) for run in RUNS}
    refused = wrong = 0
    while under_way:
        time.sleep(EVERY)
        for run, process in list(under_way.items()):
            if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                wrong += os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) != 0
                del under_way[run]
                continue
            code = os.waitstatus_to_exitcode(os.waitpid(one_process.start(home, arguments, run=run), 0)[1])
            refused += code == 2
            wrong += code not in (0, 2)  # 0: the run ended just before
    explained = sum((home / f"{run}.log").read_text().count(BUSY) for run in RUNS)
    if not wrong:
        for stage in NOTEBOOKS[: NOTEBOOKS.index(last) + 1]:
            differ = differing(*(contents(home, run, stage) for run in RUNS))
            print(stage, "the same bytes" if not differ else f"differs: {differ}", flush=True)
            wrong += len(differ)
    print(f"{refused} starts of a run under way were refused, {explained} with the reason; {wrong} things were wrong")
    return int(wrong > 0 or explained != refused or not refused)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--to", choices=NOTEBOOKS, default=NOTEBOOKS[-1], help="the last stage")
    options = parser.parse_args()
    sys.exit(main(options.home.resolve(), options.to))
