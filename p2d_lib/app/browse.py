"""The Browse tab: real and synthetic images side by side, tables and figures, two runs beside each other."""

from collections.abc import Callable

import gradio as gr

from p2d_lib.app import browse_results as results
from p2d_lib.app.browse_images import ANY, VERDICTS, Images, feature_choices, pages
from p2d_lib.app.safety import AS_SENT, Refused, guarded
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX_NAMES

ONE = ""  # in the place of a second run


def tab(run: Run) -> None:
    """Adds the tab's components and events to the open tab."""
    opened = gr.context.Context.block.select  # this tab: nothing is read before somebody looks
    with gr.Tabs():
        with gr.Tab("Images", id="images"):
            _images(Images(run), opened)
        with gr.Tab("Tables and figures", id="results") as results_tab:
            _results(run.name, results_tab.select)


def _images(images: Images, opened: Callable) -> None:
    """Filters, both sides, pages."""
    classes = [("any", ANY), *((name, dx) for dx, name in DX_NAMES.items())]
    with gr.Row():
        filters = [
            gr.Dropdown(classes, value=ANY, label="Class", min_width=150, elem_id="p2d-browse-dx"),
            gr.Dropdown(feature_choices(), value=ANY, label="Feature", min_width=150, elem_id="p2d-browse-feature"),
            gr.Dropdown(
                [ANY, *VERDICTS], value=ANY, label="Verdict of 04", min_width=150, elem_id="p2d-browse-verdict"
            ),
            gr.Dropdown(
                [ANY, *images.generators], value=ANY, label="Generator", min_width=150, elem_id="p2d-browse-by"
            ),
        ]
    shown, page = gr.HTML(elem_id="p2d-browse-images"), gr.Number(0, visible=False)
    with gr.Row():
        back = gr.Button("Previous page", size="sm", elem_id="p2d-browse-back")
        on = gr.Button("Next page", size="sm", elem_id="p2d-browse-on")

    def turned(number: object, by: int, *values: object) -> tuple[int, str]:
        if not isinstance(number, (int, float)) or not 0 <= number < 10**6:
            raise Refused("page: there is no such page")
        for value, part in zip(values, filters, strict=True):
            if value not in [choice[1] for choice in part.choices]:
                raise Refused(f"{part.label}: there is no {str(value)[:40]!r}")
        sides = images.chosen(*values)
        number = min(max(int(number) + by, 0), pages(*sides) - 1)
        return number, images.page(*sides, number)

    def first(*values: str) -> tuple[int, str]:
        return turned(0, 0, *values)

    gr.on(
        [part.input for part in filters], guarded(first), filters, [page, shown], trigger_mode="always_last", **AS_SENT
    )
    opened(guarded(first), filters, [page, shown], **AS_SENT)
    for button, by in ((back, -1), (on, 1)):
        button.click(guarded(_by(turned, by)), [page, *filters], [page, shown], **AS_SENT)


def _by(turned, by: int):
    def turn(number: int, *values: str) -> tuple[int, str]:
        return turned(number, by, *values)

    return turn


def _results(name: str, opened: Callable) -> None:
    """One table or figure, of this run or of this one and another."""
    known = results.names(name)
    first = "f4_grid" if "f4_grid" in known else next(iter(known), None)
    others = [("none", ONE), *((run, run) for run in results.runs() if run != name)]
    with gr.Row():
        what = gr.Dropdown(known, value=first, label="Table or figure", min_width=240, elem_id="p2d-browse-what")
        other = gr.Dropdown(others, value=ONE, label="Beside run", min_width=240, elem_id="p2d-browse-other")
    shown = gr.HTML(elem_id="p2d-browse-results")

    def show(chosen: str, beside: str) -> str:
        if chosen is None:
            return '<p class="p2d-note">This run has no tables or figures yet.</p>'
        return results.side_by_side(chosen, [name, beside] if beside else [name])

    gr.on([what.input, other.input], guarded(show), [what, other], shown, trigger_mode="always_last", **AS_SENT)
    opened(guarded(show), [what, other], shown, **AS_SENT)
