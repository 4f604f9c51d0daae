"""The connection to any chat endpoint of OpenAI's kind that takes images (OpenAI, vLLM, `transformers serve`, Ollama).

The openai package makes requests and sorts errors; here they become errors that say what to do, and no text that a
server returns shows the key.
"""

import json
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import openai
from openai.types.chat import ChatCompletion

from p2d_lib.describe.llm.errors import ApiError
from p2d_lib.describe.llm.request import Request
from p2d_lib.describe.llm.settings import Settings

MAX_WAIT = 120.0  # seconds: a server that asks to wait longer stops the run
ADVICE = {
    400: "the request does not suit this server or model",
    401: "check the key, P2D_API_KEY or OPENAI_API_KEY",
    402: "the account has no credit left",
    403: "the key may not use this model",
    404: "no such address or model: check the base URL, which mostly ends in /v1, and the model's name",
    413: "the image is too large for this server",
}
OPTIONAL = ("response_format", "temperature", "max_tokens")  # options that some servers reject by name


class TryAgainError(Exception):
    """A fault that may pass."""

    def __init__(self, problem: str, wait: float | None = None, paid: bool = False):
        super().__init__(problem)
        self.wait = wait  # seconds, where the server states them
        self.paid = paid  # the request was sent and never answered: it may be billed


class Transport:
    """Sends requests to one model. timeout: seconds for a whole reply. connections: at a time.

    Raises ApiError for settings that no request can be made with.
    """

    def __init__(self, settings: Settings, model: str, *, timeout: float, connections: int):
        url, self._secret = settings.checked()
        self.model, self.where, self.timeout = model, f"{model} at {url.netloc.decode()}", timeout
        key = self._secret.get_secret_value()
        http = httpx.Client(  # it holds the key, and hides it where it is printed
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=timeout,
            limits=httpx.Limits(max_connections=connections),
        )
        self._openai = openai.OpenAI(api_key="-", base_url=str(url), max_retries=0, http_client=http)
        self._rejected: set[str] = set()  # of OPTIONAL, by this server

    def completion(self, request: Request, max_tokens: int) -> ChatCompletion:
        """The reply to one request; sent again without an option that the server rejects by name.

        Raises TryAgainError for a fault that may pass, and ApiError.
        """
        while True:
            body = request.body(self.model, max_tokens, self._rejected)
            try:
                return _parsed(self._send(body))
            except openai.APIStatusError as error:
                text = self._without_key(error.response.text)
                named = [name for name in OPTIONAL if name in body and name in text]
                if error.status_code in (400, 422) and named:
                    self._rejected.add(named[0])
                    continue
                if error.status_code == 400 and "content_filter" in text:  # how Azure refuses one image, at no cost
                    return _refusal(_short(text))
                raise self._status_error(error, text) from None

    def _status_error(self, error: openai.APIStatusError, text: str) -> Exception:
        """The error to raise for an HTTP status: one that may pass is tried again, any other stops the run."""
        status = error.status_code
        if status in (429, *range(500, 600)) and "insufficient_quota" not in text:
            wait = _retry_after(error.response.headers.get("Retry-After", ""))
            if wait is not None and wait > MAX_WAIT:
                return ApiError(f"{self.where}: asks to wait for {wait:.0f} s (HTTP {status}); run again then")
            return TryAgainError(f"HTTP {status}: {_short(text)}", wait)
        advice = ADVICE[402] if status == 429 else ADVICE.get(status, "the request was not accepted")
        return ApiError(f"{self.where}: HTTP {status}: {advice}. The server says: {_short(text)}")

    def _send(self, body: dict) -> str:
        """The text of a reply without the key, within `timeout` even where it arrives byte by byte."""
        deadline, data = time.monotonic() + self.timeout, b""
        create = self._openai.chat.completions.with_streaming_response.create
        try:
            with create(**body, extra_headers={"Authorization": openai.Omit()}) as response:
                for chunk in response.iter_bytes():
                    data += chunk
                    if time.monotonic() > deadline:
                        raise httpx.ReadTimeout("")
        except (openai.APIConnectionError, httpx.RequestError) as error:
            cause = error if isinstance(error, httpx.RequestError) else error.__cause__
            raise self._transport_error(cause) from None
        return self._without_key(data.decode(errors="replace"))

    def _transport_error(self, error: BaseException) -> TryAgainError:
        problem = self._without_key(str(error) or type(error).__name__)
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return TryAgainError(f"no connection ({problem})")
        if isinstance(error, httpx.TimeoutException):
            return TryAgainError(f"no whole reply within {self.timeout:g} s", paid=True)
        return TryAgainError(f"the connection was cut ({problem})", paid=True)

    def _without_key(self, text: str) -> str:
        key = self._secret.get_secret_value()
        return text.replace(key, "[key]") if key else text


def _parsed(text: str) -> ChatCompletion:
    """A reply as openai's type, whose fields are not checked: servers leave out many. It has a first message."""
    try:
        completion = ChatCompletion.model_construct(**json.loads(text))
        if completion.choices[0].message is None:
            raise TypeError("no message")
    except (ValueError, LookupError, TypeError, AttributeError):
        raise TryAgainError(f"the reply is no chat completion: {_short(text)}") from None
    return completion


def _refusal(text: str) -> ChatCompletion:
    return _parsed(
        json.dumps({"choices": [{"message": {"refusal": text}}], "usage": {"prompt_tokens": 0, "completion_tokens": 0}})
    )


def _retry_after(value: str) -> float | None:
    """Seconds, from a number or a date (RFC 9110, sec. 10.2.3); None where the header has neither."""
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
