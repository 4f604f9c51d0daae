"""Bounds of what a browser may send, and refusals that are one sentence and give nothing away."""

import functools
import html
import inspect
import logging
import unicodedata
from collections.abc import Callable

import gradio as gr

from p2d_lib.words.render import PromptError

LONGEST_PROMPT = 600  # characters
MOST_IMAGES = 8  # of one request
MOST_STEPS = 100  # denoising steps of one image
MOST_WAITING = 24  # requests that wait for the models, of all who use the page
QUIET = {"show_progress": "hidden", "api_visibility": "private"}  # of every event
AS_SENT = QUIET | {
    "preprocess": False
}  # gradio's own checks quote a wrong value as markup: our handlers check them all
MOST_EVENTS = 64  # of all pages, that are answered or wait at once
LARGEST_UPLOAD = 8 * 2**20  # bytes
UNPRINTABLE = ("Cc", "Cf", "Co", "Cs")  # Unicode's categories of control, format, private and surrogate characters

log = logging.getLogger(__name__)


class Refused(ValueError):
    """What a visitor asked for cannot be; the message is one sentence that they may read."""


def plain_line(text: object, name: str, most: int) -> str:
    """A text as one line without spaces at its ends. name: of the field, for the message.

    Raises Refused for more than `most` characters, for nothing, and for characters that cannot be seen.
    """
    if not isinstance(text, str):
        raise Refused(f"{name}: a text is needed")
    if len(text) > most:
        raise Refused(f"{name}: {len(text):,} characters are too many; {most} at most")
    line = " ".join(text.split())
    if hidden := next((character for character in line if unicodedata.category(character) in UNPRINTABLE), None):
        raise Refused(f"{name}: the character U+{ord(hidden):04X} cannot be seen; take it out")
    if not line:
        raise Refused(f"{name}: it is empty")
    return line


def guarded(handler: Callable) -> Callable:
    """An event handler (not one that yields) whose failures reach the browser as one sentence.

    Refusals and unfit prompts are said as they are, escaped; of any other failure the terminal gets the traceback and
    the browser nothing of it.
    """
    if inspect.isgeneratorfunction(handler):
        raise TypeError(f"{handler.__name__} yields: a generator's failures come after it has returned")

    @functools.wraps(handler)
    def call(*arguments, **keywords):
        try:
            return handler(*arguments, **keywords)
        except (Refused, PromptError) as refusal:
            raise refusal_shown(str(refusal)) from None
        except Exception:
            log.exception("%s failed", handler.__name__)
            raise refusal_shown("this did not work; the terminal that runs the app says why") from None

    return call


def refusal_shown(message: str) -> gr.Error:
    """The error that gradio shows in the page: it takes the text for HTML, so it is escaped here."""
    return gr.Error(html.escape(message[:1].upper() + message[1:400]) + ".", title="Not done", print_exception=False)
