"""The sampled images as one folder, and the accepted ones as WebDataset tars."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pandas as pd

from p2d_lib.files import atomic
from p2d_lib.models.generate import files


def collect(plan: pd.DataFrame, generated: Path, folder: Path) -> None:
    """Copies a plan's images out of the folder where they were generated, as <image_id>.png."""
    folder.mkdir(parents=True)
    for image_id, file in zip(plan["image_id"], files(plan, generated), strict=True):
        shutil.copyfile(file, folder / f"{image_id}.png")


def pack(table: pd.DataFrame, pictures: Path, folder: Path, rows_a_tar: int = 1000) -> list[Path]:
    """Packs images and their rows into <folder>/000000.tar, ...: <image_id>.png and <image_id>.json.

    WebDataset reads them. table: image_id and any other columns, which the JSON holds (null for NaN). pictures: the
    folder of the images, where file_name, or else <image_id>.png, lies.
    """
    parts = [table.iloc[start : start + rows_a_tar] for start in range(0, len(table), rows_a_tar)]
    paths = [folder / f"{k:06d}.tar" for k in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        with atomic(path) as partial, tarfile.open(partial, "w") as tar:
            for row in part.to_dict("records"):
                known = {name: None if value != value else value for name, value in row.items()}
                record = json.dumps({**known, "synthetic": True}, allow_nan=False).encode()
                for suffix, data in (
                    ("png", (pictures / row.get("file_name", f"{row['image_id']}.png")).read_bytes()),
                    ("json", record),
                ):
                    member = tarfile.TarInfo(f"{row['image_id']}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    return paths
