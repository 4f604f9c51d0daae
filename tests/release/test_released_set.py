"""Claims about a released set: three libraries load it, every file has its digest, an image can be made again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard
from PIL import Image

from p2d_lib import images
from p2d_lib.files import file_sha256
from p2d_lib.release import pictures, remake
from p2d_lib.release.refusal import Refused
from p2d_lib.vocabulary import DX


@pytest.fixture(scope="module")
def metadata(released) -> pd.DataFrame:
    return pd.read_parquet(released / "train" / "metadata.parquet").set_index("image_id")


def pixels_of(released: Path, metadata: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name: images.read(released / "train" / row["file_name"]) for name, row in metadata.iterrows()}


def test_datasets_loads_every_image_with_its_words(released, metadata, tmp_path):
    from datasets import load_dataset

    rows = load_dataset(str(released), split="train", cache_dir=str(tmp_path))
    assert sorted(rows["image_id"]) == sorted(metadata.index) and len(rows) == 14
    expected = pixels_of(released, metadata)
    for row in rows:
        assert np.array_equal(np.asarray(row["image"]), expected[row["image_id"]])
        assert row["prompt"] == metadata.loc[row["image_id"], "prompt"] and row["synthetic"] is True
        assert row["black"] == 0.5 and row["red"] is None


def test_webdataset_loads_every_image_with_its_words(released, metadata):
    import webdataset

    tars = str(released / "webdataset" / "{000000..000001}.tar")
    assert tars.removeprefix(f"{released}/") in (released / "README.md").read_text()
    rows = list(webdataset.WebDataset(tars, shardshuffle=False).decode("pil").to_tuple("__key__", "png", "json"))
    expected = pixels_of(released, metadata)
    assert sorted(key for key, _, _ in rows) == sorted(metadata.index)
    for key, picture, record in rows:
        assert np.array_equal(np.asarray(picture), expected[key]) and record["prompt"] == metadata.loc[key, "prompt"]


def test_croissant_is_valid_and_its_records_join_each_picture_to_its_row(released, metadata):
    import mlcroissant

    dataset = mlcroissant.Dataset(str(released / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    rows = list(dataset.records("images"))
    expected = pixels_of(released, metadata)
    assert len(rows) == 14
    for row in rows:
        name = row["images/image_id"].decode()
        assert np.array_equal(np.asarray(row["images/image"]), expected[name])
        assert row["images/sha256"].decode() == metadata.loc[name, "sha256"]
        assert row["images/dx"].decode() == metadata.loc[name, "dx"]


def test_croissant_says_that_the_set_is_synthetic_and_holds_the_digest_of_every_file(released, metadata):
    record = json.loads((released / "croissant.json").read_text())
    assert record["conformsTo"] == ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
    assert record["rai:dataCollectionType"] == "Synthetic" and record["rai:hasSyntheticData"] is True
    digests = {file["contentUrl"]: file["sha256"] for file in record["distribution"] if "contentUrl" in file}
    digests |= {f"train/{row['file_name']}": row["sha256"] for _, row in metadata.iterrows()}
    files = {path.relative_to(released).as_posix() for path in released.rglob("*") if path.is_file()}
    assert files - set(digests) == {"croissant.json", "SHA256SUMS"}
    assert all(file_sha256(released / name) == digest for name, digest in digests.items())


def test_the_sums_cover_every_other_file(released):
    lines = (released / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    files = {path.relative_to(released).as_posix() for path in released.rglob("*") if path.is_file()}
    assert set(sums) == files - {"SHA256SUMS"}
    assert all(file_sha256(released / name) == digest for name, digest in sums.items())


def test_each_picture_says_that_a_model_made_it_and_its_pixels_are_those_of_the_run(released, metadata, finished):
    for name, row in metadata.iterrows():
        with Image.open(released / "train" / row["file_name"]) as picture:
            description = picture.getxmp()["xmpmeta"]["RDF"]["Description"]
            assert description["DigitalSourceType"].endswith("/trainedAlgorithmicMedia")
            assert picture.text["prompt"] == row["prompt"] and picture.text["seed"] == str(row["seed"])
            pixels = np.asarray(picture)
        of_run = images.read(finished / "data" / "runs" / "small" / "synthetic" / f"{name}.png")
        assert np.array_equal(pixels, of_run) and pictures.pixels_digest(of_run) == row["pixels_sha256"]


def test_the_grid_of_phantoms_says_that_a_program_without_training_made_it(released):
    kinds = {}
    for name in ("images", "phantoms"):
        with Image.open(released / f"{name}.png") as picture:
            kinds[name] = picture.getxmp()["xmpmeta"]["RDF"]["Description"]["DigitalSourceType"].rpartition("/")[2]
        assert f"]({name}.png)" in (released / "README.md").read_text()
    assert kinds == {"images": "trainedAlgorithmicMedia", "phantoms": "algorithmicMedia"}


def test_the_cards_are_such_as_the_hub_reads(released):
    card = DatasetCard.load(released / "README.md")
    assert card.data.license == "apache-2.0" and card.data.annotations_creators == ["machine-generated"]
    assert card.data.size_categories == ["n<1K"] and {"synthetic", "phantom"} <= set(card.data.tags)
    assert all(f"| {dx} | 2 |" in card.text for dx in DX) and "passes the memorisation audit" in card.text
    adapter = ModelCard.load(released / "adapter" / "README.md")
    assert adapter.data.library_name == "diffusers" and "lora" in adapter.data.tags
    assert "TODO" not in adapter.text and "passes the memorisation audit" in adapter.text
    citation = yaml.safe_load((released / "CITATION.cff").read_text())
    assert citation["type"] == "dataset" and citation["license"] == "Apache-2.0"
    assert [reference["type"] for reference in citation["references"]] == ["software", "data"]


def test_no_id_of_a_real_case_and_no_path_of_this_machine_leaves_the_house(released, finished):
    for path in released.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"CASE_" not in data and b"LESION_" not in data and str(finished).encode() not in data, path


def test_an_image_made_again_from_its_prompt_and_seed_is_the_released_one(released, capsys):
    assert remake.main([str(released), "adapter_mel_1"]) == 0
    assert "adapter_mel_1: the same " in capsys.readouterr().out


def test_a_damaged_release_or_a_place_that_takes_no_image_is_a_sentence(released, metadata, tmp_path, capsys):
    damaged = tmp_path / "set"
    shutil.copytree(released, damaged)
    (damaged / "train" / "metadata.parquet").write_bytes(b"PAR1")
    assert remake.main([str(damaged), "adapter_mel_1"]) == 2
    assert "metadata.parquet is no table of a release" in capsys.readouterr().err
    (damaged / "recipe.json").write_text("{}")
    assert remake.main([str(damaged), "adapter_mel_1"]) == 2
    assert "recipe.json has no 'adapter_sha256'" in capsys.readouterr().err
    shutil.copy(released / "recipe.json", damaged)
    shutil.copy(released / "train" / "metadata.parquet", damaged / "train")
    (damaged / "base" / "pointer.json").write_text("{}")
    assert remake.main([str(damaged), "adapter_mel_1"]) == 2
    assert "pointer.json names another base" in capsys.readouterr().err
    (damaged / "train" / metadata.loc["adapter_mel_1", "file_name"]).write_bytes(b"another")
    with pytest.raises(Refused, match=r"adapter_mel_1.png is not the file that was released"):
        remake.compared(damaged, "adapter_mel_1", np.zeros((64, 64, 3), np.uint8))
    assert remake.main([str(released), "adapter_mel_1", "--save", str(tmp_path)]) == 2
    assert f"{tmp_path}: Is a directory" in capsys.readouterr().err


def test_another_image_or_adapter_is_not_taken_for_the_released_one(released, metadata, tmp_path):
    other = images.read(released / "train" / metadata.loc["adapter_nv_0", "file_name"])
    same, sentence = remake.compared(released, "adapter_mel_1", other)
    assert not same and "another image" in sentence
    released_one = images.read(released / "train" / metadata.loc["adapter_mel_1", "file_name"])
    assert remake.compared(released, "adapter_mel_1", released_one)[1].startswith("adapter_mel_1: the same pixels")
    rounded = released_one.copy()
    rounded[0, 0] ^= 1
    assert remake.compared(released, "adapter_mel_1", rounded)[0]
    assert not remake.compared(released, "adapter_mel_1", released_one ^ 1)[0]
    changed = shutil.copytree(released, tmp_path / "changed")
    weights = changed / "adapter" / "pytorch_lora_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(Refused, match="get the release anew"):
        remake.remake(changed, "adapter_mel_1")
    with pytest.raises(Refused, match="did you mean 'adapter_mel_1'"):
        remake.remake(released, "adapter_mel_l")
