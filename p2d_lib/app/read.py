"""The Read tab."""

import gradio as gr

from p2d_lib.run import Run


def tab(run: Run) -> None:
    """Adds the tab's components and events to the open tab."""
    gr.Markdown("Nothing here yet.")
