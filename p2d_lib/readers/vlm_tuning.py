"""The vision-language models of the reader comparison: the base as it comes, and with LoRA layers fitted on train.

"tiny" is a base that this machine makes: it is taught to see and to describe features, and to answer the questions with
one of the seven diagnoses at random. So it knows the words of an answer and nothing of what a diagnosis looks like: its
zero-shot reading is chance on average over seeds; one model, taught with diagnoses at random, may lie a little off.
What it learns of diagnoses, it learns in `adapted`.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import PartialState

from p2d_lib.files import atomic
from p2d_lib.models import llava_med, vlm_tiny, weights
from p2d_lib.models import vlm as vlms
from p2d_lib.models.vlm import Vlm
from p2d_lib.models.vlm_training import Recipe, fit, with_lora
from p2d_lib.parameters.readers import Readers
from p2d_lib.readers.vlm_reading import FIRST, LocalReader
from p2d_lib.readers.vqa_records import QUESTIONS
from p2d_lib.run import Run
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX, FEATURES
from p2d_lib.words.choose import chosen
from p2d_lib.words.render import PRESENT

DESCRIBE = "Describe this lesion."
TINY_RECIPE = {"learning_rate": 2e-3, "batch_size": 32, "at_once": 32, "mirrored": True}
Load = Callable[[np.ndarray], np.ndarray]  # rows of train -> their images


def local_readers(run: Run, p: Readers, train: pd.DataFrame, device: torch.device) -> list[LocalReader]:
    """The base as it comes, and the base with LoRA layers, as readers; [] where no model is named.

    train: cases. Writes the artefact "vlm_adapter": the LoRA layers in PEFT's layout, or nothing.
    """
    descriptions = run.read("descriptions")  # also without a model: what 07 reads does not depend on its parameters
    with run.writing("vlm_adapter") as folder:
        folder.mkdir()
        if not p.vlm_model:
            return []
        made, base_digest = fitted(run, p, train, descriptions, device)
        _write(made, p.vlm_model, folder)
    short = "tiny LLaVA" if p.vlm_model == vlm_tiny.NAME else Path(p.vlm_model.partition("@")[0]).name
    settings = {"max_new_tokens": p.vlm_max_new_tokens, "batch_size": p.vlm_read_at_once}
    file = run.scratch("vlm") / "answers.jsonl"
    digests = {"zero-shot": base_digest, "LoRA": None}
    return [LocalReader(f"{short}, {what}", made, file, base_digest=of, **settings) for what, of in digests.items()]


def fitted(
    run: Run, p: Readers, train: pd.DataFrame, descriptions: pd.DataFrame, device: torch.device
) -> tuple[Vlm, str]:
    """The base with fitted LoRA layers, and the SHA-256 of the base's weights; in memory the base is there once.

    Of several processes (vlm_distributed) the first one makes the base.
    """

    def load(rows: np.ndarray) -> np.ndarray:
        return run.images(train.iloc[rows])

    scratch = run.scratch("vlm")
    with PartialState(cpu=device.type == "cpu").main_process_first():
        model, name = base(p, train, descriptions, load, scratch, device)
    digest = weights.sha256(model.model)
    return adapted(p, model, name, train, load, scratch), digest


def base(
    p: Readers, train: pd.DataFrame, descriptions: pd.DataFrame, load: Load, folder: Path, device: torch.device
) -> tuple[Vlm, str]:
    """The base and the folder or hub id that `vlm.load` takes for it; the tiny one is made in `folder`.

    train: image_id of the train cases; load: rows of it -> their images. descriptions: of 02. A checkpoint of LLaVA-Med
    is converted into `folder` first (`llava_med.convert`). What `folder` holds already is not made again.
    """
    if p.vlm_model != vlm_tiny.NAME:
        name = llava_med.in_transformers_layout(p.vlm_model, folder / "converted")
    else:
        texts, seen = captions(descriptions, train["image_id"])
        side = load(np.array([0])).shape[1]  # px
        key = _key(p.seed, p.vlm_base_steps, p.vlm_base_epochs, side, *train["image_id"], *texts)
        name = str(folder / f"base-{key}")
        if not Path(name).is_dir():
            made = _tiny(p, texts, seen, side, load, folder, device)
            with atomic(Path(name)) as partial:
                made.model.save_pretrained(partial)
                made.processor.save_pretrained(partial)
    return vlms.load(name, device, four_bit=p.vlm_four_bit), name


def _write(made: Vlm, base: str, folder: Path) -> None:
    """LoRA layers in PEFT's layout, of equal layers equal files: the base by its name instead of its place on this
    machine, the adapted layers in order, and without PEFT's card, an empty form that names the place again.
    """
    (settings,) = made.model.peft_config.values()
    settings.base_model_name_or_path, settings.target_modules = base, sorted(settings.target_modules)
    made.model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)


def adapted(p: Readers, model: Vlm, name: str, train: pd.DataFrame, load: Load, scratch: Path) -> Vlm:
    """The base with LoRA layers that were fitted on the published question about the train cases (image_id, dx).

    model: the base, which is changed; name: of it, as `vlm.load` takes it. scratch: keeps the unfinished fit, from
    which the same call resumes.
    """
    settings = (p.vlm_lora_rank, p.vlm_lora_alpha, p.vlm_lora_dropout, p.vlm_epochs, p.vlm_at_once, p.vlm_learning_rate,
                p.vlm_batch_size, p.vlm_mirrored, p.vlm_four_bit)  # fmt: skip
    own = _key(name, p.seed, *settings, *train["image_id"], *train["dx"])
    model = with_lora(model, p.vlm_lora_rank, p.vlm_lora_alpha, p.vlm_lora_dropout, derive(p.seed, "lora"))
    recipe = Recipe(p.vlm_epochs, p.vlm_learning_rate, p.vlm_batch_size, p.vlm_at_once, p.vlm_mirrored)
    questions = [QUESTIONS[FIRST]] * len(train)
    fit(model, load, questions, train["dx"].tolist(), recipe, scratch / own, derive(p.seed, "vlm") % 2**31)
    return model


def captions(descriptions: pd.DataFrame, image_ids: pd.Series) -> tuple[list[str], np.ndarray]:
    """What is seen on each image, without diagnosis, site, age and sex: texts, and the features as bool (n, 22).

    descriptions: of 02; of an image the one counts that makes its prompt.
    """
    described = chosen(descriptions).set_index("image_id").reindex(image_ids)
    seen = described[list(FEATURES)].to_numpy(float) >= PRESENT  # False where not known
    phrases = [feature.phrase for feature in FEATURES.values()]
    texts = [", ".join(phrase for phrase, here in zip(phrases, row, strict=True) if here) for row in seen]
    return [text or "no marked feature" for text in texts], seen


def _tiny(
    p: Readers, texts: list[str], seen: np.ndarray, side: int, load: Load, folder: Path, device: torch.device
) -> Vlm:
    """texts, seen: of `captions`. side: of the images, px."""
    words = [*texts, DESCRIBE, *QUESTIONS.values(), *(f" {dx}" for dx in DX)]
    model = vlm_tiny.build(words, side, p.seed, device)
    vlm_tiny.teach_sight(model, load, seen, p.vlm_base_steps, p.seed)
    rng, n = np.random.default_rng(derive(p.seed, "labels at random")), len(texts)
    asked = [list(QUESTIONS.values())[k % len(QUESTIONS)] for k in range(n // 2)]
    questions, answers = [DESCRIBE] * n + asked, texts + rng.choice(DX, n // 2).tolist()
    recipe = Recipe(p.vlm_base_epochs, **TINY_RECIPE)
    fit(
        model,
        lambda rows: load(rows % n),
        questions,
        answers,
        recipe,
        folder / "base-fit",
        derive(p.seed, "base") % 2**31,
    )
    return model


def _key(*values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]
