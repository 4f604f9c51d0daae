"""The api describer: a model behind a server describes each image: it replies with a text and 22 scores."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from tqdm import tqdm

from p2d_lib.describe.llm.replies import QUESTION, Parsed, Reply, described, parse, unusable
from p2d_lib.llm.cache import Answer
from p2d_lib.llm.client import Client
from p2d_lib.llm.errors import CeilingError

IMAGES_IN_MEMORY = 32
QUESTION_AGAIN = f"{QUESTION}\nReply with the JSON object alone: no introduction, no remark, no fence around it."


def describe(cases: pd.DataFrame, load: Callable[[pd.DataFrame], np.ndarray], client: Client) -> pd.DataFrame:
    """One row per case, as `replies.described`: describer "api:<model>", text, scores, seconds and cost (USD).

    cases: with image_id. load: the images of some rows of it, uint8 (n, h, w, 3), such as `Run.images`. Where a reply
    has words and no JSON the question is sent once more. A reply without information on the image is not valid: its
    scores are NaN and its text is "[refused] ..." or "[no JSON] ..." with the beginning of the reply or the reason.
    Raises ApiError; after a CeilingError too, everything that was paid for is in the cache and is used by the next run.
    """
    results: dict[str, tuple[Parsed, float, float]] = {}

    def describe_one(case: tuple[str, np.ndarray]) -> None:
        image_id, image = case
        answers = [client.ask(QUESTION, image=image, schema=Reply)]
        parsed = _parsed(answers[0])
        if parsed.repairs == ["no JSON"] and answers[0].text:
            answers.append(client.ask(QUESTION_AGAIN, image=image, schema=Reply))
            parsed = _parsed(answers[1])
        results[image_id] = parsed, sum(a.seconds for a in answers), sum(a.cost for a in answers)

    work = client.each(describe_one, _with_images(cases, load))
    try:
        for _ in tqdm(work, "describe", len(cases), unit="image", mininterval=1):
            pass
    except CeilingError as error:
        raise CeilingError(f"{error}; {len(results)} of {len(cases)} images are described") from None
    parsed, seconds, cost = zip(*(results[i] for i in cases["image_id"]), strict=True) if results else ((), (), ())
    return described(cases["image_id"], f"api:{client.model}", parsed, seconds, cost)


def _with_images(cases: pd.DataFrame, load: Callable[[pd.DataFrame], np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    for start in range(0, len(cases), IMAGES_IN_MEMORY):
        rows = cases.iloc[start : start + IMAGES_IN_MEMORY]
        yield from zip(rows["image_id"], load(rows), strict=True)


def _parsed(answer: Answer) -> Parsed:
    if answer.refused:
        return unusable(answer.text, "refused")
    if answer.text.strip():
        parsed = parse(answer.text, is_cut=bool(answer.cut_at))
        return parsed._replace(repairs=["other field"] * bool(answer.part) + parsed.repairs)
    if answer.cut_at:
        return unusable(f"{answer.cut_at} tokens ended before an answer: raise 02_describe.api_max_tokens", "no JSON")
    return unusable("the reply holds reasoning and no answer" if answer.part else "the reply is empty", "no JSON")
