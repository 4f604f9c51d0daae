"""The Review tab: a person accepts, edits or rejects what a machine says of a real image."""

import gradio as gr

from p2d_lib.app.create_form import count_tokens
from p2d_lib.app.review_desk import Desk
from p2d_lib.app.widget import widget
from p2d_lib.run import ArtefactError, Run


def tab(run: Run) -> None:
    """Adds the tab to the open one; where the run has no descriptions yet, a sentence that says so."""
    try:
        desk = Desk(run, lambda text: count_tokens(text, desk.wording.max_tokens))
    except ArtefactError:
        gr.Markdown("This run has no descriptions to review: run notebooks 01 and 02 first.")
        return
    widget("review", run.name, desk.actions)
