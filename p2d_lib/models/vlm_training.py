"""Vision-language models are taught answers: the whole of a small one, or low-rank adapters (LoRA) of a large one.

transformers' Trainer does the work: resuming, several GPUs (torchrun) and gradient accumulation are its own. The loss
is the cross-entropy of the answer's tokens alone (Liu et al., NeurIPS 2023, sec. 4.2).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from peft import (
    LoraConfig,
    PeftModel,
    get_peft_model,
    load_peft_weights,
    prepare_model_for_kbit_training,
    set_peft_model_state_dict,
)
from torch.nn import functional as F
from tqdm import tqdm
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from p2d_lib.models.vlm import VISION_TOWER, Vlm, answer_tokens, encode

SAVE_EVERY = 50  # steps
IGNORED = -100  # label of tokens that are no part of the answer


@dataclass(frozen=True)
class Recipe:
    """How long and how fast: LLaVA's schedule, cosine after a warm-up of 3 %, without weight decay."""

    epochs: float
    learning_rate: float
    batch_size: int  # images that a step learns from, over all GPUs
    at_once: int  # of them on one GPU at a time
    mirrored: bool = False  # each image as it is or mirrored, by chance


def with_lora(vlm: Vlm, rank: int, alpha: int, dropout: float, seed: int) -> Vlm:
    """The model with new LoRA layers (Hu et al., ICLR 2022) at all linear layers outside the vision tower and the head.

    Only these are then fitted. alpha: LoRA's scale is alpha / rank. The model given is changed, too.
    """
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules="all-linear", exclude_modules=VISION_TOWER
    )
    model = vlm.model
    if getattr(model, "is_loaded_in_4bit", False):  # activations are checkpointed by `fit`, as of any model
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Vlm(get_peft_model(model, config), vlm.processor, f"{vlm.name} with LoRA")


def fit(
    vlm: Vlm,
    load: Callable[[np.ndarray], np.ndarray],
    questions: Sequence[str],
    answers: Sequence[str],
    recipe: Recipe,
    folder: Path,
    seed: int,
) -> pd.DataFrame:
    """Teaches the model to answer questions about images. Returns the log: step, loss, learning_rate.

    load: numbers of questions -> the images that they are about, uint8 (n, h, w, 3). questions, answers: n texts. The
    parameters that require a gradient are fitted, all where none does. folder: with LoRA it keeps the state every
    SAVE_EVERY steps, from which the same call resumes. A folder belongs to one fit: give another fit another folder.
    Raises ValueError for a batch that at_once and the processes do not divide.
    """
    if not any(parameter.requires_grad for parameter in vlm.model.parameters()):
        vlm.model.requires_grad_(True)
    arguments = _arguments(recipe, folder, seed, vlm.device, keeps=isinstance(vlm.model, PeftModel))
    arguments._n_gpu = min(1, arguments.n_gpu)  # else one process would split its batch over all GPUs that it sees
    if recipe.batch_size % (recipe.at_once * arguments.world_size):
        raise ValueError(
            f"a batch of {recipe.batch_size} images is no multiple of {recipe.at_once} images at once on "
            f"{arguments.world_size} processes: change one of them"
        )
    arguments.gradient_accumulation_steps = recipe.batch_size // (recipe.at_once * arguments.world_size)

    def collate(rows: list[int]) -> dict[str, torch.Tensor]:
        images, texts = load(np.asarray(rows)), [[of[row] for row in rows] for of in (questions, answers)]
        return batch(vlm, _mirrored(images, [seed, *rows]) if recipe.mirrored else images, *texts)

    trainer = Trainer(vlm.model, arguments, collate, list(range(len(answers))), callbacks=[_Progress()])
    trainer.remove_callback(PrinterCallback)
    resumes = isinstance(vlm.model, PeftModel) and folder.is_dir()
    checkpoint = get_last_checkpoint(folder) if resumes else None
    if checkpoint and (state := _finished(checkpoint)):
        set_peft_model_state_dict(vlm.model, load_peft_weights(checkpoint, str(vlm.device)))
        trainer.state = state
    else:
        trainer.train(resume_from_checkpoint=checkpoint)
    vlm.model.eval().requires_grad_(False)
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    return pd.DataFrame(log, columns=["step", "loss", "learning_rate"])


def _finished(checkpoint: str) -> TrainerState | None:
    """The state of a fit that ended there, or None. Resumed, the Trainer would take one more step of a part epoch."""
    state = TrainerState.load_from_json(str(Path(checkpoint) / "trainer_state.json"))
    return state if state.global_step >= state.max_steps else None


def batch(vlm: Vlm, images: np.ndarray, questions: Sequence[str], answers: Sequence[str]) -> dict[str, torch.Tensor]:
    """The model's inputs for questions with their answers, and labels: the answers' tokens and their end, else IGNORED.

    images: uint8 (n, h, w, 3). questions, answers: n texts. Images with the same question stand together, in the order
    in which the questions first occur; all is padded on the right.
    """
    parts = []
    for question in dict.fromkeys(questions):
        rows = [row for row, asked in enumerate(questions) if asked == question]
        parts.append(_of_question(vlm, images[rows], question, [answers[row] for row in rows]))
    longest = max(part["labels"].shape[1] for part in parts)
    padding = {"input_ids": vlm.processor.tokenizer.eos_token_id, "labels": IGNORED}  # 0 for all else

    def padded(name: str, value: torch.Tensor) -> torch.Tensor:
        is_text = name in (*padding, "attention_mask", "mm_token_type_ids")
        return F.pad(value, (0, longest - value.shape[1]), value=padding.get(name, 0)) if is_text else value

    return {name: torch.cat([padded(name, part[name]) for part in parts]) for name in parts[0]}


def _of_question(vlm: Vlm, images: np.ndarray, question: str, answers: Sequence[str]) -> dict[str, torch.Tensor]:
    inputs, tokenizer = dict(encode(vlm, images, question)), vlm.processor.tokenizer
    end = torch.tensor([tokenizer.eos_token_id], device=vlm.device)
    written = [torch.cat([answer_tokens(vlm, question, answer), end]) for answer in answers]
    labels = torch.nn.utils.rnn.pad_sequence(written, batch_first=True, padding_value=IGNORED)
    more = {
        "input_ids": labels.masked_fill(labels == IGNORED, tokenizer.eos_token_id),
        "attention_mask": (labels != IGNORED).long(),
        "mm_token_type_ids": torch.zeros_like(labels),  # of Qwen-VL: text
    }
    asked = torch.full_like(inputs["input_ids"], IGNORED)
    joined = {name: torch.cat([value, more[name]], 1) if name in more else value for name, value in inputs.items()}
    return joined | {"labels": torch.cat([asked, labels], 1)}


def _arguments(recipe: Recipe, folder: Path, seed: int, device: torch.device, keeps: bool) -> TrainingArguments:
    on_gpu = device.type == "cuda"
    return TrainingArguments(
        str(folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.at_once,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,  # below 1: a share of the steps
        weight_decay=0.0,
        optim="adamw_torch",
        bf16=on_gpu and torch.cuda.is_bf16_supported(),
        activation_checkpointing=on_gpu,
        use_cpu=device.type == "cpu",
        seed=seed,
        save_strategy="steps" if keeps else "no",
        save_steps=SAVE_EVERY,
        save_total_limit=1,
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,  # the batches are on the device already
    )


def _mirrored(images: np.ndarray, address: list[int]) -> np.ndarray:
    """Each image as it is or mirrored at either axis, as the address decides: the fit and the batch's rows."""
    flips = np.random.default_rng(address).random((len(images), 2)) < 0.5
    pairs = zip(images, flips, strict=True)
    return np.stack([image[:: -1 if up else 1, :: -1 if left else 1] for image, (up, left) in pairs])


class _Progress(TrainerCallback):
    """A bar that notebooks run by papermill print as well."""

    def on_train_begin(self, args, state, control, **_):
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="vlm", unit="step", mininterval=1)

    def on_step_end(self, args, state, control, **_):
        self.bar.update()

    def on_train_end(self, args, state, control, **_):
        self.bar.close()
