"""The api describer: any chat endpoint of OpenAI's kind that takes images (OpenAI, vLLM, `transformers serve`, Ollama).

Whatever was replied is appended to a cache, one JSON line each, flushed to disk before it is used: work that was
stopped, or killed, goes on where it was, and what was paid for is never asked again.
"""

import base64
import dataclasses
import hashlib
import json
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import tenacity
from PIL import Image
from pydantic import BaseModel, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from tqdm import tqdm

from p2d_lib.describe.replies import QUESTION, Parsed, Reply, described, parse, unusable
from p2d_lib.run import home

PART = 32  # images held in memory at a time
PATIENCE = 120.0  # seconds: a server that asks to wait longer stops the run
MARGIN = 1.1  # on the input tokens expected, once replies have shown how they are counted
_ADVICE = {
    400: "the request does not suit this server or model",
    401: "check the key, P2D_API_KEY or OPENAI_API_KEY",
    402: "the account has no credit left",
    403: "the key may not use this model",
    404: "no such address or model: check the base URL, which mostly ends in /v1, and the model's name",
    413: "the image is too large for this server",
}
_OPTIONAL = ("response_format", "temperature", "max_tokens")  # what some servers refuse, by name
_START = b'{"key": "'


class ApiError(Exception):
    """What a person has to see to: a key, an address, permission, a server that stays down."""


class CeilingError(ApiError):
    """The next request might pass max_cost; it was not sent."""


class _TryAgainError(Exception):
    """A fault that may pass."""

    def __init__(self, problem: str, wait: float | None = None, paid: bool = False):
        super().__init__(problem)
        self.wait = wait  # seconds, where the server says so
        self.paid = paid  # a request went out and its reply never came: it may be billed


class Settings(BaseSettings):
    """Where to ask and with which key, from the environment, or .env in the working folder or the project's.

    P2D_API_BASE_URL and P2D_API_KEY, else OPENAI_BASE_URL and OPENAI_API_KEY. A local server needs no key, and the key
    for OpenAI is never sent to an address given as P2D_API_BASE_URL.
    """

    model_config = SettingsConfigDict(
        env_file=(home() / ".env", ".env"), extra="ignore", frozen=True, hide_input_in_errors=True
    )

    p2d_api_base_url: str = ""
    p2d_api_key: SecretStr = SecretStr("")
    openai_base_url: str = "https://api.openai.com/v1"
    openai_api_key: SecretStr = SecretStr("")

    @property
    def base_url(self) -> str:
        return self.p2d_api_base_url or self.openai_base_url

    @property
    def key(self) -> SecretStr:
        fallback = SecretStr("") if self.p2d_api_base_url else self.openai_api_key
        return SecretStr((self.p2d_api_key.get_secret_value() or fallback.get_secret_value()).strip())


@dataclass(frozen=True)
class Answer:
    """One reply, as it was paid for."""

    text: str
    refused: bool  # by the server's own word
    model: str  # as the server names it, mostly with its version
    input_tokens: int  # 0 where the server does not count
    output_tokens: int
    cost: float  # USD, 0 where prices are not given
    seconds: float
    cut_at: int  # max_tokens, where the reply was cut off there, else 0


class Client:
    """Asks one model, with retries, a cache and a ceiling on cost; threads may share it.

    cache: a JSONL file, appended to; one client at a time writes it. allow_upload: nothing leaves this machine unless
    it is True. concurrency: requests at a time. timeout: seconds for a whole reply. max_tokens: of a reply. price_in,
    price_out: USD per million tokens. max_cost: USD, for all that the cache holds, whenever it was paid. tries: of
    faults that pass (429, 5xx, timeouts, cut connections). backoff: seconds; pauses start there, double, are jittered.
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
        url, self._secret = httpx.URL(settings.base_url), settings.key.get_secret_value()
        if url.scheme not in ("http", "https") or not url.host:
            raise ApiError("the base URL is no http address; it looks like http://localhost:8000/v1")
        if url.userinfo:  # which would be logged with every request
            raise ApiError("the base URL holds a name or password: leave it out and give the key as P2D_API_KEY")
        if not re.fullmatch("[!-~]*", self._secret):
            raise ApiError("the API key holds a space or a character that no key has; copy it again")
        self.model, self.max_tokens, self.allow_upload, self.concurrency = model, max_tokens, allow_upload, concurrency
        self.timeout, self.tries, self.backoff = timeout, tries, backoff
        self._where = f"{model} at {url.netloc.decode()}"
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {self._secret}"} if self._secret else {},
            timeout=timeout,
            limits=httpx.Limits(max_connections=concurrency),
        )
        self._cache = _Cache(cache)
        self._purse = _Purse(price_in or 0.0, price_out or 0.0, max_cost, self._cache.spent)
        self._refused: set[str] = set()  # of _OPTIONAL, by this server
        self._stopped = threading.Event()

    @property
    def spent(self) -> float:
        """USD, for all that the cache holds and for requests whose reply never came."""
        return self._purse.spent

    def account(self) -> dict[str, float]:
        """What the cache holds and what it took: replies, input_tokens, output_tokens, cost (USD)."""
        answers = self._cache.answers.values()
        tokens = {name: sum(getattr(a, name) for a in answers) for name in ("input_tokens", "output_tokens")}
        return {"replies": len(answers), **tokens, "cost": self.spent}

    def ask(
        self,
        prompt: str,
        *,
        image: np.ndarray | None = None,
        schema: type[BaseModel] | None = None,
        temperature: float = 0.0,
    ) -> Answer:
        """The model's reply to a prompt, from the cache where the same was asked before.

        image: uint8 (h, w, 3), sent as PNG made of its pixels alone. schema: what the reply's JSON shall hold, every
        field required and none added; a server that knows no schemas is asked in words, so anything may come back.
        Raises ApiError, and CeilingError before max_cost would be passed.
        """
        if image is not None and (image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3):
            raise ValueError(f"image is {image.dtype} {image.shape}, expected uint8 (h, w, 3)")
        form = schema and schema.model_json_schema()
        key = _key(self.model, prompt, form, temperature, image)
        answer = self._cache.answers.get(key)
        if answer and not 0 < answer.cut_at < self.max_tokens:
            return answer
        if not self.allow_upload:
            sent = "a prompt" if image is None else "an image"
            raise ApiError(
                f"{sent} would be sent to {self._where}: set allow_upload to True if the data may leave this machine"
            )
        request = _Request(prompt, image, form, temperature)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_TryAgainError),
            stop=tenacity.stop_after_attempt(self.tries) | tenacity.stop_when_event_set(self._stopped),
            wait=self._wait,
            sleep=tenacity.sleep_using_event(self._stopped),
            reraise=True,
        )
        try:
            return retrying(self._attempt, request, key)
        except _TryAgainError as error:
            raise ApiError(
                f"{self._where}: {error}; asked {self.tries} times. Run again later: what was paid for is in "
                f"{self._cache.path} and is not asked again"
            ) from None

    def each(self, work: Callable, items: Iterable) -> Iterator:
        """work(item) of all items, `concurrency` at a time in threads, in the items' order, drawn as they are needed.

        Where one fails, those under way are waited for, since they are paid, and its error is raised.
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

    def _attempt(self, request: "_Request", key: str) -> Answer:
        """One request, paid for and kept in the cache, or an error."""
        if self._stopped.is_set():
            raise ApiError(f"{self._where}: stopped before this was asked")
        held = self._purse.hold(request, self.max_tokens)
        cost, counted = 0.0, None
        started = time.monotonic()
        try:
            reply = self._post(request)
            counted, n_out = _usage(reply)
            # without a count of tokens the worst case counts
            cost = held if counted is None else self._purse.price(counted, n_out)
            answer = self._read(reply, counted or 0, n_out, cost, time.monotonic() - started)
            self._cache.keep(key, answer)
            return answer
        except _TryAgainError as error:
            if error.paid and held:
                cost = held
                self._cache.lose(key, held)
            raise
        finally:
            self._purse.settle(request, held, cost, counted)

    def _body(self, request: "_Request") -> dict:
        text, form = request.prompt, request.form
        if form and "response_format" in self._refused:
            text += f"\nReply with one JSON object and nothing else. It fits this JSON schema:\n{json.dumps(form)}"
        content: str | list = text
        if request.image is not None:
            content = [
                {"type": "image_url", "image_url": {"url": _data_url(request.image)}},
                {"type": "text", "text": text},
            ]
        body = {"model": self.model, "messages": [{"role": "user", "content": content}]}
        options = {"temperature": request.temperature, "max_tokens": self.max_tokens}
        if form:
            json_schema = {"name": form["title"], "strict": True, "schema": form}
            options["response_format"] = {"type": "json_schema", "json_schema": json_schema}
        body |= {name: value for name, value in options.items() if name not in self._refused}
        if "max_tokens" in self._refused:  # its later name
            body["max_completion_tokens"] = self.max_tokens
        return body

    def _post(self, request: "_Request") -> dict:
        """The server's reply to one request; asked anew without what it refuses by name."""
        while True:
            body = self._body(request)
            response, text = self._send(body)
            named = [name for name in _OPTIONAL if name in body and name in text]
            if response.status_code not in (400, 422) or not named:
                break
            self._refused.add(named[0])
        if response.status_code in (429, *range(500, 600)) and "insufficient_quota" not in text:
            wait = _retry_after(response)
            if wait is not None and wait > PATIENCE:
                raise ApiError(
                    f"{self._where}: asks to wait for {wait:.0f} s (HTTP {response.status_code}); run again then"
                )
            raise _TryAgainError(f"HTTP {response.status_code}: {_short(text)}", wait)
        if response.status_code == 400 and "content_filter" in text:  # how Azure refuses one image, at no cost
            message = {"refusal": _short(text)}
            return {"choices": [{"message": message}], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}
        if response.status_code != 200:
            advice = _ADVICE.get(response.status_code, "the request was not accepted")
            if response.status_code == 429:
                advice = _ADVICE[402]
            raise ApiError(f"{self._where}: HTTP {response.status_code}: {advice}. The server says: {_short(text)}")
        try:
            reply = json.loads(text)
            reply["choices"][0]["message"].get("content")
        except (ValueError, LookupError, TypeError, AttributeError):
            raise _TryAgainError(f"what came is no chat completion: {_short(text)}") from None
        return reply

    def _send(self, body: dict) -> tuple[httpx.Response, str]:
        """A response and its text, the key taken out, within `timeout` even where it comes by drops."""
        deadline, data = time.monotonic() + self.timeout, b""
        try:
            with self._http.stream("POST", "chat/completions", json=body) as response:
                for chunk in response.iter_bytes():
                    data += chunk
                    if time.monotonic() > deadline:
                        raise httpx.ReadTimeout("")
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _TryAgainError(f"no connection ({self._without_key(str(error))})") from None
        except httpx.TimeoutException:
            raise _TryAgainError(f"no whole reply within {self.timeout:g} s", paid=True) from None
        except httpx.RequestError as error:
            problem = self._without_key(str(error) or type(error).__name__)
            raise _TryAgainError(f"the connection was cut ({problem})", paid=True) from None
        return response, self._without_key(data.decode(errors="replace"))

    def _read(self, reply: dict, n_in: int, n_out: int, cost: float, seconds: float) -> Answer:
        choice = reply["choices"][0]
        message, end = choice["message"], choice.get("finish_reason")
        return Answer(
            text=str(message.get("refusal") or message.get("content") or ""),
            refused=bool(message.get("refusal")) or end == "content_filter",
            model=str(reply.get("model") or self.model),
            input_tokens=n_in,
            output_tokens=n_out,
            cost=cost,
            seconds=round(seconds, 3),
            cut_at=self.max_tokens if end == "length" else 0,
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        asked = state.outcome.exception().wait
        jittered = tenacity.wait_random_exponential(multiplier=self.backoff, max=60)(state)
        return jittered if asked is None else asked + min(jittered, self.backoff)

    def _without_key(self, text: str) -> str:
        return text.replace(self._secret, "[key]") if self._secret else text


def describe(cases: pd.DataFrame, load: Callable[[pd.DataFrame], np.ndarray], client: Client) -> pd.DataFrame:
    """One row per case, as `replies.described`: describer "api:<model>", what it says, its seconds and cost (USD).

    cases: with image_id. load: gives the images of rows of it, uint8 (n, h, w, 3), as `Run.images`; PART at a time.
    A reply without JSON is asked for once more. One that says nothing of the image is not valid, has no score (NaN),
    and its text is "[refused] ..." or "[no JSON] ..." with what came instead. Raises ApiError; after CeilingError too,
    all that was paid for is in the cache and comes back in the next run.
    """
    found: dict[str, tuple[Parsed, float, float]] = {}

    def one(case: tuple[str, np.ndarray]) -> None:
        answers = [client.ask(QUESTION, image=case[1], schema=Reply)]
        parsed = _parsed(answers[0])
        if parsed.repairs == ["no JSON"]:
            answers.append(client.ask(_AGAIN, image=case[1], schema=Reply))
            parsed = _parsed(answers[1])
        found[case[0]] = parsed, sum(a.seconds for a in answers), sum(a.cost for a in answers)

    def pictures() -> Iterator[tuple[str, np.ndarray]]:
        for start in range(0, len(cases), PART):
            rows = cases.iloc[start : start + PART]
            yield from zip(rows["image_id"], load(rows), strict=True)

    try:
        for _ in tqdm(client.each(one, pictures()), "describe", len(cases), unit="image", mininterval=1):
            pass
    except CeilingError as error:
        raise CeilingError(f"{error}; {len(found)} of {len(cases)} images are described") from None
    parsed, seconds, cost = zip(*(found[i] for i in cases["image_id"]), strict=True) if found else ((), (), ())
    return described(cases["image_id"], f"api:{client.model}", parsed, seconds, cost)


_AGAIN = f"{QUESTION}\nReply with the JSON object alone: no introduction, no remark, no fence around it."


def _parsed(answer: Answer) -> Parsed:
    return unusable(answer.text, "refused") if answer.refused else parse(answer.text)


@dataclass(frozen=True)
class _Request:
    prompt: str
    image: np.ndarray | None
    form: dict | None  # JSON schema
    temperature: float

    @property
    def kind(self) -> bool:
        """What tokens are counted alike for."""
        return self.image is not None

    @property
    def tokens(self) -> int:
        """Input tokens it will hardly pass: one a byte of text, and of the image what the costliest known count takes
        (gpt-4o-mini: 2833 and 5667 for each tile of 512 px)."""
        text = len((self.prompt + json.dumps(self.form)).encode()) + 100
        if self.image is None:
            return text
        tiles = -(-self.image.shape[0] // 512) * -(-self.image.shape[1] // 512)
        return text + 2833 + 5667 * tiles


class _Purse:
    """What was spent and what requests under way may still cost; none is let out that could pass the ceiling."""

    def __init__(self, price_in: float, price_out: float, max_cost: float | None, spent: float):
        self.price_in, self.price_out, self.max_cost, self.spent = price_in, price_out, max_cost, spent
        self._held, self._under_way = 0.0, 0
        self._counted: dict[bool, float] = {}  # by kind of request: the most tokens counted per token expected
        self._changed = threading.Condition()

    def price(self, n_in: float, n_out: float) -> float:
        return (n_in * self.price_in + n_out * self.price_out) / 1e6

    def hold(self, request: _Request, max_tokens: int) -> float:
        """Sets the worst that a request can cost aside and gives it; waits while those under way may leave room.

        The first request of a kind goes alone: its reply shows how the server counts.
        """
        with self._changed:
            while True:
                factor = MARGIN * self._counted[request.kind] if request.kind in self._counted else 1.0
                worst = self.price(request.tokens * factor, max_tokens)
                known = self.max_cost is None or request.kind in self._counted
                fits = self.max_cost is None or self.spent + self._held + worst <= self.max_cost
                if fits and (known or not self._under_way):
                    self._held, self._under_way = self._held + worst, self._under_way + 1
                    return worst
                if not self._under_way:
                    raise CeilingError(
                        f"stopped at {self.spent:.6g} USD spent: the next request may cost {worst:.2g} USD and pass "
                        f"max_cost = {self.max_cost:g} USD. Raise max_cost and run again: what was paid for is kept "
                        "and not asked again"
                    )
                self._changed.wait()

    def settle(self, request: _Request, held: float, cost: float, counted: int | None) -> None:
        """Books what a request did cost (USD); counted: its input tokens, where the server said."""
        with self._changed:
            self._held, self._under_way, self.spent = self._held - held, self._under_way - 1, self.spent + cost
            if counted:
                most = self._counted.get(request.kind, 0.0)
                self._counted[request.kind] = max(most, counted / request.tokens)
            self._changed.notify_all()


class _Cache:
    """Answers by key in a JSONL file that is only appended to; a line that a crash cut short is passed over."""

    def __init__(self, path: Path):
        self.path, self.answers, self.spent = path, {}, 0.0
        self._lock = threading.Lock()
        data = path.read_bytes() if path.exists() else b""
        if not data.startswith(_START[: len(data)]):
            raise ApiError(f"{path}: is no cache of replies; name another file")
        for number, line in enumerate(data.split(b"\n"), start=1):
            try:
                record = json.loads(line)
            except ValueError:  # cut short, or the empty end
                continue
            try:
                key = record.pop("key")
                if "lost" not in record:
                    self.answers[key] = Answer(**record)
                self.spent += record["lost" if "lost" in record else "cost"]
            except (LookupError, TypeError, AttributeError) as error:
                raise ApiError(f"{path}, line {number}: is no reply ({error!r}); name another file") from None
        if data and not data.endswith(b"\n"):
            self._append("")

    def keep(self, key: str, answer: Answer) -> None:
        self._append(json.dumps({"key": key, **dataclasses.asdict(answer)}))
        self.answers[key] = answer

    def lose(self, key: str, cost: float) -> None:
        """Notes what a request may have cost (USD) whose reply never came."""
        self._append(json.dumps({"key": key, "lost": cost}))

    def _append(self, line: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, self.path.open("ab") as file:
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _key(model: str, prompt: str, form: dict | None, temperature: float, image: np.ndarray | None) -> str:
    shape = None if image is None else image.shape
    digest = hashlib.sha256(json.dumps([model, prompt, form, temperature, shape]).encode())
    if image is not None:
        digest.update(np.ascontiguousarray(image))
    return digest.hexdigest()


def _data_url(image: np.ndarray) -> str:
    png = BytesIO()
    Image.fromarray(image).save(png, "PNG")
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"


def _usage(reply: dict) -> tuple[int | None, int]:
    """Input and output tokens that the server counted; None, 0 where it did not."""
    usage = reply.get("usage") or {}
    try:
        return int(usage["prompt_tokens"]), int(usage["completion_tokens"])
    except (LookupError, TypeError, ValueError):
        return None, 0


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, given as a number or as a date (RFC 9110, sec. 10.2.3); None where the header says neither."""
    value = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _short(text: str) -> str:
    return " ".join(text.split())[:300] or "nothing"
