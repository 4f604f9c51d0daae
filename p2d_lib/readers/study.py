"""The blinded reader study: which images are shown, the key that says what they are, the folder that is sent.

Half of the images are photographs of the test split, half were generated from prompts; readers say of each which it
is, and its diagnosis. Nothing a reader receives tells the halves apart: neutral numbers, an order of each reader's own,
equal counts per class and source, pictures written by one encoder, no dates, no metadata.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from p2d_lib import images
from p2d_lib.files import atomic
from p2d_lib.readers import form, roster, sheet
from p2d_lib.readers.roster import Design
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

KEY = ("number", "file", "source", "dx", "image_id", "path", "study", "block", "showing")
# block: 0 is seen by all readers (see `roster`). showing: 1, or 2 in the second row of an image that is shown twice
COMPLETE = Design()


def choose(
    cases: pd.DataFrame, synthetic: pd.DataFrame, n_images: int, seed: int, design: Design = COMPLETE
) -> tuple[pd.DataFrame, str]:
    """The study's images, numbered at random, as the key (columns KEY), and a sentence on too small classes.

    cases, synthetic: tables of 01 and 04. Of each class as many real as synthetic ones, n_images / 14 or as many as
    there are: real ones from the test split, at most one a lesion (so that readings are independent), synthetic ones
    accepted and generated with the adapter. Which ones and in which order depends on the seed and each image's name
    alone. The study's identifier depends on their sha256 too, where the tables have it, so that answers to other images
    of the same names are refused.
    Raises ValueError when no class has both.
    """
    quota = n_images // (2 * len(DX))
    pools = {
        "real": _shuffled(cases[cases["split"] == "test"], seed, "choose").drop_duplicates("lesion_id"),
        "synthetic": _shuffled(
            synthetic[synthetic["accepted"] & (synthetic["generator"] == "adapter")], seed, "choose"
        ),
    }
    parts, shortages = [], []
    for dx in DX:
        of_class = {source: pool[pool["dx"] == dx] for source, pool in pools.items()}
        n = min(quota, *map(len, of_class.values()))
        parts += [pool.head(n).assign(source=source) for source, pool in of_class.items()]
        if n < quota:
            shortages.append(
                f"{dx} {n} instead of {quota} ({len(of_class['real'])} test lesions, "
                f"{len(of_class['synthetic'])} accepted synthetic images)"
            )
    key = pd.concat(parts)
    if key.empty:
        raise ValueError("no class has both a real test image and an accepted synthetic one: there is nothing to read")
    key["block"] = roster.divided(key, design)
    twice = roster.repeats(key, design, seed)
    key = pd.concat([key.assign(showing=1), twice.assign(showing=2)])
    key = _shuffled(key, seed, "order").reset_index(drop=True)
    key["number"] = key.index + 1
    key["file"] = key["number"].map("{:03d}.png".format)
    contents = key.get("sha256", [])  # another adapter generates other images under the same names
    key["study"] = f"{derive(seed, 'study', *key['image_id'], *contents, *key['block']):016x}"[-8:]
    return key[list(KEY)], f"Fewer images of each source: {'; '.join(shortages)}." if shortages else ""


def build(
    folder: Path,
    key: pd.DataFrame,
    pictures: np.ndarray,
    n_readers: int = 1,
    realism_scale: bool = False,
    phantom: bool = False,
) -> None:
    """Writes the study: form.html for all readers, a sheet for each (reader_01.xlsx …) with images/001.png …, and apart
    from them key/key.csv.

    folder: a new one. key: from `choose`. pictures: uint8 (n, h, w, 3) in the key's order. realism_scale: one question
    "how real?", 1 to 7, in place of "real or synthetic?" and the confidence. phantom: readers are told that real images
    were rendered by a program, in place of photographed. Equal input, equal bytes.
    """
    (folder / "images").mkdir(parents=True)
    (folder / "key").mkdir()
    for file, picture in zip(key["file"], pictures, strict=True):
        images.save(folder / "images" / file, picture)
    for reader in range(1, n_readers + 1):
        rows = roster.seen_by(key, reader)
        code = roster.code(key["study"].iloc[0], reader)
        of_rows = [pictures[place] for place in key.index.get_indexer(rows.index)]
        sheet.write(folder / f"reader_{reader:02d}.xlsx", rows, of_rows, code, realism_scale, phantom)
    orders = {reader: roster.seen_by(key, reader)["number"].tolist() for reader in range(1, n_readers + 1)}
    by_number = dict(zip(key["number"], pictures, strict=True))
    form.write(folder / "form.html", key["study"].iloc[0], orders, by_number, realism_scale, phantom)
    key.to_csv(folder / "key" / "key.csv", index=False)
    (folder / "key" / "DO_NOT_SEND.txt").write_text(
        "key.csv says which image is real and what it shows: keep this folder at home.\n"
        "Each reader receives a number and form.html, or reader_01.xlsx (02, 03 ...) and images/; nothing else.\n"
    )
    for path in folder.rglob("*"):  # one date for all, so that the order of writing does not show
        os.utime(path, (946_684_800, 946_684_800))


def keep_key(folder: Path, key: pd.DataFrame) -> None:
    """Writes folder/<study>.csv, unless it is there: so sheets can be scored after another study took the place."""
    path = folder / f"{key['study'].iloc[0]}.csv"
    if not path.exists():
        with atomic(path) as partial:
            key.to_csv(partial, index=False)


def _shuffled(table: pd.DataFrame, seed: int, purpose: str) -> pd.DataFrame:
    second = table["showing"] == 2 if "showing" in table else np.zeros(len(table), bool)
    names = [(name, 2) if again else (name,) for name, again in zip(table["image_id"], second, strict=True)]
    return table.iloc[np.argsort([derive(seed, "study", purpose, *name) for name in names])]
