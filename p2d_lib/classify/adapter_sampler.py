"""The run's adapter, which samples further images for training as 04 has sampled its own."""

import hashlib
import json
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from diffusers import DiffusionPipeline

from p2d_lib.classify.image_sets import ADAPTER
from p2d_lib.files import sha256
from p2d_lib.instruments import copies
from p2d_lib.models import encoding, generate, lora, pipelines, sampling
from p2d_lib.run import Run

OF_04 = ("guidance_scale", "guidance_interval", "solver", "num_inference_steps", "batch_size")


class AdapterSampler:
    """Called with rows that ask for images (image_id, prompt, seed and, where it differs from 04's, guidance), it gives
    the same rows with path and accepted: False for a copy of a train image, by the rule of 04 (`copies`).

    Solver, steps, guidance and its interval are those of 04, from the provenance of the artefact "synthetic". train:
    the cases of the train split. Images lie in a scratch folder until `discard`, so that an interrupted call goes on.
    """

    def __init__(self, run: Run, train: pd.DataFrame, device: torch.device):
        self.run, self.train, self.device = run, train, device
        self.of_04 = run.made_with("synthetic")["parameters"]
        self.settings = {name: self.of_04[name] for name in OF_04}
        made_of = [self.settings, *(sha256(run.path(name)) for name in ("base", "adapter"))]
        self.name = f"sampled-{hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]}"

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        if "guidance" not in rows:
            rows = rows.assign(guidance=self.settings["guidance_scale"])
        rows = rows.assign(path=self._paths(rows))
        missing = rows[[not (self.run.folder / path).exists() for path in rows["path"]]]
        for guidance, part in missing.groupby("guidance"):
            self._sample(part, float(guidance))
        thumbnails = self.run.in_parts(rows, copies.thumbnails)
        return rows.assign(accepted=~copies.nearest_originals(thumbnails, self._originals)["copy"].to_numpy())

    def count(self, text: str) -> int:
        """Tokens of a text, as the adapter's own base counts them."""
        return encoding.count_tokens(self._pipe, text)

    def discard(self) -> None:
        """Removes the images, once all trainings that need them are finished."""
        self.run.discard(self.name)

    def _folder(self, guidance: float) -> Path:
        return self.run.scratch(self.name) / f"guidance-{guidance:g}"

    def _paths(self, rows: pd.DataFrame) -> list[str]:
        """Where images lie, relative to the run's folder: another prompt, seed or guidance is another file."""
        folders = (self._folder(guidance) for guidance in rows["guidance"])
        files = (generate.files(rows.iloc[[k]], folder)[0] for k, folder in enumerate(folders))
        return [str(file.relative_to(self.run.folder)) for file in files]

    def _sample(self, rows: pd.DataFrame, guidance: float) -> None:
        size = self.run.images(self.train.head(1)).shape[1]  # px
        settings = self.settings | {"guidance_interval": tuple(self.settings["guidance_interval"])}
        settings |= {"guidance_scale": guidance, "size": size}
        generators = {ADAPTER: lambda requests: sampling.samples(self._pipe, requests, **settings)}
        generate.generate(generators, rows.assign(generator=ADAPTER), self._folder(guidance))

    @cached_property
    def _pipe(self) -> DiffusionPipeline:
        pipe = pipelines.load(self.run.path("base"), self.device, pipelines.fast_dtype(self.device))
        lora.load(pipe, self.run.path("adapter"))
        return lora.merge(pipe)

    @cached_property
    def _originals(self) -> np.ndarray:
        return self.run.in_parts(self.train, copies.thumbnails)
