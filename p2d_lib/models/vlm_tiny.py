"""A LLaVA small enough for two CPU cores: CLIP's vision tower, LLaVA's projector and a Llama, all of random weights.

The classes are transformers' own (`LlavaForConditionalGeneration`, `LlavaProcessor`), so what reads, fits and adapts it
is the code that does so with LLaVA-Med. `vlm_training.fit` teaches it to see and to write.
"""

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from p2d_lib.models.vlm import Vlm
from p2d_lib.seeds import derive

NAME = "tiny"
PATCHES = 8  # along each side of an image
WIDTH = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
BOS, EOS, PAD, IMAGE = "<s>", "</s>", "<pad>", "<image>"


def build(texts: Iterable[str], image_size: int, seed: int, device: torch.device) -> Vlm:
    """A tiny LLaVA with random weights.

    texts: questions and answers, from which its tokenizer learns which words to keep whole. image_size: side of the
    images, px, a multiple of 8.
    """
    tokenizer = _tokenizer(texts)
    bos, eos, pad, image = tokenizer.convert_tokens_to_ids([BOS, EOS, PAD, IMAGE])
    patch = image_size // PATCHES
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=image_size, patch_size=patch, num_hidden_layers=3, **WIDTH),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer), bos_token_id=bos, eos_token_id=eos, pad_token_id=pad, num_hidden_layers=2,
            **WIDTH,
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


def _tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
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
