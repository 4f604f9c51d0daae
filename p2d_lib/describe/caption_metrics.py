"""Metrics of texts: how close they are to reference texts, and how varied they are among themselves.

All metrics use the tokens of the COCO caption evaluation (Chen et al., arXiv:1504.00325).
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU, BLEUScore

from p2d_lib.seeds import derive
from p2d_lib.vocabulary import FEATURES

BETA = 1.2  # of ROUGE-L: weight of recall relative to precision (Chen et al.)
SIGMA = 6.0  # tokens; of CIDEr-D: width of the penalty on differences in length (Vedantam et al.)
ORDERS = (1, 2, 3, 4)  # of n-grams
SELF_BLEU_TEXTS = 50  # texts at most, since the time grows with the square of their number

_TOKEN = re.compile(r"\w+?(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|\w+(?:-\w+|[.,:]\d+)*|[%$&#]")


def tokens(text: str) -> list[str]:
    """The tokens of a text by the rules of the Penn Treebank ("does n't", "lesion 's"): lower case, no punctuation.

    On COCO's captions they equal those of the Java tokeniser of its evaluation; abbreviations lose their full stops.
    """
    return _TOKEN.findall(text.lower())


def against(texts: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """BLEU-1..4 (0..1), ROUGE-L (0..1) and CIDEr-D (0..10) of n texts, each with one or more references.

    Raises ValueError where a text has no reference.
    """
    four = {f"BLEU-{n}": score for n, score in zip(ORDERS, bleu(texts, references), strict=True)}
    return {**four, "ROUGE-L": rouge_l(texts, references), "CIDEr-D": cider_d(texts, references)}


def bertscore_column(
    texts: Sequence[str], references: Sequence[str], model: str | Path | None, device: str
) -> dict[str, float]:
    """{"BERTScore F1": the mean of `models.bertscore.f1`}, n texts with a reference each; {} without a model."""
    if not model:
        return {}
    from p2d_lib.models import bertscore  # which loads torch and transformers

    return {"BERTScore F1": float(bertscore.f1(texts, references, model, device).mean())}


def bleu(texts: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """BLEU-1 to BLEU-4 of the whole set, 0..1, unsmoothed (Papineni et al., ACL 2002)."""
    counts = matches(texts, references)
    with np.errstate(divide="ignore"):
        means = np.cumsum(np.log(np.array(counts.precisions) / 100)) / ORDERS
    return [float(score) for score in counts.bp * np.exp(means)]


def matches(texts: Sequence[str], references: Sequence[Sequence[str]]) -> BLEUScore:
    """The counts that BLEU consists of: n-grams (`totals`), matched ones (`counts`), lengths of both sides."""
    tokenised, reference_tokens = _tokenised(texts, references)
    streams = [
        [" ".join(refs[k]) if k < len(refs) else None for refs in reference_tokens]
        for k in range(max(map(len, reference_tokens), default=0))
    ]
    scorer = BLEU(tokenize="none", smooth_method="none", force=True)  # force: no warning that the texts are tokenised
    return scorer.corpus_score([" ".join(words) for words in tokenised], streams)


def rouge_l(texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean ROUGE-L, 0..1 (Lin, ACL 2004), as in COCO's evaluation: the best precision and the best recall over the
    references, which may come from different references, combined with beta = 1.2."""
    _tokenised(texts, references)
    scorer = RougeScorer(["rougeL"], tokenizer=SimpleNamespace(tokenize=tokens))
    scores = []
    for text, refs in zip(texts, references, strict=True):
        each = [scorer.score(ref, text)["rougeL"] for ref in refs]
        p, r = max(one.precision for one in each), max(one.recall for one in each)
        scores.append((1 + BETA**2) * p * r / (r + BETA**2 * p) if p and r else 0.0)
    return float(np.mean(scores))


def cider_d(texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean CIDEr-D, 0..10 (Vedantam et al., CVPR 2015, eq. 1-3 and sec. 5): agreement in rare n-grams.

    These references determine how rare an n-gram is: scores are comparable on the same references only, and the score
    of a single text is 0, since all of its n-grams are common.
    """
    tokenised, reference_tokens = _tokenised(texts, references)
    scores = np.zeros((len(tokenised), len(ORDERS)))
    for column, n in enumerate(ORDERS):
        within = Counter(
            gram for refs in reference_tokens for gram in set().union(*(_grams(words, n) for words in refs))
        )
        for row, (words, refs) in enumerate(zip(tokenised, reference_tokens, strict=True)):
            weights = _tf_idf(_grams(words, n), within, len(tokenised))
            scores[row, column] = np.mean(
                [
                    _clipped_cosine(weights, _tf_idf(_grams(ref, n), within, len(tokenised)))
                    * math.exp(-((len(words) - len(ref)) ** 2) / (2 * SIGMA**2))
                    for ref in refs
                ]
            )
    return float(10 * scores.mean())


def diversity(texts: Sequence[str], seed: int) -> dict[str, float]:
    """How varied n texts are: texts (number of different ones), distinct-1, distinct-2, self-BLEU, coverage (0..1)."""
    return {
        "texts": len(set(texts)),
        "distinct-1": distinct(texts, 1),
        "distinct-2": distinct(texts, 2),
        "self-BLEU": self_bleu(texts, seed),
        "coverage": coverage(texts),
    }


def distinct(texts: Sequence[str], n: int) -> float:
    """Different n-grams as a share (0..1) of all n-grams of a set (Li et al., NAACL 2016); falls with its size."""
    grams = [gram for text in texts for gram in _grams(tokens(text), n)]
    return len(set(grams)) / len(grams) if grams else math.nan


def self_bleu(texts: Sequence[str], seed: int, at_most: int = SELF_BLEU_TEXTS) -> float:
    """BLEU-4 (0..1) of each text against all others (Zhu et al., SIGIR 2018), over the set; 1: all are the same.

    Of more than `at_most` texts a random subset of that size is used, since more references would raise the score by
    themselves. NaN for fewer than two texts.
    """
    if len(texts) < 2:
        return math.nan
    rng = np.random.default_rng(derive(seed, "self-bleu"))
    subset = [texts[i] for i in rng.choice(len(texts), min(at_most, len(texts)), replace=False)]
    return bleu(subset, [subset[:i] + subset[i + 1 :] for i in range(len(subset))])[-1]


def coverage(texts: Sequence[str]) -> float:
    """Share (0..1) of the vocabulary's 22 features whose phrase stands in some text."""
    tokenised = [f" {' '.join(tokens(text))} " for text in set(texts)]
    phrases = [f" {' '.join(tokens(feature.phrase))} " for feature in FEATURES.values()]
    return float(np.mean([any(phrase in text for text in tokenised) for phrase in phrases]))


def _tokenised(
    texts: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[list[list[str]], list[list[list[str]]]]:
    if len(texts) != len(references):
        raise ValueError(f"{len(texts)} texts and references of {len(references)}: each text needs its own")
    for row, refs in enumerate(references):
        if isinstance(refs, str) or not refs:
            raise ValueError(f"references, row {row}: {refs!r} is no list of one or more texts")
    return [tokens(text) for text in texts], [[tokens(ref) for ref in refs] for refs in references]


def _grams(words: list[str], n: int) -> Counter:
    return Counter(zip(*(words[k:] for k in range(n)), strict=False))


def _tf_idf(grams: Counter, within: Counter, n: int) -> dict[tuple, float]:
    """within: the number of images, of n, some reference of which has an n-gram."""
    return {gram: count * math.log(n / max(1, within[gram])) for gram, count in grams.items()}


def _clipped_cosine(weights: dict[tuple, float], other: dict[tuple, float]) -> float:
    """Cosine in which an n-gram that is more frequent than in the reference counts no more than there."""
    product = sum(min(weight, other[gram]) * other[gram] for gram, weight in weights.items() if gram in other)
    norms = math.hypot(*weights.values()) * math.hypot(*other.values())
    return product / norms if norms else 0.0
