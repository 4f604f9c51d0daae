"""The tokenizer of the tiny base: CLIP's byte-level BPE, with merges for the words that prompts are made of."""

import json
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from p2d_lib.vocabulary import DX_NAMES, FEATURES, SITES
from p2d_lib.words.render import SKIN_WORDS

MAX_TOKENS = 64  # length of a tokenized prompt, marks of start and end included
END_OF_WORD = "</w>"  # CLIP's suffix of the last token of a word


def tiny_tokenizer() -> CLIPTokenizer:
    """Each word of the vocabulary is one token; other words are spelt in letters. The same in every process."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters += [f"{letter}{END_OF_WORD}" for letter in letters]
    merges = _merges(letters)
    tokens = [*dict.fromkeys([*letters, *("".join(pair) for pair in merges)]), "<|startoftext|>", "<|endoftext|>"]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, ranks = Path(folder) / "vocab.json", Path(folder) / "merges.txt"
        vocabulary.write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
        ranks.write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
        return CLIPTokenizer.from_pretrained(folder, model_max_length=MAX_TOKENS)


def _merges(letters: list[str]) -> list[tuple[str, str]]:
    """The pairs that BPE merges, most frequent first.

    The trainer merges equally frequent pairs in the order of their tokens' ids, and numbers tokens such as "x</w>" in
    the order of a hash table, which differs from process to process. Declared as special tokens, all letters have
    their ids before, and nothing is left to chance.
    """
    corpus = [*DX_NAMES.values(), *SITES, *SKIN_WORDS, *(feature.phrase for feature in FEATURES.values())]
    corpus += ["dermoscopic image of", "marked", "and color colors", "skin"]
    bpe = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(show_progress=False, end_of_word_suffix=END_OF_WORD, special_tokens=letters)
    bpe.train_from_iterator(corpus, trainer)
    return [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
