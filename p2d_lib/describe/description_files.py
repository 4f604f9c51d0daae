"""The files of the original prompt2derm: `descriptions.json`, and images in a folder for each class.

The original (github.com/JulesCollenne/prompt2derm) writes one JSON object a line, whatever the ending: image
("mel/ISIC_0024310.jpg", with / or \\), class, description, and features under the names of `Feature.field`.
"""

import json
import re
import shutil
from pathlib import Path, PurePosixPath

import pandas as pd

from p2d_lib.describe.llm import replies
from p2d_lib.files import atomic, lines
from p2d_lib.suggest import did_you_mean
from p2d_lib.vocabulary import DX, DX_NAMES, FEATURES

DESCRIBER = "file"
DX_OF = {name: dx for dx, name in DX_NAMES.items()}
CLASSES = {"nev": "nv"}  # folders of the original that are named otherwise than HAM10000's diagnoses
DESCRIPTIONS, IMAGES = "descriptions.json", "real_images"  # in the folder that `write` fills


class DescriptionFileError(Exception):
    """A file of descriptions that cannot be used; the message names file, record and value."""


def read(path: Path, cases: pd.DataFrame) -> pd.DataFrame:
    """The descriptions of the cases in a file, as `replies.described`: describer "file".

    path: one JSON object a line, as the original writes them, or one JSON list of such objects. Descriptions and scores
    are parsed as a model's replies are, repairs counted; images that are no case are left out, and their number stands
    in attrs["elsewhere"]. Raises DescriptionFileError for a file that cannot be read, a record without an image, a
    class that is not the case's, an image that repeats, and where no image is a case.
    """
    dx_of = cases.set_index("image_id")["dx"]
    parsed, elsewhere = {}, []
    for image_id, (where, record) in records(Path(path)).items():
        if image_id not in dx_of.index:
            elsewhere.append(image_id)
            continue
        name = str(record.get("class")).strip().lower()
        label = CLASSES.get(name, DX_OF.get(name, name))
        if label in DX and label != dx_of[image_id]:
            raise DescriptionFileError(
                f"{where}: class is {label!r}, and the case {image_id} is {dx_of[image_id]!r}; correct one of them"
            )
        parsed[image_id] = replies.parse(json.dumps({name: record.get(name) for name in ("description", "features")}))
    if not parsed:
        first = f", such as {elsewhere[0]!r}{did_you_mean(elsewhere[0], dx_of.index)}" if elsewhere else ""
        raise DescriptionFileError(f"{path}: none of its {len(elsewhere)} images{first} is a case of this run")
    ordered = [image_id for image_id in cases["image_id"] if image_id in parsed]
    table = replies.described(ordered, DESCRIBER, [parsed[image_id] for image_id in ordered])
    table.attrs["elsewhere"] = len(elsewhere)
    return table


def write(descriptions: pd.DataFrame, cases: pd.DataFrame, images: Path, folder: Path) -> int:
    """Writes descriptions and the images that they describe as the original lays them out; returns how many.

    descriptions: one row an image, as `schemas.DESCRIPTIONS`; unknown scores are left out. images: the folder in which
    the cases' paths lie. folder: takes descriptions.json and real_images/<class>/; what an interrupted call has copied
    there is copied again. Raises DescriptionFileError for a folder that holds a descriptions.json already, or an image
    that is none of these.
    """
    target = folder / DESCRIPTIONS
    if target.exists():
        raise DescriptionFileError(f"{target} exists; remove it, or name another folder")
    described = cases.set_index("image_id").loc[descriptions["image_id"]]
    names = [PurePosixPath(case.dx, Path(case.path).name) for case in described.itertuples()]
    if foreign := _foreign(folder / IMAGES, {str(name) for name in names}):
        raise DescriptionFileError(
            f"{foreign} is none of the images described here; remove {folder / IMAGES}, or name another folder"
        )
    written = []
    for row, case, name in zip(descriptions.to_dict("records"), described.itertuples(), names, strict=True):
        copied = folder / IMAGES / name
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(images / case.path, copied)
        scores = {f.field: round(float(row[f.name]), 4) for f in FEATURES.values() if row[f.name] == row[f.name]}
        record = {"image": str(name), "class": case.dx, "description": row["text"], "features": scores}
        written.append(json.dumps(record, ensure_ascii=False) + "\n")
    with atomic(target) as partial:
        partial.write_text("".join(written), encoding="utf-8")
    return len(written)


def _foreign(folder: Path, known: set[str]) -> Path | None:
    """The first file below a folder whose path there ("mel/a.png") is not a known one."""
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return next((path for path in files if path.relative_to(folder).as_posix() not in known), None)


def records(path: Path) -> dict[str, tuple[str, dict]]:
    """image_id -> the place where its record stands, and the record.

    Raises DescriptionFileError for everything that is wrong whatever the run's cases are.
    """
    of_images = {}
    for where, record in _records(path):
        image_id = _image_id(record, where)
        if image_id in of_images:
            raise DescriptionFileError(f"{where}: image {image_id} stands twice; keep one of its descriptions")
        of_images[image_id] = where, record
    if not of_images:
        raise DescriptionFileError(f"{path}: holds no description; expected one JSON object a line, or a list")
    return of_images


def _records(path: Path) -> list[tuple[str, dict]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DescriptionFileError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise DescriptionFileError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    if text.lstrip().startswith("["):
        return [
            (f"{path}, item {k}", _object(item, f"{path}, item {k}")) for k, item in enumerate(_json(text, path), 1)
        ]
    numbered = [(f"{path}, line {k}", line) for k, line in enumerate(lines(text), 1) if line.strip()]
    return [(where, _object(_json(line, where), where)) for where, line in numbered]


def _json(text: str, where: object) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DescriptionFileError(f"{where}: is no JSON ({error}); expected one object a line, or a list") from None


def _object(value: object, where: str) -> dict:
    if not isinstance(value, dict):
        raise DescriptionFileError(f"{where}: is no object with image, description and features")
    return value


def _image_id(record: dict, where: str) -> str:
    image = record.get("image")
    if not isinstance(image, str) or not image.strip():
        raise DescriptionFileError(f"{where}: image is {image!r}; expected a file such as mel/ISIC_0024310.jpg")
    return Path(re.split(r"[\\/]", image.strip())[-1]).stem
