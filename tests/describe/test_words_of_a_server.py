"""A server's model describes train images, and the adapter's images are sampled from its words: 02 to 04 without 01."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from chat_server import DESCRIPTION, ChatServer, client, says
from PIL import Image
from plain_cases import write_cases

from p2d_lib import parameters
from p2d_lib.describe import api
from p2d_lib.finetune.adapter import save_adapter
from p2d_lib.finetune.stages import Stages
from p2d_lib.models import generate, pipelines, sampling, tiny_base, token_counts
from p2d_lib.run import Run
from p2d_lib.sample import plan
from p2d_lib.vocabulary import DX
from p2d_lib.words.parse import parse
from p2d_lib.words.wording import Wording, lesions

WORDING = Wording("phrases", 8, 62)
SHORT = {
    "base": "random", "lora_steps": 2, "lora_rank": 2, "batch_size": 4, "num_inference_steps": 2, "baselines": [],
    "guidance_interval": [0.0, 100.0],
}  # fmt: skip
pytestmark = pytest.mark.usefixtures("no_settings_of_this_machine")


@pytest.fixture
def run(monkeypatch, tmp_path) -> Run:
    """Two train images of 32 px of each class, as 01 leaves them."""
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    run = Run("server", "01_prep")
    write_cases(run, DX * 2, ["train"] * 14, [np.full((32, 32, 3), 10 * k, np.uint8) for k in range(14)])
    return run


def described(run: Run, cases: pd.DataFrame) -> pd.DataFrame:
    """What 02 writes: the server sees a ruler and red in each image, and refuses the first one."""
    sees = json.dumps(DESCRIPTION | {"description": "Red.", "ruler_presence": 0.9, "red": 0.8, "hair_amount": 0.0})
    with ChatServer(says("I'm sorry, I can't help with that."), says(sees)) as server:
        table = api.describe(cases, run.images, client(server, Path("replies.jsonl"), concurrency=1))
        assert len(server.requests) == len(cases)
    table["prompt"] = WORDING.prompts(lesions(cases, table), token_counts.counter(62), 0, table["image_id"])
    return Run(run.name, "02_describe").write("descriptions", table)


def test_a_server_s_words_are_learnt_from_and_sampled_and_a_refusal_is_not(run, monkeypatch):
    cases = run.read("cases")
    descriptions = described(run, cases)
    assert set(descriptions["describer"]) == {"api:some-llm"}
    refused = descriptions.loc[~descriptions["valid"], "image_id"].tolist()
    assert refused == ["image_00"]

    monkeypatch.setattr(
        pipelines, "tiny_pipeline", lambda *a, **k: tiny_base.tiny_pipeline(*a, **k | {"widths": (32, 64, 128)})
    )
    p = parameters.check("03_finetune", parameters.profile("smoke")["03_finetune"] | SHORT)
    stages = Stages(Run(run.name, "03_finetune"), p, torch.device("cpu"))
    assert len(stages.train) == 13 and all("ruler" in prompt for prompt in stages.train.prompts)
    pipe = stages.base()
    stages.adapter(pipe)
    save_adapter(pipe, run.folder / "adapter", stages.logs["adapter"], {}, data=stages.encoded.key)

    planned = plan.make(cases, descriptions, per_class=1, others_per_class=0, others=(), seed=0)
    assert len(planned) == 7 and not set(planned["prompted_by"]) & set(refused)
    settings = {"size": 32, "num_inference_steps": 2, "guidance_scale": 1.0, "guidance_interval": (0.0, 100.0)}
    generators = {"adapter": lambda requests: sampling.samples(pipe, requests, **settings)}
    generate.generate(generators, planned, run.folder / "sampled")
    for row, file in zip(planned.itertuples(), generate.files(planned, run.folder / "sampled"), strict=True):
        said = parse(Image.open(file).text["prompt"])
        assert said.dx == row.dx and said.ruler_presence > 0 and said.red > 0 and said.hair_amount == 0
