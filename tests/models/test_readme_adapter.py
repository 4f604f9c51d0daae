"""README's lines that load an adapter in plain diffusers give an image like the project's own."""

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from peft import LoraConfig
from PIL import Image

from p2d_lib import models, parameters
from p2d_lib.finetune.adapter import ATTENTION, save_adapter
from p2d_lib.models import lora, pipelines, sampling

REPOSITORY = Path(__file__).resolve().parents[2]


def test_an_adapter_gives_in_plain_diffusers_by_the_lines_of_readme_the_image_of_04(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?load_lora_weights.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)[1]
    pipe = pipelines.load("tiny")
    torch.manual_seed(0)
    pipe.unet.add_adapter(
        LoraConfig(r=4, lora_alpha=4, target_modules=[*ATTENTION, "conv_out"], init_lora_weights=False)
    )
    save_adapter(
        pipe, tmp_path / "data" / "runs" / "smoke" / "adapter", pd.DataFrame({"step": [0], "seconds": [0.0]}), {}
    )
    (tmp_path / "p2d_lib").symlink_to(REPOSITORY / "p2d_lib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "p2d_lib.models.tiny_base")  # which a fresh Python has not imported either
    monkeypatch.setattr(models, "tiny_base", models.tiny_base)  # and which is put back
    exec(compile(code, "README.md", "exec"), {})
    shown = np.asarray(Image.open("melanoma.png")).astype(int)

    prompt = re.search(r'"(dermoscopic image.*?)"', code)[1]
    smoke = parameters.profile("smoke")["04_sample"]
    settings = {name: smoke[name] for name in ("guidance_scale", "guidance_interval", "num_inference_steps", "solver")}
    adapted, base = (lora.merge(pipe, adapter) for adapter in (True, False))
    of_04, without_adapter = (sampling.sample(each, [prompt], [0], **settings)[0] for each in (adapted, base))
    by_default = adapted(prompt, num_inference_steps=15, generator=torch.Generator().manual_seed(0)).images[0]
    distances = [np.abs(shown - image).mean() for image in (of_04, without_adapter, np.asarray(by_default))]
    assert distances[0] < 5  # of 255 levels
    assert min(distances[1:]) > 7  # without the adapter 9; with diffusers' own settings 31
