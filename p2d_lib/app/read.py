"""The Read tab: the blinded reader study of 07, image by image."""

import gradio as gr

from p2d_lib.app.read_desk import Desk
from p2d_lib.app.widget import widget
from p2d_lib.run import ArtefactError, Run


def tab(run: Run) -> None:
    """Adds the tab to the open one; where the run has no study yet, a sentence that says so."""
    try:
        desk = Desk(run)
    except (ArtefactError, OSError, ValueError):  # ValueError: of a form that an older version has written
        gr.Markdown("This run has no reader study that can be read here: run notebook 07 first.")
        return
    widget("read", run.name, desk.actions, about=desk.about)
