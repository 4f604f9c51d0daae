"""What Create shows, as HTML: every word that somebody may have written is escaped here."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from p2d_lib.app.create_jobs import Job, State
from p2d_lib.app.pictures import of_pixels, picture
from p2d_lib.images import data_uri
from p2d_lib.instruments.copies import COPY_RATIO, NEIGHBOURS
from p2d_lib.vocabulary import DX_NAMES

EARLIER = "Asked for before this page was opened. "
PHASES = {
    "done": "Done.",
    "stopped": "Stopped. What was finished is in the gallery.",
    "failed": "Not done:",
}


def progress(job: Job, state: State, ahead: int, is_ready: bool, earlier: bool = False) -> str:
    """The line above the images, and the picture that is being denoised.

    ahead: jobs before this one; earlier: the job was asked for before the page was opened.
    """
    begin = f'<div class="p2d-status" role="status" data-job="{job.id}">{EARLIER if earlier else ""}'
    if state.phase == "waiting":
        words = f"{ahead} before this one." if ahead else "Starting."
        if not is_ready:
            words = "The models are being loaded (once, up to a minute)."
        return f"{begin}{words}</div>"
    if state.phase != "sampling":
        problem = f" {escape(state.problem)}." if state.problem else ""
        return f"{begin}{PHASES[state.phase]}{problem}</div>"
    steps, total = job.requests[0].num_inference_steps, len(job.requests)
    words = f"Image {state.image} of {total}, step {state.step} of {steps}"
    done = (state.image - 1) * steps + state.step
    bar = f'<progress max="{total * steps}" value="{done}" aria-label="progress"></progress>'
    picture = ""
    if state.preview is not None:
        picture = (
            f'<img class="p2d-preview" alt="Preview of the image that is being made" src="{of_pixels(state.preview)}">'
        )
    return f"{begin}{bar} {words}</div>{picture}"


def results(records: Iterable[dict], gallery, run_folder: Path, calibration: str) -> str:
    """The finished images of a job: side by side where they are a strip, else each with what is said of it."""
    records = list(records)
    if not records:
        return ""
    if records[0]["strip"]:
        return _strip(records, gallery)
    cards = "".join(_card(record, gallery.png(record), run_folder) for record in records)
    note = (
        f"{escape(calibration)} The scout was fitted on this run's train images and errs: t4_obedience says how often."
    )
    return f'<div class="p2d-cards">{cards}</div><p class="p2d-note">{note}</p>'


def _card(record: dict, png: bytes, run_folder: Path) -> str:
    nearest, request = record["nearest"], record["request"]
    verdict = "This is a copy of a train image" if nearest["copy"] else "Not a copy"
    kind = "bad" if nearest["copy"] else "good"
    source = picture(run_folder / nearest["path"], 160)
    near = (
        f'<img src="{source}" alt="Nearest train image {escape(nearest["image_id"])}">'
        f'<figcaption><b class="p2d-{kind}">{verdict}.</b> Nearest train image: {escape(nearest["image_id"])}, '
        f"{escape(DX_NAMES.get(nearest['dx'], nearest['dx']))}. It lies {nearest['ratio']:.2f} times as far as the "
        f"next {NEIGHBOURS} on average; a copy at most {COPY_RATIO}.</figcaption>"
    )
    return (
        f'<article class="p2d-card"><figure>{_image(record, png)}'
        f"<figcaption>{escape(request['prompt'])}</figcaption>{_actions(record, png)}</figure>"
        f'<div><figure class="p2d-nearest">{near}</figure>{_asked(record["asked"])}</div></article>'
    )


def _image(record: dict, png: bytes) -> str:
    return f'<img src="{picture(png)}" alt="Synthetic image: {escape(record["request"]["prompt"])}">'


def _asked(rows: list[dict]) -> str:
    """What the prompt asks for, beside what the scout reads."""
    if not rows:
        return '<p class="p2d-note">The prompt names nothing of the vocabulary, so there is nothing to read.</p>'
    lines = "".join(
        f"<tr><th scope='row'>{escape(row['what'])}</th><td>{escape(row['asked'])}</td>"
        f"<td>{escape(row['read'])} ({row['score']:.2f})</td><td>{'yes' if row['follows'] else 'no'}</td></tr>"
        for row in rows
    )
    titles = ("Asked for", "as", "the scout reads", "agrees")
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    return f'<div class="p2d-table"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _strip(records: list[dict], gallery) -> str:
    """Images of one noise, of which one word is changed."""
    parts = []
    for record in records:
        png = gallery.png(record)
        read = next((row for row in record["asked"] if row["what"] == record["strip"]), None)
        reading = f"scout reads {escape(read['read'])} ({read['score']:.2f})" if read else ""
        caption = f"<figcaption><b>{escape(record['label'])}</b><br>{reading}</figcaption>"
        parts.append(f"<figure>{_image(record, png)}{caption}{_actions(record, png)}</figure>")
    seed, changed = records[0]["request"]["seed"], escape(records[0]["strip"])
    title = f"One lesion in words, one noise (seed {seed}); only {changed} changes."
    return f'<p class="p2d-note">{title}</p><div class="p2d-strip">{"".join(parts)}</div>'


def _actions(record: dict, png: bytes) -> str:
    """Save the file, or take its settings into the form."""
    name = escape(record["name"])
    return (
        f'<div class="p2d-actions"><a download="{name}" href="{data_uri(png)}">Save PNG</a>'
        f'<button type="button" data-image="{name}">Use settings</button></div>'
    )


def gallery_page(gallery, page: int, per_page: int = 12) -> str:
    """One page, from 0, of the images that were made in this run, newest first."""
    records = gallery.records()
    if not records:
        return '<p class="p2d-note">Nothing yet. Images stay here, in the run, for every browser.</p>'
    shown = records[page * per_page :][:per_page]
    parts = []
    for record in shown:
        png = gallery.png(record)
        label = f"{escape(record['strip'])}: {escape(record['label'])}" if record["strip"] else ""
        copied = '<b class="p2d-bad">copy</b> ' if record["nearest"]["copy"] else ""
        caption = f"<figcaption>{copied}{label or escape(record['request']['prompt'])}</figcaption>"
        parts.append(f"<figure>{_image(record, png)}{caption}{_actions(record, png)}</figure>")
    pages = -(-len(records) // per_page)
    count = f"{len(records)} image{'s' if len(records) != 1 else ''} in this run, page {page + 1} of {pages}."
    return f'<p class="p2d-note">{count}</p><div class="p2d-gallery">{"".join(parts)}</div>'
