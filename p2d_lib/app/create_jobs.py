"""The queue of images to make: one thread asks the models, any number of pages watch.

A job does not belong to the page that asked for it: where a tab is closed the images are made all the same, and any
page can watch or stop them. Gradio's own way of cancelling stops a generator without closing it, so it is not used.
"""

import logging
import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from p2d_lib.app.create_gallery import Gallery
from p2d_lib.app.create_request import Request
from p2d_lib.app.safety import MOST_WAITING, Refused
from p2d_lib.words.render import PromptError

if TYPE_CHECKING:
    from p2d_lib.app.create_models import Models

log = logging.getLogger(__name__)
ENDED = ("done", "stopped", "failed")
WHERE = "the terminal that runs the app says why"
KEPT = 64  # jobs, ended ones included, that a page can still ask for


@dataclass(frozen=True)
class State:
    """How far a job is."""

    phase: str = "waiting"  # waiting | sampling | done | stopped | failed
    image: int = 0  # which one is being made, from 1
    step: int = 0  # of its denoising, from 1
    preview: np.ndarray | None = None  # uint8 (s, s, 3)
    finished: tuple[dict, ...] = ()  # records of the gallery
    problem: str = ""  # why it failed, a sentence


class Job:
    """Some images that were asked for together."""

    def __init__(self, requests: Sequence[Request], strip: str = "", labels: Sequence[str] = ()):
        self.requests, self.strip, self.labels = list(requests), strip, list(labels) or [""] * len(requests)
        self.id, self.state = uuid.uuid4().hex, State()
        self._stop, self._changed, self._version = threading.Event(), threading.Condition(), 0

    def stop(self) -> None:
        """Asks for an end: the denoising step that is under way is the last one."""
        self._stop.set()

    @property
    def is_stopped(self) -> bool:
        return self._stop.is_set()

    @property
    def has_ended(self) -> bool:
        return self.state.phase in ENDED

    def update(self, **changes) -> None:
        with self._changed:
            self.state = replace(self.state, **changes)
            self._version += 1
            self._changed.notify_all()

    def states(self) -> Iterator[State]:
        """The state now, and again after each change (or half a second) until the job has ended."""
        while True:
            version, state = self._version, self.state
            yield state
            if state.phase in ENDED:
                return
            with self._changed:
                self._changed.wait_for(lambda version=version: self._version != version, 0.5)


class Queue:
    """Jobs in the order in which they came, worked on by one thread. load: gives the models, called once."""

    def __init__(self, load: Callable[[], "Models"], gallery: Gallery):
        self._load, self._gallery, self._models = load, gallery, None
        self._waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}  # the newest, in the order in which they came
        self._thread = threading.Thread(target=self._work, name="p2d-create", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Job:
        """Puts a job at the end. Raises Refused where too many wait."""
        with self._lock:
            if len(self._going_on()) >= MOST_WAITING:
                raise Refused(f"{MOST_WAITING} requests wait already; try again in a while")
            self._jobs[job.id] = job
            for other in [other for other in self._jobs.values() if other.has_ended][: max(0, len(self._jobs) - KEPT)]:
                del self._jobs[other.id]
        self._waiting.put(job)
        return job

    def _going_on(self) -> list[Job]:
        """The jobs that have not ended: first the one that is worked on."""
        return [job for job in list(self._jobs.values()) if not job.has_ended]

    def ahead(self, job: Job) -> int:
        """How many jobs come before this one."""
        going_on = self._going_on()
        return going_on.index(job) if job in going_on else 0

    def running(self) -> Job | None:
        """The job that is worked on, or comes next."""
        return next(iter(self._going_on()), None)

    def find(self, job_id: str) -> Job | None:
        """One of the newest KEPT jobs, by its id."""
        return self._jobs.get(job_id)

    def stop(self, job: Job) -> None:
        """Stops a job: at once where it waits, after the denoising step that is under way where it runs."""
        job.stop()
        if job.state.phase == "waiting":
            job.update(phase="stopped")

    @property
    def is_ready(self) -> bool:
        """Whether the models are loaded."""
        return self._models is not None

    def calibration(self) -> str:
        """The sentence of `Models.calibration`; "" until the models are loaded."""
        return self._models.calibration if self._models else ""

    def _work(self) -> None:
        while True:
            try:
                self._models = self._models or self._loaded()
            except Exception:  # the next job tries again
                log.exception("the models could not be loaded")
            self._work_on(self._waiting.get())

    def _loaded(self) -> "Models":
        models = self._load()
        models.pipeline("adapter"), models.calibration  # what the first image would wait for
        return models

    def _work_on(self, job: Job) -> None:
        if self._models is None:
            job.update(phase="failed", problem=f"the models could not be loaded; {WHERE}")
            return
        try:
            if not job.has_ended:
                self._make(job)
        except PromptError as error:
            job.update(phase="failed", problem=str(error).partition(";")[0])
        except Exception:  # whatever the models stumble over; the next job must still be worked on
            log.exception("an image could not be made")
            job.update(phase="failed", problem=f"it could not be made; {WHERE}")
        finally:
            self._models.free()

    def _make(self, job: Job) -> None:
        for number, (request, label) in enumerate(zip(job.requests, job.labels, strict=True), 1):
            job.update(phase="sampling", image=number, step=0, preview=None)
            image = self._sampled(job, request)
            if image is None:
                job.update(phase="stopped", preview=None)
                return
            record = self._gallery.add(image, request, self._models, job.strip, label)
            job.update(finished=(*job.state.finished, record), preview=None)
        job.update(phase="done")

    def _sampled(self, job: Job, request: Request) -> np.ndarray | None:
        """The image of a request, or None where the job was stopped; its steps are closed in either case."""
        with closing(self._models.steps(request)) as steps:
            if job.is_stopped:
                return None
            for number, image in steps:
                if number == 0:
                    return image
                if job.is_stopped:
                    return None
                job.update(step=number, preview=image if image is not None else job.state.preview)
        return None
