"""A client that asks one model: consent before anything is sent, a cache of replies, a ceiling on cost, retries.

Retries are made here and not by the openai package, since each attempt is held against the ceiling, and one that the
server never answered may be billed.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tenacity
from pydantic import BaseModel

from p2d_lib.llm.cache import Answer, Cache
from p2d_lib.llm.completion import Completion
from p2d_lib.llm.errors import ApiError
from p2d_lib.llm.purse import Purse
from p2d_lib.llm.request import Request
from p2d_lib.llm.settings import Settings
from p2d_lib.llm.transport import Transport, TryAgainError

SCHEMA_FAULTS = (500, 501, 502)  # with which some servers reply to every request that has a schema
RUN_AGAIN = "Run again later: the replies that came are in {} and are not asked again"
NO_COMPLETION = "Each may be billed. Is the base URL that of an OpenAI-compatible server? It mostly ends in /v1"


class Client:
    """Asks one model, with retries, a cache and a ceiling on cost; threads may share it.

    cache: a JSONL file, appended to; one client at a time writes it. allow_upload: nothing leaves this machine unless
    it is True. concurrency: requests at a time. timeout: seconds for a whole reply. max_tokens: of a reply. price_in,
    price_out: USD per million tokens. max_cost: USD, for all that the cache holds, of whichever model, whenever it was
    paid. tries: attempts at faults that pass (408, 429, 5xx, timeouts, cut connections). backoff: seconds; pauses start
    there, double and are jittered. Raises ApiError for settings that no request can be made with.
    """

    def __init__(
        self,
        settings: Settings,
        model: str,
        cache: Path,
        *,
        allow_upload: bool = False,
        concurrency: int = 4,
        timeout: float = 120.0,
        max_tokens: int = 1000,
        price_in: float | None = None,
        price_out: float | None = None,
        max_cost: float | None = None,
        tries: int = 6,
        backoff: float = 1.0,
    ):
        if max_cost is not None and (price_in is None or price_out is None):
            raise ApiError(
                f"max_cost is {max_cost} USD but prices are not known: give price_in and price_out of {model}, "
                "in USD per million tokens"
            )
        self._transport = Transport(settings, model, timeout=timeout, connections=concurrency)
        self.model, self.max_tokens, self.allow_upload, self.concurrency = model, max_tokens, allow_upload, concurrency
        self.tries, self.backoff = tries, backoff
        self._cache = Cache(cache)
        self._purse = Purse(price_in or 0.0, price_out or 0.0, max_cost, sum(self._cache.costs.values()))
        self._stopped = threading.Event()

    @property
    def spent(self) -> float:
        """USD, for all that the cache holds and for requests that were never answered."""
        return self._purse.spent

    def account(self) -> dict[str, float]:
        """Totals of this model in the cache: replies, input_tokens, output_tokens, cost (USD, with lost requests)."""
        answers = self._cache.of_model(self.model)
        tokens = {name: sum(getattr(a, name) for a in answers) for name in ("input_tokens", "output_tokens")}
        return {"replies": len(answers), **tokens, "cost": self._cache.costs.get(self.model, 0.0)}

    def ask(
        self,
        prompt: str,
        *,
        image: np.ndarray | None = None,
        schema: type[BaseModel] | None = None,
        temperature: float = 0.0,
        anew: bool = False,
    ) -> Answer:
        """The model's reply to a prompt, from the cache where the same request was sent before, unless `anew`.

        image: uint8 (h, w, 3). schema: the fields of the reply's JSON, all required and no others; for a
        server that knows no schemas the prompt states it, so anything may come back. Raises ValueError for another
        image, ApiError, and CeilingError before max_cost would be passed.
        """
        request = Request(prompt, image, schema and schema.model_json_schema(), temperature)
        key = request.key(self.model)
        answer = self._cache.answers.get(key)
        if answer and not anew and not 0 < answer.cut_at < self.max_tokens:
            return answer
        if not self.allow_upload:
            data = "a prompt" if image is None else "an image"
            raise ApiError(
                f"{data} would be sent to {self._transport.where}: set allow_upload to True if the data may leave this "
                "machine"
            )
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TryAgainError),
            stop=tenacity.stop_after_attempt(self.tries) | tenacity.stop_when_event_set(self._stopped),
            wait=self._wait,
            sleep=tenacity.sleep_using_event(self._stopped),
            reraise=True,
        )
        try:
            try:
                return retrying(self._attempt, request, key)
            except TryAgainError as error:
                if not (schema and error.status in SCHEMA_FAULTS):
                    raise
                return self._attempt(request, key, without=("response_format",))
        except TryAgainError as error:
            advice = NO_COMPLETION if error.status == 200 else RUN_AGAIN.format(self._cache.path)
            raise ApiError(f"{self._transport.where}: {error}; asked {self.tries} times. {advice}") from None

    def each(self, work: Callable, items: Iterable) -> Iterator:
        """work(item) of all items in their order, `concurrency` at a time in threads; items are taken as needed.

        Where one fails, requests under way are waited for, since they are paid, and the error is raised.
        """
        self._stopped.clear()
        pool, pending = ThreadPoolExecutor(self.concurrency), deque()
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) >= 2 * self.concurrency:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            self._stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            self._stopped.clear()

    def _attempt(self, request: Request, key: str, without: tuple[str, ...] = ()) -> Answer:
        """One request, paid for and kept in the cache, or an error."""
        if self._stopped.is_set():
            raise ApiError(f"{self._transport.where}: stopped before this was asked")
        held = self._purse.hold(request, self.max_tokens)
        cost, counted = 0.0, None
        started = time.monotonic()
        try:
            completion = self._transport.completion(request, self.max_tokens, without=without)
            counted = completion.n_in
            # without a count of tokens the worst case is booked
            cost = held if counted is None else self._purse.price(counted, completion.n_out)
            answer = self._answer(completion, cost, time.monotonic() - started)
            self._cache.keep(key, answer)
            return answer
        except TryAgainError as error:
            if error.paid and held:
                cost = held
                self._cache.lose(key, self.model, held)
            raise
        finally:
            self._purse.settle(request, held, cost, counted)

    def _answer(self, completion: Completion, cost: float, seconds: float) -> Answer:
        return Answer(
            text=completion.text,
            refused=completion.refused,
            model=completion.model or self.model,
            input_tokens=completion.n_in or 0,
            output_tokens=completion.n_out,
            cost=cost,
            seconds=round(seconds, 3),
            cut_at=self.max_tokens if completion.is_cut else 0,
            requested=self.model,
            part=completion.part,
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        stated = state.outcome.exception().wait
        jittered = tenacity.wait_random_exponential(multiplier=self.backoff, max=60)(state)
        return jittered if stated is None else stated + min(jittered, self.backoff)
