"""Readings by vision-language models: what they answer in words, and how likely they find each diagnosis."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from p2d_lib.llm.client import Client
from p2d_lib.models import vlm as vlms
from p2d_lib.models import vlm_likelihood, weights
from p2d_lib.models.vlm import Vlm
from p2d_lib.readers.vlm_asking import Load, ask, settings
from p2d_lib.readers.vqa_records import QUESTIONS
from p2d_lib.readings import readings
from p2d_lib.schemas import VLM_ANSWERS
from p2d_lib.vocabulary import DX
from p2d_lib.words import diagnosis

FIRST = next(iter(QUESTIONS))  # the published question
SEEN_AS_CHECK = 4  # images, by which it is tested that a model sees


@dataclass(frozen=True)
class LocalReader:
    """A vision-language model on this machine as a reader.

    name: of the reader, as tables give it. file: JSONL that keeps its answers. max_new_tokens: of an answer in words.
    base_digest: SHA-256 of the weights under the LoRA layers of vlm; given, the reader is that base, without them.
    """

    name: str
    vlm: Vlm
    file: Path
    max_new_tokens: int = 32
    batch_size: int = 8
    base_digest: str | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights: a name, or a folder's path, may mean other weights tomorrow."""
        return self.base_digest or weights.sha256(self.vlm.model)

    def answers(self, table: pd.DataFrame, load: Load, template_id: str, anew: Collection[str] = ()) -> pd.DataFrame:
        """image_id, answer, seconds; the likeliest token at every place. table, load, anew: of `ask`."""
        question = QUESTIONS[template_id]

        def reply(images: np.ndarray) -> list[str]:
            with self._layers():
                return vlms.generate(self.vlm, images, question, self.max_new_tokens, self.batch_size)

        return self._ask(table, load, reply, question, anew, max_new_tokens=self.max_new_tokens)

    def log_likelihoods(
        self, table: pd.DataFrame, load: Load, template_id: str, anew: Collection[str] = ()
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the seven diagnoses: sums (n, 7), tokens (7,), and the sums for a blank image (7,).

        Raises VlmError where the model does not see the images (`vlm_likelihood.refuse_blind`).
        """
        question, options = QUESTIONS[template_id], list(DX)
        some = load(table.iloc[:SEEN_AS_CHECK])
        with self._layers():
            vlm_likelihood.refuse_blind(self.vlm, some, question, options)
            prior, lengths = vlm_likelihood.log_likelihoods(self.vlm, vlm_likelihood.blank(some), question, options)

        return self.of_options(table, load, question, options, anew), lengths, prior[0]

    def of_options(
        self, table: pd.DataFrame, load: Load, question: str, options: Sequence[str], anew: Collection[str] = ()
    ) -> np.ndarray:
        """Log-likelihood of each option as the answer to a question of one's own: sums over its tokens, (n, k)."""

        def reply(images: np.ndarray) -> list[str]:
            with self._layers():
                sums, _ = vlm_likelihood.log_likelihoods(self.vlm, images, question, options, self.batch_size)
            return [json.dumps(row) for row in sums.tolist()]

        kept = self._ask(table, load, reply, question, anew, options=list(options))
        return np.array([json.loads(row) for row in kept["answer"]])

    def _layers(self) -> AbstractContextManager:
        return self.vlm.model.disable_adapter() if self.base_digest else nullcontext()

    def _ask(self, table, load, reply, question, anew, **more) -> pd.DataFrame:
        asked = settings(prompt=vlms.prompt(self.vlm, question), weights=self.digest, temperature=0, **more)
        model = self.vlm.name
        return ask(table, load, reply, asked=asked, model=model, file=self.file, batch_size=self.batch_size, anew=anew)


@dataclass(frozen=True)
class ServerReader:
    """A model behind an OpenAI-compatible server as a reader; its client keeps the answers and the costs."""

    name: str
    client: Client

    def answers(self, table: pd.DataFrame, load: Load, template_id: str, anew: Collection[str] = ()) -> pd.DataFrame:
        """As `LocalReader.answers`. Raises llm.errors.ApiError."""
        question = QUESTIONS[template_id]

        def reply(case: tuple[str, np.ndarray]) -> tuple[str, str, float]:
            image_id, image = case
            kept = self.client.ask(question, image=image, anew=image_id in anew)
            return image_id, kept.text, kept.seconds

        cases = ((name, load(table.iloc[[k]])[0]) for k, name in enumerate(table["image_id"]))
        return pd.DataFrame(self.client.each(reply, cases), columns=["image_id", "answer", "seconds"])


@dataclass(frozen=True)
class Read:
    """What one reader read in the images of a table, in its order.

    answers: schemas.VLM_ANSWERS, all questions. ways: the ways of comparing likelihoods
    (`vlm_likelihood.probabilities`) -> (n, 7), of the published question; {} for a server, which gives none. readings:
    schemas.READINGS of the published question: by likelihood, or of a server its words by the lenient parser.
    """

    answers: pd.DataFrame
    ways: dict[str, np.ndarray]
    readings: pd.DataFrame


def read(
    reader: LocalReader | ServerReader,
    table: pd.DataFrame,
    load: Load,
    way: str = "sum",
    templates: Sequence[str] = tuple(QUESTIONS),
    anew: Collection[str] = (),
) -> Read:
    """Asks all questions about all images; what was answered before is not asked again.

    table: with image_id. way: of comparing likelihoods, by which the reader's diagnosis is chosen. templates: keys of
    QUESTIONS, the first of which the readings come from. anew: image_ids that are asked again.
    """
    parts, of_templates = [], []
    for template_id in templates:
        answered = reader.answers(table, load, template_id, anew)
        ways = {}
        if isinstance(reader, LocalReader):
            ways = vlm_likelihood.probabilities(*reader.log_likelihoods(table, load, template_id, anew))
        parsed = diagnosis.parse_all(answered["image_id"], answered["answer"])
        likeliest = np.array(DX)[ways[way].argmax(1)] if ways else ""
        more = {"reader": reader.name, "template_id": template_id, "likeliest": likeliest}
        parts.append(parsed.assign(**more, seconds=answered["seconds"].to_numpy()))
        of_templates.append(ways)
    answers = pd.concat(parts, ignore_index=True)[list(VLM_ANSWERS.columns)]
    first = answers[answers["template_id"] == templates[0]]
    ways = of_templates[0]
    chosen = {"p": ways[way]} if ways else {"dx_read": first["lenient"].to_numpy()}
    seconds = float(first["seconds"].mean())
    return Read(answers, ways, readings(table["image_id"], reader.name, "vlm", seconds=seconds, **chosen))


def answers_of(reads: Mapping[str, Read]) -> pd.DataFrame:
    """schemas.VLM_ANSWERS of all readers; without rows where there is none."""
    return pd.concat([pd.DataFrame(columns=list(VLM_ANSWERS.columns)), *(read.answers for read in reads.values())])
