"""The baselines that are fitted from scratch on pixels, with which the adapter is compared.

The noise schedule is linear with 1000 steps (Ho, Jain, Abbeel, arXiv:2006.11239), a frozen text encoder encodes the
prompts, guidance is classifier-free.

scratch-unet        a UNet that attends to the prompt's tokens
scratch-vgg16-unet  a UNet whose encoder is VGG16
cascade             a network for images of a quarter of the side ("base") and one that enlarges them ("upsampler"), as
                    in GLIDE (Nichol et al., arXiv:2112.10741), made robust by noise on the small image (Ho et al.,
                    arXiv:2106.15282)

The fourth baseline, textual inversion, has no network and lies in textual_inversion.py.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

from p2d_lib.device import generator, half
from p2d_lib.generators import BASELINES
from p2d_lib.models import textual_inversion, weights
from p2d_lib.models.encoding import PROMPTS_AT_ONCE
from p2d_lib.models.pipelines import BaseError
from p2d_lib.models.pixel_unets import Denoiser, PixelUnet, Vgg16Unet
from p2d_lib.models.sampling import SOLVERS, denoising_steps
from p2d_lib.models.tiny_base import TINY
from p2d_lib.seeds import derive
from p2d_lib.words.render import PromptError

RECORD = "baseline.json"  # name, sizes and text encoder of a saved baseline
UPSAMPLING_FACTOR = 4  # of a cascade
# A cascade's small image gets noise, so that the upsampler learns to tolerate its faults: in training the noise of a
# random step of the schedule up to the first number (as in Stable Diffusion's upscaler), in sampling that of the
# second, which is a standard deviation of 0.08 on pixels in -1..1.
MAX_TRAINING_NOISE_STEP, SAMPLING_NOISE_STEP = 350, 20

# The networks of each baseline by stage: tiny ones for a CPU, full ones for a GPU.
NETWORKS = {
    ("scratch-unet", "tiny"): {
        "base": (PixelUnet, {"patch": 4, "channels": (16, 32, 64), "attention": (2,), "layers": 1}),
    },
    ("scratch-unet", "full"): {
        "base": (PixelUnet, {"patch": 1, "channels": (128, 256, 384, 512), "attention": (2, 3), "layers": 2}),
    },
    ("scratch-vgg16-unet", "tiny"): {"base": (Vgg16Unet, {"patch": 2, "share": 1 / 8})},
    ("scratch-vgg16-unet", "full"): {"base": (Vgg16Unet, {"patch": 1, "share": 1.0})},
    ("cascade", "tiny"): {
        "base": (PixelUnet, {"patch": 2, "channels": (32, 64), "attention": (1,), "layers": 1}),
        "upsampler": (PixelUnet, {"patch": 4, "channels": (16, 32), "attention": (), "layers": 1, "upsampler": True}),
    },
    ("cascade", "full"): {
        "base": (PixelUnet, {"patch": 1, "channels": (192, 384, 576), "attention": (0, 1, 2), "layers": 2}),
        "upsampler": (
            PixelUnet,
            {"patch": 1, "channels": (96, 192, 288, 384), "attention": (3,), "layers": 2, "upsampler": True},
        ),
    },
}
*SCRATCH, INVERSION = BASELINES


class TextEncoder:
    """A frozen text encoder of transformers, with its tokenizer.

    source: "tiny" (that of the base that ships), a folder that transformers or diffusers wrote, a Hugging Face id or
    id@revision; of CLIP and of an encoder-decoder the text encoder is taken. Raises BaseError when it does not
    exist.
    """

    def __init__(self, source: str | Path, device: torch.device | str = "cpu"):
        try:
            origin = weights.Source("tiny") if str(source) == "tiny" else weights.resolve(source)
            folder = TINY if str(source) == "tiny" else Path(origin.name)
            name = str(folder) if folder.is_dir() else origin.name
            # a folder of diffusers holds them in subfolders
            inside = {part: part if (folder / part).is_dir() else "" for part in ("tokenizer", "text_encoder")}
            self.tokenizer = AutoTokenizer.from_pretrained(
                name, subfolder=inside["tokenizer"], padding_side="right", **origin.options
            )
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)  # a language model's weights lack the pooler, which then is initialised at random
                model = AutoModel.from_pretrained(
                    name, subfolder=inside["text_encoder"], dtype=torch.float32, **origin.options
                )
        except (weights.WeightsError, OSError, ValueError) as error:
            raise BaseError(
                f"text encoder {str(source)!r} cannot be loaded ({str(error).strip().splitlines()[0]}): give tiny, a "
                "folder that transformers wrote, or a Hugging Face id (id@revision for one commit) that this machine "
                "can download"
            ) from None
        self.source = str(origin)
        model = model.get_encoder() if model.config.is_encoder_decoder else getattr(model, "text_model", model)
        self.model = model.to(device).eval().requires_grad_(False)
        self.width = model.config.hidden_size
        self.length = min(self.tokenizer.model_max_length, 512)  # a folder without a maximum gives a huge number

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> torch.Tensor:
        """The last hidden states of prompts, float32 (n, length, width), zero beyond a prompt's end.

        Raises PromptError for a prompt that is longer than the text encoder.
        """
        tokens = self.tokenizer(list(prompts), padding=True, return_tensors="pt")
        ids, mask = tokens["input_ids"].to(self.model.device), tokens["attention_mask"].to(self.model.device)
        if ids.shape[1] > self.length:
            raise PromptError(
                f"text encoder {self.source!r} takes {self.length} tokens and would cut one of {ids.shape[1]}: "
                f"{prompts[int(mask.sum(1).argmax())]!r}; lower 02_describe.max_tokens or max_features"
            )
        parts = zip(ids.split(PROMPTS_AT_ONCE), mask.split(PROMPTS_AT_ONCE), strict=True)
        hidden = torch.cat([self.model(a, attention_mask=b).last_hidden_state for a, b in parts])
        return hidden * mask[..., None]

    def takes(self, prompt: str) -> bool:
        """Whether a prompt is short enough to be read whole."""
        return len(self.tokenizer(prompt)["input_ids"]) <= self.length

    def sha256(self) -> str:
        """Of the weights, in hex (see `weights.sha256`)."""
        return weights.sha256(self.model)


@dataclass
class Baseline:
    """One of SCRATCH: its text encoder and its networks, by stage ("base" and, of a cascade, "upsampler")."""

    name: str
    variant: str  # of the networks: tiny or full
    side: int  # px of its images
    text: TextEncoder
    networks: dict[str, Denoiser]

    @property
    def device(self) -> torch.device:
        return self.text.model.device

    def stage_name(self, stage: str) -> str:
        """The name of a stage's training, such as cascade-upsampler; a baseline of one stage has its own name."""
        return self.name if len(self.networks) == 1 else f"{self.name}-{stage}"

    def side_of(self, stage: str) -> int:
        """The side, px, of a stage's images."""
        return self.side // UPSAMPLING_FACTOR if (stage, len(self.networks)) == ("base", 2) else self.side

    @torch.no_grad()
    def samples(
        self,
        requests: Iterable[tuple[str, int]],
        *,
        guidance_scale: float,
        guidance_interval: tuple[float, float] = (0.0, math.inf),
        num_inference_steps: int = 15,
        solver: str = "dpm++2m",
        batch_size: int = 32,
        size: int | None = None,
    ) -> Iterator[np.ndarray]:
        """An image for each request (prompt, seed), in batches as they are done: uint8 (b, size, size, 3).

        The settings are those of `sampling.samples`; by default guidance acts at all noise levels. Of a cascade, each
        stage takes num_inference_steps. size: px; images have the side that was learnt and are resized (bicubic) to
        another.
        """
        requests = iter(requests)
        while batch := list(islice(requests, batch_size)):
            prompts, seeds = zip(*batch, strict=True)
            embeddings, image = self.text(["", *prompts]), None
            conditions = {"embeddings": torch.cat([embeddings[:1].expand(len(batch), -1, -1), embeddings[1:]])}
            for stage, network in self.networks.items():
                if image is not None:
                    level = torch.full((len(batch),), SAMPLING_NOISE_STEP, device=self.device)
                    noise = _noise(seeds, "augmentation", self.side_of("base")).to(self.device)
                    low = network.schedule.add_noise(image.clamp(-1, 1), noise, level)
                    conditions |= {"low": low.repeat(2, 1, 1, 1), "level": level.repeat(2)}
                scheduler = SOLVERS[solver].from_config(network.schedule.config)
                scheduler.set_timesteps(num_inference_steps)
                start = _noise(seeds, stage, self.side_of(stage)).to(self.device)
                with half(self.device):
                    settings = (conditions, scheduler, guidance_scale, guidance_interval)
                    for step in denoising_steps(network, start, *settings, clip=True):
                        image = step.latents
            if size and size != self.side:
                image = F.interpolate(image, (size, size), mode="bicubic", antialias=True)
            image = image.add(1).mul(127.5).clamp(0, 255).round().to(torch.uint8)
            yield image.permute(0, 2, 3, 1).cpu().numpy()

    def sample(self, prompts: Sequence[str], seeds: Sequence[int], **settings) -> np.ndarray:
        """All at once: one image per prompt and seed, uint8 (n, size, size, 3). settings: of `samples`."""
        return np.concatenate(list(self.samples(zip(prompts, seeds, strict=True), **settings)))

    def save(self, folder: Path) -> None:
        """Writes baseline.json and <stage>.safetensors into a folder (made where missing).

        Of the text encoder, baseline.json holds where it was loaded from, with the commit of a Hugging Face id, and the
        SHA-256 of its weights.
        """
        folder.mkdir(parents=True, exist_ok=True)
        record = {"name": self.name, "variant": self.variant, "side": self.side, "text_encoder": self.text.source}
        record |= {"text_sha256": self.text.sha256(), "imagenet": self.networks["base"].imagenet}
        (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")
        for stage, network in self.networks.items():
            tensors = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
            save_file(tensors, folder / f"{stage}.safetensors")


def build(
    name: str,
    variant: str = "tiny",
    side: int = 64,
    text_encoder: str | Path = "tiny",
    seed: int = 0,
    device: torch.device | str = "cpu",
    imagenet: bool = True,
) -> Baseline:
    """A baseline whose weights are initialised from the seed.

    name: of SCRATCH. variant: tiny (for a CPU) or full. side: px, a multiple of 8 from 32. text_encoder: see
    TextEncoder. imagenet: VGG16 starts from ImageNet weights where they can be had, else at random with a warning.
    Raises ValueError for an unknown name or variant or an impossible side, BaseError for a text encoder that cannot be
    loaded.
    """
    if (name, variant) not in NETWORKS or side % 8 or side < 32:
        raise ValueError(f"no baseline {name!r}, {variant!r}, {side} px: give one of {', '.join(SCRATCH)}; tiny or "
                         "full; a multiple of 8 px, at least 32")  # fmt: skip
    text = TextEncoder(text_encoder, device)
    networks = {}
    for stage, (network, sizes) in NETWORKS[name, variant].items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "baseline", name, stage))
            start = {"imagenet": imagenet} if network is Vgg16Unet else {}
            networks[stage] = network(text.width, **sizes, **start).to(device, memory_format=torch.channels_last).eval()
    return Baseline(name, variant, side, text, networks)


def load(
    folder: Path, device: torch.device | str = "cpu", base: str | Path = "tiny", dtype: torch.dtype = torch.float32
) -> Baseline | textual_inversion.LearnedToken:
    """The baseline that was saved in a folder; textual inversion is loaded into `base`, in `dtype`.

    Raises BaseError when the folder holds no baseline, or when the text encoder has other weights than the baseline was
    fitted with.
    """
    if (folder / textual_inversion.WEIGHTS).exists():
        return textual_inversion.load(folder, device, base, dtype)
    if not (folder / RECORD).exists():
        raise BaseError(f"{folder}: no {RECORD} is here; fit the baseline in 03_finetune")
    record = json.loads((folder / RECORD).read_text())
    settings = {key: record[key] for key in ("name", "variant", "side", "text_encoder")}
    baseline = build(**settings, device=device, imagenet=False)
    if baseline.text.sha256() != record["text_sha256"]:
        raise BaseError(
            f"{folder} was fitted with other weights of the text encoder {baseline.text.source!r} than are there now: "
            "put the former weights back, or fit it again in 03_finetune"
        )
    baseline.networks["base"].imagenet = record["imagenet"]
    for stage, network in baseline.networks.items():
        network.load_state_dict(load_file(folder / f"{stage}.safetensors"))
    return baseline


def _noise(seeds: Sequence[int], address: str, side: int) -> torch.Tensor:
    """One noise image for each seed (n, 3, side, side)."""
    return torch.stack([torch.randn(3, side, side, generator=generator(derive(int(seed), address))) for seed in seeds])
