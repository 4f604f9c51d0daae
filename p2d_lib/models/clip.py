"""Image-text alignment by an open_clip model: a tiny one fitted here, or any that open_clip knows.

Folders follow open_clip's own layout (open_clip_config.json, open_clip_model.safetensors), so a model fitted here opens
wherever open_clip opens one.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from p2d_lib.device import generator
from p2d_lib.files import read_record
from p2d_lib.models import weights
from p2d_lib.models.checkpoints import Checkpoint
from p2d_lib.seeds import derive

LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
MAX_PIXELS = 2**22  # embedded at once: 256 images of 128 px, 16 of 512 px
TEXTS_AT_ONCE = 256  # embedded in one call
MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
_TOKENIZER = open_clip.SimpleTokenizer()
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
POINTER = "model.json"  # in a folder, names a published model that is used as it is
HUB = "hf-hub:"  # open_clip's prefix of a Hugging Face id


@dataclass
class Clip:
    """An open_clip model with its tokenizer."""

    model: nn.Module
    tokenizer: Callable[[Sequence[str]], torch.Tensor]
    config: dict | None  # open_clip's model_cfg where the model was built here
    source: str = ""  # what open_clip loaded it from, where it was not

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device


def tiny(image_size: int) -> dict:
    """open_clip's configuration of a CLIP small enough for a CPU: 4 M parameters, most of them its token table."""
    return {
        "embed_dim": 64,
        "vision_cfg": {"image_size": image_size, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
    }


def fit(
    images: np.ndarray,
    prompts: Sequence[str],
    *,
    steps: int,
    batch_size: int,
    seed: int,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
) -> tuple[Clip, pd.DataFrame]:
    """Fits a tiny CLIP from scratch; returns it and the log: step, loss, learning_rate.

    images: uint8 (n, s, s, 3). prompts: n texts. Prompts repeat, so all pairs of a batch that share one are positive:
    the target is uniform over them (Yang et al., UniCL, CVPR 2022; CLIP's loss where no prompt repeats).
    checkpoint: the fit continues from its state and ends with the same bits as without the interruption.
    """
    config = tiny(images.shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "clip"))
        model = open_clip.CLIP(**config).to(device).train()
    clip = Clip(model, open_clip.SimpleTokenizer(), config)
    tokens = clip.tokenizer(list(prompts))
    same = pd.factorize(np.asarray(prompts, object))[0]
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=max(steps, 2))
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    log = checkpoint.restore(parts, device) if checkpoint else []
    for step in tqdm(
        range(len(log), steps), desc="alignment", unit="step", mininterval=1, initial=len(log), total=steps
    ):
        rows = np.random.default_rng(derive(seed, "batch", step)).choice(
            len(images), min(batch_size, len(images)), False
        )
        pixels = _turned(_pixels(clip, images[rows]), derive(seed, "turn", step))
        image, text, scale = model(pixels, tokens[rows].to(device))[:3]
        loss = _loss(scale * image @ text.T, torch.from_numpy(same[rows]).to(device))
        log.append({"step": step, "loss": loss.item(), "learning_rate": schedule.get_last_lr()[0]})
        _update(model, loss, optimizer, schedule)
        if checkpoint and (checkpoint.due() or step + 1 == steps):
            checkpoint.store(parts, log)
    model.eval()
    return clip, pd.DataFrame(log)


def _update(model: open_clip.CLIP, loss: torch.Tensor, optimizer, schedule) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, np.log(100))  # Radford et al. 2021, sec. 2.5


def save(clip: Clip, folder: Path) -> None:
    """Writes a model fitted here into a folder (made where missing), in open_clip's layout; of a published model only
    its name and the digest of its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    if clip.config is None:
        (folder / POINTER).write_text(json.dumps({"model": clip.source, "sha256": weights.sha256(clip.model)}) + "\n")
        return
    config = {"model_cfg": clip.config, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
    save_file({name: tensor.contiguous().cpu() for name, tensor in clip.model.state_dict().items()}, folder / WEIGHTS)


def load(name: str | Path, device: torch.device) -> Clip:
    """A folder that `save` wrote, or any model open_clip knows, e.g. "hf-hub:redlessone/DermLIP_ViT-B-16".

    "hf-hub:id@revision" is one commit of that repository, with the tokenizer's files there where its configuration
    names a tokenizer. Raises ValueError where a folder names a published model whose weights have changed since.
    """
    if (pointer := Path(name) / POINTER).exists():
        record = read_record(pointer)
        if not record.keys() >= {"model", "sha256"}:
            raise ValueError(f"{pointer}: is no pointer to a model; run 03_finetune again")
        clip = load(record["model"], device)
        if (now := weights.sha256(clip.model)) != record["sha256"]:
            raise ValueError(
                f"{pointer}: the weights of {record['model']} have changed: their SHA-256 was {record['sha256']} and "
                f"is {now} now; put the former weights back, or run 03_finetune again"
            )
        return clip
    source = str(name)
    if source.startswith(HUB) and "@" in source:
        source = f"{HUB}{weights.resolve(source.removeprefix(HUB))}"
        name = weights.download(source.removeprefix(HUB))  # open_clip takes no revision
    name = f"local-dir:{name}" if (Path(name) / CONFIG).exists() else str(name)
    model = open_clip.create_model_from_pretrained(name, device=device, return_transform=False).eval()
    return Clip(model, open_clip.get_tokenizer(name), None, source)


def embed_images(clip: Clip, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Unit vectors (n, dim), float32, of uint8 (n, s, s, 3)."""
    batch_size = min(batch_size, max(1, MAX_PIXELS // images.shape[1] ** 2))
    return _embed(clip, images, batch_size, lambda part: clip.model.encode_image(_pixels(clip, part), normalize=True))


def embed_prompts(clip: Clip, prompts: Sequence[str]) -> np.ndarray:
    """Unit vectors (n, dim), float32."""
    different, back = np.unique(np.asarray(prompts, object).astype(str), return_inverse=True)

    def encode(part: np.ndarray) -> torch.Tensor:
        return clip.model.encode_text(clip.tokenizer(part.tolist()).to(clip.device), normalize=True)

    return _embed(clip, different, TEXTS_AT_ONCE, encode)[back]


def count_tokens(text: str) -> int:
    """Tokens that CLIP's own tokenizer makes of a text, without those that mark start and end."""
    return len(_TOKENIZER.encode(text))


def alignment(clip: Clip, images: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
    """Cosine of each image (n, s, s, 3) with its own prompt, -1..1, float32 (n,). CLIPScore is 2.5 max(cosine, 0)
    (Hessel et al., EMNLP 2021)."""
    if len(images) != len(prompts):
        raise ValueError(f"{len(images)} images and {len(prompts)} prompts: each image needs its own prompt")
    return (embed_images(clip, images) * embed_prompts(clip, prompts)).sum(1).clip(-1, 1)


def retrieval(clip: Clip, images: np.ndarray, prompts: Sequence[str]) -> float:
    """Share of images (0..1) whose own prompt is the nearest of all different prompts; chance is 1 / their number."""
    different, prompt_of = np.unique(np.asarray(prompts, object).astype(str), return_inverse=True)
    return float(((embed_images(clip, images) @ embed_prompts(clip, different).T).argmax(1) == prompt_of).mean())


@torch.inference_mode()
def _embed(clip: Clip, items: np.ndarray, batch_size: int, encode: Callable) -> np.ndarray:
    clip.model.eval()
    return np.concatenate(
        [encode(items[i : i + batch_size]).float().cpu().numpy() for i in range(0, len(items), batch_size)]
    )


def _pixels(clip: Clip, images: np.ndarray) -> torch.Tensor:
    visual = clip.model.visual
    side = visual.image_size if isinstance(visual.image_size, int) else visual.image_size[0]
    mean, std = (torch.tensor(getattr(visual, name, None) or default, device=clip.device).view(3, 1, 1)
                 for name, default in (("image_mean", MEAN), ("image_std", STD)))  # fmt: skip
    pixels = torch.from_numpy(images).to(clip.device).permute(0, 3, 1, 2).float() / 255
    if pixels.shape[-1] != side:
        pixels = F.interpolate(pixels, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
    return (pixels - mean) / std


def _turned(pixels: torch.Tensor, seed: int) -> torch.Tensor:
    flips = (torch.rand(3, len(pixels), 1, 1, 1, generator=generator(seed)) < 0.5).to(pixels.device)
    pixels = torch.where(flips[0], pixels.flip(-1), pixels)
    pixels = torch.where(flips[1], pixels.flip(-2), pixels)
    return torch.where(flips[2], pixels.mT, pixels)


def _loss(logits: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    targets = (same[:, None] == same).float()
    targets = targets / targets.sum(1, keepdim=True)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
