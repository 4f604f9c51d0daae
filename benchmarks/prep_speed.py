"""Resizing a raw set: a plain Pillow loop (open, convert, resize, save) against p2d_lib.prep.

    python benchmarks/prep_speed.py path/to/ham10000 [--size 64] [--rounds 3]

Both write one PNG a picture, the central square by Lanczos, in turn, on the same files; the median of the rounds
counts. Also says the peak memory of a worker and whether one and several workers write the same bytes.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def plain(jobs, size: int, folder: Path) -> None:
    for name, file, _ in jobs:
        image = Image.open(file.path).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        image.resize((size, size), Image.Resampling.LANCZOS, box=box).save(folder / f"{name}.png")


def ours(jobs, size: int, folder: Path) -> None:
    from p2d_lib.prep import pixels
    from p2d_lib.prep.prepare import in_shards

    in_shards(partial(pixels.write_square, size, folder), jobs, folder.with_name(f"{folder.name}-state"), "", "fail")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="HAM10000 in its authors' layout, unzipped")
    parser.add_argument("--size", type=int, default=64, help="px of the squares")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    from p2d_lib.files import sha256
    from p2d_lib.prep import raw  # here, since workers import this file again

    raw_set = raw.read(options.folder)
    jobs = [(name, raw_set.images[name], None) for name in raw_set.metadata["image_id"]]
    seconds = {"plain": [], "ours": []}
    with tempfile.TemporaryDirectory() as place:
        for k in range(options.rounds):
            for name, resize in (("plain", plain), ("ours", ours)):
                folder = Path(place) / f"{name}{k}"
                folder.mkdir()
                started = time.perf_counter()
                resize(jobs, options.size, folder)
                seconds[name].append(time.perf_counter() - started)
                print(f"{name}: {seconds[name][-1]:.1f} s for {len(jobs)} images", flush=True)
        this_process, worker = (
            resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        os.environ["P2D_THREADS"] = "1"
        alone = Path(place) / "alone"
        alone.mkdir()
        ours(jobs, options.size, alone)
        same = sha256(alone) == sha256(Path(place) / "ours0")
        print(f"peak memory {this_process} MB here, {worker} MB a worker; one worker writes the same bytes: {same}")
    print(f"ratio {statistics.median(seconds['plain']) / statistics.median(seconds['ours']):.2f}")


if __name__ == "__main__":
    main()
