"""A small finished run for the app: the shipped tiny base with an adapter that changes nothing, phantom-like images."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from plain_cases import descriptions, write_cases

from p2d_lib import images
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX, DX_NAMES, FEATURES
from p2d_lib.words.wording import Wording

RUN = "little"
SIDE = 32  # px
MARKUP = "<img src=x onerror=\"document.title='hacked'\">"
SAMPLING = {
    "guidance_scale": 2.0, "guidance_interval": [0.0, 100.0], "num_inference_steps": 3, "solver": "dpm++2m",
}  # fmt: skip


def make_run(name: str, per_class: int = 4) -> None:
    """Leaves in a run of P2D_HOME what the app reads of 01 to 04; a third of the cases is val."""
    rng, n = np.random.default_rng(0), 7 * per_class
    prep, describe = Run(name, "01_prep"), Run(name, "02_describe")
    split = ["val" if k >= 2 * n // 3 else "train" for k in range(n)]
    cases = write_cases(prep, DX * per_class, split, [_blot(rng) for _ in range(n)])
    prompts = [f"dermoscopic image of {DX_NAMES[dx]}, red color, fair skin, back" for dx in cases["dx"]]
    words = descriptions(cases, 0.0, prompts, red=0.8, background_skin_tone=0.2)
    words.loc[words.index[7:14], "blue_whitish_veil"] = 0.9
    describe.write("descriptions", words)
    with describe.writing("wording") as path:
        path.write_text(json.dumps(asdict(Wording("phrases", 8, 62))))
    _networks(name)
    _synthetic(name, words, cases)


def _blot(rng: np.random.Generator) -> np.ndarray:
    """A dark spot somewhere on skin, uint8."""
    y, x = np.mgrid[:SIDE, :SIDE]
    cy, cx, ry, rx = (*rng.uniform(10, 22, 2), *rng.uniform(4, 9, 2))
    inside = (((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1)[..., None]
    colours = np.where(inside, rng.uniform(20, 120, 3), rng.uniform((180, 130, 110), (230, 190, 170)))
    return np.clip(colours + rng.normal(0, 5, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


def _networks(name: str) -> None:
    """The base as a pointer to the shipped one, an adapter of zeros, an unfitted scout."""
    import torch
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    from p2d_lib.models import classifiers, pipelines

    run, pipe = Run(name, "03_finetune"), pipelines.load("tiny")
    with run.writing("base") as folder:
        pipelines.save_or_point(pipe, folder, trained=False)
    pipe.unet.add_adapter(LoraConfig(r=1, target_modules=["to_q"]))
    with run.writing("adapter") as folder:
        folder.mkdir(parents=True)
        pipe.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(pipe.unet))
    torch.manual_seed(0)
    with run.writing("scout") as folder:
        classifiers.save(classifiers.Classifier("tiny_resnet", len(FEATURES), pretrained=False), folder)


def _synthetic(name: str, words: pd.DataFrame, cases: pd.DataFrame) -> None:
    """One image of each class by two generators; the first one is refused, and its id is hostile."""
    from p2d_lib.models import generate

    run, rng = Run(name, "04_sample", SAMPLING), np.random.default_rng(1)
    rows = []
    with run.writing("synthetic_images") as folder:
        folder.mkdir(parents=True)
        for generator in ("adapter", "base"):
            for k, dx in enumerate(DX):
                image_id = f"{generator}_{dx}_0"
                text = generate.description(words["prompt"][k], k, generator, "", SAMPLING | {"size": SIDE})
                images.save(folder / f"{image_id}.png", _blot(rng), text)
                row = {
                    "image_id": image_id,
                    "dx": dx,
                    "prompt": words["prompt"][k],
                    "prompted_by": cases["image_id"][k],
                }
                row |= {feature: words[feature][k] for feature in FEATURES}
                rows.append(row | {"seed": k, "generator": generator, "path": f"synthetic/{image_id}.png"})
    table = pd.DataFrame(rows).assign(
        sha256="0", guidance=2.0, steps=3, alignment=0.5, nearest_case="image_00", nearest_distance=0.5,
        nearest_ratio=0.5, accepted=True, reason="",
    )  # fmt: skip
    table.loc[0, ["accepted", "reason", "prompt"]] = [False, "copy", f"nevus {MARKUP}"]
    run.write("synthetic", table)
    for kind, file in (("tables", "t4_copies.csv"), ("figures", "f4_grid.png")):
        path = Path(os.environ["P2D_HOME"], kind, name, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "tables":
            path.write_text(f"images,rate\nadapter,0.123456\n{MARKUP.replace(chr(34), '')},1\n")
        else:
            images.save(path, _blot(rng))
        run.provenance(path, beside=run.folder / kind / file, caption=f"Caption of {name} {MARKUP}")
