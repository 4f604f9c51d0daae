"""The shards of 04: jobs that share its plan, which of them have to run, and the record that each leaves.

Each executes the whole notebook with its own `shard`, up to the point where its images are sampled. There the notebook
leaves a manifest beside the images and ends; the stage itself, which runs last, samples what is missing and measures.
"""

import json
import time

from stages import StageError, Stages

from p2d_lib.files import atomic, file_sha256, read_record

NOTEBOOK = "04_sample"


def names(n: int) -> list[str]:
    """ "0-of-8", "1-of-8" ...; none where the stage samples alone."""
    return [f"{i}-of-{n}" for i in range(n)] if n > 1 else []


def is_done(stages: Stages, name: str) -> bool:
    """Whether the images of a shard are there, sampled from what 04 would read now.

    Manifest and images lie in one scratch folder, which 04 removes when it has measured them.
    """
    record = read_record(stages.folder / "shards" / f"{name}.json")
    manifest = stages.folder / record.get("manifest", "")
    if not manifest.is_file() or file_sha256(manifest) != record["sha256"]:
        return False
    images = read_record(manifest).get("images", {})
    return record["basis"] == stages.basis(NOTEBOOK) and all((manifest.parent / image).exists() for image in images)


def run(stages: Stages, name: str) -> None:
    """Samples a shard; leaves shards/<name>.ipynb and .json in the run's folder. Raises StageError."""
    from execute import execute  # papermill takes a second to import

    folder, began, basis = stages.folder / "shards", time.time(), stages.basis(NOTEBOOK)
    folder.mkdir(exist_ok=True)
    for manifest in _manifests(stages, name):
        manifest.unlink()
    shard = [int(number) for number in name.split("-of-")]
    execute(NOTEBOOK, {**stages.parameters[NOTEBOOK], "shard": shard}, folder / f"{name}.ipynb")
    manifests = _manifests(stages, name)
    if len(manifests) != 1:
        raise StageError(f"shard {name} of {NOTEBOOK} ran to its end and left {len(manifests)} manifests, expected 1")
    record = {
        "basis": basis,
        "manifest": str(manifests[0].relative_to(stages.folder)),
        "sha256": file_sha256(manifests[0]),
        "seconds": round(time.time() - began, 1),
    }
    with atomic(folder / f"{name}.json") as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n")


def _manifests(stages: Stages, name: str) -> list:
    return sorted(stages.folder.glob(f"scratch/{NOTEBOOK}/*/shard-{name}.json"))
