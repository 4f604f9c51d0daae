"""Runs the paper: eight notebooks, each again only when something it depends on has changed.

This is what `./run_all.sh` calls. The parameters are checked before anything runs (cli.py, request.py); the driver
decides which stages are outdated (plan.py, stages.py), lets Snakemake run these (Snakefile, stage.py), keeps two
drivers and notebooks run by hand apart (p2d_lib/locks.py), shows progress (progress.py), and clears up after Ctrl-C,
kill -9 and failures (processes.py), so that starting again just continues (paper.py has all of this in order).
"""

import signal
import sys

from cli import Refused, arguments


def main(argv: list[str]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup asks
            signal.signal(number, _interrupt)
    try:
        options = arguments(argv)
        from paper import run_paper  # needs the packages of .venv, which --help does without

        return run_paper(options, argv)
    except Refused as refusal:
        print(f"prompt2derm: {refusal}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt as interrupt:
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)


def _interrupt(number: int, _frame) -> None:
    raise KeyboardInterrupt(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
