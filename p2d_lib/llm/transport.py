"""The connection to any chat endpoint of OpenAI's kind that takes images (OpenAI, vLLM, `transformers serve`, Ollama).

The openai package makes requests and sorts errors; here they become errors that say what to do, and no text that a
server returns shows the key.
"""

import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import openai

from p2d_lib.llm.completion import Completion, ErrorInBody, completion, decoded
from p2d_lib.llm.errors import ApiError
from p2d_lib.llm.network import http_client
from p2d_lib.llm.request import Request
from p2d_lib.llm.settings import Settings

MAX_WAIT = 120.0  # seconds: a server that asks to wait longer stops the run
ADVICE = {
    400: "the request does not suit this server or model",
    401: "check the key, P2D_API_KEY or OPENAI_API_KEY",
    402: "the account has no credit left",
    403: "the key may not use this model",
    404: "no such address or model: check the base URL, which mostly ends in /v1, and the model's name",
    407: "check the name and password of the proxy",
    413: "the image is too large for this server",
}
PASSING = (408, 409, 425, 429, *range(500, 600))  # faults that may pass, as the openai package has it (425: RFC 8470)
OPTIONAL = {  # options that some servers reject, and how they name them
    "response_format": "response.?format|json.?schema|structured.?output|requested parameters",
    "temperature": "temperature",
    "max_tokens": "max_tokens",
}
_FILTERED = re.compile(
    r"content_filter|content_policy|data_?inspection_?failed|prohibited_content|moderation|guardrail", re.I
)
_NO_CREDIT = re.compile("insufficient_quota|insufficient balance|no credit", re.I)
_CUT = re.compile("output limit was reached")  # OpenAI, of a model whose reasoning took all tokens


class TryAgainError(Exception):
    """A fault that may pass."""

    def __init__(self, problem: str, wait: float | None = None, paid: bool = False, status: int = 0):
        super().__init__(problem)
        self.wait = wait  # seconds, where the server states them
        self.paid = paid  # the request was sent and its reply never used: it may be billed
        self.status = status  # of HTTP; 0: no reply came


class Transport:
    """Sends requests to one model. timeout: seconds for a whole reply. connections: at a time.

    Raises ApiError for settings that no request can be made with.
    """

    def __init__(self, settings: Settings, model: str, *, timeout: float, connections: int):
        endpoint = settings.endpoint()
        self._secret = endpoint.key
        self.model, self.where, self.timeout = model, f"{model} at {endpoint.url.netloc.decode()}", timeout
        self._openai = openai.OpenAI(
            api_key="-",
            base_url=str(endpoint.url),
            default_query=endpoint.query,
            max_retries=0,
            http_client=http_client(endpoint, timeout=timeout, connections=connections),
        )
        self._rejected: set[str] = set()  # of OPTIONAL, by this server

    def completion(self, request: Request, max_tokens: int, *, without: tuple[str, ...] = ()) -> Completion:
        """The reply to one request; sent again without an option that the server seems to reject.

        without: options to leave out, of OPTIONAL. An option is left out of later requests too where that was answered.
        Raises TryAgainError for a fault that may pass, and ApiError.
        """
        omitted = set(without)
        while True:
            body = request.body(self.model, max_tokens, self._rejected | omitted)
            try:
                answer = self._send(body)
            except openai.APIStatusError as error:
                status, headers = error.status_code, error.response.headers
                text = self._without_key(error.response.text)
            except ErrorInBody as error:
                status, text, headers = error.status, error.text, httpx.Headers()
            else:
                self._rejected |= omitted
                return answer
            if status in (400, 403, 422) and _FILTERED.search(text):  # how one image is refused, at no cost
                return Completion(_short(text), refused=True, n_in=0)
            if status == 400 and _CUT.search(text):
                return Completion("", part="reasoning", is_cut=True)
            if option := _rejected_option(status, text, body):
                omitted.add(option)
            else:
                raise self._status_error(status, text, headers)

    def _status_error(self, status: int, text: str, headers: httpx.Headers) -> Exception:
        """The error to raise for an HTTP status: one that may pass is tried again, any other stops the run."""
        no_credit = status == 429 and _NO_CREDIT.search(text)
        if status in PASSING and not no_credit:
            wait = _retry_after(headers)
            if wait is not None and wait > MAX_WAIT:
                return ApiError(f"{self.where}: asks to wait for {wait:.0f} s (HTTP {status}); run again then")
            return TryAgainError(f"HTTP {status}: {_short(text)}", wait, status=status)
        advice = ADVICE[402] if no_credit else ADVICE.get(status, "the request was not accepted")
        return ApiError(f"{self.where}: HTTP {status}: {advice}. The server says: {_short(text)}")

    def _send(self, body: dict) -> Completion:
        """The reply to one body, without the key, within `timeout` even where it arrives byte by byte."""
        deadline, data = time.monotonic() + self.timeout, b""
        create = self._openai.chat.completions.with_streaming_response.create
        try:
            with create(**body, extra_headers={"Authorization": openai.Omit()}) as response:
                charset = response.http_response.charset_encoding
                for chunk in response.iter_bytes():
                    data += chunk
                    if time.monotonic() > deadline:
                        raise httpx.ReadTimeout("")
        except (openai.APIConnectionError, httpx.RequestError) as error:
            cause = error if isinstance(error, httpx.RequestError) else error.__cause__
            raise self._transport_error(cause) from None
        text = self._without_key(decoded(data, charset))
        try:
            return completion(text)
        except ValueError:
            problem = f"the reply is no chat completion: {_short(text)}"
            raise TryAgainError(problem, paid=True, status=200) from None

    def _transport_error(self, error: BaseException) -> Exception:
        """The error to raise where no reply came."""
        if isinstance(error, ApiError):
            return error
        problem = self._without_key(str(error) or type(error).__name__)
        if "CERTIFICATE_VERIFY_FAILED" in problem:
            return ApiError(
                f"{self.where}: its certificate is not trusted ({problem}); name the file of your certificates as "
                "SSL_CERT_FILE"
            )
        if "SSL" in problem and re.search("wrong version|record layer", problem, re.I):
            return ApiError(f"{self.where}: speaks no https ({problem}); does its base URL begin with http://?")
        if isinstance(error, httpx.ProxyError) and re.match(r"40[137]\b", problem):
            return ApiError(f"{self.where}: the proxy refuses the connection ({problem}): {ADVICE[407]}")
        if isinstance(error, httpx.TooManyRedirects):
            return ApiError(f"{self.where}: redirects in a circle: check the base URL")
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            return TryAgainError(f"no connection ({problem})")
        if isinstance(error, httpx.TimeoutException):
            return TryAgainError(f"no whole reply within {self.timeout:g} s", paid=True)
        return TryAgainError(f"the connection was cut ({problem})", paid=True)

    def _without_key(self, text: str) -> str:
        key = self._secret.get_secret_value()
        return text.replace(key, "[key]") if key else text


def _rejected_option(status: int, text: str, body: dict) -> str | None:
    """The option of a body that an error is about; where it names none, the schema, which most servers trip over."""
    for option, names in OPTIONAL.items():
        if option in body and status in (400, 404, 422, 501) and re.search(names, text, re.I):
            return option
    return "response_format" if "response_format" in body and status in (400, 422) else None


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds, from a number or a date (RFC 9110, sec. 10.2.3) or from milliseconds (Azure); None: not stated."""
    value = headers.get("Retry-After", "")
    for number, unit in ((headers.get("Retry-After-Ms", ""), 1e-3), (value, 1.0)):
        try:
            return max(0.0, float(number) * unit)
        except ValueError:
            continue
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _short(text: str) -> str:
    return " ".join(text.split())[:300] or "nothing"
