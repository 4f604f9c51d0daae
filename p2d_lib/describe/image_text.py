"""How well texts fit images, by the captioner's networks and by an encoder that is not the captioner's.

The captioner's encoder decides what the captioner writes, so it favours these texts. `other_encoder` gives a second
one, and `prefers_own` says how far it can be trusted.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from p2d_lib.describe.faithfulness import exchange
from p2d_lib.models import clip
from p2d_lib.models.captioner.network import Captioner
from p2d_lib.models.captioner.training import perplexity
from p2d_lib.run import Run
from p2d_lib.seeds import derive

OWN, OTHER = "CLIP similarity", "CLIP similarity, other encoder"


def scores(
    captioner: Captioner,
    other: clip.Clip,
    images: np.ndarray,
    texts: Mapping[str, Sequence[str]],
    learnt: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Scores per describer: {OWN: {describer: value}, OTHER: {...}, "perplexity": {"captioner": value}}.

    images: uint8 (n, h, w, 3). texts: each describer's n texts; the similarity is the mean cosine (-1..1) of image and
    text under the captioner's CLIP and under `other`. learnt: the n texts that the captioner should give; perplexity
    (>= 1) is the captioner's on these.
    """
    by_encoder = {
        name: {describer: similarity(encoder, images, part) for describer, part in texts.items()}
        for name, encoder in ((OWN, captioner.clip), (OTHER, other))
    }
    return by_encoder | {"perplexity": {"captioner": perplexity(captioner, images, learnt)}}


def similarity(encoder: clip.Clip, images: np.ndarray, texts: Sequence[str]) -> float:
    """The mean cosine (-1..1) of n images, uint8 (n, h, w, 3), and their n texts."""
    return float(clip.alignment(encoder, images, list(texts)).mean())


def encoder(
    name: str, run: Run, cases: pd.DataFrame, texts: Sequence[str], *, steps: int, seed: int, device: torch.device
) -> clip.Clip:
    """An image and text encoder: "tiny", fitted here by contrast, or what `models.clip.load` opens.

    texts: one a case; "tiny" learns those of the train cases.
    """
    if name != "tiny":
        return clip.load(name, device)
    train = (cases["split"] == "train").to_numpy()
    of_train = np.asarray(texts, object)[train]
    return clip.fit(run.images(cases[train]), of_train, steps=steps, batch_size=64, seed=seed, device=device)[0]


def other_encoder(
    name: str, run: Run, cases: pd.DataFrame, texts: Sequence[str], *, seed: int, **options: object
) -> clip.Clip:
    """`encoder`, of which "tiny" is fitted from other weights and in other batches than the captioner's."""
    return encoder(name, run, cases, texts, seed=derive(seed, "other encoder"), **options)


def prefers_own(encoder: clip.Clip, images: np.ndarray, texts: Sequence[str], cases: pd.DataFrame, seed: int) -> float:
    """Share (0..1) of images whose text fits better than that of another image of the diagnosis; ties count half.

    0.5: the encoder knows nothing of an image but its diagnosis. texts: n; cases: dx and lesion_id of the n images.
    """
    exchanged = exchange(cases["dx"], cases["lesion_id"], seed)
    other_texts = np.asarray(texts, object)[exchanged].tolist()
    own_text, other_text = (clip.alignment(encoder, images, part) for part in (list(texts), other_texts))
    return float((own_text > other_text).mean() + (own_text == other_text).mean() / 2)
