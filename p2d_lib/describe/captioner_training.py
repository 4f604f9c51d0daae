"""How a captioner is trained in a run: which captions it learns from, and its two stages."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from p2d_lib.models import clip
from p2d_lib.models.captioner.network import Captioner, build, embed
from p2d_lib.models.captioner.training import fit as fit_stage
from p2d_lib.models.captioner.training import stages
from p2d_lib.run import Run
from p2d_lib.vocabulary import FEATURES, Lesion
from p2d_lib.words.render import mentioned, render

NOT_VISIBLE = {"localization": "unknown", "age": None, "sex": "unknown"}  # what an image cannot show


def captions(lesions: Sequence[Lesion], template: str = "sentence") -> list[str]:
    """Captions to learn from: all that is visible of each lesion, every present feature, in the words of a template.

    Raises PromptError for a lesion without a diagnosis.
    """
    return [render(lesion.model_copy(update=NOT_VISIBLE), template, len(FEATURES), 1000) for lesion in lesions]


def taught(lesions: Sequence[Lesion]) -> list[str]:
    """The features that the captions of these lesions mention at least once, in the vocabulary's order."""
    names = {name for lesion in lesions for name in mentioned(lesion)}
    tones = any(lesion.background_skin_tone is not None for lesion in lesions)
    return [name for name in FEATURES if name in names or (name == "background_skin_tone" and tones)]


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

    lesions: the features of each case. gpt2, vision: "tiny" (fitted here, the vision encoder by contrast in clip_steps)
    or what `network.build` and `models.clip.load` open. steps: of stage A, which learns the template `broad`, and of
    stage B, which learns "sentence". Interrupted stages resume from the run's scratch folder.
    """
    rows = {split: (cases["split"] == split).to_numpy() for split in ("train", "val")}
    broad_texts, sentences = (np.array(captions(lesions, template), object) for template in (broad, "sentence"))
    train = rows["train"]
    if vision == "tiny":
        pixels = run.images(cases[train])
        encoder, _ = clip.fit(pixels, sentences[train], steps=clip_steps, batch_size=64, seed=seed, device=device)
    else:
        encoder = clip.load(vision, device)
    model = build(
        encoder, [*broad_texts[train], *sentences[train]],
        gpt2=gpt2, clip_name=vision.removeprefix("tiny"), prefix_tokens=prefix_tokens, seed=seed,
    )  # fmt: skip
    embeddings = {
        split: run.in_parts(cases[row], lambda part, _: embed(model, part, views=8)) for split, row in rows.items()
    }
    logs = []
    for stage, texts in zip(stages(gpt2, steps), (broad_texts, sentences), strict=True):
        pairs = ((embeddings[split], texts[row].tolist()) for split, row in rows.items())
        logs.append(fit_stage(model, stage, *pairs, seed=seed, checkpoints=run.scratch("captioner")))
    return model, pd.concat(logs, ignore_index=True)
