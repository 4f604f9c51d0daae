"""A phantom data set on disk, laid out exactly as HAM10000 is."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from p2d_lib.files import atomic
from p2d_lib.prep.phantom.camera import CAMERAS, make_view, render
from p2d_lib.prep.phantom.canvas import COARSE_PX
from p2d_lib.prep.phantom.lesions import TRUTH, make_lesion
from p2d_lib.prep.phantom.patients import VIEWS, class_shares, make_patient, pick
from p2d_lib.seeds import derive

BOTH = "both"  # cameras take turns


def _dark(seed: int, lesion_index: int, share: float) -> int | None:
    """A dark skin type for this share of the lesions, None (as skin types are spread) for the others."""
    rng = np.random.default_rng(derive(seed, "tone", lesion_index))
    return int(rng.integers(5, 7)) if rng.random() < share else None


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
    last lesion may show fewer views than it has. Raises ValueError for an unknown camera or n_images < 1.
    """
    cameras = CAMERAS if camera == BOTH else (camera,)
    if not set(cameras) <= set(CAMERAS):
        raise ValueError(f"camera is {camera!r}; the phantom has {(*CAMERAS, BOTH)}")
    if n_images < 1:
        raise ValueError(f"n_images is {n_images}; it must be at least 1")
    shares, metadata, truths = class_shares(tail), [], []
    with atomic(Path(folder)) as partial, tqdm(total=n_images, unit="image", disable=not progress) as bar:
        parts = [partial / f"HAM10000_images_part_{part}" for part in (1, 2)]
        masks = partial / "HAM10000_segmentations_lesion_tschandl"
        for place in (*parts, masks):
            place.mkdir(parents=True)
        lesion_index, n = 0, COARSE_PX * max(1, round(min(size) / 128))
        while len(metadata) < n_images:
            rng = np.random.default_rng(derive(seed, "phantom", lesion_index))
            dx = pick(rng, shares)
            views = 1 + rng.choice(6, p=VIEWS[dx])
            patient = make_patient(rng, dx)
            dark = max(dark_skin, tone_effect if dx == "mel" else 0.0)
            lesion = make_lesion(rng, dx, _dark(seed, lesion_index, dark), n)
            for view_index in range(min(views, n_images - len(metadata))):
                view_rng = np.random.default_rng(derive(seed, "phantom", lesion_index, view_index))
                view = make_view(view_rng, cameras[(lesion_index + view_index) % len(cameras)])
                image, mask = render(lesion, view, size)
                image_id = f"ISIC_{24306 + len(metadata):07d}"  # HAM10000's first number
                part = parts[len(metadata) >= n_images / 2]
                Image.fromarray(image).save(part / f"{image_id}.jpg", quality=95, subsampling=0)
                Image.fromarray(mask.astype(np.uint8) * 255).save(masks / f"{image_id}_segmentation.png")
                row = {"lesion_id": f"PHA_{lesion_index:07d}", "image_id": image_id, "dx": dx}
                metadata.append(row | patient | {"dataset": "phantom"})
                truths.append({"image_id": image_id} | lesion.truth | view.truth)
                bar.update()
            lesion_index += 1
        pd.DataFrame(metadata).to_csv(partial / "HAM10000_metadata.csv", index=False)
        pd.DataFrame(truths)[["image_id", *TRUTH]].to_csv(partial / "truth.csv", index=False, float_format="%.4f")
