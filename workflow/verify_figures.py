"""Whether the figures of a run look as those of the reference do.

Most numbers of a figure stand in tables, which are compared cell by cell. This adds what tables cannot show: a figure
that is missing, and one that looks otherwise though all that it was made from is the same. How far a figure is from
the reference's is a share of bits, beside that of honest reruns; no threshold is set, so it stops no agreement.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256 as new_sha256
from itertools import pairwise
from pathlib import Path

SIDE = 16  # of the perceptual hash, in bits
SHORT = 16  # hex digits of a digest that are kept


@dataclass(frozen=True)
class Figure:
    """One figure of the reference beside that of the run.

    difference: share of the bits of the perceptual hash that differ, 0..1; None where the run lacks the figure.
    reruns: the largest such share of the reference's reruns; None without reruns. unexplained: its pixels differ though
    no artefact and no table of its notebook does.
    """

    name: str
    same: bool
    difference: float | None
    reruns: float | None
    unexplained: bool

    @property
    def words(self) -> str:
        if self.difference is None:
            return "is missing"
        share = f"differs in {self.difference:.1%} of its perceptual hash"
        if self.reruns is not None:
            share += f" (reruns: {self.reruns:.1%} at most)"
        return share + (", though all data of its notebook are the same" if self.unexplained else "")


def hashes(folder: Path) -> dict[str, dict[str, str]]:
    """{figure: {"pixels": digest, "look": perceptual hash}} of all PNGs in a folder, both in hex.

    The perceptual hash is the difference hash of a grey picture of SIDE + 1 by SIDE px, a bit for each pixel that is
    darker than its right neighbour (Krawetz, "Kind of Like That", 2013): the same for pictures that look the same.
    """
    from PIL import Image  # an agreement of tables alone needs no pictures

    found = {}
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as picture:
            rgb = picture.convert("RGB")
        small = list(rgb.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX).tobytes())
        rows = [small[start : start + SIDE + 1] for start in range(0, len(small), SIDE + 1)]
        bits = "".join(str(int(left < right)) for row in rows for left, right in pairwise(row))
        digest = new_sha256(f"{rgb.size}".encode() + rgb.tobytes()).hexdigest()[:SHORT]
        found[path.stem] = {"pixels": digest, "look": f"{int(bits, 2):0{SIDE * SIDE // 4}x}"}
    return found


def difference(one: str, other: str) -> float:
    """The share of bits in which two perceptual hashes differ, 0..1."""
    return (int(one, 16) ^ int(other, 16)).bit_count() / SIDE**2


def differences(reference: Mapping[str, dict], folder: Path) -> dict[str, float]:
    """How far the figures of a rerun are from the reference's; those that the rerun lacks are left out."""
    found = hashes(folder)
    return {name: difference(each["look"], found[name]["look"]) for name, each in reference.items() if name in found}


def compare(record: Mapping, folder: Path, diverging: str) -> list[Figure]:
    """The figures that a reference's record names, beside those in a folder.

    diverging: the first notebook of which an artefact or a table differs, "" where none does; the notebooks before it
    have the same data.
    """
    found, figures = hashes(folder) if record.get("figures") else {}, []
    for name, known in record.get("figures", {}).items():
        here = found.get(name)
        of_reruns = [rerun["figures"][name] for rerun in record["reruns"].values() if name in rerun.get("figures", {})]
        same = here is not None and here["pixels"] == known["pixels"]
        figures.append(
            Figure(
                name=name,
                same=same,
                difference=difference(known["look"], here["look"]) if here else None,
                reruns=max(of_reruns, default=None),
                unexplained=here is not None and not same and (not diverging or int(name[1]) < int(diverging[:2])),
            )
        )
    return figures
