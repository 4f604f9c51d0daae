"""Caption augmentation and caption filters: generators from scratch that differ in their captions or in their encoder.

A variant is written as a network of pixel_baselines and what differs from its plain captions: "scratch-unet+rewritten".
All variants take the same number of steps, of images of one batch size, and sample the same val prompts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from p2d_lib.files import atomic
from p2d_lib.finetune import pixel_baselines
from p2d_lib.finetune.curve import EXTRACTOR
from p2d_lib.finetune.latents import digest
from p2d_lib.finetune.loop import Monitoring
from p2d_lib.finetune.stages import Stages
from p2d_lib.finetune.training_set import Split
from p2d_lib.models import clip
from p2d_lib.models import pixel_baselines as baselines
from p2d_lib.models.checkpoints import Checkpoints
from p2d_lib.models.extractors import Extractor
from p2d_lib.parameters.finetune import CAPTION_OPTIONS
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import FEATURES
from p2d_lib.words.render import PRESENT
from p2d_lib.words.wording import Wording, lesions

EVALUATIONS, EVALUATED = 8, 320  # of the loss on val in a training; images of val that each reads: a tenth of the time
REWRITTEN, CONCEPTS, ENTROPY, ENCODER = CAPTION_OPTIONS


@dataclass(frozen=True)
class Trained:
    """One training of a variant."""

    variant: str
    seed: int
    n_train: int  # images that it may be shown
    changed: float  # share of their captions that are not plain, 0..1
    log: pd.DataFrame  # columns steps, val_loss (captions of val are plain for all)
    seconds: float
    features: dict[str, np.ndarray]  # (n, d) of its images of val prompts, by how these are worded: plain, rewritten


@dataclass(frozen=True)
class CaptionStudy:
    """The trainings of all variants. stages: of 03, whose train split, val split and recipe they share."""

    stages: Stages
    wording: Wording  # of the run

    @cached_property
    def extractor(self) -> Extractor:
        """The independent network."""
        return Extractor(EXTRACTOR, self.stages.device, self.stages.run.folder / "features")

    @cached_property
    def held_out(self) -> np.ndarray:
        """Rows of val, one of a lesion and in random order, whose prompts are sampled: int (n,)."""
        return self._lesions(self.stages.val, "captions")

    @cached_property
    def real(self) -> np.ndarray:
        """Features (n, d) of the real val images of `held_out`."""
        return self._features(self.stages.val, self.held_out)

    @cached_property
    def known(self) -> np.ndarray:
        """Features (n, d) of as many real train images, one of a lesion: how near to `real` images can come."""
        return self._features(self.stages.train, self._lesions(self.stages.train, "captions", "floor"))

    def train(self) -> list[Trained]:
        """All variants with all seeds; finished trainings are kept, so that an interrupted call goes on.

        Raises ValueError where there are no val images.
        """
        p = self.stages.p
        if self.stages.val is None:
            raise ValueError("caption_study compares images of val prompts, and no val image has a valid description: "
                             "set 03_finetune.caption_study to []")  # fmt: skip
        return [self._trained(variant, k) for k in range(p.caption_seeds) for variant in p.caption_study]

    def rows(self, options: Sequence[str]) -> np.ndarray:
        """Rows of train that a variant is shown: with "entropy", all but the share with the least entropy."""
        entropy = self.stages.train.cases["entropy"].to_numpy()
        least = np.quantile(entropy, self.stages.p.caption_entropy) if ENTROPY in options else -np.inf
        return np.flatnonzero(entropy >= least)

    def captions(self, options: Sequence[str], text: baselines.TextEncoder) -> list[str]:
        """The captions of train: paraphrased, of the most frequent concepts alone, or as the run words them.

        A paraphrase that is longer than the wording allows, or than the text encoder takes, is not used.
        """
        train, worded = self.stages.train, self._worded(options)
        return self._prompts(worded, train.cases, text) if {REWRITTEN, CONCEPTS} & set(options) else train.prompts

    @property
    def concepts(self) -> tuple[str, ...]:
        """The caption_concepts features that most train images show."""
        shown = (self.stages.train.cases[list(FEATURES)] >= PRESENT).mean().sort_values(ascending=False, kind="stable")
        return tuple(shown.index[: self.stages.p.caption_concepts])

    def _lesions(self, split: Split, *address: str) -> np.ndarray:
        p = self.stages.p
        return split.one_of_a_lesion(p.caption_images, np.random.default_rng(derive(p.seed, *address)))

    def _features(self, split: Split, rows: np.ndarray) -> np.ndarray:
        """Of images read in the order of the file, which is fast, in the order of `rows`."""
        return self.extractor(split.pixels[np.sort(rows)])[np.argsort(np.argsort(rows))]

    def _worded(self, options: Sequence[str]) -> Wording:
        concepts = self.concepts if CONCEPTS in options else self.wording.concepts
        known = tuple(name for name in concepts if name in self.wording.concepts)
        return replace(self.wording, concepts=known, paraphrased=REWRITTEN in options)

    def _prompts(self, worded: Wording, cases: pd.DataFrame, text: baselines.TextEncoder) -> list[str]:
        def count(prompt: str) -> int:
            return clip.count_tokens(prompt) if text.takes(prompt) else worded.max_tokens + 1

        return worded.prompts(lesions(cases, cases), count, self.stages.p.seed, cases["image_id"].tolist())

    def _trained(self, variant: str, k: int) -> Trained:
        folder = self.stages.run.scratch("captions") / f"{variant}-{k}"
        path = folder / f"{self._key(variant, k)[:24]}.npz"
        if not path.exists():
            record, features = self._fit(variant, k, folder)
            with atomic(path) as partial, partial.open("wb") as file:
                np.savez(file, record=json.dumps(record), **features)
        with np.load(path) as stored:
            record = json.loads(str(stored["record"]))
            features = {name: stored[name] for name in ("plain", "rewritten")}
        log = pd.DataFrame(record.pop("log"))
        return Trained(variant, k, **record, log=log, features=features)

    def _key(self, variant: str, k: int) -> str:
        p, run = self.stages.p, self.stages
        settings = {name: value for name, value in p.model_dump().items() if name.startswith(("caption", "baseline"))}
        settings |= {"caption_study": "", "caption_seeds": "", "guidance": p.num_inference_steps}
        return digest(run.train, run.val, json.dumps([variant, k, settings, p.batch_size]), str(self.wording))

    def _fit(self, variant: str, k: int, folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
        """The record of one training and the features of its images."""
        stages, p = self.stages, self.stages.p
        network, *options = variant.split("+")
        text = p.caption_encoder if ENCODER in options else p.baseline_text_encoder
        seed, rows = derive(p.seed, "captions", k), self.rows(options)
        model = baselines.build(network, p.baseline_variant, p.baseline_size, text, seed, stages.device)
        cache, train, val = stages.run.scratch("latents"), stages.train, stages.val
        captions = np.array(self.captions(options, model.text), object)[rows].tolist()
        encoded = pixel_baselines.encode(model, train.pixels[rows], captions, cache)
        few = np.sort(np.random.default_rng(derive(p.seed, "captions", "val")).permutation(len(val))[:EVALUATED])
        held_out = pixel_baselines.encode(model, val.pixels[few], val.cases["prompt"].iloc[few].tolist(), cache)
        recipe = replace(stages.recipe(p.caption_steps, p.baseline_learning_rate), seed=seed)
        log = pixel_baselines.fit_stage(
            model, "base", encoded, recipe, train.weights[rows], Checkpoints(folder, p.checkpoint_minutes),
            Monitoring(max(1, p.caption_steps // EVALUATIONS), held_out),
        )  # fmt: skip
        losses = log.dropna(subset="val_loss")
        plain = train.prompts
        changed = np.mean([caption != plain[row] for row, caption in zip(rows, captions, strict=True)])
        record = {"n_train": len(rows), "changed": float(changed), "seconds": float(log["seconds"].iloc[-1])}
        record["log"] = {"steps": (losses["step"] + 1).tolist(), "val_loss": losses["val_loss"].tolist()}
        cases = val.cases.iloc[self.held_out]
        worded = {"plain": cases["prompt"].tolist()}
        worded["rewritten"] = self._prompts(self._worded([REWRITTEN]), cases, model.text)
        seeds = [derive(p.seed, "captions", image_id) for image_id in cases["image_id"]]
        settings = {"guidance_scale": p.baseline_guidance, "num_inference_steps": p.num_inference_steps}
        features = {
            name: self.extractor(model.sample(prompts, seeds, size=stages.size, **settings))
            for name, prompts in worded.items()
        }
        return record, features
