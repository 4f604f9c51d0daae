"""The images that the app has made: files and a log in the run's folder, so that any browser shows the same."""

import hashlib
import json
import zipfile
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from p2d_lib import images
from p2d_lib.app import store
from p2d_lib.app.create_request import Request
from p2d_lib.app.safety import Refused
from p2d_lib.files import atomic
from p2d_lib.run import Run

if TYPE_CHECKING:
    from p2d_lib.app.create_models import Models

NOTICE = "Synthetic image, not for clinical use"
LARGEST_ZIP = 64 * 2**20  # bytes of images in one zip


class Gallery:
    """data/runs/<run>/app/images and the log created.jsonl beside it: a record an image, only ever added."""

    def __init__(self, run: Run):
        self.folder = store.folder(run) / "images"
        self.log = store.folder(run) / "created.jsonl"

    def add(self, image: np.ndarray, request: Request, models: "Models", strip: str = "", label: str = "") -> dict:
        """Writes an image, uint8 (s, s, 3), with what is said of it; returns its record once both are on the disk.

        strip: what all images of a counterfactual strip have in common, "" for a single image; label: the level that
        this one shows.
        """
        png = images.encode(image, request.text(models.adapter) | {"notice": NOTICE, "run": models.run.name})
        digest = hashlib.sha256(png).hexdigest()
        record = {
            "name": f"{digest[:16]}.png",
            "sha256": digest,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "request": request.model_dump(),
            "adapter": models.adapter if request.generator == "adapter" else "",
            "strip": strip,
            "label": label,
            "nearest": models.nearest(image)._asdict(),
            "asked": [row._asdict() for row in models.asked(image, request.prompt, strip)],
        }
        with atomic(self.folder / record["name"]) as partial:
            partial.write_bytes(png)
        store.append(self.log, record)
        return record

    def records(self) -> list[dict]:
        """The records, newest first; an image that was made twice is listed once, and none whose file is gone."""
        newest = {record["name"]: record for record in store.records(self.log)}
        newest = sorted(newest.values(), key=lambda record: record["made"], reverse=True)
        return [record for record in newest if (self.folder / record["name"]).exists()]

    def record(self, name: str) -> dict:
        """One record by the name of its file. Raises Refused for a name that the log does not have."""
        for record in self.records():
            if record["name"] == name:
                return record
        raise Refused("there is no such image in this run's gallery")

    def png(self, record: dict) -> bytes:
        """The file of a record of this gallery."""
        return (self.folder / record["name"]).read_bytes()

    def archive(self) -> tuple[bytes, int]:
        """A zip of the newest images (LARGEST_ZIP at most) with manifest.json, and how many images it holds.

        Raises Refused where there is no image yet.
        """
        records, size, stream = [], 0, BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:  # stored: a PNG is compressed already
            for record in self.records():
                png = self.png(record)
                if (size := size + len(png)) > LARGEST_ZIP:
                    break
                archive.writestr(f"images/{record['name']}", png)
                records.append(record)
            manifest = {"notice": NOTICE, "images": records}
            archive.writestr("manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        if not records:
            raise Refused("the gallery is empty: make an image first")
        return stream.getvalue(), len(records)
