"""A release as Croissant 1.1 describes it, with the vocabulary for responsible AI (RAI 1.0), by MLCommons' library."""

import json
from pathlib import Path
from typing import Any

import mlcroissant
from mlcroissant import DataType, EncodingFormat, Extract, Field, FileObject, FileProperty, FileSet, RecordSet, Source

from p2d_lib.files import file_sha256
from p2d_lib.release.facts import Facts
from p2d_lib.release.pictures import METADATA, TRAIN
from p2d_lib.vocabulary import FEATURES

CROISSANT, RECORDS = "croissant.json", "images"
CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
TABLE, PICTURES = "metadata", "pictures"
IMAGE = f"{TRAIN}/*/*.png"
SOURCE_TYPE = "https://schema.org/TrainedAlgorithmicMediaDigitalSource"
FORMATS = {
    ".parquet": EncodingFormat.PARQUET, ".csv": EncodingFormat.CSV, ".json": EncodingFormat.JSON,
    ".tar": EncodingFormat.TAR, ".png": EncodingFormat.PNG, ".md": "text/markdown", ".cff": "application/yaml",
}  # fmt: skip
COLUMNS = {  # of metadata.parquet: its type and what it says
    "dx": (DataType.TEXT, "the diagnosis that was asked for"),
    "prompt": (DataType.TEXT, "the words that the image was sampled from"),
    "seed": (DataType.INTEGER, "of the image's noise"),
    "guidance": (DataType.FLOAT, "scale of classifier-free guidance"),
    "steps": (DataType.INTEGER, "denoising steps"),
    "alignment": (DataType.FLOAT, "cosine of image and prompt by the run's alignment model"),
    "synthetic": (DataType.BOOL, "true: a trained model made the image"),
    "sha256": (DataType.TEXT, "of the file, hex"),
    "pixels_sha256": (DataType.TEXT, "of the pixels (uint8, row by row, RGB), hex"),
    **{name: (DataType.FLOAT, "score that was asked for, 0 to 1") for name in FEATURES},
}


def write(folder: Path, facts: Facts) -> None:
    """Writes <folder>/croissant.json: every file with its SHA-256, and the record set of the images.

    Raises mlcroissant.ValidationError where the library finds the description invalid.
    """
    context = mlcroissant.Context(conforms_to=CONFORMS_TO)
    table = Path(TRAIN) / METADATA
    others = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and not path.match(IMAGE))
    files = [_file(folder, path, str(path)) for path in others if path != table]
    metadata = mlcroissant.Metadata(
        ctx=context,
        name=facts.name,
        description=f"{len(facts.metadata)} images that a trained generator made. {facts.verdict}",
        conforms_to=CONFORMS_TO,
        license=[facts.origin.licence.url],
        creators=[mlcroissant.Organization(ctx=context, name=facts.creator)],
        date_published=facts.published,
        version="1.0.0",
        url=facts.url or None,
        keywords=["synthetic", "dermoscopy", "dermatology"],
        cite_as=f"@misc{{{facts.name}, title = {{{facts.title}}}, author = {{{facts.creator}}}, "
        f"year = {{{facts.published[:4]}}}}}",
        distribution=[_file(folder, table, TABLE), _pictures(), *files],
        record_sets=[RecordSet(id=RECORDS, name=RECORDS, key=[f"{RECORDS}/image_id"], fields=_fields())],
        **_responsible(facts),
    )
    record = metadata.to_json() | {"rai:hasSyntheticData": True, "digitalSourceType": SOURCE_TYPE}
    (folder / CROISSANT).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _file(folder: Path, path: Path, name: str) -> FileObject:
    return FileObject(
        id=name,
        name=path.name,
        content_url=path.as_posix(),
        content_size=f"{(folder / path).stat().st_size} B",
        encoding_formats=[FORMATS.get(path.suffix, "application/octet-stream")],
        sha256=file_sha256(folder / path),
    )


def _pictures() -> FileSet:
    about = "one picture an image; the SHA-256 of each is a column of the record set"
    return FileSet(
        id=PICTURES, name=PICTURES, description=about, encoding_formats=[EncodingFormat.PNG],
        includes=[IMAGE],
    )  # fmt: skip


def _fields() -> list[Field]:
    """The picture and its columns: pictures are joined to rows by the name of their file, up to its dot."""
    named = Source(
        file_set=PICTURES, extract=Extract(file_property=FileProperty.filename),
        transforms=[mlcroissant.Transform(regex=r"([^.]+)")],
    )  # fmt: skip
    row = Source(file_object=TABLE, extract=Extract(column="image_id"))
    content = Source(file_set=PICTURES, extract=Extract(file_property=FileProperty.content))
    fields = [
        _field("image_id", DataType.TEXT, "the image's name", source=named, references=row),
        _field("image", DataType.IMAGE_OBJECT, "the picture", source=content),
    ]
    for name, (kind, about) in COLUMNS.items():
        fields.append(_field(name, kind, about, source=Source(file_object=TABLE, extract=Extract(column=name))))
    return fields


def _field(name: str, kind: Any, about: str, **sources: Source) -> Field:
    return Field(id=f"{RECORDS}/{name}", name=name, data_types=[kind], description=about, **sources)


def _responsible(facts: Facts) -> dict[str, Any]:
    """The fields of RAI 1.0 that a synthetic set can fill."""
    settings = facts.recipe["settings"]
    return {
        "data_collection": f"Sampled from {facts.base} with a LoRA adapter, fitted on: {facts.origin.citation}.",
        "data_collection_type": ["Synthetic"],
        "data_collection_raw_data": facts.origin.citation,
        "data_preprocessing_protocol": [
            f"{settings['num_inference_steps']} steps of {settings['solver']}, guidance {settings['guidance_scale']}"
        ],
        "data_annotation_protocol": ["The diagnosis and the scores of an image are those that its prompt asks for."],
        "machine_annotation_tools": ["prompt2derm"],
        "data_biases": facts.biases,
        "data_limitations": facts.limits,
        "data_use_cases": ["Training and testing of classifiers in research, beside real images."],
        "data_social_impact": (
            "May help where real images of rare diagnoses are few; may harm where it passes for images of patients."
        ),
        "personal_sensitive_information": [facts.verdict],
        "data_release_maintenance_plan": "A release does not change; another one has another version.",
    }
