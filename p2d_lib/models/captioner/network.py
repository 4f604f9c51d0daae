"""The captioner's network: CLIP's embedding of an image becomes a prefix of tokens, which GPT-2 continues in words."""

from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional as F
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from p2d_lib.models import clip as clips
from p2d_lib.models import weights
from p2d_lib.seeds import derive

INSTRUCTIONS = {
    "short": "Describe the skin lesion.",
    # word for word as final_captioner_gpt2-medium_CLIPModel.json of moxeeeem/pubmedclip-gpt2-captioner states it
    "published": "Describe the skin lesion concisely (morphology, color, scale, border, location) in one sentence."
    "Conclude with the most likely diagnosis (1–3 words).",
}
END = "<|endoftext|>"
MAX_CAPTION_TOKENS = 160  # longer captions are truncated for training, and no longer ones are generated


class Prefix(nn.Module):
    """An image's embedding (n, dim) -> the vectors that GPT-2 takes before the first word (n, tokens, width)."""

    def __init__(self, dim: int, width: int, tokens: int):
        super().__init__()
        hidden = max(512, 2 * width)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, tokens * width)
        self.ln = nn.LayerNorm(width)
        self.alpha = nn.Parameter(torch.tensor(0.5))  # GPT-2's token vectors are shorter than a LayerNorm's output
        self.drop = nn.Dropout(0.05)
        for layer, gain in ((self.fc1, 1.0), (self.fc2, 0.5)):
            nn.init.xavier_uniform_(layer.weight, gain)
            nn.init.zeros_(layer.bias)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        tokens = self.fc2(F.gelu(self.fc1(embeddings))).unflatten(1, (-1, self.ln.normalized_shape[0]))
        return self.drop(self.alpha * self.ln(tokens))


class Captioner(nn.Module):
    """Prefix and GPT-2, which are trained, with the frozen CLIP and the tokenizer that belong to them.

    about: the configuration as the published .json files state it (gpt2_name, embed_dim, prefix_tokens, prompt, ...).
    """

    def __init__(self, clip: clips.Clip, gpt2: GPT2LMHeadModel, tokenizer, about: dict):
        super().__init__()
        self.prefix = Prefix(about["embed_dim"], gpt2.config.n_embd, about["prefix_tokens"])
        self.gpt2 = gpt2
        self.tokenizer = tokenizer
        self.about = about
        self._clip = (clip,)  # in a tuple, so that its weights are not counted among the captioner's

    @property
    def clip(self) -> clips.Clip:
        return self._clip[0]

    @property
    def device(self) -> torch.device:
        return self.prefix.alpha.device

    def context(self, embeddings: torch.Tensor) -> torch.Tensor:
        """The vectors before the caption (n, length, width): the prefix, then the words of the instruction."""
        ids = torch.tensor(self.tokenizer.encode(self.about["prompt"]), dtype=torch.long, device=self.device)
        words = self.gpt2.transformer.wte(ids).expand(len(embeddings), -1, -1)
        return torch.cat([self.prefix(embeddings), words], dim=1)

    def forward(self, embeddings: torch.Tensor, captions: torch.Tensor) -> torch.Tensor:
        """Logits (n, length, vocabulary) of each token of captions (n, length), given the image and earlier tokens."""
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
    instruction: str = INSTRUCTIONS["short"],
    seed: int = 0,
) -> Captioner:
    """An untrained captioner, on the CLIP's device.

    gpt2: "tiny" (0.4 M random parameters; its tokenizer is a byte-level BPE of `captions`, which are those of train
    images), a folder, or a Hugging Face id ("gpt2-medium", "id@revision"). clip_name: what `clip.load` opened; "" for a
    CLIP that was fitted in this run. Raises WeightsError for a GPT-2 that cannot be found.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "captioner"))
        if gpt2 == "tiny":
            tokenizer = _tokenizer([instruction, *captions])
            config = GPT2Config(
                vocab_size=len(tokenizer), n_positions=prefix_tokens + 256, n_embd=128, n_layer=2, n_head=4,
                bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
            )  # fmt: skip
            language, commit = GPT2LMHeadModel(config), None
        else:
            source = weights.resolve(gpt2)
            tokenizer = AutoTokenizer.from_pretrained(source.name, **source.options)
            language, commit = GPT2LMHeadModel.from_pretrained(source.name, **source.options), source.commit
        about = {
            "gpt2_name": gpt2,
            "gpt2_commit": commit,
            "clip_backend_kind": "open_clip",
            "clip_repo": clip_name.removeprefix("hf-hub:"),
            "clip_arch": type(clip.model.visual).__name__,
            "clip_weight_path": clip_name or "clip",
            "embed_dim": embedding_size(clip),
            "prefix_tokens": prefix_tokens,
            "prompt": instruction,
        }
        return Captioner(clip, language, tokenizer, about).to(clip.device).eval()


def embedding_size(clip: clips.Clip) -> int:
    """Number of dimensions of a CLIP's image embeddings."""
    return clips.embed_images(clip, np.zeros((1, 32, 32, 3), np.uint8)).shape[1]


def embed(captioner: Captioner, images: np.ndarray, batch_size: int = 256, views: int = 1) -> np.ndarray:
    """CLIP's embeddings of images, uint8 (n, h, w, 3): unit vectors (n, views, dim), float32.

    views: 1, or up to 8: the image turned and mirrored, since dermoscopic images have no upright orientation.
    """
    turned = [np.rot90(images if k < 4 else images[:, :, ::-1], k % 4, (1, 2)) for k in range(views)]
    return np.stack([clips.embed_images(captioner.clip, np.ascontiguousarray(v), batch_size) for v in turned], 1)


def _tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    apart = pre_tokenizers.Split(
        Regex(r"[,.:;] ?| and | with |, on "), "isolated"
    )  # between them a whole phrase may be one token
    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.Sequence([apart, bytewise]), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=1024, special_tokens=[END], initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, bos_token=END)
