"""The page: four tabs over one finished run, with the same words above and below on each."""

import html

import gradio as gr

from p2d_lib.app import browse, create, read, review
from p2d_lib.run import Run

NOTICE = "Synthetic images, not for clinical use"
HEADER = "<header><h1>prompt2derm</h1><span>run {about}</span><strong>" + NOTICE + "</strong></header>"
TABS = {"Create": create.tab, "Review": review.tab, "Read": read.tab, "Browse": browse.tab}


def page(run: Run) -> gr.Blocks:
    """The app over a finished run. Each module's `tab(run)` adds its components and events to a tab of its own."""
    about = html.escape(", ".join(filter(None, (run.name, run.note))))
    with gr.Blocks(title=f"prompt2derm: {run.name}", analytics_enabled=False, fill_width=True) as blocks:
        gr.HTML(HEADER.format(about=about), elem_id="p2d-header")
        with gr.Tabs():
            for title, tab in TABS.items():
                with gr.Tab(title, id=title.lower()):
                    tab(run)
        gr.HTML(f"<footer>{NOTICE}. Nothing here diagnoses anybody.</footer>", elem_id="p2d-footer")
    return blocks
