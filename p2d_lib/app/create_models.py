"""The networks of one run that Create asks, loaded once: what samples images, and what is said of each of them."""

import gc
import time
from collections.abc import Iterator
from contextlib import closing
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from p2d_lib.app.create_form import Form, level_in_words
from p2d_lib.app.create_request import Request, adapter_digest
from p2d_lib.device import set_up
from p2d_lib.instruments import alterations, copies, obedience
from p2d_lib.models import classifiers, lora, pipelines, sampling
from p2d_lib.models.encoding import decode_latents
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX, DX_NAMES, FEATURES
from p2d_lib.words.at_random import TONE
from p2d_lib.words.parse import parse
from p2d_lib.words.render import mentioned

CONTROLS = 100  # images of each control of the check for copies
PREVIEW_SHARE = 0.25  # of the sampling time that previews may take


class Nearest(NamedTuple):
    """The train image that an image resembles most (instruments/copies.py)."""

    image_id: str
    dx: str
    path: str  # relative to the run's folder
    ratio: float  # of its distance and the mean distance to the next 50 train images
    copy: bool


class Asked(NamedTuple):
    """One thing that a prompt asks for, and what the scout reads of it."""

    what: str
    asked: str
    read: str
    score: float  # the scout's, 0..1
    follows: bool


class Models:
    """One run's pipeline with its adapter, the scout, and its train images as the check for copies sees them."""

    def __init__(self, run: Run, form: Form):
        self.run, self.train, self.device = run, form.train, set_up()
        self.adapter = adapter_digest(run)
        pipe = pipelines.load(run.path("base"), self.device, pipelines.fast_dtype(self.device))
        lora.load(pipe, run.path("adapter"))
        self._pipe, self._merged = pipe, {}
        self._scout = classifiers.load(run.path("scout"), self.device)
        self._thumbnails = run.in_parts(self.train, copies.thumbnails)
        self._originals = copies.prepared(self._thumbnails)

    @cached_property
    def calibration(self) -> str:
        """How often the check for copies errs in this run, as a sentence, by its two controls."""
        cases = self.run.read("cases")
        val = cases[cases["split"] == "val"].head(CONTROLS)
        altered = alterations.altered(self._thumbnails[:CONTROLS], "all of these", 0)
        recognised = int(copies.nearest(altered, self._originals)["copy"].sum())
        text = f"finds {recognised} of {len(altered)} altered train images"
        if len(val):
            false = int(copies.nearest(self.run.in_parts(val, copies.thumbnails), self._originals)["copy"].sum())
            text = f"calls {false} of {len(val)} real images of other lesions copies, and {text}"
        return f"In this run the check {text}."

    def pipeline(self, generator: str):
        """The pipeline with ("adapter") or without ("base") the adapter, merged once."""
        if generator not in self._merged:
            self._merged[generator] = lora.merge(self._pipe, generator == "adapter")
        return self._merged[generator]

    def steps(self, request: Request) -> Iterator[tuple[int, np.ndarray | None]]:
        """Number of each denoising step, from 1, with a preview, uint8 (size, size, 3), or None where none was made.

        After the last step comes 0 with the image. Previews take PREVIEW_SHARE of the time, however slow the decoder.
        """
        pipe, allowed, began = self.pipeline(request.generator), 0.0, time.monotonic()
        settings = request.settings | {"guidance_interval": tuple(request.guidance_interval)}
        with closing(sampling.sample_steps(pipe, [request.prompt], [request.seed], **settings)) as steps:
            for number, step in enumerate(steps, 1):
                preview, now = None, time.monotonic()
                if now - began >= allowed:
                    preview = decode_latents(pipe, step.clean())[0]
                    allowed += (time.monotonic() - now) / PREVIEW_SHARE
                yield number, preview
            yield 0, decode_latents(pipe, step.latents)[0]

    def nearest(self, image: np.ndarray) -> Nearest:
        """The train image that an image, uint8 (s, s, 3), resembles most."""
        nearest = copies.nearest(copies.thumbnails(image[None]), self._originals).iloc[0]
        case = self.train.iloc[int(nearest["original"])]
        return Nearest(case["image_id"], case["dx"], case["path"], float(nearest["ratio"]), bool(nearest["copy"]))

    def asked(self, image: np.ndarray, prompt: str, varied: str = "") -> list[Asked]:
        """What a prompt asks for in the vocabulary's phrases, beside what the scout reads in the image.

        image: uint8 (s, s, 3). varied: phrase of the feature that a strip varies, "" for none; it is listed as absent
        where the prompt does not name it.
        """
        predictions = classifiers.predict(self._scout, image[None], self.device)
        p, scores = predictions["p"][0], dict(zip(FEATURES, predictions["features"][0].tolist(), strict=True))
        lesion, rows = parse(prompt), []
        if lesion.dx is not None:
            read = DX[int(p.argmax())]
            score = float(p[DX.index(lesion.dx)])
            rows.append(Asked("class", DX_NAMES[lesion.dx], DX_NAMES[read], score, read == lesion.dx))
        names = mentioned(lesion)
        names += [name for name, feature in FEATURES.items() if feature.phrase == varied and name not in (*names, TONE)]
        if lesion.background_skin_tone is not None:
            names.append(TONE)
        for name in names:
            both = getattr(lesion, name) or 0.0, scores[name]  # asked for, and read
            asked, read = (obedience.levels(name, np.array([score]))[0] for score in both)
            near = abs(asked - read) <= 1 if name == TONE else (read >= 1) == (asked >= 1)
            words = [level_in_words(name, score) for score in both]
            rows.append(Asked(FEATURES[name].title, *words, scores[name], bool(near)))
        return rows

    def free(self) -> None:
        """Gives back what an image that was not finished held."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
