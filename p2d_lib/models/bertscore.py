"""BERTScore: how near two texts are in the word vectors of a language model (Zhang et al., ICLR 2020).

Not by torchmetrics 1.9, which sorts texts and references by length separately and so scores wrong pairs.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

from p2d_lib.models import weights


@torch.inference_mode()
def f1(
    texts: Sequence[str],
    references: Sequence[str],
    model: str | Path,
    device: torch.device | str,
    batch_size: int = 64,
) -> np.ndarray:
    """F1 of each text with its reference, -1..1, float32 (n,); neither weighted by rarity nor rescaled.

    model: a folder, hub id or id@revision of a BERT-like model, e.g. "roberta-large". The layer at three quarters of
    its depth is compared, near the best ones in Table 8 of the paper. As in the authors' package, marks of beginning
    and end may be matched but do not count. A text without words scores 0. Raises ValueError where texts and references
    differ in number, WeightsError where there is no such model.
    """
    if len(texts) != len(references):
        raise ValueError(f"{len(texts)} texts and {len(references)} references: each text needs its own")
    source = weights.resolve(model)
    tokenizer = AutoTokenizer.from_pretrained(source.name, **source.options)
    network = AutoModel.from_pretrained(source.name, **source.options).eval().to(device)
    layer = network.config.num_hidden_layers * 3 // 4
    longest = min(tokenizer.model_max_length, network.config.max_position_embeddings)

    def embed(part: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        batch = tokenizer(
            list(part), padding=True, truncation=True, max_length=longest, return_special_tokens_mask=True,
            return_tensors="pt",
        ).to(device)  # fmt: skip
        counts = (1 - batch.pop("special_tokens_mask")).float()
        states = network(**batch, output_hidden_states=True).hidden_states[layer]
        return F.normalize(states, dim=-1), batch["attention_mask"].bool(), counts

    scores = []
    for start in range(0, len(texts), batch_size):
        (words, words_mask, words_counts), (refs, refs_mask, refs_counts) = (
            embed(part[start : start + batch_size]) for part in (texts, references)
        )
        cosine = (words @ refs.mT).masked_fill(~(words_mask[:, :, None] & refs_mask[:, None]), -1)
        precision = (cosine.amax(2) * words_counts).sum(1) / words_counts.sum(1)
        recall = (cosine.amax(1) * refs_counts).sum(1) / refs_counts.sum(1)
        scores.append((2 * precision * recall / (precision + recall)).nan_to_num(0).cpu())
    return torch.cat(scores).numpy() if scores else np.empty(0, np.float32)
