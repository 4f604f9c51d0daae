"""Runs the paper: eight notebooks, each again only when something it depends on has changed.

This is what `./run_all.sh` calls. The parameters are checked before anything runs (cli.py, request.py); the driver
decides which stages are outdated (plan.py, stages.py), lets Snakemake run these (Snakefile, stage.py), keeps two
drivers and notebooks run by hand apart (p2d_lib/locks.py), shows progress (progress.py), and clears up after Ctrl-C,
kill -9 and failures (processes.py), so that starting again just continues (paper.py has all of this in order).
"""

import argparse
import errno
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # where PYTHONSAFEPATH is set, it is not there

from advice import MAKE_ROOM, OWN_PLACE
from cli import Refused, arguments

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def main(argv: list[str]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup asks
            signal.signal(number, _interrupt)
    try:
        options = arguments(argv)
        return _command(options, argv)
    except Refused as refusal:
        print(f"prompt2derm: {refusal}", file=sys.stderr, flush=True)
        return 2
    except OSError as error:
        if error.errno not in (*FULL, *CLOSED):
            raise
        advice, place = MAKE_ROOM if error.errno in FULL else OWN_PLACE, error.filename or "the disk"
        print(f"prompt2derm: {place}: {error.strerror}: {advice}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt as interrupt:
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)


def _command(options: argparse.Namespace, argv: list[str]) -> int:
    """What the options ask for. Its modules need the packages of .venv, which --help does without."""
    if options.make_reference is not None:
        from reference import make

        return make(options, argv)
    if options.verify or options.against:
        from verify import verify

        return verify(options)
    if options.crate:
        from run_crate import export

        return export(options)
    from paper import run_paper

    return run_paper(options, argv)


def _interrupt(number: int, _frame) -> None:
    raise KeyboardInterrupt(number)


if __name__ == "__main__":
    if not sys.flags.utf8_mode:  # all our files are UTF-8, whatever the locale
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    sys.exit(main(sys.argv[1:]))
