"""The Create tab: words become images while one looks on, each with what is known of it."""

import base64
import binascii
import gc
from collections.abc import Iterator

import gradio as gr

from p2d_lib.app import create_cards as cards
from p2d_lib.app.create_form import IMPORTS, Form, tone_of
from p2d_lib.app.create_gallery import Gallery
from p2d_lib.app.create_jobs import Job, Queue, State
from p2d_lib.app.create_layout import NOT_NAMED, UNLESS_TYPED, Layout, layout
from p2d_lib.app.create_request import Request, adapter_digest, checked, defaults, of_png
from p2d_lib.app.safety import AS_SENT, LARGEST_UPLOAD, MOST_IMAGES, QUIET, Refused, guarded
from p2d_lib.images import data_uri
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX, FEATURES, SITES
from p2d_lib.words.at_random import TONE
from p2d_lib.words.parse import parse
from p2d_lib.words.render import SKIN_WORDS

PER_PAGE = 12  # images of the gallery


def tab(run: Run) -> None:
    """Adds the tab's components and events to the open tab; its models are loaded meanwhile, in a thread."""
    create = Create(run)
    create.connect(layout(create.form, create.defaults, create.typical))


class Create:
    """The events of the tab over one run; what pages share is the queue and the gallery."""

    def __init__(self, run: Run):
        self.run, self.form, self.defaults, self.gallery = run, Form(run), defaults(run), Gallery(run)
        self.typical = self.preset("mel")  # part of the page: sent later, it would replace what was typed
        self.queue = Queue(self._load, self.gallery)
        self._watched: dict[str, str] = {}  # by page, the job that it shows

    def _load(self):
        with IMPORTS:
            from p2d_lib.app.create_models import Models  # torch and diffusers take their time

        models = Models(self.run, self.form)
        gc.collect()
        gc.freeze()  # they stay: to look through them for what can be freed would take longer than a denoising step
        return models

    def connect(self, ui: Layout) -> None:
        """Connects the components with what they do."""
        sliders, lesion = list(ui.sliders.values()), [ui.dx, ui.site, ui.tone, *ui.sliders.values()]
        sampler = [ui.prompt, ui.seed, ui.generator, ui.guidance, ui.low, ui.high, ui.steps, ui.solver]
        restored = [*sampler, *lesion, ui.notice]
        shown = [ui.progress, ui.results, ui.gallery]
        for part, answer, inputs, changed in [
            (ui.dx, self.preset, ui.dx, [ui.site, ui.tone, *sliders]),
            *((part, self.prompt, lesion, []) for part in (ui.site, ui.tone, *sliders)),
        ]:
            worded = part.input(guarded(answer), inputs, [*changed, ui.worded], trigger_mode="always_last", **AS_SENT)
            worded.success(None, [ui.worded, ui.prompt], ui.prompt, js=UNLESS_TYPED, **QUIET)
        ui.create.click(guarded(self.begin), [*sampler, ui.count], ui.job, **AS_SENT).success(
            self.watch, ui.job, shown, concurrency_limit=None, **QUIET
        )
        ui.vary.click(guarded(self.begin_strip), [ui.feature, *sampler, *lesion], ui.job, **AS_SENT).success(
            self.watch, ui.job, shown, concurrency_limit=None, **QUIET
        )
        ui.stop.click(guarded(self.stop), ui.job, None, queue=False, **QUIET)
        ui.drop.upload(guarded(self.dropped), None, restored, **QUIET)
        for images in (ui.results, ui.gallery):
            images.click(guarded(self.chosen), None, restored, **QUIET)
        ui.older.click(guarded(self.turn), [ui.page, gr.State(1)], [ui.page, ui.gallery], **QUIET)
        ui.newer.click(guarded(self.turn), [ui.page, gr.State(-1)], [ui.page, ui.gallery], **QUIET)
        ui.zip.click(guarded(self.zip), None, ui.saved, **QUIET)
        first = gr.on(ui.load, guarded(self.under_way), ui.job, ui.job, **QUIET)
        first.success(self.watch_earlier, ui.job, shown, concurrency_limit=None, **QUIET)

    def under_way(self, asked: str) -> str:
        """The job that a newly opened page shows: the one that it has asked for meanwhile, else the running one."""
        running = self.queue.running()
        return asked or (running.id if running else "")

    def preset(self, dx: str) -> tuple:
        """A typical lesion of a class: site, tone, the sliders, the prompt."""
        lesion = self.form.presets[_one_of(dx, DX, "class")]
        scores = [round(20 * (getattr(lesion, name) or 0.0)) / 20 for name in self.form.sliders]
        return (lesion.localization, tone_of(lesion) or NOT_NAMED, *scores, self.form.prompt(lesion))

    def prompt(self, dx: str, site: str, tone: str, *scores: float) -> str:
        """The prompt of what the form states."""
        return self.form.prompt(self._lesion(dx, site, tone, scores))

    def _lesion(self, dx, site, tone, scores):
        values = dict(zip(self.form.sliders, scores, strict=True))
        if bad := next((name for name, value in values.items() if not _is_score(value)), None):
            raise Refused(f"{FEATURES[bad].phrase}: a score lies between 0 and 1")
        tone = None if tone == NOT_NAMED else _one_of(tone, SKIN_WORDS, "skin tone")
        return self.form.lesion(_one_of(dx, DX, "class"), _one_of(site, SITES, "site"), tone, values)

    def begin(self, *values) -> str:
        """Puts images in the queue, of the seed that is given and the next ones; returns the job's id."""
        *sampler, count = values
        if not (isinstance(count, (int, float)) and count == int(count) and 1 <= count <= MOST_IMAGES):
            raise Refused(f"how many: a whole number from 1 to {MOST_IMAGES}")
        first = self._request(*sampler)
        seeds = [(first.seed + k) % 2**63 for k in range(int(count))]
        return self.queue.submit(Job([first.model_copy(update={"seed": seed}) for seed in seeds])).id

    def begin_strip(self, feature: str, *values) -> str:
        """Puts a counterfactual strip in the queue: one noise, one word changed; returns the job's id."""
        name = _one_of(feature, [TONE, *self.form.sliders], "feature to vary")
        sampler, (dx, site, tone, *scores) = values[:8], values[8:]
        steps = self.form.strip(self._lesion(dx, site, tone, scores), name)
        first = self._request(steps[0][1], *sampler[1:])
        requests = [first.model_copy(update={"prompt": prompt}) for _, prompt in steps]
        return self.queue.submit(Job(requests, strip=FEATURES[name].title, labels=[label for label, _ in steps])).id

    def _request(self, prompt, seed, generator, guidance, low, high, steps, solver) -> Request:
        if not (isinstance(seed, str) and seed.strip().isascii() and seed.strip().isdigit() and len(seed) < 25):
            raise Refused("seed: a whole number from 0 to 9223372036854775807")
        values = {"prompt": prompt, "seed": int(seed), "generator": generator, "guidance_scale": guidance}
        values |= {"guidance_interval": [low, high], "num_inference_steps": steps, "solver": solver}
        return checked(values | {"size": self.defaults["size"]})

    def watch(self, job_id: str, request: gr.Request) -> Iterator[tuple]:
        """The state of a job as it goes on: progress, its finished images, and the gallery after each of them.

        A page shows one job: where it asks for another one, it watches that.
        """
        yield from self._watch(job_id, request.session_hash)

    def watch_earlier(self, job_id: str, request: gr.Request) -> Iterator[tuple]:
        """As `watch`, of a job that was under way when the page was opened; the page says so, unless it is its own."""
        asked_here = self._watched.get(request.session_hash) == job_id
        yield from self._watch(job_id, request.session_hash, earlier=not asked_here)

    def _watch(self, job_id: str, page: str, earlier: bool = False) -> Iterator[tuple]:
        job = self.queue.find(job_id) if isinstance(job_id, str) else None
        if job is None:
            yield gr.skip(), gr.skip(), self._gallery(0)
            return
        self._watched[page] = job_id
        for shown in self._shown(job, earlier):
            if self._watched.get(page) != job_id:
                return
            yield shown
        self._watched.pop(page, None)

    def _shown(self, job: Job, earlier: bool) -> Iterator[tuple]:
        finished, shown = -1, ""
        for state in job.states():
            progress = cards.progress(job, state, self.queue.ahead(job), self.queue.is_ready, earlier)
            if len(state.finished) > finished:
                finished, shown = len(state.finished), progress
                yield progress, self._results(state), self._gallery(0)
            elif progress != shown:
                shown = progress
                yield progress, gr.skip(), gr.skip()

    def _results(self, state: State) -> str:
        return cards.results(state.finished, self.gallery, self.run.folder, self.queue.calibration())

    def _gallery(self, page: int) -> str:
        return cards.gallery_page(self.gallery, page, PER_PAGE)

    def stop(self, job_id: str) -> None:
        """Stops the job that the page watches."""
        if isinstance(job_id, str) and (job := self.queue.find(job_id)):
            self.queue.stop(job)

    def dropped(self, event: gr.EventData) -> tuple:
        """All settings of a PNG of ours that was dropped onto the page."""
        content = (event._data or {}).get("png")
        if not isinstance(content, str) or len(content) > LARGEST_UPLOAD * 4 // 3 + 4:
            raise Refused(f"the file is larger than {LARGEST_UPLOAD // 2**20} MB")
        try:
            png = base64.b64decode(content, validate=True)
        except (ValueError, binascii.Error):
            raise Refused("the file did not arrive whole") from None
        request, adapter = of_png(png, self.defaults)
        return self._restored(request, adapter)

    def chosen(self, event: gr.EventData) -> tuple:
        """All settings of an image of the gallery."""
        record = self.gallery.record(str((event._data or {}).get("image", ""))[:80])
        return self._restored(checked(record["request"]), record["adapter"])

    def _restored(self, request: Request, adapter: str) -> tuple:
        lesion = parse(request.prompt)
        low, high = request.guidance_interval
        sampler = (request.prompt, str(request.seed), request.generator, request.guidance_scale, low, high)
        scores = [getattr(lesion, name) or 0.0 for name in self.form.sliders]
        known = (lesion.dx or gr.skip(), lesion.localization, tone_of(lesion) or NOT_NAMED, *scores)
        notice = "Settings restored: the same button makes the same image."
        if adapter and adapter != adapter_digest(self.run):
            notice = "Settings restored, but the file was made with another adapter: the image will differ."
        return (*sampler, request.num_inference_steps, request.solver, *known, notice)

    def turn(self, page: int, by: int) -> tuple[int, str]:
        """Another page of the gallery."""
        last = max(0, (len(self.gallery.records()) - 1) // PER_PAGE)
        page = min(max(int(page) + int(by), 0), last)
        return page, self._gallery(page)

    def zip(self) -> str:
        """A link that holds the newest images with their manifest."""
        content, n = self.gallery.archive()
        address = data_uri(content, "application/zip")
        size = f"{len(content) / 2**20:.1f} MB"
        return f'<a download="{self.run.name}_images.zip" href="{address}">Save the zip: {n} images, {size}</a>'


def _one_of(value: object, known, name: str) -> str:
    if value not in known:
        raise Refused(f"{name}: there is no {str(value)[:40]!r}")
    return value


def _is_score(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 1
