"""Files of a run that a disk, a crash or a hand has damaged: refused with what to do, or made again; never believed."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import save

from p2d_lib import images
from p2d_lib.fidelity import references
from p2d_lib.fidelity.picture_sources import SourceError
from p2d_lib.files import atomic, read_record
from p2d_lib.llm.cache import Answer, Cache
from p2d_lib.llm.errors import ApiError
from p2d_lib.locks import lock_run
from p2d_lib.run import ArtefactError, Run


def _one_bit(data: bytes, other: bytes) -> bytes:
    middle = bytearray(data)
    middle[len(data) // 2] ^= 8
    return bytes(middle)


DAMAGES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "emptied": lambda data, other: b"",
    "cut": lambda data, other: data[: 2 * len(data) // 3],
    "one bit": _one_bit,
    "half zeros": lambda data, other: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "swapped": lambda data, other: other,
}
every_damage = pytest.mark.parametrize("damage", DAMAGES)


def _spoil(path: Path, damage: str, other: bytes) -> None:
    path.write_bytes(DAMAGES[damage](path.read_bytes(), other))


# artefacts that one notebook hands to another


def _table(reason: str) -> pd.DataFrame:
    row = {"image_id": "a", "file": "a.jpg", "row": 2, "stage": "image", "reason": reason}
    return pd.DataFrame([row] * 20)


def _png(level: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(level).integers(0, 255, (16, 16, 3), np.uint8)).save(file, "png")
    return file.getvalue()


def _parquet(reason: str) -> bytes:
    file = io.BytesIO()
    _table(reason).to_parquet(file)
    return file.getvalue()


def _weights(value: float) -> bytes:
    return save({"weight": np.full((8, 8), value, np.float32)})


FILES = {  # artefact: (its maker, its file, the bytes, those of another that would fit in its place)
    "quarantine": ("01_prep", "", _parquet("blurred"), _parquet("empty")),
    "images": ("01_prep", "a.png", _png(0), _png(1)),
    "wording": ("02_describe", "", b'{"order": ["dx", "site"], "words": {}}', b'{"order": ["site"], "words": {}}'),
    "adapter": ("03_finetune", "pytorch_lora_weights.safetensors", _weights(1.0), _weights(2.0)),
    "scout": ("03_finetune", "config.yaml", b"backbone: resnet18\nsteps: 120\n", b"backbone: resnet18\nsteps: 99\n"),
}


@every_damage
@pytest.mark.parametrize("artefact", FILES)
def test_a_damaged_artefact_is_refused_with_the_notebook_to_run_again(tmp_path, monkeypatch, artefact, damage):
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    maker, name, data, other = FILES[artefact]
    with Run("micro", maker).writing(artefact) as place:
        if name:
            place.mkdir()
        (place / name if name else place).write_bytes(data)
    path = Run("micro", "06_classify").path(artefact)
    _spoil(path / name if name else path, damage, other)
    with pytest.raises(ArtefactError) as refused:
        Run("micro", "06_classify").path(artefact)
    assert f"{path} is not what {maker} wrote" in str(refused.value)
    assert f"./run_all.sh --run micro --to {maker}" in str(refused.value)


@every_damage
def test_damaged_state_of_the_driver_counts_as_none_or_as_it_was(tmp_path, damage):
    record = {"notebook": "08_fairness", "made": {"tables/t8_groups.csv": "0" * 64}}
    path = tmp_path / "08_fairness.json"
    path.write_text(json.dumps(record, indent=1))
    _spoil(path, damage, b"[1, 2]")
    read = read_record(path)
    assert read == {} or (damage == "one bit" and read != record and read.keys() == record.keys())


# what people bring, and what was paid for


@every_damage
def test_a_damaged_picture_is_refused_by_its_name_or_is_another_picture(tmp_path, damage):
    path = tmp_path / "ISIC_1.png"
    path.write_bytes(_png(0))
    _spoil(path, damage, _png(1))
    if damage == "swapped":
        assert images.read(path).shape == (16, 16, 3)
        return
    with pytest.raises(images.ImageError, match=r"ISIC_1\.png: .*replace the file"):
        images.read(path)


@every_damage
def test_a_damaged_reference_file_is_refused_by_its_name(tmp_path, damage):
    mean, covariance, path = np.zeros(4), np.eye(4), tmp_path / "real.npz"
    floor = {"floor_n": np.array([10.0, 20.0]), "floor": np.array([2.0, 1.0])}
    references.Reference(30, mean, covariance, "scout", "scout 0", "0" * 64, **floor).save(path)
    assert references.load(path).n == 30
    other = io.BytesIO()
    np.savez(other, features=np.zeros((3, 4)))
    _spoil(path, damage, other.getvalue())
    with pytest.raises(SourceError, match=r"real\.npz: is no reference file .*make it again"):
        references.load(path)


ANSWERS = {f"{k:064x}": Answer(f"reply {k}", False, "m", 1000, 400, 0.002, 1.5, 0, "m") for k in range(9)}


@every_damage
def test_of_damaged_replies_the_whole_ones_stay_and_no_other_is_believed(tmp_path, damage):
    path = tmp_path / "replies.jsonl"
    Cache(path).keep_all(ANSWERS)
    _spoil(path, damage, b"image_id,reply\n")
    try:
        kept = Cache(path).answers
    except ApiError as error:
        assert damage == "swapped" and f"{path}: is no cache of replies; name another file" in str(error)
        return
    wrong = [key for key, answer in kept.items() if ANSWERS.get(key) != answer]
    assert len(wrong) <= (damage == "one bit"), "a changed letter within a text cannot be told"
    assert len(kept) >= {"emptied": 0, "cut": 5, "one bit": 8, "half zeros": 4}[damage]
    Cache(path).keep_all(ANSWERS)
    assert {key: Cache(path).answers[key] for key in ANSWERS} == ANSWERS, "what is asked again is kept again"


@every_damage
def test_a_lock_file_with_anything_in_it_can_be_taken(tmp_path, damage):
    lock_run(tmp_path, "smoke").release()
    _spoil(tmp_path / ".smoke.lock", damage, b"\0\xff of another machine")
    lock_run(tmp_path, "smoke").release()


def test_a_write_that_fails_leaves_the_file_before_whole_and_nothing_else(tmp_path):
    path = tmp_path / "cases.parquet"
    path.write_bytes(b"whole")
    with pytest.raises(OSError), atomic(path) as partial:
        shutil.copyfileobj(io.BytesIO(b"half"), partial.open("wb"))
        raise OSError(28, "No space left on device")
    assert path.read_bytes() == b"whole" and list(tmp_path.iterdir()) == [path]
