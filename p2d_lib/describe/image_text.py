"""How well texts fit images, by the captioner's networks."""

from collections.abc import Mapping, Sequence

import numpy as np

from p2d_lib.models import clip
from p2d_lib.models.captioner.network import Captioner
from p2d_lib.models.captioner.training import perplexity


def scores(
    captioner: Captioner, images: np.ndarray, texts: Mapping[str, Sequence[str]], learnt: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Scores per describer: {"CLIP similarity": {describer: value}, "perplexity": {"captioner": value}}.

    images: uint8 (n, h, w, 3). texts: each describer's n texts; the similarity is the mean cosine (-1..1) of image and
    text under the captioner's CLIP. learnt: the n texts that the captioner should give; perplexity (>= 1) is
    the captioner's on these.
    """
    similarity = {
        name: float(clip.alignment(captioner.clip, images, list(part)).mean()) for name, part in texts.items()
    }
    return {"CLIP similarity": similarity, "perplexity": {"captioner": perplexity(captioner, images, learnt)}}
