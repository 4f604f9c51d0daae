"""Fréchet distance of any images to a reference file, outside of any run; or a finished run by one more extractor.

python -m p2d_lib.fidelity ref REAL --out real.npz [--extractor efficientnet_lite0]
python -m p2d_lib.fidelity measure SYNTHETIC --ref real.npz [--json]
python -m p2d_lib.fidelity judge RUN --extractor efficientnet_lite2
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m p2d_lib.fidelity", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    ref = verbs.add_parser("ref", help="make a reference file of real images")
    ref.add_argument("--out", type=Path, required=True, help="the reference file to write (.npz)")
    ref.add_argument("--extractor", default="efficientnet_lite0", help="a name of the registry; default: %(default)s")
    ref.add_argument("--seed", type=int, default=0, help="of the choice of images for the floor; default: %(default)s")
    measure = verbs.add_parser("measure", help="the distance of images to a reference file")
    measure.add_argument("--ref", type=Path, required=True, help="a file that ref has written")
    measure.add_argument("--json", action="store_true", help="print one JSON object")
    judge = verbs.add_parser("judge", help="what another extractor says of the images that 05 compares in a run")
    judge.add_argument("run", help="the name of a run")
    judge.add_argument("--extractor", required=True, help="a name of the registry")
    for verb in (ref, measure):
        verb.add_argument("images", type=Path, help="a folder, with its subfolders, or a tar file")
    for verb in (ref, measure, judge):
        verb.add_argument("--cache", type=Path, help="folder that keeps features, so that stopped work is not repeated")
        verb.add_argument("--weights", type=Path, help="folder of the extractor's weights (scout: the run's)")
    options = parser.parse_args(arguments)

    from p2d_lib.device import DeviceError  # not above, so that --help loads no torch
    from p2d_lib.fidelity.picture_sources import SourceError
    from p2d_lib.images import ImageError
    from p2d_lib.locks import RunBusy
    from p2d_lib.models.weights import WeightsError
    from p2d_lib.run import ArtefactError

    try:
        {"ref": _make, "measure": _measure, "judge": _judge}[options.verb](options)
    except (ArtefactError, RunBusy, SourceError, ImageError, WeightsError, DeviceError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _make(options: argparse.Namespace) -> None:
    from p2d_lib.device import set_up
    from p2d_lib.fidelity import references
    from p2d_lib.models.extractors import Extractor

    _check_writable(options.out)
    extractor = Extractor(options.extractor, set_up(), options.cache, options.weights)
    reference = references.make(options.images, options.extractor, extractor, options.seed)
    reference.save(options.out)
    floors = ", ".join(f"{floor:.3g} at n = {n:,}" for n, floor in zip(reference.floor_n, reference.floor, strict=True))
    print(f"{options.out}: {reference.n:,} images. {extractor.caption}")
    print(f"Floor, their distance to each other: {floors or 'too few images to say'}")


def _check_writable(path: Path, option: str = "--out") -> None:
    """Raises ValueError where an option's file cannot be written, before features of many images are computed."""
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; name the file to write, such as --out {path / 'real.npz'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror}); name another place with {option}") from None


def _measure(options: argparse.Namespace) -> None:
    from p2d_lib.device import set_up
    from p2d_lib.fidelity import references
    from p2d_lib.models.extractors import Extractor

    reference = references.load(options.ref)
    extractor = Extractor(reference.kind, set_up(), options.cache, options.weights)
    result = references.measure(options.images, reference, extractor)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    floor = "unknown" if result["floor"] is None else f"{result['floor']:.4g}, a ratio of {result['ratio']:.2f}"
    print(f"Fréchet distance {result['frechet']:.4g} (n = {result['n']:,}; reference {result['reference_n']:,} images)")
    print(f"Floor at this n, the distance of further real images: {floor}")
    print(*result["notes"], result["caption"], sep="\n")


def _judge(options: argparse.Namespace) -> None:
    from p2d_lib.device import set_up
    from p2d_lib.fidelity import report
    from p2d_lib.models.extractors import Extractor
    from p2d_lib.run import Run

    run = Run(options.run, "05_fidelity")
    cases, synthetic = run.read("cases"), run.read("synthetic")
    for name in ("images", "synthetic_images"):
        run.path(name)
    if options.cache:
        _check_writable(options.cache / "features.npz", "--cache")
    weights = options.weights or (run.path("scout") if options.extractor == "scout" else None)
    network = Extractor(options.extractor, set_up(), options.cache, weights)
    seed = run.made_with("synthetic")["parameters"]["seed"]  # of the run, by which 05 chooses the sets
    print(report.opinion(run, cases, synthetic, network, seed))


if __name__ == "__main__":
    sys.exit(main())
