"""Vision-language models small enough for tests, with random weights and a tokenizer trained on the spot."""

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from p2d_lib.models import vlm

CPU = torch.device("cpu")
QUESTION = "What is it?"
ARCHITECTURES = ["llava", "qwen2_vl", "idefics3"]
SIDE, PATCH = 32, 8  # px
WORDS = [
    "USER: Describe this dermoscopic image. ASSISTANT: a brown lesion with an irregular border",
    'What is it? melanoma, melanocytic nevus, vascular lesion {"asymmetry": 0.1, "Border Irregularity": 0.23}',
    "0123456789 red blue user assistant",
]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
DECODER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,  # so that random weights have opinions
}


def tokenizer(*special: str, words: list[str] = WORDS, digits_alone: bool = True) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=digits_alone)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True)] * digits_alone + [byte_level])
    bpe.decoder = decoders.ByteLevel()
    specials = ["<s>", "</s>", "<pad>", "<|start|>", "<|end|>", *special]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        words, trainers.BpeTrainer(vocab_size=400, special_tokens=specials, initial_alphabet=alphabet)
    )
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=bpe, **names)


def llava(template: bool = True, words: PreTrainedTokenizerFast | None = None):
    words = words or tokenizer("<image>")
    vision = CLIPVisionConfig(
        image_size=SIDE, patch_size=PATCH, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision,
        text_config=LlamaConfig(vocab_size=len(words), bos_token_id=0, eos_token_id=1, pad_token_id=2, **DECODER),
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        words,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE.replace("IMAGE", "<image>\n") if template else None,
    )
    return _seeded(LlavaForConditionalGeneration, config), processor


def qwen2_vl():
    marks = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
    words = tokenizer(*marks)
    start, end, image, video = words.convert_tokens_to_ids(list(marks))
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    config = Qwen2VLConfig(
        vision_config={
            "depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": PATCH,
        },
        text_config={
            "vocab_size": len(words), "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "rope_parameters": rope,
            **DECODER,
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )  # fmt: skip
    pixels = {"patch_size": PATCH, "size": {"shortest_edge": SIDE**2, "longest_edge": SIDE**2 * 4}}
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(**pixels),
        words,
        Qwen2VLVideoProcessor(**pixels),
        chat_template=TEMPLATE.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    return _seeded(Qwen2VLForConditionalGeneration, config), processor


def idefics3():
    words = tokenizer("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
    image = words.convert_tokens_to_ids("<image>")
    config = Idefics3Config(
        vision_config={
            "image_size": SIDE, "patch_size": PATCH, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2,
        },
        text_config={
            "model_type": "llama", "vocab_size": len(words), "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
            **DECODER,
        },
        image_token_id=image,
        scale_factor=2,
        pad_token_id=2,
    )  # fmt: skip
    processor = Idefics3Processor(
        Idefics3ImageProcessor(size={"longest_edge": SIDE}, max_image_size={"longest_edge": SIDE}),
        words,
        image_seq_len=(SIDE // PATCH // 2) ** 2,
        chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    )
    return _seeded(Idefics3ForConditionalGeneration, config), processor


def _seeded(architecture, config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return architecture(config).eval()


def save(folder, model, processor):
    """Leaves a checkpoint in transformers' own layout."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def noise(n, side=40):
    """Images of noise: uint8 (n, side, side, 3)."""
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def whole_forward(model, images, question, tokens):
    """Logits of a prompt's last token and of the answer's, in one pass without a memory: what parts have to equal."""
    inputs = vlm.encode(model, images, question)
    more = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "mm_token_type_ids": 0 * tokens}
    joined = {name: torch.cat([value, more[name]], 1) if name in more else value for name, value in inputs.items()}
    with torch.inference_mode():
        return model.model(**joined, use_cache=False).logits[:, inputs["input_ids"].shape[1] - 1 :]
