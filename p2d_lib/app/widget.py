"""A part of the page with its own HTML, style and script, which asks this process through one function.

Everything that the script shows goes into the page as text, so no name or description becomes markup. What a request
cannot do is answered by one sentence, without a path or a traceback.
"""

import html
import inspect
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import gradio as gr

from p2d_lib.app.safety import Refused, plain_line

TEMPLATES = Path(__file__).parent / "template"
FAILED = "The server could not do this, and nothing was saved. Try again; its log says what happened."
UNKNOWN = "The server does not know what this page asks; reload the page."

log = logging.getLogger(__name__)


def widget(name: str, run: str, actions: Mapping[str, Callable[..., dict]], about: str = "") -> gr.HTML:
    """Adds the widget of template/<name>.html, .css and .js to the open tab, with what widget.* has for all.

    actions: what its script may ask, `answer`; each takes keywords of JSON values and returns what JSON can hold, keys
    as text. run: the run's name, by which a browser keeps its own notes apart from those of other runs. about: a
    sentence that stands in the HTML where it says <!-- about -->.
    """

    def ask(request):
        return answer(actions, request)

    parts = {kind: (TEMPLATES / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")}
    shared = {kind: (TEMPLATES / f"widget.{kind}").read_text(encoding="utf-8") for kind in parts}
    return gr.HTML(
        html_template=parts["html"]
        .replace("<!-- start -->", shared["html"].replace("NAME", name))
        .replace("<!-- about -->", html.escape(about)),
        css_template=shared["css"] + parts["css"],
        js_on_load=shared["js"] + parts["js"],
        apply_default_css=False,
        server_functions=[ask],
        run=run,
        elem_id=f"p2d-{name}",
    )


def answer(actions: Mapping[str, Callable[..., dict]], request: object) -> dict:
    """What an action returns, or {"error": a sentence} for a request that cannot be carried out.

    request: {"action": its name, **its keywords}.
    """
    try:
        arguments = dict(request) if isinstance(request, dict) else {}
        action = arguments.pop("action", None)
        if not isinstance(action, str) or action not in actions:
            raise Refused(UNKNOWN)
        try:
            inspect.signature(actions[action]).bind(**arguments)
        except TypeError:
            raise Refused(UNKNOWN) from None
        return actions[action](**arguments)
    except Refused as refusal:
        return {"error": str(refusal)}
    except Exception:
        log.exception("a request of the page failed")
        return {"error": FAILED}


def text(value: object, what: str, at_most: int) -> str:
    """A text that a person may have typed, as one line; "" where there is nothing. Raises Refused as
    `safety.plain_line` does for any other."""
    return "" if value == "" or (isinstance(value, str) and value.isspace()) else plain_line(value, what, at_most)


def seconds(value: object) -> float:
    """A time that the page measured, in seconds. Raises Refused for one that is no number from 0 to a day."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 86_400:
        raise Refused("The time that the page measured is no number of seconds from 0 to 86,400; reload the page.")
    return round(float(value), 2)
