"""A finished run of hand-written artefacts: 14 images of a tiny adapter, 84 phantoms, an audit that passes."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from phantom_photographs import views

from p2d_lib import images
from p2d_lib.files import file_sha256
from p2d_lib.models import generate, pipelines
from p2d_lib.release.publish import AUDIT_TABLES
from p2d_lib.report import tables
from p2d_lib.run import Run
from p2d_lib.sample import pack
from p2d_lib.vocabulary import DX, FEATURES

NAME, SIDE = "small", 64
SETTINGS = {
    "guidance_scale": 3.0, "guidance_interval": [0.5, 3.0], "solver": "dpm++2m", "num_inference_steps": 4,
}  # fmt: skip
SPLITS = ("train",) * 8 + ("val", "test") * 2  # of each class's lesions
PASSES = {"p": [0.4, 0.5, 0.6], "holm": [1.0, 1.0, 1.0], "recall": 0.95}
TESTS = ["memorised", "worst case", "membership"]


def make() -> None:
    """Writes the run into P2D_HOME."""
    _cases()
    _weights()
    table = _synthetic()
    audit(table)
    run = Run(NAME, "05_fidelity", {"seed": 0})
    for name in AUDIT_TABLES:
        tables.save(run, name, pd.DataFrame({"images": ["adapter"], "n": [len(table)]}), f"Caption of {name}.")


def _cases() -> None:
    run = Run(NAME, "01_prep", {"source": "phantom", "seed": 0})
    rows = []
    with run.writing("images") as folder:
        folder.mkdir()
        for k, pixels in enumerate(views(range(len(DX) * len(SPLITS)))):
            dx, split = DX[k % len(DX)], SPLITS[k // len(DX)]
            images.save(folder / f"CASE_{k:04d}.png", pixels)
            rows.append({"image_id": f"CASE_{k:04d}", "lesion_id": f"LESION_{k:04d}", "dx": dx, "split": split})
    table = pd.DataFrame(rows)
    texts = {"dx_type": "histo", "sex": "male", "localization": "back", "dataset": "phantom", "sha256": "0" * 64}
    flags = dict.fromkeys(("is_empty", "is_blurred", "has_hair", "has_ruler"), False)
    numbers = dict.fromkeys(("entropy", "sharpness", "hair", "ruler"), 0.5)
    table = table.assign(path="images/" + table["image_id"] + ".png", **texts, **flags, **numbers, width=SIDE)
    table = table.assign(height=SIDE, age=50.0, ita=30.0, ita_patches=30.0)
    run.write("cases", table)


def _weights() -> None:
    """The tiny base that ships, and an adapter of random matrices."""
    run = Run(NAME, "03_finetune", {"lora_rank": 2, "lora_steps": 1, "batch_size": 1, "learning_rate": 0.1})
    pipe = pipelines.load("tiny")
    with run.writing("base") as folder:
        pipelines.save_or_point(pipe, folder, trained=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    with run.writing("adapter") as folder:
        pipe.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(pipe.unet))


def _synthetic() -> pd.DataFrame:
    run = Run(NAME, "04_sample", {**SETTINGS, "seed": 0})
    cases = run.read("cases")
    prompted = cases[cases["split"] == "train"].groupby("dx", sort=False).head(2).reset_index(drop=True)
    k = prompted.groupby("dx").cumcount().astype(str)
    plan = pd.DataFrame({"image_id": "adapter_" + prompted["dx"] + "_" + k, "dx": prompted["dx"]})
    plan = plan.assign(prompt="dermoscopic image of " + plan["dx"], prompted_by=prompted["image_id"])
    plan = plan.assign(**dict.fromkeys(FEATURES, np.nan), seed=range(100, 100 + len(plan)), generator="adapter")
    plan["black"] = 0.5
    pipe = pipelines.load(run.path("base"))
    pipe.load_lora_weights(run.path("adapter"))
    settings = SETTINGS | {"guidance_interval": tuple(SETTINGS["guidance_interval"])}
    generated = run.scratch("generated")
    generate.generate(generate.pipeline_generators(pipe, batch_size=32, **settings), plan, generated, adapter="digest")
    with run.writing("synthetic_images") as folder:
        pack.collect(plan, generated, folder)
    run.discard("generated")
    paths = "synthetic/" + plan["image_id"] + ".png"
    table = plan.assign(path=paths, sha256=[file_sha256(run.folder / path) for path in paths])
    table = table.assign(guidance=SETTINGS["guidance_scale"], steps=SETTINGS["num_inference_steps"], alignment=0.1)
    table = table.assign(nearest_case="CASE_0000", nearest_distance=0.8, nearest_ratio=0.9, accepted=True, reason="")
    return run.write("synthetic", table)


def audit(table: pd.DataFrame, memorised: tuple[str, ...] = (), **tests: object) -> None:
    """Writes what 05 says of the images of `table`: memorised names those that show a train lesion."""
    run = Run(NAME, "05_fidelity", {"seed": 0})
    run.path("synthetic")
    verdicts = table[["image_id", "sha256", "generator"]].assign(score=0.1, distance=0.8, nearest_case="CASE_0000")
    verdicts = verdicts.assign(threshold=1.0, false_alarm_rate=0.01, memorised=table["image_id"].isin(memorised))
    verdicts["reason"] = np.where(verdicts["memorised"], "shows the lesion of CASE_0000", "")
    run.write("memorisation", verdicts)
    run.write("memorisation_tests", pd.DataFrame({"test": TESTS, **PASSES, **tests}))


def replace_picture(home: Path, image_id: str, pixels: np.ndarray, memorised: tuple[str, ...] = ()) -> None:
    """Puts another picture in the place of a synthetic one, as if 04 had made it and 05 had judged it."""
    run = Run(NAME, "04_sample", {**SETTINGS, "seed": 0})
    table = run.read("synthetic")
    earlier = {path.name: path.read_bytes() for path in (home / "data" / "runs" / NAME / "synthetic").iterdir()}
    with run.writing("synthetic_images") as folder:
        folder.mkdir()
        for name, data in earlier.items():
            (folder / name).write_bytes(data)
        images.save(folder / f"{image_id}.png", pixels, {"synthetic": "true"})
    table["sha256"] = [file_sha256(run.folder / path) for path in table["path"]]
    audit(run.write("synthetic", table), memorised)
