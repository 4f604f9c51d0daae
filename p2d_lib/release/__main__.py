"""Releases the synthetic set of a finished run as a folder, or refuses and says why.

./run_all.sh release --run NAME --to FOLDER      (or python -m p2d_lib.release)
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from p2d_lib.files import named_path, refused_by_system
from p2d_lib.home import home
from p2d_lib.release import CREATOR
from p2d_lib.release.refusal import Refused
from p2d_lib.release.signing import ALGORITHMS, Sign, by_certificate, by_command
from p2d_lib.write_command import lies_in_a_run

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20  # refused images on the screen; a file names them all


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    folder = home() / "data" / "runs" / options.run
    if options.run in ("", ".", "..") or not folder.is_dir():
        from p2d_lib.suggest import did_you_mean

        runs = sorted(path.name for path in folder.parent.glob("[!.]*") if path.is_dir())
        near = did_you_mean(options.run, runs)
        print(f"error: {folder}: no such run{near}; make it with ./run_all.sh --run {options.run}", file=sys.stderr)
        return 2

    from p2d_lib.images import ImageError  # not above, so that --help is there at once
    from p2d_lib.locks import RunBusy
    from p2d_lib.prep.pixels import DataError
    from p2d_lib.release.publish import publish
    from p2d_lib.run import ArtefactError, Run

    to = options.to.resolve()
    if lies_in_a_run(to):
        print(f"error: {to} lies in a run: name a folder outside data/runs, tables and figures (--to)", file=sys.stderr)
        return 2
    try:
        facts = publish(
            Run(options.run, "release"), to, licence=options.licence, test_sets=options.test_set,
            leave_out=options.leave_out, sign=_signature(options), creator=options.creator, url=options.url,
        )  # fmt: skip
    except Refused as refused:
        print(f"refused: {refused}", file=sys.stderr)
        _list(refused.images, to.with_name(f"{to.name}.refused.csv"))
        return 1
    except (ArtefactError, DataError, ImageError, RunBusy) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {refused_by_system(error, to)} (--to)", file=sys.stderr)
        return 2
    print(f"{to}: {len(facts.metadata)} images, {facts.origin.licence.name}. {facts.verdict}")
    for reason, n in facts.refusals.items():
        print(f"not released: {n} images ({reason}); audit/refused.csv names them")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run_all.sh release", description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="smoke", help="the run; default: %(default)s")
    parser.add_argument("--to", type=named_path, required=True, help="the folder to write, which is not there yet")
    parser.add_argument("--licence", default="", help="SPDX identifier, where the layout of the real images has none")
    parser.add_argument(
        "--test-set", action="append", default=[], metavar="LAYOUT=FOLDER",
        help="a raw set that no image may overlap, beside the splits of the run; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--leave-out", action="store_true", help="release without the images that the search for overlap refuses"
    )
    parser.add_argument("--sign", metavar="COMMAND", help="a command that signs each PNG in place; {} is the file")
    parser.add_argument(
        "--certificate", type=named_path, metavar="FILE",
        help="sign each PNG as Content Credentials (C2PA) do: the chain of certificates (.pem), the signer's first",
    )  # fmt: skip
    parser.add_argument("--key", type=named_path, metavar="FILE", help="its private key (.pem), without a password")
    parser.add_argument("--algorithm", choices=ALGORITHMS, default=ALGORITHMS[0], help="of the signature")
    parser.add_argument("--time-stamps", default="", metavar="URL", help="a server for time stamps (RFC 3161)")
    parser.add_argument("--creator", default=CREATOR, help="who releases it; default: %(default)s")
    parser.add_argument("--url", default="", help="where the release will lie; Croissant asks for it")
    return parser


def _signature(options: argparse.Namespace) -> Sign | None:
    """What signs the pictures, as the options ask for it. Raises Refused for options that contradict each other."""
    if options.sign is not None and options.certificate:
        raise Refused("--sign and --certificate are two ways to sign: choose one")
    if bool(options.certificate) != bool(options.key):
        raise Refused("--certificate and --key go together: name both")
    if options.certificate:
        return by_certificate(options.certificate, options.key, options.algorithm, options.time_stamps)
    return by_command(options.sign) if options.sign is not None else None


def _list(images: "pd.DataFrame | None", file: Path) -> None:
    """The images that stop a release, on the screen and in a file."""
    if images is None:
        return
    from p2d_lib.files import atomic

    columns = images[["image_id", "dx", "reason", "detail"]]
    with atomic(file) as partial:
        columns.to_csv(partial, index=False)
    print(columns.head(SHOWN).to_string(index=False), f"all of them: {file}", sep="\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
