"""The stages of 03, from its parameters: what the notebook calls cell by cell, and `distributed` on several GPUs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from p2d_lib.finetune import latents, pixel_baselines
from p2d_lib.finetune.adapter import fit_adapter
from p2d_lib.finetune.alignment import alignment_model
from p2d_lib.finetune.base import fit_autoencoder, fit_base, sampled_latents
from p2d_lib.finetune.curve import Curve
from p2d_lib.finetune.decoder import DecoderRecipe, fit_decoder
from p2d_lib.finetune.latents import digest
from p2d_lib.finetune.loop import Monitoring, Recipe
from p2d_lib.finetune.previews import Previews
from p2d_lib.finetune.prior import sample_prior
from p2d_lib.finetune.scout import fit_scout
from p2d_lib.finetune.training_set import Split, read
from p2d_lib.models import clip, encoding, pipelines, sampling
from p2d_lib.models import pixel_baselines as baselines
from p2d_lib.models.checkpoints import Checkpoints
from p2d_lib.models.classifiers import Classifier
from p2d_lib.models.processes import processes
from p2d_lib.models.textual_inversion import LearnedToken
from p2d_lib.parameters import Finetune
from p2d_lib.run import Run
from p2d_lib.seeds import derive

SCRATCH = ("checkpoints", "previews", "curve", "pixels", "prior", "captions")  # of no use once 03 has finished


@dataclass
class Stages:
    """Fits the models of 03, one method a stage; logs and samples are kept for the report.

    run: the run of 03. p: its parameters. An interrupted stage continues from its checkpoint when it is called again.
    """

    run: Run
    p: Finetune
    device: torch.device
    logs: dict[str, pd.DataFrame] = field(default_factory=dict)  # by model, one row per step
    parameters: dict[str, int] = field(default_factory=dict)  # by model: how many numbers were fitted
    samples: dict[str, np.ndarray] = field(default_factory=dict)  # by model: one image per example prompt
    curve: Curve | None = None  # of the base, where it is trained and measured

    def __post_init__(self):
        self.train, self.val = read(self.run, self.p.reviewed_only)
        self.size = self.train.pixels.shape[1]  # px
        self.weights = self.train.weights * self.train.emphasis(self.p.emphasis)  # of the images, in all batches
        self.epoch = math.ceil(len(self.train) / self.p.batch_size)  # steps
        self.checkpoints = Checkpoints(self.run.scratch("checkpoints"), self.p.checkpoint_minutes)
        examples = self.train.examples
        seeds = [derive(self.p.seed, "shown", dx) for dx in examples.index]
        self.examples = {"prompts": examples["prompt"].tolist(), "seeds": seeds, "size": self.size}

    def recipe(self, steps: int, learning_rate: float) -> Recipe:
        """The recipe of one diffusion model; the settings that all share come from the parameters."""
        shared = (
            "batch_size", "seed", "schedule", "snr_gamma", "caption_dropout", "ema", "accumulate",
            "gradient_checkpointing", "precision",
        )  # fmt: skip
        return Recipe(steps=steps, learning_rate=learning_rate, **{name: getattr(self.p, name) for name in shared})

    def guidance(self) -> dict[str, Any]:
        """How base, adapter and textual inversion sample here."""
        p = self.p
        return {
            "guidance_scale": p.guidance_scale, "guidance_interval": tuple(p.guidance_interval),
            "num_inference_steps": p.num_inference_steps,
        }  # fmt: skip

    def base(self):
        """The base: loaded, and fitted where the parameters ask for it."""
        p = self.p
        pipe = pipelines.load(p.base, self.device, seed=p.seed)
        if p.base == "random":
            fit_autoencoder(pipe, self.train.pixels, p.seed)
        self._check_prompts(pipe)
        if p.base_steps:
            encoded, held_out = (
                self._encode(pipe, self.train, "tokens"),
                self.val and self._encode(pipe, self.val, "tokens"),
            )
            recipe = self.recipe(p.base_steps, p.base_learning_rate)
            self.curve = self._curve(pipe, recipe) if p.curve_images and self.val else None
            monitoring = Monitoring(p.evaluate_every * self.epoch, held_out, self.curve)
            self.logs["base"] = fit_base(
                pipe, encoded, self.train.prompts, recipe, self.checkpoints, monitoring, self.weights,
                tuple(p.base_times),
            )  # fmt: skip
            parts = (pipe.unet, *pipelines.encoders(pipe))
            self.parameters["base"] = sum(w.numel() for part in parts for w in part.parameters())
        if p.decoder_steps:
            self._fit_decoder(pipe)
            if self.curve and processes(self.device).is_main_process:
                self.curve(p.base_steps, decoder_fitted=True)
        return pipe

    def adapter(self, pipe) -> Previews:
        """Adds the adapter to the base and fits it; returns the images that were sampled while it was fitted."""
        p, words = self.p, "tokens" if self.p.lora_text_encoder else "embeddings"
        encoded, held_out = self._encode(pipe, self.train, words), self.val and self._encode(pipe, self.val, words)
        prior = self._prior(pipe, words) if p.prior_per_class else None
        previews = Previews(pipe, **self.examples, folder=self.run.scratch("previews"), **self.guidance())
        monitoring = Monitoring(
            p.evaluate_every * self.epoch, held_out, previews, trackers=p.trackers, folder=self.run.folder / "logs"
        )
        self.logs["adapter"] = fit_adapter(
            pipe, encoded, self.recipe(p.lora_steps, p.learning_rate), p.lora_rank, self.weights,
            self.checkpoints, alpha=p.lora_alpha or None, targets=p.lora_targets, dropout=p.lora_dropout, prior=prior,
            prior_weight=p.prior_weight, monitoring=monitoring,
        )  # fmt: skip
        named = [w for part in (pipe.unet, *pipelines.encoders(pipe)) for w in part.named_parameters()]
        self.parameters["adapter"] = sum(w.numel() for name, w in named if "lora" in name)
        self.encoded = encoded
        return previews

    def baselines(self, names: Sequence[str]) -> Iterator[tuple[str, baselines.Baseline | LearnedToken]]:
        """Fits these baselines, one after the other, after the adapter; yields each with its name."""
        p, pixels, prompts = self.p, self.train.pixels, self.train.prompts
        fitting = {"weights": self.weights, "checkpoints": self.checkpoints}
        for name in names:
            fitting["recipe"] = self.baseline_recipe(name)
            if name == baselines.INVERSION:
                model = LearnedToken(pipelines.load(self.run.path("base"), self.device))
                self.logs |= pixel_baselines.fit_inversion(model, self.encoded, prompts, **fitting)
                self.parameters[name] = model.vector.numel()
            else:
                text = p.baseline_text_encoder
                model = baselines.build(name, p.baseline_variant, p.baseline_size, text, p.seed, self.device)
                encoded = pixel_baselines.encode(model, pixels, prompts, self.run.scratch("latents"))
                self.logs |= pixel_baselines.fit_baseline(model, encoded, **fitting)
                for stage, network in model.networks.items():
                    self.parameters[model.stage_name(stage)] = sum(w.numel() for w in network.parameters())
            yield name, model

    def baseline_recipe(self, name: str) -> Recipe:
        """The recipe of a baseline; the cascade may have one of its own."""
        p = self.p
        recipe = self.recipe(p.baseline_steps, p.baseline_learning_rate)
        if name != "cascade":
            return recipe
        return replace(
            recipe, steps=p.cascade_steps or recipe.steps, batch_size=p.cascade_batch_size or recipe.batch_size,
            learning_rate=p.cascade_learning_rate or recipe.learning_rate,
        )  # fmt: skip

    def sample(self, name: str, model) -> None:
        """Samples one image per example prompt: of the base, the adapter (a pipeline), or a baseline."""
        if isinstance(model, baselines.Baseline):
            p = self.p
            settings = {"guidance_scale": p.baseline_guidance, "guidance_interval": (0.0, math.inf)}
            images = model.sample(**self.examples, **settings, num_inference_steps=p.num_inference_steps)
        elif isinstance(model, LearnedToken):
            images = model.sample(**self.examples, **self.guidance())
        else:
            images = sampling.sample(model, **self.examples, **self.guidance())
        self.samples[name] = images

    def scout(self) -> Classifier:
        """Fits the scout."""
        p = self.p
        scout, self.logs["scout"] = fit_scout(
            self.train, p.scout_backbone, steps=p.scout_steps, batch_size=p.scout_batch_size,
            learning_rate=p.scout_learning_rate, seed=derive(p.seed, "scout"), device=self.device,
            checkpoints=self.checkpoints,
        )  # fmt: skip
        self.parameters["scout"] = sum(w.numel() for w in scout.parameters())
        return scout

    def alignment(self) -> clip.Clip:
        """Fits the alignment model, or loads a published one."""
        p = self.p
        model, log = alignment_model(
            p.alignment_model, self.train, steps=p.alignment_steps, batch_size=p.alignment_batch_size,
            seed=derive(p.seed, "alignment"), device=self.device, checkpoints=self.checkpoints,
        )  # fmt: skip
        if log is not None:
            self.logs["alignment"] = log
            self.parameters["alignment"] = sum(w.numel() for w in model.model.parameters())
        return model

    def finish(self) -> None:
        """Removes the unfinished work of all stages: the same work begins anew when it is started again."""
        for name in SCRATCH:
            self.run.discard(name)

    def _encode(self, pipe, split: Split, words: str) -> latents.Encoded:
        return latents.encode(pipe, split.pixels, split.prompts, self.run.scratch("latents"), words=words)

    def _curve(self, pipe, recipe: Recipe) -> Curve:
        settings = repr((recipe, self.p.curve_images, self.guidance()))
        key = digest(self.train, self.val, settings, self.p.base)
        return Curve(
            pipe, self.train, self.val, self.p.curve_images, self.p.seed, self.run.scratch("curve") / key[:24],
            size=self.size, **self.guidance(),
        )  # fmt: skip

    def _fit_decoder(self, pipe) -> None:
        if not getattr(pipe.vae, "details", None):
            raise pipelines.BaseError(
                f"decoder_steps is {self.p.decoder_steps}, but only the tiny base's decoder can be trained, and "
                f"{self.p.base!r} has another: set 03_finetune.decoder_steps to 0"
            )
        cache, prompts = self.run.scratch("latents"), self.train.prompts
        sampled = sampled_latents(pipe, prompts, self.p.seed, cache, size=self.size, **self.guidance())
        recipe = DecoderRecipe(self.p.decoder_steps, self.p.seed)
        self.logs["decoder"] = fit_decoder(pipe.vae, self.train.pixels, sampled, recipe, self.checkpoints)
        self.parameters["decoder"] = sum(w.numel() for w in pipe.vae.details.parameters())

    def _prior(self, pipe, words: str) -> latents.Encoded:
        cases = self.train.cases.groupby("dx").head(self.p.prior_per_class)
        prompts, seeds = cases["prompt"].tolist(), [derive(self.p.seed, "prior", i) for i in cases["image_id"]]
        pixels = sample_prior(pipe, prompts, seeds, self.run.scratch("prior"), size=self.size, **self.guidance())
        return latents.encode(pipe, pixels, prompts, self.run.scratch("latents"), words=words)

    def _check_prompts(self, pipe) -> None:
        """Raises PromptError now, and not hours later, for a prompt that textual inversion would make too long."""
        if baselines.INVERSION in self.p.baselines:
            encoding.tokens(pipe, [LearnedToken(pipe).insert(prompt) for prompt in self.train.prompts])
