"""How a captioner is trained in a run: which captions it learns from, its two stages, and what each has learnt."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from p2d_lib.describe.caption_styles import captions
from p2d_lib.describe.image_text import encoder
from p2d_lib.models.captioner import published
from p2d_lib.models.captioner.decoding import DECODING, caption
from p2d_lib.models.captioner.network import INSTRUCTIONS, Captioner, build, embed
from p2d_lib.models.captioner.training import fit as fit_stage
from p2d_lib.models.captioner.training import stages
from p2d_lib.run import Run
from p2d_lib.vocabulary import FEATURES, Lesion
from p2d_lib.words.render import mentioned


@dataclass(frozen=True)
class StageCaptions:
    """What a captioner writes of the val images after a stage, beside the captions of that stage's style."""

    stage: str  # "A" or "B"
    style: str  # of `caption_styles.captions`
    texts: list[str]
    references: list[str]


def taught(lesions: Sequence[Lesion]) -> list[str]:
    """The features that the captions of these lesions mention at least once, in the vocabulary's order."""
    names = {name for lesion in lesions for name in mentioned(lesion)}
    tones = any(lesion.background_skin_tone is not None for lesion in lesions)
    return [name for name in FEATURES if name in names or (name == "background_skin_tone" and tones)]


def fit(
    run: Run,
    cases: pd.DataFrame,
    lesions: Sequence[Lesion],
    folder: Path,
    *,
    gpt2: str,
    vision: str,
    prefix_tokens: int,
    instruction: str,
    clip_steps: int,
    styles: Sequence[str],
    steps: Sequence[int],
    decoding: str,
    seed: int,
    device: torch.device,
) -> tuple[Captioner, pd.DataFrame, list[StageCaptions]]:
    """A captioner fitted on train images in two stages, its log, and its captions of the val images after each stage.

    lesions: the features of each case. folder: takes the captioner in the published layout, and in stage_A/ as it was
    after stage A. gpt2, vision: "tiny" (fitted here, the vision encoder by contrast in clip_steps) or what
    `network.build` and `models.clip.load` open. instruction: of INSTRUCTIONS. styles, steps: of the captions and of the
    training of stages A and B. decoding: of val's captions, a key of DECODING. Val decides which weights are kept.
    Interrupted stages resume from the run's scratch folder.
    """
    rows = {split: (cases["split"] == split).to_numpy() for split in ("train", "val")}
    texts = {style: np.array(captions(lesions, style), object) for style in styles}
    model = build(
        encoder(vision, run, cases, texts[styles[-1]], steps=clip_steps, seed=seed, device=device),
        [text for of_style in texts.values() for text in of_style[rows["train"]]], gpt2=gpt2,
        clip_name=vision.removeprefix("tiny"), prefix_tokens=prefix_tokens, instruction=INSTRUCTIONS[instruction],
        seed=seed,
    )  # fmt: skip
    embeddings = {
        split: run.in_parts(cases[row], lambda part: embed(model, part, views=8)) for split, row in rows.items()
    }
    logs, written = [], []
    for stage, style in zip(stages(gpt2, steps), styles, strict=True):
        pairs = {split: (embeddings[split], texts[style][row].tolist()) for split, row in rows.items()}
        logs.append(fit_stage(model, stage, *pairs.values(), seed=seed, checkpoints=run.scratch("captioner")))
        of_val = run.in_parts(
            cases[rows["val"]], lambda part: np.array(caption(model, part, **DECODING[decoding]), object)
        )
        written.append(StageCaptions(stage.name, style, of_val.tolist(), pairs["val"][1]))
        published.save(model, folder / "stage_A" if stage.name == "A" else folder)
    return model, pd.concat(logs, ignore_index=True), written
