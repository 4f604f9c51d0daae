"""Image -> caption: a CLIP vision encoder, a learnable prefix, GPT-2 (ClipCap: Mokady et al., arXiv:2111.09734).

Folders follow the layout of the published "DermLIP + GPT-2" captioners (moxeeeem/dermlip-gpt2-captioner,
moxeeeem/biomedclip-gpt2-captioner), so those open here. Beside it lies what opens a captioner fitted here without a
download: gpt2/ (configuration and tokenizer) and, where the vision encoder was fitted here too, clip/.
"""

import contextlib
import copy
import hashlib
import json
import math
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LogitsProcessor,
    PreTrainedTokenizerFast,
)

from p2d_lib.files import atomic, sha256
from p2d_lib.models import clip as clips
from p2d_lib.seeds import derive

INSTRUCTION = "Describe the skin lesion."
END = "<|endoftext|>"
LONGEST = 160  # tokens of a caption; what is longer is cut for training
WARMUP = 0.06  # of a stage's steps
NEEDED = {"gpt2_name", "clip_backend_kind", "clip_weight_path", "clip_arch", "embed_dim", "prefix_tokens", "prompt"}
# how the published captioners were asked
PUBLISHED_DECODING = {
    "num_beams": 4, "max_new_tokens": 60, "min_new_tokens": 24, "no_repeat_ngram_size": 4,
    "repetition_penalty": 1.15, "length_penalty": 0.6, "early_stopping": True,
}  # fmt: skip


class CaptionerError(Exception):
    """A captioner's folder is incomplete, is not what it should be, or does not fit this code."""


class Prefix(nn.Module):
    """An image's embedding (n, dim) -> what GPT-2 reads before any word (n, tokens, width)."""

    def __init__(self, dim: int, width: int, tokens: int):
        super().__init__()
        hidden = max(512, 2 * width)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, tokens * width)
        self.ln = nn.LayerNorm(width)
        self.alpha = nn.Parameter(torch.tensor(0.5))  # a token of GPT-2 is shorter than what a LayerNorm leaves
        self.drop = nn.Dropout(0.05)
        for layer, gain in ((self.fc1, 1.0), (self.fc2, 0.5)):
            nn.init.xavier_uniform_(layer.weight, gain)
            nn.init.zeros_(layer.bias)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        tokens = self.fc2(F.gelu(self.fc1(embeddings))).unflatten(1, (-1, self.ln.normalized_shape[0]))
        return self.drop(self.alpha * self.ln(tokens))


class Captioner(nn.Module):
    """Prefix and GPT-2, which are trained, with the CLIP and the tokenizer they go with."""

    def __init__(self, clip: clips.Clip, gpt2: GPT2LMHeadModel, tokenizer, about: dict):
        super().__init__()
        self.prefix = Prefix(about["embed_dim"], gpt2.config.n_embd, about["prefix_tokens"])
        self.gpt2 = gpt2
        self.tokenizer = tokenizer
        self.about = about  # the published .json
        self.clip = [clip]  # in a list: its weights are none of the captioner's

    @property
    def device(self) -> torch.device:
        return self.prefix.alpha.device

    def context(self, embeddings: torch.Tensor) -> torch.Tensor:
        """What stands before the caption, (n, length, width): the prefix, then the instruction's words."""
        ids = torch.tensor(self.tokenizer.encode(self.about["prompt"]), dtype=torch.long, device=self.device)
        words = self.gpt2.transformer.wte(ids).expand(len(embeddings), -1, -1)
        return torch.cat([self.prefix(embeddings), words], dim=1)

    def forward(self, embeddings: torch.Tensor, captions: torch.Tensor) -> torch.Tensor:
        """Logits (n, length, words) of each token of captions (n, length) given the image and the tokens before it."""
        context = self.context(embeddings)
        words = self.gpt2.transformer.wte(captions[:, :-1])
        hidden = self.gpt2.transformer(inputs_embeds=torch.cat([context, words], dim=1), use_cache=False)[0]
        return self.gpt2.lm_head(hidden[:, context.shape[1] - 1 :])


def build(
    clip: clips.Clip,
    captions: Sequence[str],
    *,
    gpt2: str = "tiny",
    clip_name: str = "",
    prefix_tokens: int = 32,
    instruction: str = INSTRUCTION,
    seed: int = 0,
) -> Captioner:
    """A captioner to be fitted, on the CLIP's device.

    gpt2: "tiny" (0.4 M parameters, drawn from the seed; its tokenizer is byte-level BPE of `captions`, those of train
    images), or a Hugging Face id ("gpt2-medium"). clip_name: what `clip.load` opened; "" for one fitted here.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "captioner"))
        if gpt2 == "tiny":
            tokenizer = _tokenizer([instruction, *captions])
            config = GPT2Config(
                vocab_size=len(tokenizer), n_positions=prefix_tokens + 256, n_embd=128, n_layer=2, n_head=4,
                bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
            )  # fmt: skip
            language = GPT2LMHeadModel(config)
        else:
            tokenizer, language = AutoTokenizer.from_pretrained(gpt2), GPT2LMHeadModel.from_pretrained(gpt2)
        about = {
            "gpt2_name": gpt2,
            "clip_backend_kind": "open_clip",
            "clip_repo": clip_name.removeprefix("hf-hub:"),
            "clip_arch": type(clip.model.visual).__name__,
            "clip_weight_path": clip_name or "clip",
            "embed_dim": _dim(clip),
            "prefix_tokens": prefix_tokens,
            "prompt": instruction,
        }
        return Captioner(clip, language, tokenizer, about).to(clip.device).eval()


def _dim(clip: clips.Clip) -> int:
    return clips.embed_images(clip, np.zeros((1, 32, 32, 3), np.uint8)).shape[1]


def _tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    apart = pre_tokenizers.Split(Regex(r"[,.:;] ?| and "), "isolated")  # between them a whole phrase may be one token
    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.Sequence([apart, bytewise]), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=1024, special_tokens=[END], initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, bos_token=END)


def save(captioner: Captioner, folder: Path) -> None:
    """Writes the captioner into a folder (made where missing): the published layout, and what `load` needs offline."""
    folder.mkdir(parents=True, exist_ok=True)
    tag = "_".join(captioner.about[part].replace("/", "-") for part in ("gpt2_name", "clip_arch"))
    state = {name: tensor.cpu() for name, tensor in captioner.state_dict().items()}
    torch.save({"model": state}, folder / f"final_captioner_{tag}.pt")
    text = json.dumps(captioner.about, indent=2, ensure_ascii=False) + "\n"
    (folder / f"final_captioner_{tag}.json").write_text(text, encoding="utf-8")
    captioner.gpt2.config.save_pretrained(folder / "gpt2")
    captioner.tokenizer.save_pretrained(folder / "gpt2")
    if captioner.clip[0].config:
        clips.save(captioner.clip[0], folder / "clip")


def load(folder: Path, device: torch.device, digest: str = "") -> Captioner:
    """A captioner that `save` wrote or that was published. digest: the SHA-256 its weights must have, or at least the
    first twelve digits, as the published READMEs state them; "" to take what is there.

    Raises CaptionerError for a folder without one captioner, other bytes than the digest's, or weights that do not fit
    the configuration: none missing, none left over.
    """
    about_path, weights = _only(folder, "json"), _only(folder, "pt")
    about = json.loads(about_path.read_text(encoding="utf-8"))
    if lacking := NEEDED - about.keys():
        raise CaptionerError(f"{about_path} does not say {', '.join(sorted(lacking))}")
    if about["clip_backend_kind"] != "open_clip":
        raise CaptionerError(f"{about_path}: a vision encoder of {about['clip_backend_kind']!r}; only open_clip's load")
    if digest and (len(digest) < 12 or not (found := sha256(weights)).startswith(digest.lower())):
        what = f"{weights} has the SHA-256 {found}" if len(digest) >= 12 else "twelve digits at least are compared"
        raise CaptionerError(f"{what}, not {digest}: fetch the file again, from where the digest was stated")
    language, vision = folder / "gpt2", folder / about["clip_weight_path"]
    language = language if language.exists() else about["gpt2_name"]
    clip = clips.load(vision if vision.exists() else about["clip_weight_path"], device)
    if vision.exists():
        clip.config = json.loads((vision / clips.CONFIG).read_text())["model_cfg"]
    if (dim := _dim(clip)) != about["embed_dim"]:
        raise CaptionerError(
            f"{about_path}: embed_dim is {about['embed_dim']}; {about['clip_weight_path']} gives {dim}"
        )
    gpt2 = GPT2LMHeadModel(AutoConfig.from_pretrained(language))  # the weights are all in the .pt
    captioner = Captioner(clip, gpt2, AutoTokenizer.from_pretrained(language), about)
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CaptionerError(f"{weights} holds no weights: fetch the file again ({error})") from None
    state = _merged(state.get("model", state))
    expected = captioner.state_dict()
    problems = {
        "missing": expected.keys() - state.keys(),
        "not known": state.keys() - expected.keys(),
        "of another shape": {k for k in expected.keys() & state.keys() if expected[k].shape != state[k].shape},
    }
    if any(problems.values()):
        listed = "; ".join(
            f"{what}: {', '.join(sorted(keys)[:3])} ({len(keys)})" for what, keys in problems.items() if keys
        )
        raise CaptionerError(f"{weights} does not fit {about_path.name}: weights {listed}")
    captioner.load_state_dict(state)
    return captioner.to(device).eval()


def _only(folder: Path, suffix: str) -> Path:
    found = sorted(folder.glob(f"final_captioner_*.{suffix}"))
    if len(found) != 1:
        raise CaptionerError(f"{folder}: {len(found)} files final_captioner_*.{suffix}, one is needed")
    return found[0]


def _merged(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Low-rank updates folded into the weights they update.

    The published files keep those of the last block apart (<layer>.base.*, .A.weight, .B.weight; alpha = rank, so the
    factor is 1). A loader that skips unknown names leaves that block as OpenAI trained it.
    """
    merged = {name.replace(".base.", "."): tensor for name, tensor in state.items()}
    for name in [name for name in merged if name.endswith(".A.weight")]:
        layer = name.removesuffix("A.weight")
        down, up = merged.pop(name), merged.pop(f"{layer}B.weight")
        merged[f"{layer}weight"] = merged[f"{layer}weight"] + (up @ down).T  # GPT-2's weights are (in, out)
    return merged


def embed(captioner: Captioner, images: np.ndarray, batch_size: int = 256, views: int = 1) -> np.ndarray:
    """Unit vectors (n, views, dim), float32, of uint8 (n, h, w, 3): what the captioner sees of an image.

    views: 1, or up to 8: the image turned and mirrored, since dermoscopic images have no upright.
    """
    turned = [np.rot90(images if k < 4 else images[:, :, ::-1], k % 4, (1, 2)) for k in range(views)]
    return np.stack([clips.embed_images(captioner.clip[0], np.ascontiguousarray(v), batch_size) for v in turned], 1)


@dataclass(frozen=True)
class Stage:
    """How one stage is fitted; the published stages are PUBLISHED_STAGES."""

    name: str
    steps: int
    batch_size: int
    learning_rate: float
    blocks: tuple[int, ...]  # how many last blocks of GPT-2 are trained, in equal parts of the steps: (1, 2) unfreezes
    prefix: bool = True  # whether the prefix is trained; the word table always is
    evaluate_every: int = 50  # steps; checkpoints are written then too
    patience: int = 3  # evaluations without a better one after which the stage ends
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    clip: float = 1.0  # gradient norm

    def rate(self, step: int) -> float:
        """The learning rate at a step: up in a line, down to zero in half a cosine."""
        rise = min(1.0, (step + 1) / max(1.0, WARMUP * self.steps))
        return self.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / self.steps))


# A: 20,304 broad pairs, three epochs; B: 3,302 pairs of the style wanted, twenty epochs, two blocks from the third on
PUBLISHED_STAGES = (
    Stage("A", 2538, 24, 1.2e-4, (0,), evaluate_every=846, label_smoothing=0.05),
    Stage("B", 4140, 16, 3.0e-5, (1, *[2] * 9), prefix=False, evaluate_every=207, weight_decay=0.0),
)


def fit(
    captioner: Captioner,
    stage: Stage,
    train: tuple[np.ndarray, Sequence[str]],
    val: tuple[np.ndarray, Sequence[str]],
    *,
    seed: int,
    checkpoints: Path | None = None,
) -> pd.DataFrame:
    """Fits one stage in place and leaves the weights that were best on val.

    train, val: embeddings (n, views, dim) by `embed`, of which each step draws one view and val sees the first, and n
    captions. The loss counts the tokens of captions and their end alone. checkpoints: a folder; a stage that was cut
    off goes on from there, on a CPU to the same bits. Returns the log, one row per evaluation: stage, step, loss (mean
    since the last one), val_loss (nats per token), perplexity, learning_rate. Raises FloatingPointError for a loss
    that is no number.
    """
    images = torch.from_numpy(train[0]).to(captioner.device)
    captions, val_captions = _tokens(captioner, train[1], len(train[0])), _tokens(captioner, val[1], len(val[0]))
    seen = torch.from_numpy(val[0][:, 0]).to(captioner.device)
    _train_parts(captioner, stage, max(stage.blocks))
    parameters = [p for p in captioner.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, weight_decay=stage.weight_decay, fused=True)
    inputs = [*captioner.state_dict().values(), images, captions, seen, val_captions]
    key = _digest(json.dumps([asdict(stage), seed]), inputs)
    path = checkpoints / f"{stage.name}.pt" if checkpoints else None
    log, losses, best, waited = [], [], None, 0
    if path and path.exists() and (saved := torch.load(path, map_location=captioner.device))["key"] == key:
        captioner.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        log, best, waited = saved["log"], saved["best"], saved["waited"]
    first = log[-1]["step"] if log else 0
    half = contextlib.nullcontext()
    if captioner.device.type == "cuda":
        half = torch.autocast("cuda", torch.bfloat16)
    bar = tqdm(range(first, stage.steps), f"captioner {stage.name}", stage.steps, initial=first, mininterval=1)
    for step in bar if waited < stage.patience else ():
        _train_parts(captioner.train(), stage, stage.blocks[step * len(stage.blocks) // stage.steps])
        optimizer.param_groups[0]["lr"] = stage.rate(step)
        rng = np.random.default_rng(derive(seed, stage.name, step))
        rows = rng.choice(len(images), min(stage.batch_size, len(images)), False)
        view = rng.integers(images.shape[1], size=len(rows))
        with torch.random.fork_rng([captioner.device] if captioner.device.type == "cuda" else []), half:
            torch.manual_seed(derive(seed, stage.name, "dropout", step))
            value = loss(captioner, images[rows, view], captions[rows], stage.label_smoothing)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, stage.clip)
        optimizer.step()
        losses.append(value.item())
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(
                f"stage {stage.name}: the loss is {losses[-1]} at step {step}: lower its learning rate"
            )
        if (step + 1) % stage.evaluate_every and step + 1 < stage.steps:
            continue
        val_loss = _mean_loss(captioner, seen, val_captions, stage.batch_size)
        waited += 1
        if best is None or val_loss < best["val_loss"]:
            waited, best = 0, {"val_loss": val_loss, "model": copy.deepcopy(captioner.state_dict())}
        log.append(
            {
                "stage": stage.name,
                "step": step + 1,
                "loss": float(np.mean(losses)),
                "val_loss": val_loss,
                "perplexity": math.exp(val_loss),
                "learning_rate": stage.rate(step),
            }
        )
        losses = []
        if path:
            state = {"key": key, "model": captioner.state_dict(), "optimizer": optimizer.state_dict()}
            with atomic(path) as partial:
                torch.save({**state, "log": log, "best": best, "waited": waited}, partial)
        if waited >= stage.patience:
            break
    captioner.load_state_dict(best["model"])
    captioner.requires_grad_(False).eval()
    return pd.DataFrame(log)


def _train_parts(captioner: Captioner, stage: Stage, blocks: int) -> None:
    captioner.requires_grad_(False)
    captioner.prefix.requires_grad_(stage.prefix)
    captioner.gpt2.transformer.wte.requires_grad_(True)  # tied to the words' logits
    layers = captioner.gpt2.transformer.h
    for layer in layers[max(0, len(layers) - blocks) :]:
        layer.requires_grad_(True)


def loss(captioner: Captioner, embeddings: torch.Tensor, captions: torch.Tensor, label_smoothing: float = 0.0):
    """Mean cross-entropy (nats) of the captions' tokens (n, length), padded with -100; embeddings (n, dim)."""
    captions = captions[:, : (captions >= 0).sum(1).max()]
    logits = captioner(embeddings, captions.clamp(min=0))
    return F.cross_entropy(logits.flatten(0, 1).float(), captions.flatten(), label_smoothing=label_smoothing)


def _tokens(captioner: Captioner, captions: Sequence[str], n: int) -> torch.Tensor:
    """Tokens of captions and their end (n, longest), padded with -100."""
    if len(captions) != n:
        raise ValueError(f"{n} images and {len(captions)} captions: each image needs its own")
    ids = [ids[:LONGEST] for ids in captioner.tokenizer(list(captions))["input_ids"]]
    ends = [torch.tensor([*one, captioner.tokenizer.eos_token_id]) for one in ids]
    return nn.utils.rnn.pad_sequence(ends, batch_first=True, padding_value=-100).to(captioner.device)


@torch.no_grad()
def _mean_loss(captioner: Captioner, embeddings: torch.Tensor, captions: torch.Tensor, batch_size: int) -> float:
    captioner.eval()
    parts = zip(embeddings.split(batch_size), captions.split(batch_size), strict=True)
    total = sum(loss(captioner, images, words).item() * (words >= 0).sum().item() for images, words in parts)
    return total / (captions >= 0).sum().item()


def perplexity(captioner: Captioner, images: np.ndarray, texts: Sequence[str], batch_size: int = 32) -> float:
    """exp of the mean negative log-likelihood of the texts' tokens given their images, uint8 (n, h, w, 3); >= 1."""
    tokens = _tokens(captioner, texts, len(images))
    embeddings = torch.from_numpy(embed(captioner, images, batch_size)[:, 0]).to(captioner.device)
    return math.exp(_mean_loss(captioner, embeddings, tokens, batch_size))


@torch.no_grad()
def caption(captioner: Captioner, images: np.ndarray, batch_size: int = 64, **decoding) -> list[str]:
    """The most likely caption of each image, uint8 (n, h, w, 3), word by word; the same for any batch size.

    decoding: further settings of transformers' `generate`: num_beams=4 looks further ahead; `**PUBLISHED_DECODING`.
    """
    captioner.eval()
    texts = []
    for start in range(0, len(images), batch_size):
        seen = embed(captioner, images[start : start + batch_size])[:, 0]
        texts += _say(captioner, seen, decoding)
    return texts


@torch.no_grad()
def spread(captioner: Captioner, images: np.ndarray, n: int, batch_size: int = 64, views: int = 8) -> list[list[str]]:
    """n captions of each image, uint8 (m, h, w, 3), spread evenly over what the captioner holds possible.

    The share of them that says a thing is the captioner's probability of it: what one caption cannot tell. Nothing is
    drawn at random: caption k is the one at the (k + 1/2) / n-th part of all captions in the order of the tokens
    (arithmetic sampling: Vilnis et al., ICML 2023), of the image turned as view k of `embed`, modulo `views`.
    """
    captioner.eval()
    codes, found = (torch.arange(n, dtype=torch.float64) + 0.5) / n, []
    size = max(1, batch_size // n)
    for start in range(0, len(images), size):
        seen = embed(captioner, images[start : start + size], views=min(n, views))
        seen = seen[:, np.arange(n) % seen.shape[1]]
        each = _Spread(codes.repeat(len(seen)).to(captioner.device))
        texts = _say(captioner, seen.reshape(len(seen) * n, -1), {"logits_processor": [each]})
        found += [texts[i : i + n] for i in range(0, len(texts), n)]
    return found


def _say(captioner: Captioner, embeddings: np.ndarray, decoding: dict) -> list[str]:
    context = captioner.context(torch.from_numpy(embeddings).to(captioner.device))
    end = captioner.tokenizer.eos_token_id
    settings = {"max_new_tokens": LONGEST, "do_sample": False, "pad_token_id": end, "eos_token_id": end, **decoding}
    mask = torch.ones(context.shape[:2], dtype=torch.long, device=context.device)
    said = captioner.gpt2.generate(inputs_embeds=context, attention_mask=mask, **settings)
    return [text.strip() for text in captioner.tokenizer.batch_decode(said, skip_special_tokens=True)]


class _Spread(LogitsProcessor):
    """Turns the most likely word into the one whose share of the unit interval a caption's code lies in."""

    def __init__(self, codes: torch.Tensor):
        self.codes = codes[:, None]  # double: a caption carries tens of bits

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        shares = scores.double().softmax(-1)
        ends = shares.cumsum(-1)
        word = (ends <= self.codes * ends[:, -1:]).sum(-1, keepdim=True).clamp(max=scores.shape[1] - 1)
        share = shares.gather(1, word)
        self.codes = ((self.codes * ends[:, -1:] - ends.gather(1, word) + share) / share).clamp(0, 1 - 1e-12)
        return torch.full_like(scores, -torch.inf).scatter(1, word, 0.0)


def _digest(text: str, tensors: Sequence[torch.Tensor]) -> str:
    found = hashlib.sha256(text.encode())
    for tensor in tensors:
        found.update(tensor.detach().cpu().contiguous().numpy())
    return found.hexdigest()
