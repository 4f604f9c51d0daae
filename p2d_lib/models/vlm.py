"""Vision-language models: any image-text-to-text model of transformers, with one question about each image.

Kinds of answer: free text (`generate`), scores in a JSON object that is valid for any model (`scores`), and how likely
each of a few options is (vlm_likelihood). All are greedy or exact, so the same model gives the same answer.
One question and one image size make all prompts of a batch equally long: nothing is padded, so an answer does not
depend on the batch size beyond the rounding of a sum.
"""

import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from peft import PeftConfig, PeftModel
from PIL import Image
from safetensors import SafetensorError
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    BatchFeature,
    BitsAndBytesConfig,
    Cache,
    PreTrainedModel,
    ProcessorMixin,
)

from p2d_lib.models import weights

VISION_TOWER = r".*(vision_tower|vision_model|visual)\b.*"  # names of its layers in LLaVA, Idefics and Qwen-VL
_FULL_PRECISION = ["lm_head", VISION_TOWER, r".*(multi_modal_projector|connector)\b.*"]
_UNFIT = (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError)  # raised by loading a bad folder


class VlmError(Exception):
    """A model that cannot be loaded or questioned; the message names it and says what to do."""


@dataclass
class Vlm:
    """A vision-language model with its processor, which turns images and words into tokens."""

    model: PreTrainedModel | PeftModel
    processor: ProcessorMixin
    name: str

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device


def load(
    name: str | Path,
    device: torch.device,
    adapter: str | Path | None = None,
    four_bit: bool = False,
) -> Vlm:
    """A model by hub id or id@revision, e.g. "Qwen/Qwen2-VL-2B-Instruct", or by folder, in transformers' own layout.

    Weights keep the type that they were saved in. adapter: a PEFT adapter for this model (LoRA: Hu et al., ICLR
    2022), by hub id or folder. four_bit: the language model's linear layers in NF4, as QLoRA has them (Dettmers et al.,
    NeurIPS 2023); this needs bitsandbytes. Vision tower, projector and head keep their precision. Code that comes with
    a model is never run. Raises VlmError for a model or adapter that does not exist, is of another kind, or lacks
    weights, which would otherwise be random.
    """
    more = {"quantization_config": _nf4(name), "device_map": {"": device}} if four_bit else {}
    try:
        source = weights.resolve(name)
        model, info = AutoModelForImageTextToText.from_pretrained(
            source.name,
            **source.options,
            dtype="auto",
            trust_remote_code=False,
            output_loading_info=True,
            **more,
        )
        processor = AutoProcessor.from_pretrained(source.name, **source.options, trust_remote_code=False)
    except (weights.WeightsError, *_UNFIT) as error:
        raise VlmError(
            f"{name}: cannot be loaded as an image-text-to-text model ({_first_line(error)}); give a folder or a hub "
            "id in transformers' own layout, for LLaVA and LLaVA-Med a checkpoint converted to it (often named ...-hf)"
        ) from error
    name = source if source.commit else name  # from here on, answers belong to this commit
    if missing := sorted(info["missing_keys"]):
        raise VlmError(f"{name}: {len(missing)} weights are missing ({missing[0]}, ...); get the whole checkpoint")
    if not isinstance(processor, ProcessorMixin):
        raise VlmError(f"{name}: has a {type(processor).__name__} and no processor of images and words; add its files")
    if model.config.is_encoder_decoder or "past_key_values" not in inspect.signature(model.forward).parameters:
        raise VlmError(
            f"{name}: a {type(model).__name__} does not continue a prompt; give a decoder, as LLaVA or Qwen-VL"
        )
    if adapter is not None:
        model, name = _adapted(model, name, adapter), f"{name} with {adapter}"
    model = model if four_bit else model.to(device)
    return Vlm(model.eval().requires_grad_(False), processor, str(name))


def encode(vlm: Vlm, images: np.ndarray, question: str) -> BatchFeature:
    """The model's inputs for one question about each image, on its device, up to where its answer begins.

    images: uint8 (n, h, w, 3). The question is put into the processor's chat template, else into LLaVA-1.5's plain
    "USER: ... ASSISTANT:" (Liu et al., CVPR 2024). Raises ValueError for other images.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images are {images.dtype} {images.shape}, expected uint8 (n, h, w, 3)")
    text, bos = prompt(vlm, question), vlm.processor.tokenizer.bos_token
    inputs = vlm.processor(
        images=[[Image.fromarray(image)] for image in images],
        text=[text] * len(images),
        add_special_tokens=not (bos and text.startswith(bos)),  # a template may have written it already
        return_tensors="pt",
    )
    return inputs.to(vlm.device, dtype=vlm.model.dtype)


@torch.inference_mode()
def generate(vlm: Vlm, images: np.ndarray, question: str, max_new_tokens: int, batch_size: int = 8) -> list[str]:
    """The model's answer to the question about each image, uint8 (n, h, w, 3), its likeliest token at every place."""
    replies = []
    for _, inputs in batches(vlm, images, question, batch_size):
        tokens = vlm.model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            temperature=None,  # these three: a checkpoint may carry its own, of no use here
            top_p=None,
            top_k=None,
            pad_token_id=_pad(vlm),
        )
        answers = tokens[:, inputs["input_ids"].shape[1] :]
        replies += [text.strip() for text in vlm.processor.batch_decode(answers, skip_special_tokens=True)]
    return replies


@torch.inference_mode()
def scores(vlm: Vlm, images: np.ndarray, question: str, fields: Sequence[str], batch_size: int = 8) -> np.ndarray:
    """The model's score of each field on each image: float32 (n, len(fields)) in 0..0.9.

    images: uint8 (n, h, w, 3). The answer's skeleton, {"<field>": 0._, "<field>": 0._}, is forced; at each slot only
    the ten digits compete and the likeliest is written, so that the whole is JSON for any model. The
    score is the mean of 0.0 .. 0.9 under the digits' probabilities, which ranks more finely than the digit written
    (G-Eval: Liu et al., EMNLP 2023); a model with no opinion on a field scores it 0.45.
    Raises VlmError where the tokenizer does not give each digit one token in a slot.
    """
    skeleton, slots, digits = _skeleton(vlm, question, fields)
    tenths = torch.arange(10, device=vlm.device) / 10
    expected = np.empty((len(images), len(fields)), np.float32)
    for rows, inputs in batches(vlm, images, question, batch_size):
        logits, past = first_logits(vlm, inputs)
        written = skeleton.repeat(logits.shape[0], 1)
        fed = 0
        for k, slot in enumerate(slots):
            if slot > fed:
                logits, past = forced(vlm, written[:, fed:slot], past)
                fed = slot
            p = logits[:, -1, digits[k]].softmax(-1)
            expected[rows, k] = (p @ tenths).cpu().numpy()
            written[:, slot] = digits[k, p.argmax(-1)]
    return expected


def _adapted(model: PreTrainedModel, name: str | Path, adapter: str | Path) -> PeftModel:
    try:
        source = weights.resolve(adapter)
        adapted = PeftModel(model, PeftConfig.from_pretrained(source.name, **source.options))
        loaded = adapted.load_adapter(source.name, "default", **source.options)
    except (weights.WeightsError, *_UNFIT) as error:
        raise VlmError(
            f"{adapter}: is no adapter for {name} ({_first_line(error)}); give the folder that PEFT's save_pretrained "
            "wrote for this model"
        ) from error
    if unmatched := [*loaded.missing_keys, *loaded.unexpected_keys]:
        raise VlmError(
            f"{adapter}: was fitted on another model than {name}: {len(unmatched)} of its weights and the model's do "
            f"not match ({unmatched[0]}, ...); give the model it was fitted on"
        )
    return adapted


def _nf4(name: str | Path) -> BitsAndBytesConfig:
    if not find_spec("bitsandbytes"):
        raise VlmError(
            f"{name}: weights of 4 bits need the package bitsandbytes: install it (docs/HOWTO.md), or set vlm_four_bit "
            "to false"
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=_FULL_PRECISION,  # the name is old: it holds for 4 bits as well
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def prompt(vlm: Vlm, question: str) -> str:
    """The text that the model is given: the question in the processor's chat template, or in LLaVA-1.5's words."""
    if not vlm.processor.chat_template:
        return f"USER: {getattr(vlm.processor, 'image_token', '<image>')}\n{question} ASSISTANT:"
    content = [{"type": "image"}, {"type": "text", "text": question}]
    text = vlm.processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    return text.rstrip(" ")  # a space belongs to the word after it in most tokenizers


def answer_tokens(vlm: Vlm, question: str, answer: str) -> torch.Tensor:
    """An answer's tokens (length,) as they follow the prompt; tokenised alone, its first word might differ."""
    asked = prompt(vlm, question)
    whole = asked + ("" if asked[-1].isspace() else " ") + answer
    before, after = (vlm.processor.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (asked, whole))
    if after[: len(before)] != before:
        raise VlmError(
            f"{vlm.name}: its tokenizer joins the prompt's end with the answer {answer[:20]!r}; use generate"
        )
    return torch.tensor(after[len(before) :], device=vlm.device)


def _skeleton(vlm: Vlm, question: str, fields: Sequence[str]) -> tuple[torch.Tensor, list[int], torch.Tensor]:
    """The JSON's tokens with 0 in all slots (length,), the places of the slots, each slot's digits (n_fields, 10).

    The token that distinguishes the digits is taken, "5" as well as ".5", if all ten fillings are cut alike but for it.
    """
    filled = ["{" + ", ".join(f"{json.dumps(field)}: 0.{digit}" for field in fields) + "}" for digit in range(10)]
    answers = [answer_tokens(vlm, question, text) for text in filled]
    if len({len(answer) for answer in answers}) == 1:
        tokens = torch.stack(answers)
        slots = (tokens != tokens[0]).any(0).nonzero()[:, 0]
        digits = tokens[:, slots].T
        if len(slots) == len(fields) and all(len(set(row)) == 10 for row in digits.tolist()):
            return tokens[0], slots.tolist(), digits
    raise VlmError(f"{vlm.name}: its tokenizer has no token for each digit after '0.'; ask for JSON with generate")


def batches(vlm: Vlm, images: np.ndarray, question: str, batch_size: int) -> Iterator[tuple[slice, BatchFeature]]:
    """The inputs of `encode`, batch_size images at a time, each with the rows that they are."""
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        yield rows, encode(vlm, images[rows], question)


def first_logits(vlm: Vlm, inputs: BatchFeature) -> tuple[torch.Tensor, Cache]:
    """Logits of the answer's first token (n, 1, vocabulary), and the key-value cache of image and question."""
    output = vlm.model(**inputs, use_cache=True, logits_to_keep=1)
    return output.logits[:, -1:].float(), output.past_key_values


def forced(vlm: Vlm, tokens: torch.Tensor, past: Cache) -> tuple[torch.Tensor, Cache]:
    """Logits after each of the tokens (n, length) that are forced: (n, length, vocabulary), and the cache.

    No attention mask: nothing is padded, and Qwen-VL derives wrong positions from one longer than the tokens.
    """
    output = vlm.model(input_ids=tokens, past_key_values=past, use_cache=True)
    return output.logits.float(), output.past_key_values


def _pad(vlm: Vlm) -> int | None:
    tokenizer = vlm.processor.tokenizer
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
