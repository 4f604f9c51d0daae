"""What a model answers after it has thought aloud: thoughts hold drafts, and a draft is no answer."""

import re

_MARKS = re.compile(
    r"""
    (?P<begin> <\|?(?:\w+:)?(?:think|thinking|thoughts?|reasoning|reflection|scratchpad|begin_of_thought)\|?>
             | \[THINK\] | ◁think▷ | <unused94>             # Mistral, Kimi-VL, MedGemma
             | <\|channel\|>\s*(?:analysis|commentary) )     # gpt-oss
  | (?P<end>   </(?:\w+:)?(?:think|thinking|thoughts?|reasoning|reflection|scratchpad)> | <\|end_of_thought\|>
             | \[/THINK\] | ◁/think▷ | <unused95>
             | <\|channel\|>\s*final\s*(?:<\|message\|>)? | \bassistantfinal )
    """,
    re.VERBOSE | re.IGNORECASE,
)


def answer(reply: str) -> str:
    """A reply without the thoughts in it; "" where the model ended while it was thinking.

    Many chat templates begin the thoughts themselves, so that a reply shows only the mark of their end.
    """
    parts, start, is_thinking = [], 0, False
    for mark in _MARKS.finditer(reply):
        if mark["begin"] and not is_thinking:
            parts.append(reply[start : mark.start()])
        elif mark["end"] and not is_thinking:
            parts = []
        is_thinking, start = bool(mark["begin"]), mark.end()
    return "".join(parts) if is_thinking else "".join(parts) + reply[start:]
