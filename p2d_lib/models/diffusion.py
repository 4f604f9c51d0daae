"""Latent diffusion in the Stable Diffusion architecture: a tiny one of our own, and any that diffusers can load.

The tiny one is meant for two CPU cores: 64 px images, a linear autoencoder of 4 x 4 px patches, a denoiser that
attends to words where its maps are small, a word-level text encoder. Prediction is v (Salimans, Ho, arXiv:2202.00512)
on a noise schedule that ends in pure noise (Lin et al., arXiv:2305.08891), so brightness and skin tone are free.
Everything here takes Stable Diffusion 1.5 and 2.1 in the same way.
"""

import copy
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    SchedulerMixin,
    UNet2DConditionModel,
)
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.utils import logging
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from p2d_lib.device import generator
from p2d_lib.prompts import SKIN_WORDS, PromptError
from p2d_lib.vocabulary import DX_NAMES, FEATURES, SITES

TINY = Path(__file__).with_name("tiny")  # the weights that ship
POINTER = "pointer.json"  # stands in a folder for a base that lies elsewhere
TOKENS = 64  # read of a prompt by the tiny text encoder
SOLVERS = {  # deterministic ones: an image depends on its noise alone
    "dpm++2m": DPMSolverMultistepScheduler,  # Lu et al., arXiv:2211.01095
    "ddim": DDIMScheduler,  # Song, Meng, Ermon, arXiv:2010.02502
    "euler": EulerDiscreteScheduler,  # Karras et al., arXiv:2206.00364, algorithm 2 without its second half
}
# Where guidance acts, and how strongly: three guided steps of 15. The tiny base comes nearer to the phantom than with
# any guidance everywhere, and obeys its words as well as with 2 everywhere (benchmarks/sample_speed.py).
INTERVAL, GUIDANCE = (1.4, 3.0), 5.0
DECODED = 2**21  # pixels at once: eight images of 512 px

logging.set_verbosity_error()  # diffusers warns about the missing safety checker at every load
logging.disable_progress_bar()
transformers_logging.disable_progress_bar()


class BaseError(Exception):
    """A base that cannot be loaded; the message names it."""


class PatchAutoencoder(ModelMixin, ConfigMixin):
    """Latents as principal components of patches: the linear autoencoder of least error, fitted in closed form.

    Stands in a pipeline where AutoencoderKL does. Within minutes of CPU time a convolutional one stays blurred (29 dB
    on the phantom after 400 steps), this one keeps pigment networks and hair (37 dB with 8 channels) at no cost.
    """

    @register_to_config
    def __init__(self, patch: int = 4, latent_channels: int = 8, scaling_factor: float = 1.0):
        super().__init__()
        self.encoder = torch.nn.Conv2d(3, latent_channels, patch, stride=patch)
        self.decoder = torch.nn.ConvTranspose2d(latent_channels, 3, patch, stride=patch)
        self.register_to_config(
            block_out_channels=[0] * patch.bit_length()
        )  # whose length diffusers halves the side by

    def encode(self, pixels: torch.Tensor) -> AutoencoderKLOutput:
        """(n, 3, h, w) in -1..1 -> latents (n, latent_channels, h / patch, w / patch), without spread."""
        mean = self.encoder(pixels)
        return AutoencoderKLOutput(DiagonalGaussianDistribution(torch.cat([mean, torch.full_like(mean, -30)], dim=1)))

    def decode(self, latents: torch.Tensor, return_dict: bool = True, generator=None) -> DecoderOutput | tuple:
        """Latents -> (n, 3, h, w)."""
        pixels = self.decoder(latents)
        return DecoderOutput(pixels) if return_dict else (pixels,)

    @torch.no_grad()
    def fit(self, images: np.ndarray) -> "PatchAutoencoder":
        """Sets the weights to the principal components of the patches of images, uint8 (n, h, w, 3).

        A component of variance v gets the variance sqrt(v / v_1): whitened, the finest would weigh as much in the
        denoiser's loss as the coarsest; as they are, it would hardly see them.
        """
        side, channels = self.config.patch, self.config.latent_channels
        patches = torch.nn.functional.unfold(
            to_pixels(images, self).cpu(), side, stride=side
        )  # (n, 3 * side^2, places)
        patches = patches.transpose(1, 2).flatten(0, 1).double()
        mean = patches.mean(0)
        variance, components = torch.linalg.eigh(torch.cov(patches.T))
        variance, components = variance.flip(0)[:channels], components.flip(1)[:, :channels].T  # largest first
        components *= components.gather(1, components.abs().argmax(1, keepdim=True)).sign()  # which is arbitrary
        scale = ((variance / variance[0]).pow(0.25) / variance.sqrt())[:, None]
        self.encoder.weight.copy_((components * scale).reshape(self.encoder.weight.shape))
        self.encoder.bias.copy_(-(components * scale) @ mean)
        self.decoder.weight.copy_((components / scale).reshape(self.decoder.weight.shape))
        self.decoder.bias.copy_(mean.reshape(3, -1).mean(1))
        return self


def tiny_pipeline(seed: int) -> StableDiffusionPipeline:
    """The tiny pipeline with random weights: denoiser 4.0 M, text encoder 0.3 M parameters, autoencoder 768."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = PatchAutoencoder()
        unet = UNet2DConditionModel(
            in_channels=vae.config.latent_channels, out_channels=vae.config.latent_channels, sample_size=16,
            block_out_channels=(32, 64, 128), layers_per_block=1, norm_num_groups=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
            cross_attention_dim=96, attention_head_dim=4,  # which diffusers reads as their number
        )  # fmt: skip
        tokenizer = _tokenizer()
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer), hidden_size=96, intermediate_size=384, num_hidden_layers=2,
                num_attention_heads=3, max_position_embeddings=TOKENS, projection_dim=96,
                bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )  # fmt: skip
    scheduler = DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False,
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing", steps_offset=1,
    )  # fmt: skip
    return _pipeline(vae=vae, unet=unet, text_encoder=text_encoder.eval(), tokenizer=tokenizer, scheduler=scheduler)


def _tokenizer() -> CLIPTokenizer:
    """CLIP's byte-level BPE with merges for the words that prompts are made of; other words become letters."""
    corpus = [*DX_NAMES.values(), *SITES, *SKIN_WORDS, *(feature.phrase for feature in FEATURES.values())]
    corpus = [*corpus, "dermoscopic image of", "marked", "and color colors", "skin"]
    trainer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trainer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer.train_from_iterator(corpus, trainers.BpeTrainer(show_progress=False, end_of_word_suffix="</w>"))
    merges = [tuple(pair) for pair in json.loads(trainer.to_str())["model"]["merges"]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    words = [*dict.fromkeys(words), "<|startoftext|>", "<|endoftext|>"]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, ranks = Path(folder) / "vocab.json", Path(folder) / "merges.txt"
        vocabulary.write_text(json.dumps({word: i for i, word in enumerate(words)}))
        ranks.write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
        return CLIPTokenizer.from_pretrained(folder, model_max_length=TOKENS)


def _pipeline(**parts) -> StableDiffusionPipeline:
    pipe = StableDiffusionPipeline(
        **{"safety_checker": None, "feature_extractor": None, **parts}, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def load(
    base: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0
) -> StableDiffusionPipeline:
    """A pipeline, in evaluation mode, on `device`: Stable Diffusion 1, 2 or XL.

    base: "tiny" (the weights that ship), "random" (`tiny_pipeline(seed)`), a folder in the diffusers layout or with a
    pointer that `leave` wrote, or a Hugging Face id. Raises BaseError when there is no such thing.
    """
    if (pointer := Path(base) / POINTER).exists():
        return load(device=device, dtype=dtype, **json.loads(pointer.read_text()))
    if str(base) == "random":
        pipe = tiny_pipeline(seed)
    else:
        source = str(TINY if str(base) == "tiny" else base)
        try:
            pipe = DiffusionPipeline.from_pretrained(
                source, dtype=dtype, safety_checker=None, feature_extractor=None, requires_safety_checker=False
            )
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise BaseError(
                f"base {str(base)!r} cannot be loaded ({reason}): give tiny, random, a folder in the diffusers layout "
                "or a Hugging Face id that this machine can download"
            ) from None
        pipe.set_progress_bar_config(disable=True)
    pipe = pipe.to(device, dtype)
    for part in (pipe.vae, pipe.unet, *encoders(pipe)):
        part.eval().requires_grad_(False)
    for part in (pipe.vae, pipe.unet):
        part.to(memory_format=torch.channels_last)
    return pipe


def is_xl(pipe: DiffusionPipeline) -> bool:
    """Whether it has SDXL's two text encoders (Podell et al., arXiv:2307.01952)."""
    return getattr(pipe, "text_encoder_2", None) is not None


def encoders(pipe: DiffusionPipeline) -> list[torch.nn.Module]:
    """Its text encoders: one, or SDXL's two."""
    return [pipe.text_encoder, pipe.text_encoder_2] if is_xl(pipe) else [pipe.text_encoder]


def fast_dtype(device: torch.device) -> torch.dtype:
    """The type to sample in: half precision where there is a GPU for it."""
    return torch.float16 if device.type == "cuda" else torch.float32


def save(pipe: StableDiffusionPipeline, folder: Path) -> None:
    """Writes a pipeline in the diffusers layout, weights in half precision as safetensors; `pipe` stays as it is."""
    halves = {name: copy.deepcopy(getattr(pipe, name)).half() for name in ("vae", "unet", "text_encoder")}
    _pipeline(**halves, tokenizer=pipe.tokenizer, scheduler=pipe.scheduler).save_pretrained(folder)


def leave(pipe: StableDiffusionPipeline, folder: Path, came_from: str | None) -> None:
    """Writes a pipeline trained here (came_from None), else a pointer to what was loaded: weights are kept once."""
    if came_from is None:
        return save(pipe, folder)
    folder.mkdir(parents=True)
    here = Path(came_from)
    base = str(here.resolve()) if here.is_dir() else came_from
    (folder / POINTER).write_text(json.dumps({"base": base}) + "\n")


@torch.no_grad()
def encode_moments(
    pipe: DiffusionPipeline, images: np.ndarray, batch_size: int = 32
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, uint8 (n, h, w, 3) -> mean and standard deviation of their latents, each float32 (n, c, h / f, w / f).

    Both are scaled as the denoiser reads them, and on the CPU. batch_size: at 256 px; fewer of larger images.
    """
    scale, shift = pipe.vae.config.scaling_factor, getattr(pipe.vae.config, "shift_factor", None) or 0.0
    batch_size = max(1, batch_size * 256**2 // max(images.shape[1] * images.shape[2], 256**2))
    means, deviations = [], []
    for start in range(0, len(images), batch_size):
        found = pipe.vae.encode(to_pixels(images[start : start + batch_size], pipe.vae)).latent_dist
        means.append((found.mean.float().cpu() - shift) * scale)
        deviations.append(found.std.float().cpu() * scale)
    return torch.cat(means), torch.cat(deviations)


@torch.no_grad()
def decode_latents(pipe: StableDiffusionPipeline, latents: torch.Tensor, batch_size: int = 32) -> np.ndarray:
    """Scaled latents (n, c, h, w) -> images, uint8 (n, h * f, w * f, 3)."""
    if is_xl(pipe) and pipe.vae.dtype == torch.float16 and pipe.vae.config.force_upcast:
        pipe.vae.float()  # SDXL's own overflows in float16
    images, shift = [], getattr(pipe.vae.config, "shift_factor", None) or 0.0
    for batch in latents.split(batch_size):
        batch = batch.to(pipe.vae.device, pipe.vae.dtype) / pipe.vae.config.scaling_factor + shift
        pixels = pipe.vae.decode(batch).sample.float().add(1).mul(127.5).clamp(0, 255)
        images.append(pixels.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(images)


def to_pixels(images: np.ndarray, like: torch.nn.Module) -> torch.Tensor:
    """uint8 (n, h, w, 3) -> (n, 3, h, w) in -1..1, with device and type of `like`."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    return pixels.to(like.device, like.dtype) / 127.5 - 1


def tokens(pipe: DiffusionPipeline, prompts: Sequence[str]) -> torch.Tensor:
    """Token ids, int64 (n, length), padded to what the text encoder reads; (n, 2, length) for SDXL's two.

    Raises PromptError for a prompt that it would cut.
    """
    both = []
    for tokenizer in (pipe.tokenizer, pipe.tokenizer_2) if is_xl(pipe) else (pipe.tokenizer,):
        length = tokenizer.model_max_length
        read = tokenizer(list(prompts), padding="max_length", max_length=length)["input_ids"]
        longest = max(range(len(read)), key=lambda k, read=read: len(read[k]))
        if len(read[longest]) > length:
            raise PromptError(
                f"the text encoder reads {length - 2} tokens and would cut one of {len(read[longest]) - 2}: "
                f"{prompts[longest]!r}; lower 02_describe.max_tokens or max_features"
            )
        both.append(torch.tensor(read))
    return torch.stack(both, dim=1) if is_xl(pipe) else both[0]


def read_tokens(pipe: DiffusionPipeline, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the denoiser reads of token ids: "embeddings" (n, length, width) and, of SDXL, "pooled" (n, width)."""
    if not is_xl(pipe):
        return {"embeddings": pipe.text_encoder(ids)[0]}
    read = [part(ids[:, k], output_hidden_states=True) for k, part in enumerate(encoders(pipe))]
    return {"embeddings": torch.cat([each.hidden_states[-2] for each in read], dim=-1), "pooled": read[1][0]}


@torch.no_grad()
def conditions(pipe: DiffusionPipeline, prompts: Sequence[str], batch_size: int = 128) -> dict[str, torch.Tensor]:
    """`read_tokens` of prompts, on the pipeline's device; of "" all zero where the pipeline wants it so (SDXL)."""
    read = [read_tokens(pipe, ids.to(pipe.device)) for ids in tokens(pipe, prompts).split(batch_size)]
    found = {name: torch.cat([each[name] for each in read]) for name in read[0]}
    return silence(pipe, found, torch.tensor([not prompt for prompt in prompts], device=pipe.device))


def silence(pipe: DiffusionPipeline, words: dict[str, torch.Tensor], silent: torch.Tensor) -> dict[str, torch.Tensor]:
    """What is read of no words, where `silent` (n,) is true, as the pipeline wants it: all zero or (most) as it is."""
    if not getattr(pipe.config, "force_zeros_for_empty_prompt", False):
        return words
    return {name: kept.masked_fill(silent.view(-1, *[1] * (kept.ndim - 1)), 0) for name, kept in words.items()}


def embed_prompts(pipe: DiffusionPipeline, prompts: Sequence[str], batch_size: int = 128) -> torch.Tensor:
    """What the denoiser attends to of each prompt: (n, length, width) on the pipeline's device."""
    return conditions(pipe, prompts, batch_size)["embeddings"]


def sample(
    pipe: StableDiffusionPipeline, prompts: Sequence[str], seeds: Sequence[int], *, batch_size: int = 32, **settings
) -> np.ndarray:
    """One image per prompt and seed: uint8 (n, size, size, 3). settings: of `samples`, which says how."""
    batches = samples(pipe, zip(prompts, seeds, strict=True), batch_size=batch_size, **settings)
    total = -(-len(prompts) // batch_size)
    return np.concatenate(list(tqdm(batches, desc="sample", total=total, unit="batch", disable=total < 2)))


@torch.inference_mode()
def samples(
    pipe: StableDiffusionPipeline,
    asked: Iterable[tuple[str, int]],
    *,
    guidance_scale: float = GUIDANCE,
    guidance_interval: tuple[float, float] = INTERVAL,
    num_inference_steps: int = 15,
    solver: str = "dpm++2m",
    batch_size: int = 32,
    size: int | None = None,
) -> Iterator[np.ndarray]:
    """An image for each (prompt, seed), in batches as they are done: uint8 (b, size, size, 3).

    Each image's noise comes from its own generator, so an image does not depend on its neighbours, their order or
    their number (up to float rounding, about 1e-6). `asked` is read one batch ahead; nothing else is kept.

    guidance_scale: classifier-free guidance (Ho, Salimans, arXiv:2207.12598); 1 and less: none. guidance_interval:
    the noise levels low < sigma <= high at which it acts (Kynkäänniemi et al., arXiv:2404.07724), sigma being the
    standard deviation of the noise over that of the signal; at others the prompt's own branch alone is evaluated, in
    half the time. (0, math.inf): everywhere. solver: a key of SOLVERS. size: px, a multiple of 8, default what the
    pipeline was made for. SDXL pipelines are taken too.
    """
    scheduler = SOLVERS[solver].from_config(pipe.scheduler.config)
    size = size or pipe.unet.config.sample_size * pipe.vae_scale_factor
    shape = (pipe.unet.config.in_channels, size // pipe.vae_scale_factor, size // pipe.vae_scale_factor)
    decoded = max(1, DECODED // size**2)
    asked = iter(asked)
    while batch := list(islice(asked, batch_size)):
        prompts, seeds = zip(*batch, strict=True)
        noise = torch.stack([torch.randn(shape, generator=generator(int(seed))) for seed in seeds]).to(pipe.device)
        scheduler.set_timesteps(num_inference_steps)  # which also forgets the steps of the batch before
        conditions = _conditions(pipe, prompts, size)
        latents = denoise(pipe.unet, noise, conditions, scheduler, guidance_scale, guidance_interval)
        yield decode_latents(pipe, latents, decoded)


def denoise(
    unet: torch.nn.Module,
    noise: torch.Tensor,
    conditions: dict[str, torch.Tensor],
    scheduler: SchedulerMixin,
    scale: float,
    interval: tuple[float, float],
) -> torch.Tensor:
    """Noise, float32 (b, c, h, w) -> latents of that shape; both branches of a guided step in one call."""
    alone = {name: value[len(noise) :] for name, value in conditions.items()}
    low, high = interval
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        signal = scheduler.alphas_cumprod[t.long()].item()
        guided = scale > 1 and low**2 < (1 - signal) / max(signal, 1e-30) <= high**2
        given = scheduler.scale_model_input(torch.cat([x, x]) if guided else x, t)
        words = dict(conditions if guided else alone)
        found = unet(given.to(unet.dtype), t, words.pop("words"), added_cond_kwargs=words).sample.float()
        if guided:
            without, found = found.chunk(2)
            found = without + scale * (found - without)
        x = scheduler.step(found, t, x).prev_sample  # in float32, whatever the denoiser computes in
    return x


def _conditions(pipe: StableDiffusionPipeline, prompts: Sequence[str], size: int) -> dict[str, torch.Tensor]:
    """What the denoiser reads, (2b, ...): first of no words, b times, then of each prompt.

    words (2b, length, width); for SDXL also its pooled text_embeds (2b, width) and time_ids (2b, 6): original size,
    crop and target size. Each distinct prompt is encoded once.
    """
    distinct = list(dict.fromkeys(["", *prompts]))
    rows = [0] * len(prompts) + [distinct.index(prompt) for prompt in prompts]
    read = conditions(pipe, distinct)
    if not is_xl(pipe):
        return {"words": read["embeddings"][rows]}
    sizes = torch.tensor([[size, size, 0, 0, size, size]]).expand(len(rows), -1).to(read["pooled"])
    return {"words": read["embeddings"][rows], "text_embeds": read["pooled"][rows], "time_ids": sizes}


def merged(pipe: DiffusionPipeline, adapter: bool = True, compiled: bool = False) -> DiffusionPipeline:
    """The pipeline with its adapter merged into copies of what it adapts, or (adapter False) left out of them.

    It draws the same images (up to float rounding) in less time, since nothing is computed beside a layer; `pipe` stays
    as it is. compiled: the denoiser by torch.compile, worth its minute on a GPU. Raises ValueError where there is no
    adapter to merge.
    """
    parts = {name: part for name, part in pipe.components.items() if part is pipe.unet or part in encoders(pipe)}
    adapted = [name for name, part in parts.items() if getattr(part, "peft_config", None)]
    if adapter and not adapted:
        raise ValueError("the pipeline holds no adapter to draw with: load one with load_lora_weights")
    other = type(pipe)(**pipe.components | {name: copy.deepcopy(parts[name]) for name in {"unet", *adapted}})
    if adapter:
        other.fuse_lora(components=adapted)
    if adapted:
        other.unload_lora_weights()
    if compiled:
        other.unet.compile()
    other.set_progress_bar_config(disable=True)
    return other
