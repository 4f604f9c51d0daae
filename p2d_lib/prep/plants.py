"""Faults of known number, planted into a raw set on disk: an audit is trusted only when it finds them."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageFilter

from p2d_lib.files import atomic
from p2d_lib.seeds import derive

KINDS = ("duplicated_lesions", "near_duplicates", "mislabelled", "blurred", "empty")
TURNS = tuple(Image.Transpose)  # the seven quarter turns and mirrorings that change an image
DEFOCUS = 0.04  # standard deviation of the blur, of the short side
SKIN = (205, 160, 140)  # sRGB of an empty image: light skin, or, for every other one, the darkness under a lens cap


def plant(
    folder: Path,
    seed: int,
    *,
    duplicated_lesions: int = 0,
    near_duplicates: int = 0,
    mislabelled: int = 0,
    blurred: int = 0,
    empty: int = 0,
) -> pd.DataFrame:
    """Edits a raw set in the authors' layout (unzipped) in one step and says what was done, also in its plants.csv.

    duplicated_lesions: images copied byte by byte under a new image_id and a new lesion_id. near_duplicates: likewise,
    but turned or mirrored, 1-3 % cropped and enlarged, made darker or brighter by up to 7 %, saved with a JPEG quality
    of 60..90; the mask follows. mislabelled: lesions that get another dx of the set, in all their rows. blurred: images
    out of focus. empty: images of nothing but skin or black, with an empty mask. No lesion is used twice. Returns
    image_id, lesion_id, plant (one of KINDS) and source (the image_id copied, the true dx, or ""), one row per image;
    each kind has exactly the requested number of lesion_ids. Deterministic in seed. Raises ValueError when the lesions
    do not suffice, or when the set has plants already.
    """
    folder = Path(folder)
    counts = (duplicated_lesions, near_duplicates, mislabelled, blurred, empty)  # in the order of KINDS
    if (folder / "plants.csv").exists():
        raise ValueError(f"{folder / 'plants.csv'}: this set has plants already; write the set again")
    metadata = pd.read_csv(folder / "HAM10000_metadata.csv", dtype=str, keep_default_na=False)
    rng = np.random.default_rng(derive(seed, "plants"))
    kinds = _kinds(rng.permutation(metadata["lesion_id"].unique()), dict(zip(KINDS, counts, strict=True)))
    rows = metadata.assign(plant=metadata["lesion_id"].map(kinds)).dropna(subset="plant")
    once = rows.sample(frac=1, random_state=rng).drop_duplicates("lesion_id").sort_index()  # one image of each lesion
    copied = once[once["plant"].isin(KINDS[:2])]
    new = copied.assign(source=copied["image_id"])
    for column in ("image_id", "lesion_id"):
        new[column] = _next(metadata[column], len(new))
    wrong = rows[rows["plant"] == "mislabelled"].assign(source=lambda table: table["dx"])
    new_labels = _other_labels(wrong, sorted(set(metadata["dx"])), rng)
    spoilt = once[once["plant"].isin(("blurred", "empty"))].assign(source="")
    planted = pd.concat([new, wrong, spoilt])[["image_id", "lesion_id", "plant", "source"]].reset_index(drop=True)
    with atomic(folder) as partial:
        shutil.copytree(folder, partial)
        for row in planted[planted["plant"] != "mislabelled"].itertuples():
            _write_plant(partial, row, np.random.default_rng(derive(seed, "plants", row.image_id)))
        metadata["dx"] = [new_labels.get(row.lesion_id, row.dx) for row in metadata.itertuples()]
        table = pd.concat([metadata, new[list(metadata)]])
        table.to_csv(partial / "HAM10000_metadata.csv", index=False)
        if (partial / "truth.csv").exists():
            _edit_truth(partial / "truth.csv", new, spoilt.loc[spoilt["plant"] == "empty", "image_id"])
        planted.to_csv(partial / "plants.csv", index=False)
    return planted


def _kinds(lesions: Sequence[str], counts: Mapping[str, int]) -> dict[str, str]:
    """The kind of plant of each of the first lesions, counts[kind] of a kind."""
    kinds = {}
    for kind, count in counts.items():
        remaining = len(lesions) - len(kinds)
        if not 0 <= count <= remaining:
            raise ValueError(f"{kind} is {count}, but {remaining} of {len(lesions)} lesions are left; plant fewer")
        kinds |= dict.fromkeys(lesions[len(kinds) :][:count], kind)
    return kinds


def _other_labels(rows: pd.DataFrame, classes: Sequence[str], rng: np.random.Generator) -> dict[str, str]:
    """A dx for each lesion of the rows that is not its own."""
    lesions = rows.drop_duplicates("lesion_id")
    return {row.lesion_id: str(rng.choice([dx for dx in classes if dx != row.dx])) for row in lesions.itertuples()}


def _edit_truth(path: Path, copies: pd.DataFrame, empty: pd.Series) -> None:
    """Adds the truth of the copied images, and takes all features from the empty ones."""
    truth = pd.read_csv(path, dtype=str).set_index("image_id")
    truth.loc[empty, truth.columns.drop("true_fitzpatrick", errors="ignore")] = "0.0000"
    of_copies = truth.loc[copies["source"]].set_axis(pd.Index(copies["image_id"], name="image_id"))
    pd.concat([truth, of_copies]).to_csv(path)


def _next(names: pd.Series, n: int) -> list[str]:
    """The n names after the last: ISIC_0000009 -> ISIC_0000010, ..."""
    prefix, number = names.max().rsplit("_", 1)
    return [f"{prefix}_{int(number) + 1 + k:0{len(number)}d}" for k in range(n)]


def _write_plant(folder: Path, row, rng: np.random.Generator) -> None:
    """Writes the picture and the mask of one plant."""
    origin = row.source or row.image_id
    old = next(folder.glob(f"HAM10000_images*/{origin}.jpg"))
    place = next(folder.glob("HAM10000_segmentations*"))
    picture, mask = old.with_name(f"{row.image_id}.jpg"), place / f"{row.image_id}_segmentation.png"
    old_mask = place / f"{origin}_segmentation.png"
    if row.plant == "duplicated_lesions":
        shutil.copyfile(old, picture)
        if old_mask.exists():
            shutil.copyfile(old_mask, mask)
        return
    with Image.open(old) as image:
        image = image.convert("RGB")
    quality = 95
    if row.plant == "near_duplicates":
        turn, quality, kept = TURNS[rng.integers(len(TURNS))], int(rng.integers(60, 91)), 1 - rng.uniform(0.01, 0.03)
        left, top = rng.uniform(0, 1 - kept, 2) * image.size
        box = (left, top, left + kept * image.width, top + kept * image.height)
        if old_mask.exists():
            with Image.open(old_mask) as inside:
                size = (inside.width / image.width, inside.height / image.height) * 2
                inside = inside.resize(inside.size, Image.Resampling.NEAREST, box=tuple(np.multiply(box, size)))
            inside.transpose(turn).save(mask)
        image = image.resize(image.size, Image.Resampling.BICUBIC, box=box).transpose(turn)
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.93, 1.07))
    elif row.plant == "blurred":
        image = image.filter(ImageFilter.GaussianBlur(DEFOCUS * min(image.size)))
    else:
        colour = SKIN if rng.random() < 0.5 else (4, 4, 4)
        noise = rng.normal(0, 1.5, (image.height, image.width, 3))
        image = Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))
        Image.new("L", image.size).save(mask)
    image.save(picture, quality=quality)
