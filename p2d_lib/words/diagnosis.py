"""A text in any words, such as a model's answer or a caption -> one of the seven diagnoses, or none.

The parser alone moves a model's score by several points (lmms-eval 50.7, VLMEvalKit 54.8 on the same answers), so each
answer is parsed twice. Strict: it is a label and nothing else. Lenient: it asserts one diagnosis in any words. What
asserts several or none is an abstention, which counts as an error; nothing is chosen at random.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from p2d_lib.vocabulary import DX
from p2d_lib.words import thinking

RULES = (  # why an answer gives what it gives; the last five are abstentions
    "label",  # the label alone
    "assertion",  # one diagnosis is asserted
    "conclusion",  # of several, one is given as the conclusion
    "several",  # several diagnoses are asserted
    "negated",  # diagnoses are only ruled out, or asked about
    "refusal",  # the model refuses
    "no diagnosis",  # another diagnosis, or words without any
    "empty",  # no answer
)
_SPELLINGS = {
    "akiec": r"akiec|(?:actinic|solar) kerato\w+|bowen(?:['’]?s)? disease|intra-?epithelial carcinoma|"
    r"(?:squamous cell )?carcinoma in situ",
    "bcc": r"bcc|basal[- ]cell (?:carcinoma|cancer|epithelioma)s?|basaliomas?",
    "bkl": r"bkl|benign (?:lichenoid )?kerato\w+(?:-like)?|seborrh?o?eic kerato\w+|solar lentig\w+|lentigo solaris|"
    r"lichen[- ]planus[- ]like kerato\w+|lichenoid kerato\w+",
    "df": r"df|dermatofibromas?|(?:benign )?fibrous histiocytomas?",
    "mel": r"mel|melanomas?|lentigo maligna",
    "nv": r"nv|n(?:a?e|æ)v(?:us|i)|moles?",
    "vasc": r"vasc|vascular (?:skin |cutaneous )?(?:lesion|tumou?r|malformation)s?|"
    r"(?:cherry |ha?em)?angiomas?|angiokeratomas?|pyogenic granulomas?",
    "other": r"(?:squamous|merkel)[- ]cell carcinoma|scc|(?:verrucous|seborrh?o?eic|sebaceous) (?:\w+ )?carcinoma|"
    r"lymphomas?|metasta\w+|sarcomas?|warts?|verrucae?|psoriasis|eczema|dermatitis|(?:epiderm\w+|sebaceous) cysts?|"
    r"keratoacanthomas?|(?:poro|neurofibro|lip)omas?|tinea|scabies|lupus|rosacea|acne",
}  # other: none of the seven
_MENTION = re.compile(
    "|".join(rf"(?P<{dx}>(?<![a-z])(?:{spelling})(?![a-z]))" for dx, spelling in _SPELLINGS.items()), re.IGNORECASE
)
_CLAUSE_END = re.compile(r"[.;:?!\n]|,? \b(?:but|however|although|though|while|whereas)\b", re.IGNORECASE)
_NEGATION_BEFORE = re.compile(
    r"\b(?:no|not|n[o']t|isn['’]?t|aren['’]?t|without|never|neither|nor|exclud\w+|rul(?:e|es|ed|ing) out|unlikely|"
    r"rather than|instead of|other than|as opposed to|versus|vs|if|whether|unlike|differs? from|distinguish\w*|"
    r"less likely|thought to be|initially|differentials?|mimic\w*|cannot confirm|(?:can|could|may|might) also be|"
    r"also consider)\b[^,]*$|\bnon-?\s?$",
    re.IGNORECASE,
)
_NEGATION_AFTER = re.compile(
    r"^[^,]{0,40}?\b(?:unlikely|excluded|ruled out|less likely|not (?:likely|seen|present|the case|fit)|absent|"
    r"does not|doesn['’]t|is not|isn['’]t|no longer)\b",
    re.IGNORECASE,
)
_CLAUSE = 300  # characters: clauses are not longer
_ONLY_A_LIST = re.compile(r"^(?:[\s,/()]|\b(?:or|and|nor|an?|the)\b)*$", re.IGNORECASE)
_CONCLUSION = re.compile(
    r"\b(?:(?:answer|conclusion|label|diagnosis|prediction|classification)\b[^.\n]{0,20}?(?:\bis\b|:|=)|"
    r"most likely|most consistent with|best (?:fits|matches|classified as)|therefore|thus|in conclusion|"
    r"i (?:would )?(?:choose|select|go with|conclude|classify))",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:sorry|(?:can['’]?t|cannot|can not|unable to|not able to|won['’]t|not qualified to) (?:\w+ ){0,3}?"
    r"(?:assist|help|diagnos\w+|determine|provide|classify|identify|see|view|analy[sz]e|say|tell))",
    re.IGNORECASE,
)


class Parsed(NamedTuple):
    """An answer's diagnosis by both parsers, keys of `vocabulary.DX`; "": an abstention. rule: out of RULES."""

    strict: str
    lenient: str
    rule: str


def parse(answer: str) -> Parsed:
    """The diagnosis in an answer; thoughts before it ("<think> ... </think>") are no part of it."""
    text = thinking.answer(answer).strip()
    label = text.strip("\"'`*.()[] \n").lower()
    if label in DX:
        return Parsed(label, label, "label")
    if not label:
        return Parsed("", "", "empty")
    asserted, n_mentions = _asserted(text)
    named = set(asserted.values())
    if len(named) == 1 and named <= set(DX):
        return Parsed("", named.pop(), "assertion")
    if named & set(DX):
        concluded = _concluded(text, asserted)
        return Parsed("", concluded, "conclusion" if concluded else "several")
    if _REFUSAL.search(text):
        return Parsed("", "", "refusal")
    return Parsed("", "", "negated" if n_mentions and not named else "no diagnosis")


def parse_all(image_ids: Sequence[str], answers: Sequence[str]) -> pd.DataFrame:
    """One row an answer: image_id, answer (as it came), strict, lenient ("": abstention) and rule."""
    parsed = pd.DataFrame([parse(answer) for answer in answers], columns=list(Parsed._fields))
    parsed.insert(0, "image_id", list(image_ids))
    parsed.insert(1, "answer", list(answers))
    return parsed


def _asserted(text: str) -> tuple[dict[int, str], int]:
    """The diagnoses that a text asserts, by where they stand in it, and how many it mentions."""
    asserted, mentions = {}, list(_MENTION.finditer(text))
    was_negated, previous = False, None
    for mention in mentions:
        before = _CLAUSE_END.split(text[max(0, mention.start() - _CLAUSE) : mention.start()])[-1]
        after = _CLAUSE_END.split(text[mention.end() : mention.end() + _CLAUSE])[0]
        continues = previous is not None and _ONLY_A_LIST.match(text[previous.end() : mention.start()])
        is_question = text[mention.end() + len(after) :].startswith("?")
        negated = is_question or _NEGATION_BEFORE.search(before) or _NEGATION_AFTER.search(after)
        negated = bool(negated or (continues and was_negated))
        if not negated:
            asserted[mention.start()] = mention.lastgroup
        was_negated, previous = negated, mention
    return asserted, len(mentions)


def _concluded(text: str, asserted: dict[int, str]) -> str:
    """The one diagnosis in the clause of the last conclusion that has any; "": none, or several."""
    for conclusion in reversed(list(_CONCLUSION.finditer(text))):
        start = conclusion.end() + len(re.match(r"[\s,:=]*", text[conclusion.end() :])[0])
        end = start + len(re.split(r"[.;\n,]|\bbut\b", text[start:], maxsplit=1)[0])
        named = {dx for place, dx in asserted.items() if start <= place <= end}
        if named:
            return named.pop() if len(named) == 1 and named <= set(DX) else ""
    return ""
