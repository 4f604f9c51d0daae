"""The captioner as a describer: what it learns to say of train images, and what it says of others."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from p2d_lib.describe import table
from p2d_lib.models import clip
from p2d_lib.models.captioner import PUBLISHED_STAGES, Captioner, Stage, build, caption, embed, spread
from p2d_lib.models.captioner import fit as train
from p2d_lib.run import Run
from p2d_lib.vocabulary import FEATURES, Lesion
from p2d_lib.words.parse import parse
from p2d_lib.words.render import render

PART = 256  # images in memory at once
UNSEEN = {"localization": "unknown", "age": None, "sex": "unknown"}  # no image shows whose it is, or where
TINY_STAGES = (Stage("A", 0, 32, 2e-3, (2,)), Stage("B", 0, 32, 5e-4, (1, 2), prefix=False))  # steps are given


def captions(lesions: Sequence[Lesion], template: str = "sentence") -> list[str]:
    """What can be seen of each lesion in the words of a template, every present feature of it: captions to learn from.

    Raises PromptError for a lesion without a diagnosis.
    """
    return [render(lesion.model_copy(update=UNSEEN), template, len(FEATURES), 1000) for lesion in lesions]


def fit(
    run: Run,
    cases: pd.DataFrame,
    lesions: Sequence[Lesion],
    *,
    gpt2: str,
    vision: str,
    prefix_tokens: int,
    clip_steps: int,
    broad: str,
    steps: Sequence[int],
    seed: int,
    device: torch.device,
) -> tuple[Captioner, pd.DataFrame]:
    """A captioner fitted on train images in two stages, and its log; val decides which weights are kept.

    lesions: what is known of each case. gpt2, vision: "tiny" (fitted here, the vision encoder by contrast in
    clip_steps) or what `models.captioner.build` and `models.clip.load` open. steps: of stage A, which learns from the
    wording `broad`, and of stage B, from the sentences wanted. Stages resume from the run's scratch folder.
    """
    rows = {split: (cases["split"] == split).to_numpy() for split in ("train", "val")}
    wide, wanted = (np.array(captions(lesions, template), object) for template in (broad, "sentence"))
    if vision == "tiny":
        pixels = run.images(cases[rows["train"]])
        eyes, _ = clip.fit(pixels, wanted[rows["train"]], steps=clip_steps, batch_size=64, seed=seed, device=device)
    else:
        eyes = clip.load(vision, device)
    model = build(
        eyes, [*wide[rows["train"]], *wanted[rows["train"]]],
        gpt2=gpt2, clip_name=vision.removeprefix("tiny"), prefix_tokens=prefix_tokens, seed=seed,
    )  # fmt: skip
    seen = {split: run.in_parts(cases[own], lambda part, _: embed(model, part, views=8)) for split, own in rows.items()}
    stages = TINY_STAGES if gpt2 == "tiny" else PUBLISHED_STAGES
    logs = []
    for stage, n, texts in zip(stages, steps, (wide, wanted), strict=True):
        stage = replace(stage, steps=n, evaluate_every=max(1, n // 8))
        pairs = ((seen[split], texts[own].tolist()) for split, own in rows.items())
        logs.append(train(model, stage, *pairs, seed=seed, checkpoints=run.scratch("captioner")))
    return model, pd.concat(logs, ignore_index=True)


def describe(
    cases: pd.DataFrame, load: Callable[[pd.DataFrame], np.ndarray], captioner: Captioner, n: int
) -> pd.DataFrame:
    """One row per case, as `table.rows`; valid: the caption names a diagnosis.

    load: the images of some rows of cases, uint8 (m, h, w, 3), e.g. `Run.images`. text: the most likely caption.
    Scores: the mean of what n captions say, spread over all that the captioner holds possible, so that a rare feature
    is not denied because it is never likely; skin tone, of those that say it.
    """
    started, texts, said = time.monotonic(), [], []
    for start in tqdm(range(0, len(cases), PART), desc="captions", unit="part", mininterval=1):
        images = load(cases.iloc[start : start + PART])
        texts += caption(captioner, images)
        said += [
            pd.DataFrame([read(text).model_dump() for text in several])[list(FEATURES)].astype(float).mean()
            for several in spread(captioner, images, n, 256)
        ]
    seconds = (time.monotonic() - started) / max(1, len(cases))
    valid = [read(text).dx is not None for text in texts]
    return table.rows(cases["image_id"], "captioner", texts, said, valid, seconds)
