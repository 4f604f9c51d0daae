"""Notebook 02 where tables are empty: no lesion masks, no repairs, a model that refuses."""

import json
import math

import notebook_cells
import numpy as np
import pandas as pd
import pytest
import torch
from chat_server import KEY, USAGE, ChatServer, picture, says
from minimal_sets import isic2019

from p2d_lib.llm.errors import ApiError
from p2d_lib.models.captioner.published import load
from p2d_lib.prep import picture_quality
from p2d_lib.prep import prepare as preparing
from p2d_lib.prep.raw import read
from p2d_lib.run import Run
from p2d_lib.vocabulary import FEATURES

SHORT = {"clip_steps": 2, "captioner_steps": [2, 2], "captions_per_image": 2, "other_clip_steps": 2}


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    """What 01 makes of that set."""
    monkeypatch.setenv("P2D_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("P2D_THREADS", "1")
    run = Run("bare", "01_prep")
    isic2019(tmp_path / "isic2019")
    raw = read(tmp_path / "isic2019", "isic2019")
    split = pd.Series(np.repeat(["train", "val", "test"], [21, 7, 14]), raw.metadata.index)
    with run.writing("images") as images:
        cases, measurements, _ = preparing.prepare(raw, split, 32, images, run.scratch("images"), "fail")
    run.write("cases", cases.join(picture_quality.flags(cases)))
    run.write("measurements", measurements)
    return run


def findings(**parameters) -> str:
    """Runs the notebook with a short training and these parameters; its findings."""
    return notebook_cells.findings("02_describe", "bare", **SHORT, **parameters)


def table(name: str, run: Run) -> pd.DataFrame | None:
    path = run.tables / f"{name}.csv"
    return pd.read_csv(path) if path.exists() else None


def test_captioner_and_server_without_masks_and_without_a_repair(run, monkeypatch, tmp_path, capsys):
    def reply(handler):
        level = float(picture(server.requests[-1])[1].mean() / 255)
        scores = dict.fromkeys(FEATURES, round(level, 3))
        handler.reply(
            200,
            {"choices": [{"message": {"content": json.dumps({"description": "A spot.", **scores})}}], "usage": USAGE},
        )

    with ChatServer(reply) as server:
        monkeypatch.setenv("P2D_API_BASE_URL", server.url)
        monkeypatch.setenv("P2D_API_KEY", KEY)
        text = findings(
            describers=["template", "captioner", "api"], api_model="toytext", api_allow_upload=True,
            api_usd_per_million=[0.1, 0.2], n_described=20,
        )  # fmt: skip
    assert len(server.requests) == 20
    assert "None of the 20 replies of “api:toytext” needed a repair." in text
    assert "“toytext” has sent 20 replies: 20,000 tokens in, 8,000 out, 0.0036 USD." in text
    assert "nan" not in text.lower()
    assert table("t2_repairs", run) is None
    assert table("t2_describers", run)["describer"].tolist() == ["measured", "captioner", "api:toytext"]
    assert (run.folder / "captioner" / "gpt2").exists()
    assert server.requests[0]["headers"]["Authorization"] == f"Bearer {KEY}"
    written = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert len(written) > 50 and not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in "".join(capsys.readouterr())
    stages = table("t2_captioner", run)
    assert stages[["stage", "style"]].values.tolist() == [["A", "sentence"], ["B", "clinical"]]
    assert stages.loc[0, "PPL"] == pytest.approx(math.exp(stages.loc[0, "val loss"]), rel=1e-3)
    both = [load(run.folder / "captioner" / part, torch.device("cpu")) for part in ("stage_A", "")]
    assert not all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in both), strict=True))


def test_a_file_of_descriptions_makes_the_prompts_of_its_images_and_is_not_compared_on_others(run, tmp_path):
    cases = run.read("cases")
    path = tmp_path / "descriptions.json"
    scores = {feature.field: 0.9 * (feature.name == "hair_amount") for feature in FEATURES.values()}
    records = [
        {"image": f"{dx}\\{name}.jpg", "class": dx, "description": "Hair.", "features": scores}
        for name, dx in cases.loc[:9, ["image_id", "dx"]].values
    ]
    path.write_text("\n".join(map(json.dumps, [*records, records[0] | {"image": "mel/elsewhere.jpg"}])))
    text = findings(describers=["file", "template"], descriptions_file=str(path))
    assert "follow the descriptions of “measured” (32 images), “file” (10 images)" in text
    assert "1 of its images are no cases" in text and "so it is not compared" in text
    prompts = run.read("descriptions").set_index(["describer", "image_id"])["prompt"]
    assert prompts["file"].str.contains("hair").all() and len(prompts["file"]) == 10
    assert table("t2_describers", run)["describer"].tolist() == ["measured"]


def test_a_model_that_refuses_every_image_is_a_finding_and_another_models_replies_are_not_counted(run, monkeypatch):
    with ChatServer(says("I'm sorry, I can't help with that.")) as server:
        monkeypatch.setenv("P2D_API_BASE_URL", server.url)
        options = {"describers": ["template", "api"], "api_allow_upload": True, "n_described": 14}
        findings(**options, api_model="first")
        text = findings(**options, api_model="second")
    assert "“api:second” gives no valid description of 14 of 14 images (14 refused)." in text
    assert "“second” has sent 14 replies: 14,000 tokens in" in text
    assert table("t2_repairs", run)["repair"].tolist() == ["refused"]


def test_an_empty_address_of_the_server_is_an_error_before_anything_is_trained(run, monkeypatch):
    monkeypatch.setenv("P2D_API_BASE_URL", "")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-server")
    with pytest.raises(ApiError, match="P2D_API_BASE_URL is set and empty"):
        findings(describers=["template", "captioner", "api"], api_model="some-llm", api_allow_upload=True)
    assert not list(run.folder.glob("scratch/*/captioner"))
