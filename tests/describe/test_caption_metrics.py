import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from p2d_lib.describe import caption_metrics

PUBLISHED = os.environ.get("P2D_CAPTION_METRICS")
at_hand = pytest.mark.skipif(
    not PUBLISHED, reason="P2D_CAPTION_METRICS names no folder with COCO's captions and their published scores"
)
VARIED = ["a red lesion with hair", "brown", "the lesion is dark brown and red with a network", "red red red red", "a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A light-brown Lesion, with HAIR.", "a light-brown lesion with hair"),
        ("It doesn't show the lesion's border", "it does n't show the lesion 's border"),
        ("3.5 mm; (blue-whitish) veil: 20%", "3.5 mm blue-whitish veil 20 %"),
        ("red,brown", "red brown"),
        (" \n", ""),
    ],
)
def test_texts_are_cut_as_the_penn_treebank_does_without_punctuation(text, expected):
    assert caption_metrics.tokens(text) == expected.split()


def test_an_example_worked_by_hand():
    scores = caption_metrics.against(["this is a good test"], [["this is a test", "this is also a test"]])
    # 4 of 5 words, 2 of 4 pairs, 1 of 3 triples; ROUGE-L: 4 of 5 words, and all of the shorter reference
    expected = [0.8, math.sqrt(0.8 / 2), (0.8 / 2 / 3) ** (1 / 3), 0]
    assert [scores[f"BLEU-{n}"] for n in (1, 2, 3, 4)] == pytest.approx(expected)
    assert scores["ROUGE-L"] == pytest.approx(2.44 * 0.8 / (1 + 1.44 * 0.8), abs=1e-9)
    assert scores["CIDEr-D"] == 0  # of a single image all n-grams are common


def test_a_text_too_short_pays_by_the_closest_reference():
    assert caption_metrics.bleu(["red veil"], [["red veil and hair", "red veil hair"]])[0] == pytest.approx(
        math.exp(1 - 3 / 2)
    )


def test_texts_equal_to_their_references_have_the_highest_scores():
    texts = ["one two three four five", "six seven eight nine", "ten eleven twelve thirteen"]
    scores = caption_metrics.against(texts, [[text] for text in texts])
    assert scores == pytest.approx(dict.fromkeys(scores, 1.0) | {"CIDEr-D": 10.0})


def test_cider_counts_what_is_rare():
    # "red" is in the references of both images and weighs nothing; of n = 1..4 there are n = 1 and 2
    scores = caption_metrics.cider_d(["red network", "blue veil"], [["red network"], ["red veil"]])
    assert scores == pytest.approx(10 * ((1 + 1) / 4 + (1 / math.sqrt(2)) / 4) / 2)


def test_repeating_a_rare_word_gains_nothing_in_cider():
    scores = caption_metrics.cider_d(["veil veil", "red"], [["veil"], ["red"]])
    assert scores == pytest.approx(10 * (0.5 * math.exp(-1 / 72) + 1) / 4 / 2)


def test_empty_texts_score_nothing():
    scores = caption_metrics.against(["", ""], [["red"], ["brown"]])
    assert set(scores.values()) == {0.0}


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ([["red"]], "2 texts and references of 1"),
        ([["red"], []], r"row 1: \[\] is no list"),
        (["red", "brown"], "row 0: 'red' is no list"),
    ],
)
def test_texts_without_references_are_named(references, message):
    with pytest.raises(ValueError, match=message):
        caption_metrics.against(["red", "brown"], references)


def test_distinct_is_the_share_of_different_n_grams():
    assert caption_metrics.distinct(["red veil", "Red veil."], 1) == 0.5
    assert caption_metrics.distinct(["red veil", "veil red"], 2) == 1
    assert math.isnan(caption_metrics.distinct(["red"], 2))


def test_self_bleu_is_one_of_equal_texts_and_zero_of_texts_that_share_nothing():
    assert caption_metrics.self_bleu(["one two three four five"] * 3, seed=0) == pytest.approx(1)
    assert caption_metrics.self_bleu(["one two three four", "five six seven eight"], seed=0) == 0
    assert math.isnan(caption_metrics.self_bleu(["one two three four"], seed=0))


def test_self_bleu_draws_the_same_texts_for_the_same_seed():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["red", "brown", "veil", "hair"], 12)) for _ in range(60)]
    scores = [caption_metrics.self_bleu(texts, seed, at_most=10) for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]
    assert scores[0] < caption_metrics.self_bleu(texts, 0)  # more texts to be like


def test_coverage_counts_phrases_and_no_parts_of_words():
    assert caption_metrics.coverage(["Seen: blue-whitish veil.", "Dark brown, with HAIR"]) == pytest.approx(3 / 22)
    assert caption_metrics.coverage(["a reddish hairline, veil"]) == 0


def test_diversity_counts_different_texts():
    scores = caption_metrics.diversity(["red", "red", "brown"], seed=0)
    assert (scores["texts"], scores["distinct-1"], scores["coverage"]) == (
        2,
        pytest.approx(2 / 3),
        pytest.approx(1 / 22),
    )


@at_hand
def test_cocos_captions_have_their_published_scores():
    folder, expected = _published("coco_fakecap")
    references_by_id = json.loads((folder / "coco_fakecap_1000_references_DERIVED.json").read_text())["references"]
    captions = json.loads((folder / "captions_val2014_fakecap_results.json").read_text())
    texts = [caption["caption"] for caption in captions]
    references = [references_by_id[str(caption["image_id"])] for caption in captions]
    counts, scores = caption_metrics.matches(texts, references), expected["bleu_counts"]
    assert [counts.sys_len, counts.ref_len] == [scores["testlen"], scores["reflen"]]
    assert [counts.totals, counts.counts] == [scores["guess"], scores["correct"]]
    found = caption_metrics.against(texts, references)
    _assert_published(found, expected, 5e-4 + 1e-6)
    recomputed = expected["recomputed_here_with_coco_fakecap_1000_references_DERIVED.json"]  # with more digits
    _assert_published(found, recomputed, 5e-5 + 1e-6)
    assert found["ROUGE-L"] == pytest.approx(recomputed["ROUGE_L"], abs=6e-6)
    assert found["CIDEr-D"] == pytest.approx(recomputed["CIDEr"], abs=2e-5)


@at_hand
def test_nlg_evals_examples_have_their_published_scores():
    folder, expected = _published("nlg_eval")
    texts, *references = ((folder / name).read_text().splitlines() for name in ("hyp.txt", "ref1.txt", "ref2.txt"))
    _assert_published(caption_metrics.against(texts, list(zip(*references, strict=True))), expected, 1e-6)


def _published(name: str) -> tuple[Path, dict]:
    expected = json.loads((Path(PUBLISHED) / "expected_scores.json").read_text())
    return Path(PUBLISHED) / name, expected[{"nlg_eval": "nlg_eval_examples"}.get(name, name)]


def _assert_published(scores: dict[str, float], expected: dict[str, float], tolerance: float) -> None:
    names = {"ROUGE-L": "ROUGE_L", "CIDEr-D": "CIDEr"} | {f"BLEU-{n}": f"Bleu_{n}" for n in (1, 2, 3, 4)}
    assert scores == pytest.approx({name: expected[other] for name, other in names.items()}, abs=tolerance)


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    """A folder with a tiny BERT of random weights and its tokeniser."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(" ".join(VARIED).split()))]
    BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    return folder


def test_bertscore_is_the_one_worked_by_hand_whatever_the_batch(bert):
    import torch
    from transformers import AutoModel, AutoTokenizer

    from p2d_lib.models import bertscore

    tokenizer, network = AutoTokenizer.from_pretrained(bert), AutoModel.from_pretrained(bert).eval()
    references = VARIED[2:] + VARIED[:2]
    expected = []
    for pair in zip(VARIED, references, strict=True):
        with torch.no_grad():
            states = [network(**tokenizer(text, return_tensors="pt"), output_hidden_states=True) for text in pair]
        first, second = (state.hidden_states[3][0] / state.hidden_states[3][0].norm(dim=1)[:, None] for state in states)
        cosine = (first @ second.T).numpy()
        p, r = cosine.max(1)[1:-1].mean(), cosine.max(0)[1:-1].mean()  # without the marks of beginning and end
        expected.append(2 * p * r / (p + r))
    for batch_size in (1, 2, 64):
        scores = bertscore.f1(VARIED, references, bert, "cpu", batch_size=batch_size)
        assert scores == pytest.approx(np.array(expected), abs=1e-5)


def test_bertscore_of_a_text_with_itself_is_one_and_of_no_text_zero(bert):
    from p2d_lib.models import bertscore

    assert bertscore.f1([*VARIED, ""], [*VARIED, "red"], bert, "cpu") == pytest.approx([1] * 5 + [0], abs=1e-5)
    column = caption_metrics.bertscore_column([*VARIED, ""], [*VARIED, "red"], bert, "cpu")
    assert column == pytest.approx({"BERTScore F1": 5 / 6}, abs=1e-5)
    assert caption_metrics.bertscore_column(["red"], ["red"], None, "cpu") == {}
    with pytest.raises(ValueError, match="1 texts and 2 references"):
        bertscore.f1(["red"], ["red", "brown"], bert, "cpu")
