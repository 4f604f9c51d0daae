"""A phantom data set on disk, laid out exactly as HAM10000 is."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from p2d_lib.cores import shared
from p2d_lib.files import atomic
from p2d_lib.prep.phantom.camera import CAMERAS, make_view, render
from p2d_lib.prep.phantom.canvas import COARSE_PX
from p2d_lib.prep.phantom.lesions import TRUTH, make_lesion
from p2d_lib.prep.phantom.patients import VIEWS, class_shares, make_patient, pick
from p2d_lib.seeds import derive

BOTH = "both"  # cameras take turns
PARTS, MASKS = ("HAM10000_images_part_1", "HAM10000_images_part_2"), "HAM10000_segmentations_lesion_tschandl"
DARK = (5, 6)  # Fitzpatrick skin types
JOB = 100  # lesions that a process renders at once


def write(
    folder: Path,
    n_images: int,
    seed: int,
    tail: float,
    camera: str,
    size: tuple[int, int] = (128, 96),
    tone_effect: float = 0.0,
    dark_skin: float = 0.0,
    progress: bool = True,
) -> None:
    """Lays a phantom data set out as HAM10000 is, with truth.csv beside; replaces `folder` in one step.

    tail: see `class_shares`. camera: clinic | atlas | both (views by one and the other in turn). size: (width, height)
    px. tone_effect: chance that a melanoma is on dark skin (Fitzpatrick V or VI) whatever the other lesions' is, an
    effect for audits to find. dark_skin: the same chance of every lesion. Lesion k is the same whatever n_images; the
    last lesion may show fewer views than it has. The processes of `cores.shared` share the work, and the files do not
    depend on their number. Raises ValueError for an unknown camera or n_images < 1.
    """
    cameras = CAMERAS if camera == BOTH else (camera,)
    if not set(cameras) <= set(CAMERAS):
        raise ValueError(f"camera is {camera!r}; the phantom has {(*CAMERAS, BOTH)}")
    if n_images < 1:
        raise ValueError(f"n_images is {n_images}; it must be at least 1")
    with atomic(Path(folder)) as partial, tqdm(total=n_images, unit="image", disable=not progress) as bar:
        for place in (*PARTS, MASKS):
            (partial / place).mkdir(parents=True)
        lesions = _Lesions(partial, n_images, seed, class_shares(tail), cameras, size, tone_effect, dark_skin)
        metadata, truths = [], []
        with closing(shared(lesions.render, lesions.jobs())) as done:
            for rows, truth in done:
                metadata, truths = metadata + rows, truths + truth
                bar.update(len(rows))
        pd.DataFrame(metadata).to_csv(partial / "HAM10000_metadata.csv", index=False)
        pd.DataFrame(truths)[["image_id", *TRUTH]].to_csv(partial / "truth.csv", index=False, float_format="%.4f")


@dataclass(frozen=True)
class _Lesions:
    """The lesions of a set, each from its own seed, so any process can render any of them."""

    folder: Path
    n_images: int
    seed: int
    shares: dict[str, float]
    cameras: Sequence[str]
    size: tuple[int, int]
    tone_effect: float
    dark_skin: float

    def jobs(self) -> list[list[tuple[int, int]]]:
        """JOB lesions a job, each as (its number, the number of its first image)."""
        firsts = [0]
        while firsts[-1] < self.n_images:
            firsts.append(firsts[-1] + self._begin(len(firsts) - 1)[2])
        lesions = list(enumerate(firsts[:-1]))
        return [lesions[k : k + JOB] for k in range(0, len(lesions), JOB)]

    def render(self, lesions: Sequence[tuple[int, int]]) -> tuple[list[dict], list[dict]]:
        """Writes the images and masks of some lesions; their rows of the metadata and of truth.csv."""
        metadata, truths = [], []
        for lesion_index, first in lesions:
            rng, dx, views = self._begin(lesion_index)
            patient = make_patient(rng, dx)
            coarse = COARSE_PX * max(1, round(min(self.size) / 128))
            lesion = make_lesion(rng, dx, self._dark(lesion_index, dx), coarse)
            for view_index in range(min(views, self.n_images - first)):
                view_rng = np.random.default_rng(derive(self.seed, "phantom", lesion_index, view_index))
                view = make_view(view_rng, self.cameras[(lesion_index + view_index) % len(self.cameras)])
                image_id = self._write(first + view_index, *render(lesion, view, self.size))
                row = {"lesion_id": f"PHA_{lesion_index:07d}", "image_id": image_id, "dx": dx}
                metadata.append(row | patient | {"dataset": "phantom"})
                truths.append({"image_id": image_id} | lesion.truth | view.truth)
        return metadata, truths

    def _begin(self, lesion_index: int) -> tuple[np.random.Generator, str, int]:
        """The lesion's random numbers, after its class and the number of its views were chosen by them."""
        rng = np.random.default_rng(derive(self.seed, "phantom", lesion_index))
        dx = pick(rng, self.shares)
        return rng, dx, int(1 + rng.choice(6, p=VIEWS[dx]))

    def _dark(self, lesion_index: int, dx: str) -> int | None:
        """A dark skin type for the share of the lesions that have one, None (as types are spread) for the others."""
        rng = np.random.default_rng(derive(self.seed, "tone", lesion_index))
        share = max(self.dark_skin, self.tone_effect if dx == "mel" else 0.0)
        return int(rng.integers(DARK[0], DARK[-1] + 1)) if rng.random() < share else None

    def _write(self, k: int, image: np.ndarray, mask: np.ndarray) -> str:
        """Writes the k-th image of the set and its mask; returns its id."""
        image_id = f"ISIC_{24306 + k:07d}"  # HAM10000's first number
        part = PARTS[k >= self.n_images / 2]
        Image.fromarray(image).save(self.folder / part / f"{image_id}.jpg", quality=95, subsampling=0)
        Image.fromarray(mask.astype(np.uint8) * 255).save(self.folder / MASKS / f"{image_id}_segmentation.png")
        return image_id
