"""What a model's words say of the diagnosis: one of the seven, or an abstention, and never a guess."""

import numpy as np
import pytest

from p2d_lib.vocabulary import DX, DX_NAMES
from p2d_lib.words.diagnosis import RULES, parse, parse_all

LABELS = {
    "nv": "nv", " NV\n": "nv", "Mel.": "mel", '"bcc"': "bcc", "`akiec`": "akiec", "**df**": "df", "(vasc)": "vasc",
    "BKL": "bkl", "<think>mel or nv? nv has a network.</think>\nnv": "nv", "</think>df": "df",
}  # fmt: skip
ASSERTIONS = {
    "The skin lesion is classified as a melanoma.": "mel",
    "The skin lesion is classified as a melanocytic nevus (nevus).": "nv",
    "The lesion type is a bcc, which stands for basal cell carcinoma.": "bcc",
    "The lesion type is a vascular lesion.": "vasc",
    "The skin lesion is a vascular skin lesion, which means it is related to blood vessels.": "vasc",
    "This is an actinic keratosis and intraepithelial carcinoma (akiec).": "akiec",
    "Actinic keratoses": "akiec",
    "Solar keratosis": "akiec",
    "Bowen's disease": "akiec",
    "Bowen disease, also called squamous cell carcinoma in situ": "akiec",
    "Basal cell carcinoma": "bcc",
    "It looks like a pigmented basal-cell cancer.": "bcc",
    "Benign keratosis-like lesions": "bkl",
    "seborrheic keratosis": "bkl",
    "Seborrhoeic keratosis with milia-like cysts": "bkl",
    "A solar lentigo of the face": "bkl",
    "lichen planus-like keratosis": "bkl",
    "Dermatofibroma with a central white patch": "df",
    "benign fibrous histiocytoma": "df",
    "malignant melanoma": "mel",
    "Amelanotic melanoma is present.": "mel",
    "Lentigo maligna": "mel",
    "A melanoma in situ (MEL).": "mel",
    "melanocytic naevi": "nv",
    "A common mole": "nv",
    "dysplastic nevus": "nv",
    "Label: nv": "nv",
    "The answer is nv.": "nv",
    "Cherry angioma": "vasc",
    "haemangioma": "vasc",
    "angiokeratoma": "vasc",
    "pyogenic granuloma": "vasc",
    '{"diagnosis": "mel"}': "mel",
    "I think the label is df, dermatofibroma.": "df",
    "nv (melanocytic nevus)": "nv",
    "Not a melanoma but a nevus.": "nv",
    "This is a nevus, not a melanoma.": "nv",
    "It is a nevus rather than a melanoma.": "nv",
    "There is no evidence of melanoma; this is a seborrheic keratosis.": "bkl",
    "Melanoma is unlikely. The picture fits a dermatofibroma.": "df",
    "Melanoma can be ruled out, so it is a nevus.": "nv",
    "Neither bcc, akiec nor mel: it is a nevus.": "nv",
    "It is not one of akiec, bcc, bkl, df or mel; it is an angioma.": "vasc",
    "A non-melanoma skin cancer: basal cell carcinoma.": "bcc",
    "I cannot be certain, but this looks like a melanoma.": "mel",
    "As an AI I can't replace a doctor. The image shows a melanoma.": "mel",
    "Unlike a melanoma, this nevus is symmetric.": "nv",
    "A melanoma, which needs to be removed. If it were a wart, one could wait.": "mel",
    "It was initially thought to be a melanoma, but it is a nevus.": "nv",
    "mel? nv? I would choose nv.": "nv",
    "The lesion is benign. It isn't a melanoma. It is a nevus.": "nv",
}
CONCLUSIONS = {
    "Melanoma and nevus come to mind. The most likely diagnosis is nevus.": "nv",
    "It has features of a nevus and of a melanoma. Final answer: mel": "mel",
    "Possible: bkl, mel. Therefore mel.": "mel",
    "A nevus has a network; a bcc has vessels. In conclusion, bcc.": "bcc",
    "mel, nv: I would choose nv.": "nv",
    "Looks like a mole or a melanoma. My answer: melanoma, sadly.": "mel",
    "akiec and bkl are close, most consistent with bkl": "bkl",
}
ABSTENTIONS = {
    "several": [
        "mel or nv", "Melanoma, nevus", "The lesion has features of akiec, bcc, bkl, df, mel, and vasc.",
        "It has features of both basal cell carcinoma (BCC) and squamous cell carcinoma (SCC).",
        "A combination of bcc and verrucous carcinoma.", "akiec, bcc, bkl, df, mel, nv, vasc",
        "Final answer: mel or nv", "It is a nevus and a dermatofibroma.",
    ],
    "negated": [
        "Not a melanoma.", "No melanoma is seen.",
        "This lesion is not classified as akiec, bcc, bkl, df, mel, nv, or vasc.", "Melanoma cannot be excluded.",
        "Is it a melanoma?" + " I wonder whether it is a nevus.", "A biopsy would show if it is a melanoma.",
        "It was thought to be a melanoma.",
    ],
    "refusal": [
        "I'm sorry, but I can't help with that.",
        "I cannot provide a diagnosis.",
        "I am unable to determine the type of this lesion from the image.",
        "As an AI, I'm not able to diagnose skin conditions. Please see a dermatologist.",
    ],
    "no diagnosis": [
        "The lesion type is a melanocytic lesion.",
        "The lesion is a vsc, which stands for verrucous seborrheic carcinoma.",
        "It is a vascular structure, which means it is related to blood vessels.", "A benign brown lesion.",
        "Psoriasis", "A metastasis of a primary breast cancer.", "Option E", "5", "The camel is novel.", "skin cancer",
    ],
    "empty": ["", "  \n", "...", "<think>It may be mel", "``````"],
}  # fmt: skip


def test_there_are_at_least_eighty_answers():
    cases = [*LABELS, *ASSERTIONS, *CONCLUSIONS, *(answer for answers in ABSTENTIONS.values() for answer in answers)]
    assert len(set(cases)) >= 80


@pytest.mark.parametrize(("answer", "dx"), LABELS.items())
def test_a_label_alone_is_what_both_parsers_take(answer, dx):
    assert parse(answer) == (dx, dx, "label")


@pytest.mark.parametrize(
    ("rule", "answer", "dx"),
    [
        *(("assertion", answer, dx) for answer, dx in ASSERTIONS.items()),
        *(("conclusion", answer, dx) for answer, dx in CONCLUSIONS.items()),
    ],
)
def test_one_asserted_diagnosis_is_what_the_lenient_parser_takes_alone(rule, answer, dx):
    assert parse(answer) == ("", dx, rule)


@pytest.mark.parametrize(("rule", "answer"), [(rule, a) for rule, answers in ABSTENTIONS.items() for a in answers])
def test_what_asserts_none_or_several_is_an_abstention(rule, answer):
    assert parse(answer) == ("", "", rule) and rule in RULES


@pytest.mark.parametrize("dx", DX)
def test_every_name_of_the_vocabulary_is_its_own_diagnosis(dx):
    for words in (DX_NAMES[dx], f"The image shows a {DX_NAMES[dx]}.", f"{DX_NAMES[dx]} ({dx})".upper()):
        assert parse(words).lenient == dx


def test_no_answer_at_all_is_a_table_without_rows():
    assert parse_all([], []).columns.tolist() == ["image_id", "answer", "strict", "lenient", "rule"]


SENTENCES = [
    "The lesion is a {}.",
    "Most likely {}, I think.",
    "Not a wart: {}.",
    "Answer: {}",
    "It shows a {}, no cyst.",
]
NOISE = ("the", "a", "lesion", "skin", "image", "is", "of", "brown", "and", "benign", "border", "novel", "camel")


@pytest.mark.parametrize("percentage", [0, 30, 100])
def test_a_planted_accuracy_is_recovered_and_noise_is_no_diagnosis(percentage):
    truth = [DX[k % 7] for k in range(200)]
    named = [dx if k % 100 < percentage else DX[(k + 1) % 7] for k, dx in enumerate(truth)]
    answers = [SENTENCES[k % 5].format(DX_NAMES[dx] if k % 2 else dx) for k, dx in enumerate(named)]
    parsed = parse_all(range(200), answers)
    assert (parsed["lenient"] != "").all() and (parsed["lenient"] == truth).mean() == percentage / 100
    assert (parsed["strict"] == "").all() and parsed["answer"].tolist() == answers
    rng = np.random.default_rng(percentage)
    noise = parse_all(range(200), [" ".join(rng.choice(NOISE, 12)) for _ in truth])
    assert (noise["lenient"] == "").all()
