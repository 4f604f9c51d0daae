"""Whether a model's words are a refusal. Many hedge ("I cannot provide a diagnosis, but the lesion is dark"): the
question itself forbids a diagnosis, so that is none."""

import re

_REFUSAL = re.compile(
    r"^.{0,60}?\b(?:(?:i['’]m|i am) (?:very |so )?sorry|i apologi[sz]e|"
    r"i(?:['’]m| am)? (?:can['’]?t|cannot|can not|won['’]t|unable to|not able to) "
    r"(?:assist|help|analy[sz]e|provide|describe|comply|do (?:this|that)|process|interpret|evaluate|diagnose|score|"
    r"(?:view|see|open) (?:the |this |any |your )?images?))",
    re.IGNORECASE | re.DOTALL,
)
_REFUSAL_ELSEWHERE = re.compile(  # German, French, Spanish, Portuguese, Italian, Chinese, Japanese
    r"^.{0,40}?(?:\b(?:(?:es )?tut mir leid|entschuldigung|ich kann (?:dieses|das|diese|die|dir|ihnen|dabei)|"
    r"(?:je suis |)désolée?|je ne peux pas|lo siento|no puedo|desculpe|(?:eu )?não posso|mi dispiace|non posso)|"
    r"抱歉|对不起|無法|无法|申し訳)",
    re.IGNORECASE | re.DOTALL,
)
_CLAUSES = re.compile(r"[.;:!?\n]+|,? \bbut\b|,? \bhowever\b|,")
_OF_A_REFUSAL = re.compile(
    r"\b(?:sorry|apologi[sz]e|unable|not able|can['’]?t|can not|cannot|won['’]t|consult|dermatologist|physician|doctor|"
    r"professional|advice|as an ai|language model)\b",
    re.IGNORECASE,
)
_OF_A_LESION = re.compile(
    r"\b(?:lesions?|macules?|papules?|nodules?|plaques?|patch|mole|n[aæ]e?v\w+|pigment\w*|network|globules?|dots?|"
    r"streaks?|veil|vessels?|borders?|(?:a?symmetr|irregular)\w*|brown|black|red|pink|blue|whit\w+|gr[ae]y|tan|dark\w*|"
    r"light\w*|colou?r\w*|structures?|hairs?)\b",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Whether a text refuses, and no clause of it says anything of the lesion."""
    if _REFUSAL_ELSEWHERE.match(text):
        return not any(map(_OF_A_LESION.search, _CLAUSES.split(text)))
    if not _REFUSAL.match(text):
        return False
    clauses = (clause for clause in _CLAUSES.split(text) if clause and not _OF_A_REFUSAL.search(clause))
    return not any(map(_OF_A_LESION.search, clauses))
