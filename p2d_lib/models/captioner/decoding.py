"""Captions from a captioner: the most likely one, or several that represent the whole distribution."""

import numpy as np
import torch
from transformers import LogitsProcessor

from p2d_lib.models.captioner.network import MAX_CAPTION_TOKENS, Captioner, embed

DECODING = {
    "greedy": {},  # the most likely token at each place
    # the settings with which the published captioners generate
    "published": {
        "num_beams": 4, "max_new_tokens": 60, "min_new_tokens": 24, "no_repeat_ngram_size": 4,
        "repetition_penalty": 1.15, "length_penalty": 0.6, "early_stopping": True,
    },
}  # fmt: skip


@torch.no_grad()
def caption(captioner: Captioner, images: np.ndarray, batch_size: int = 64, **decoding) -> list[str]:
    """One caption per image, uint8 (n, h, w, 3): the most likely token at each place; the same for any batch size.

    decoding: further settings of transformers' `generate`, such as num_beams=4 or `**DECODING["published"]`.
    """
    captioner.eval()
    texts = []
    for start in range(0, len(images), batch_size):
        embeddings = embed(captioner, images[start : start + batch_size])[:, 0]
        texts += _generate(captioner, embeddings, decoding)
    return texts


@torch.no_grad()
def several_captions(
    captioner: Captioner, images: np.ndarray, n: int, batch_size: int = 64, views: int = 8
) -> list[list[str]]:
    """n captions of each image, uint8 (m, h, w, 3), spread evenly over the captioner's distribution of captions.

    The share of them that mentions a feature estimates the captioner's probability of that feature. There is no random
    number: caption k is the one at the quantile (k + 1/2) / n of all captions in the order of their tokens (arithmetic
    sampling: Vilnis et al., ICML 2023), for view k modulo `views` of the image (see `embed`).
    """
    captioner.eval()
    codes, captions = (torch.arange(n, dtype=torch.float64) + 0.5) / n, []
    size = max(1, batch_size // n)
    for start in range(0, len(images), size):
        embeddings = embed(captioner, images[start : start + size], views=min(n, views))
        embeddings = embeddings[:, np.arange(n) % embeddings.shape[1]]
        processor = _ArithmeticSampling(codes.repeat(len(embeddings)).to(captioner.device))
        texts = _generate(captioner, embeddings.reshape(len(embeddings) * n, -1), {"logits_processor": [processor]})
        captions += [texts[i : i + n] for i in range(0, len(texts), n)]
    return captions


def _generate(captioner: Captioner, embeddings: np.ndarray, decoding: dict) -> list[str]:
    context = captioner.context(torch.from_numpy(embeddings).to(captioner.device))
    end = captioner.tokenizer.eos_token_id
    settings = {"max_new_tokens": MAX_CAPTION_TOKENS, "do_sample": False, "pad_token_id": end, "eos_token_id": end}
    mask = torch.ones(context.shape[:2], dtype=torch.long, device=context.device)
    tokens = captioner.gpt2.generate(inputs_embeds=context, attention_mask=mask, **settings | decoding)
    return [text.strip() for text in captioner.tokenizer.batch_decode(tokens, skip_special_tokens=True)]


class _ArithmeticSampling(LogitsProcessor):
    """Makes that token the most likely one whose share of the unit interval holds the caption's code."""

    def __init__(self, codes: torch.Tensor):
        self.codes = codes[:, None]  # float64: a caption carries tens of bits

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        shares = scores.double().softmax(-1)
        ends = shares.cumsum(-1)
        word = (ends <= self.codes * ends[:, -1:]).sum(-1, keepdim=True).clamp(max=scores.shape[1] - 1)
        share = shares.gather(1, word)
        self.codes = ((self.codes * ends[:, -1:] - ends.gather(1, word) + share) / share).clamp(0, 1 - 1e-12)
        return torch.full_like(scores, -torch.inf).scatter(1, word, 0.0)
