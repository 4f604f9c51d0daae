"""A LLaVA small enough for two CPU cores: CLIP's vision tower, LLaVA's projector and a Llama, all of random weights.

The classes are transformers' own (`LlavaForConditionalGeneration`, `LlavaProcessor`), so what reads, fits and adapts it
is the code that does so with LLaVA-Med. `teach_sight` and `vlm_training.fit` teach it to see and to write.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from p2d_lib.models.vlm import Vlm, encode
from p2d_lib.seeds import derive

NAME = "tiny"
PATCHES = 8  # along each side of an image
WIDTH = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
SPREAD = WIDTH["hidden_size"] ** -0.5  # of random weights; Llama's 0.02 leaves this width's words almost equally likely
LEARNING_RATE, BATCH_SIZE = 2e-3, 64  # with which the vision tower learns
BOS, EOS, PAD, IMAGE = "<s>", "</s>", "<pad>", "<image>"


def build(texts: Iterable[str], image_size: int, seed: int, device: torch.device) -> Vlm:
    """A tiny LLaVA with random weights.

    texts: questions and answers, from which its tokenizer learns which words to keep whole. image_size: side of the
    images, px, a multiple of 8.
    """
    tokenizer = byte_level_tokenizer(texts)
    bos, eos, pad, image = tokenizer.convert_tokens_to_ids([BOS, EOS, PAD, IMAGE])
    patch = image_size // PATCHES
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=image_size, patch_size=patch, num_hidden_layers=3, **WIDTH),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer), bos_token_id=bos, eos_token_id=eos, pad_token_id=pad, num_hidden_layers=2,
            initializer_range=SPREAD, **WIDTH,
        ),
        image_token_id=image,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "tiny vlm"))
        model = LlavaForConditionalGeneration(config)
    side = {"height": image_size, "width": image_size}
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": image_size}, crop_size=side),
        tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return Vlm(model.to(device).eval(), processor, NAME)


def teach_sight(
    vlm: Vlm, load: Callable[[np.ndarray], np.ndarray], words: np.ndarray, steps: int, seed: int
) -> list[float]:
    """Teaches the vision tower which words belong to an image (Joulin et al., ECCV 2016). Returns the losses.

    load: rows of words -> their images, uint8 (n, h, w, 3). words: bool (n, k). The features that LLaVA reads, of the
    last layer but one, are averaged over the patches; a linear layer, which is then left out, predicts each word. A
    large model's tower comes with weights that see; a random one learns this too slowly from captions alone. The tower
    is fixed from then on, as LLaVA fixes it (Liu et al., NeurIPS 2023, sec. 4.2): `vlm_training.fit` fits the rest.
    """
    tower, targets = vlm.model.model.vision_tower, torch.from_numpy(np.asarray(words, np.float32)).to(vlm.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "sight"))
        head = nn.Linear(WIDTH["hidden_size"], words.shape[1]).to(vlm.device)
    optimizer = torch.optim.AdamW([*tower.parameters(), *head.parameters()], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=max(2, steps), pct_start=0.1)
    losses = []
    for step in tqdm(range(steps), desc="vision tower", unit="step", mininterval=1):
        rng = np.random.default_rng(derive(seed, "sight", step))
        rows = rng.choice(len(words), min(BATCH_SIZE, len(words)), False)
        images = load(rows)
        if rng.random() < 0.5:
            images = images[:, :, ::-1]
        pixels = encode(vlm, np.ascontiguousarray(images), "?")["pixel_values"]
        features = tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:].mean(1)
        loss = F.binary_cross_entropy_with_logits(head(features), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    vlm.model.requires_grad_(True)
    tower.requires_grad_(False)
    return losses


def byte_level_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of at most 1000 entries: all bytes, and the frequent sequences of them in these texts."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=[BOS, EOS, PAD, IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=BOS, eos_token=EOS, pad_token=PAD)
