"""The command line of ./run_all.sh. It needs nothing but Python, so that --help works before anything is set up."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from p2d_lib.cores import cores

LOCAL = "local"
OF_A_PART = (("first", "--from"), ("last", "--to"), ("copy_to", "--copy-to"))
OF_A_RUN = tuple((name, f"--{name}") for name in ("set", "seed", "data", "shards", "processes", "executor"))
CORES_OF_A_JOB = 8  # on a cluster, whose login node has another number of cores


class Refused(Exception):
    """Something that the user can correct; the message is one sentence."""


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(argv)
    _refuse_contradictions(options, parser)
    if options.cores is None:
        options.cores = cores() if options.executor == LOCAL else CORES_OF_A_JOB
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./run_all.sh",
        description="Regenerates every table and figure of the paper. Run it again after a change or an "
        "interruption: only what is missing or outdated runs.",
        epilog="HAM10000: --profile mini --data DIR, or the variable P2D_HAM10000. GPU: used where there is one; "
        "P2D_DEVICE=cpu|cuda|cuda:1|mps chooses. README.md explains the rest.",
    )
    parser.add_argument(
        "--profile",
        default="smoke",
        help="smoke (phantom, minutes; default), mini (HAM10000, an hour), night or paper (a GPU)",
    )
    parser.add_argument("--run", metavar="NAME", help="name of the run's folders (default: the profile's)")
    parser.add_argument("--data", default="", metavar="DIR", help="HAM10000, or another set, as its authors publish it")
    parser.add_argument("--seed", type=int, metavar="N", help="the seed of all notebooks")
    parser.add_argument(
        "--set", action="append", default=[], metavar="P=VALUE", help="e.g. 06_classify.seeds=5; repeatable"
    )
    parser.add_argument("--from", dest="first", default="", metavar="NOTEBOOK", help="run it and all later ones anew")
    parser.add_argument("--to", dest="last", default="", metavar="NOTEBOOK", help="stop after it")
    parser.add_argument(
        "--cores", type=int, metavar="N", help=f"CPU cores (default: all); on a cluster, of a job ({CORES_OF_A_JOB})"
    )
    parser.add_argument(
        "--executor", default=LOCAL, metavar="NAME", help="local (default), slurm, or a folder with your own profile"
    )
    parser.add_argument("--shards", type=int, default=1, metavar="N", help="jobs that sample the images of 04")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="processes (GPUs) that fit in 03")
    parser.add_argument(
        "--copy-to", metavar="URL", help="copy page, notebooks, tables and figures there when all is done"
    )
    parser.add_argument("--verify", action="store_true", help="only compare the finished run with a reference")
    parser.add_argument("--against", metavar="DIR", help="the reference's folder (default: tables/reference/<profile>)")
    parser.add_argument(
        "--make-reference", nargs="*", metavar="RERUN", help="make the reference of the finished run and its reruns"
    )
    parser.add_argument(
        "--rerun-on", type=int, action="append", default=[], metavar="N", help="make such a rerun first, on N cores"
    )
    parser.add_argument("--crate", metavar="DIR", help="only export the finished run as an RO-Crate")
    parser.add_argument("--dry-run", action="store_true", help="only say what would run and why")
    return parser


def _refuse_contradictions(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Raises Refused where an option would be ignored, or has lost its value (as "$DIR" does where DIR is not set)."""
    for option in ("copy_to", "against", "crate"):
        if getattr(options, option) == "":
            raise Refused(f"--{option.replace('_', '-')} is followed by nothing: name a place, or leave it out")
    alone = {
        "--verify": options.verify or options.against is not None,
        "--make-reference": options.make_reference is not None,
        "--crate": options.crate is not None,
        "--dry-run": options.dry_run,
    }
    together = [option for option, is_set in alone.items() if is_set]
    if len(together) > 1:
        raise Refused(f"{together[0]} and {together[1]} do not go together: give one at a time")
    if options.rerun_on and options.make_reference is None:
        raise Refused("--rerun-on makes reruns for a reference: add --make-reference, or use --cores for this run")
    if (cores := min(options.rerun_on, default=1)) < 1:
        raise Refused(f"--rerun-on {cores}: at least one core is needed")
    of_a_run = [*OF_A_PART, *([] if options.rerun_on else OF_A_RUN)]
    given = [option for name, option in of_a_run if getattr(options, name) != parser.get_default(name)]
    if given and together and together != ["--dry-run"]:
        what = "makes whole reruns" if options.rerun_on else "takes the finished run as it is"
        raise Refused(f"{together[0]} {what}: leave out {', '.join(given)}")
