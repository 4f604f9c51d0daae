"""The baselines that the adapter is compared with: fitted from scratch on pixels, or a word for the base; drawn alike.

Noise is on a linear schedule of 1000 steps (Ho, Jain, Abbeel, arXiv:2006.11239), words come of a frozen text encoder,
guidance is classifier-free.

scratch-unet        a UNet that attends to the words
scratch-vgg16-unet  a UNet whose encoder is VGG16
cascade             a base of a quarter of the side and an upsampler that sees its image, as in GLIDE (Nichol et al.,
                    arXiv:2112.10741), made robust by noise on that image (Ho et al., arXiv:2106.15282)

textual-inversion has no network: one new word for Stable Diffusion instead of "dermoscopic image" (Gal et al.,
arXiv:2208.01618).
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

from p2d_lib.device import generator, half
from p2d_lib.generators import BASELINES
from p2d_lib.models.pipelines import BaseError
from p2d_lib.models.pipelines import load as load_pipeline
from p2d_lib.models.pixel_unets import Denoiser, PixelUnet, Vgg16Unet
from p2d_lib.models.sampling import SOLVERS, denoise, samples
from p2d_lib.models.tiny_base import TINY
from p2d_lib.seeds import derive
from p2d_lib.words.render import TRIGGER, PromptError

FILE = "baseline.json"
FACTOR = 4  # of a cascade's upsampler
NOISED = 350  # steps of the schedule up to which low-resolution images are noised in training, as for SD's upscaler
SAMPLED = 20  # and in sampling: a standard deviation of 0.08 on pixels in -1..1

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
EMBEDS = "learned_embeds.safetensors"  # as diffusers calls it


class TextEncoder:
    """A frozen text encoder of transformers, with its tokenizer.

    source: "tiny" (that of the base that ships), a folder that transformers or diffusers wrote, or a Hugging Face id;
    of CLIP and of an encoder-decoder the text encoder is taken. Raises BaseError when there is no such thing.
    """

    def __init__(self, source: str | Path, device: torch.device | str = "cpu"):
        folder = TINY if str(source) == "tiny" else Path(source)
        self.source = str(folder.resolve()) if folder.is_dir() and folder != TINY else str(source)
        name = str(folder) if folder.is_dir() else self.source
        inside = {part: part if (folder / part).is_dir() else "" for part in ("tokenizer", "text_encoder")}
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(name, subfolder=inside["tokenizer"], padding_side="right")
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)  # a language model's weights lack the pooler, which is then drawn
                model = AutoModel.from_pretrained(name, subfolder=inside["text_encoder"], dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise BaseError(
                f"text encoder {self.source!r} cannot be loaded ({str(error).strip().splitlines()[0]}): give tiny, a "
                "folder that transformers wrote, or a Hugging Face id that this machine can download"
            ) from None
        model = model.get_encoder() if model.config.is_encoder_decoder else getattr(model, "text_model", model)
        self.model = model.to(device).eval().requires_grad_(False)
        self.width = model.config.hidden_size
        self.length = min(self.tokenizer.model_max_length, 512)  # which is huge where a folder does not say

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], batch_size: int = 128) -> torch.Tensor:
        """The last hidden states of prompts (n, length, width), zero beyond a prompt's end. Raises PromptError for one
        that would be cut."""
        read = self.tokenizer(list(prompts), padding=True, return_tensors="pt")
        ids, mask = read["input_ids"].to(self.model.device), read["attention_mask"].to(self.model.device)
        if ids.shape[1] > self.length:
            raise PromptError(
                f"text encoder {self.source!r} reads {self.length} tokens and would cut one of {ids.shape[1]}: "
                f"{prompts[int(mask.sum(1).argmax())]!r}; lower 02_describe.max_tokens or max_features"
            )
        parts = zip(ids.split(batch_size), mask.split(batch_size), strict=True)
        hidden = torch.cat([self.model(a, attention_mask=b).last_hidden_state for a, b in parts])
        return hidden * mask[..., None]

    def digest(self) -> str:
        """Names the weights, in hex."""
        found = hashlib.sha256()
        for tensor in self.model.state_dict().values():
            found.update(tensor.cpu().numpy())
        return found.hexdigest()[:16]


@dataclass
class Baseline:
    """One of SCRATCH: its text encoder and its networks, by stage ("base" and, of a cascade, "upsampler")."""

    name: str
    variant: str  # of the networks: tiny, full
    side: int  # px of its images
    text: TextEncoder
    networks: dict[str, Denoiser]

    @property
    def device(self) -> torch.device:
        return self.text.model.device

    def called(self, stage: str) -> str:
        """A stage's name among all that are fitted."""
        return self.name if len(self.networks) == 1 else f"{self.name}-{stage}"

    def side_of(self, stage: str) -> int:
        """The side, px, of a stage's images."""
        return self.side // FACTOR if (stage, len(self.networks)) == ("base", 2) else self.side

    @torch.no_grad()
    def samples(
        self,
        asked: Iterable[tuple[str, int]],
        *,
        guidance_scale: float = 2.0,
        guidance_interval: tuple[float, float] = (0.0, math.inf),
        num_inference_steps: int = 15,
        solver: str = "dpm++2m",
        batch_size: int = 32,
        size: int | None = None,
    ) -> Iterator[np.ndarray]:
        """An image for each (prompt, seed), in batches as they are done: uint8 (b, size, size, 3). As
        `diffusion.samples`, which explains the settings; by default guidance acts everywhere; of a cascade, each stage
        takes num_inference_steps. size: px; images have the side that was learnt and are resized (bicubic) to another.
        """
        asked = iter(asked)
        while batch := list(islice(asked, batch_size)):
            prompts, seeds = zip(*batch, strict=True)
            words = self.text(["", *prompts])
            conditions, image = {"words": torch.cat([words[:1].expand(len(batch), -1, -1), words[1:]])}, None
            for stage, network in self.networks.items():
                if image is not None:
                    level = torch.full((len(batch),), SAMPLED, device=self.device)
                    noise = _noise(seeds, "augmentation", self.side_of("base")).to(self.device)
                    low = network.schedule.add_noise(image.clamp(-1, 1), noise, level)
                    conditions |= {"low": low.repeat(2, 1, 1, 1), "level": level.repeat(2)}
                # early steps divide an error in noise by a signal of less than 1 %: images are kept within -1..1
                scheduler = SOLVERS[solver].from_config(network.schedule.config, thresholding=True)
                scheduler.set_timesteps(num_inference_steps)
                start = _noise(seeds, stage, self.side_of(stage)).to(self.device)
                with half(self.device):
                    image = denoise(network, start, conditions, scheduler, guidance_scale, guidance_interval)
            if size and size != self.side:
                image = F.interpolate(image, (size, size), mode="bicubic", antialias=True)
            image = image.add(1).mul(127.5).clamp(0, 255).round().to(torch.uint8)
            yield image.permute(0, 2, 3, 1).cpu().numpy()

    def sample(self, prompts: Sequence[str], seeds: Sequence[int], **settings) -> np.ndarray:
        """All at once: one image per prompt and seed, uint8 (n, size, size, 3). settings: of `samples`."""
        return np.concatenate(list(self.samples(zip(prompts, seeds, strict=True), **settings)))

    def save(self, folder: Path) -> None:
        """Writes baseline.json and <stage>.safetensors into a folder (made where missing); of the text encoder only
        its name and a digest."""
        folder.mkdir(parents=True, exist_ok=True)
        record = {"name": self.name, "variant": self.variant, "side": self.side, "text_encoder": self.text.source}
        record |= {"text_digest": self.text.digest(), "imagenet": self.networks["base"].imagenet}
        (folder / FILE).write_text(json.dumps(record, indent=1) + "\n")
        for stage, network in self.networks.items():
            weights = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
            save_file(weights, folder / f"{stage}.safetensors")


def build(
    name: str,
    variant: str = "tiny",
    side: int = 64,
    text_encoder: str | Path = "tiny",
    seed: int = 0,
    device: torch.device | str = "cpu",
    imagenet: bool = True,
) -> Baseline:
    """A baseline with weights drawn from the seed.

    name: of SCRATCH. variant: tiny (for a CPU) or full. side: px, a multiple of 8 from 32. text_encoder: see
    TextEncoder. imagenet: VGG16 starts from ImageNet weights where they can be had, else at random with a warning.
    Raises ValueError for a name, variant or side that is none, BaseError for a text encoder that cannot be loaded.
    """
    if (name, variant) not in NETWORKS or side % 8 or side < 32:
        raise ValueError(f"no baseline {name!r}, {variant!r}, {side} px: give one of {', '.join(SCRATCH)}; tiny or "
                         "full; a multiple of 8 px, at least 32")  # fmt: skip
    text = TextEncoder(text_encoder, device)
    networks = {}
    for stage, (network, sizes) in NETWORKS[name, variant].items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "baseline", name, stage))
            own = {"imagenet": imagenet} if network is Vgg16Unet else {}
            networks[stage] = network(text.width, **sizes, **own).to(device, memory_format=torch.channels_last).eval()
    return Baseline(name, variant, side, text, networks)


@dataclass
class Word:
    """Stable Diffusion as it is, and a word that was learnt for it."""

    pipe: StableDiffusionPipeline
    word: str = "<dermoscopy>"

    def ask(self, prompt: str) -> str:
        """The prompt with the word in place of "dermoscopic image", so that it grows no longer, else before it."""
        return prompt.replace(TRIGGER, self.word, 1) if TRIGGER in prompt else f"{self.word} {prompt}"

    @property
    def vector(self) -> torch.Tensor:
        """The word's embedding (width,)."""
        place = self.pipe.tokenizer.convert_tokens_to_ids(self.word)
        return self.pipe.text_encoder.get_input_embeddings().weight[place].detach()

    def samples(self, asked: Iterable[tuple[str, int]], **settings) -> Iterator[np.ndarray]:
        """As `diffusion.samples`."""
        return samples(self.pipe, ((self.ask(prompt), seed) for prompt, seed in asked), **settings)

    def sample(self, prompts: Sequence[str], seeds: Sequence[int], **settings) -> np.ndarray:
        """As `diffusion.sample`."""
        return np.concatenate(list(self.samples(zip(prompts, seeds, strict=True), **settings)))

    def save(self, folder: Path) -> None:
        """Writes the word for `pipe.load_textual_inversion(folder)` into a folder (made where missing)."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({self.word: self.vector.cpu().contiguous()}, folder / EMBEDS, metadata={"format": "pt"})


def load(
    folder: Path, device: torch.device | str = "cpu", base: str | Path = "tiny", dtype: torch.dtype = torch.float32
) -> Baseline | Word:
    """The baseline that was saved in a folder; a word is added to `base`, in `dtype`, that it was learnt for.

    Raises BaseError when the folder holds none, or when the text encoder is not the one that it was fitted with.
    """
    if (folder / EMBEDS).exists():
        pipe = load_pipeline(base, device, dtype)
        pipe.load_textual_inversion(folder)
        return Word(pipe, *load_file(folder / EMBEDS))
    if not (folder / FILE).exists():
        raise BaseError(f"{folder}: no {FILE} is here; fit the baseline in 03_finetune")
    record = json.loads((folder / FILE).read_text())
    asked = {key: record[key] for key in ("name", "variant", "side", "text_encoder")}
    baseline = build(**asked, device=device, imagenet=False)
    if baseline.text.digest() != record["text_digest"]:
        raise BaseError(f"{folder} was fitted with other weights of the text encoder {baseline.text.source!r} than are "
                        "there now: fit it again in 03_finetune")  # fmt: skip
    baseline.networks["base"].imagenet = record["imagenet"]
    for stage, network in baseline.networks.items():
        network.load_state_dict(load_file(folder / f"{stage}.safetensors"))
    return baseline


def _noise(seeds: Sequence[int], address: str, side: int) -> torch.Tensor:
    """One noise image for each seed (n, 3, side, side)."""
    return torch.stack([torch.randn(3, side, side, generator=generator(derive(int(seed), address))) for seed in seeds])
