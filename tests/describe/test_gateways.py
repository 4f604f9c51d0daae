"""What servers and the gateways before them do otherwise than OpenAI, each of which was met by somebody."""

import json
import math
import socket
import struct
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from chat_server import DESCRIPTION, KEY, ChatServer, client, completion, fails, prompt, says, sends

from p2d_lib.describe import api
from p2d_lib.describe.llm.replies import Reply
from p2d_lib.llm.errors import ApiError
from p2d_lib.vocabulary import FEATURES

pytestmark = pytest.mark.usefixtures("no_settings_of_this_machine")
ANSWER = json.dumps(DESCRIPTION)


def described(server: ChatServer, n: int = 1, **changed) -> pd.DataFrame:
    cases = pd.DataFrame({"image_id": [f"i{k}" for k in range(n)]})
    images = np.arange(n * 192, dtype=np.uint8).reshape(n, 8, 8, 3)
    return api.describe(cases, lambda _: images, client(server, concurrency=1, **changed))


# schemas


@pytest.mark.parametrize(
    "words",
    [
        "This model does not support response format `json_schema`.",
        "Model is not compatible with 'json_schema' response format",
        "structured outputs are not available for this model",
        "For 'number' type, property 'minimum' is not permitted",
        "Extra inputs are not permitted",
        "Bad Request",
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_a_schema_that_is_refused_in_any_words_is_put_into_the_prompt(words, status):
    def step(handler):
        refused = "response_format" in server.requests[-1]
        (fails(status, words) if refused else says())(handler)

    with ChatServer(step) as server:
        assert described(server, 3)["valid"].all()
    assert len(server.requests) == 4, "the refusal is learnt once"
    assert '"additionalProperties": false' in prompt(server.requests[-1])


def test_no_endpoint_for_the_parameters_is_a_refused_schema():
    with ChatServer(fails(404, "No endpoints found that can handle the requested parameters."), says()) as server:
        assert described(server)["valid"].all()


def test_a_server_that_fails_on_every_schema_is_asked_without_one_after_all_tries():
    def step(handler):
        (fails(500, "grammar") if "response_format" in server.requests[-1] else says())(handler)

    with ChatServer(step) as server:
        assert described(server, 3)["valid"].all()
    assert ["response_format" in request for request in server.requests] == [True] * 3 + [False] * 3


def test_an_error_that_stays_without_a_schema_does_not_drop_it_for_the_next_image():
    with ChatServer(fails(400, "bad image"), fails(400, "bad image"), says()) as server:
        asking = client(server)
        with pytest.raises(ApiError, match="bad image"):
            asking.ask("a", schema=Reply)
        asking.ask("b", schema=Reply)
    assert ["response_format" in request for request in server.requests] == [True, False, True]


# statuses


@pytest.mark.parametrize("code", [429, 503, "rate_limited"])
def test_an_error_in_a_body_with_status_200_is_asked_again(code):
    with ChatServer(sends({"error": {"message": "busy", "code": code}}), says()) as server:
        assert described(server)["valid"].all()


def test_an_error_in_a_body_that_will_not_pass_stops_the_run():
    with (
        ChatServer(sends({"error": {"message": "bad key", "code": 401}})) as server,
        pytest.raises(ApiError, match="HTTP 401: check the key"),
    ):
        client(server).ask("Hello")
    assert len(server.requests) == 1


def test_a_pause_in_milliseconds_is_kept_to(monkeypatch):
    pauses = []
    monkeypatch.setattr("tenacity.sleep_using_event", lambda _: pauses.append)
    with ChatServer(fails(429, Retry_After_Ms="1500", Retry_After="60"), says()) as server:
        client(server).ask("Hello")
    assert 1.5 <= pauses[0] < 1.6


@pytest.mark.parametrize(
    "text", ["content_policy_violation", "DataInspectionFailed: inappropriate content", "PROHIBITED_CONTENT"]
)
def test_one_image_that_a_filter_refuses_does_not_stop_the_others(text):
    with ChatServer(fails(400, text), says()) as server:
        table = described(server, 2)
    assert table["text"].str.startswith("[refused]").tolist() == [True, False]


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_within_the_server_is_followed_with_image_and_key(status):
    with ChatServer(sends("", status, Location="/v2/chat/completions"), says()) as server:
        assert described(server)["valid"].all()
    first, second = server.requests
    assert second["path"] == "/v2/chat/completions"
    assert second["messages"] == first["messages"]
    assert second["headers"]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_takes_no_image_there(status):
    with ChatServer() as other:
        target = other.url.replace("127.0.0.1", "localhost")
        step = sends("", status, Location=f"{target}/chat/completions")
        with (
            ChatServer(step) as server,
            pytest.raises(ApiError, match=rf"redirects to {target}; if that is the server"),
        ):
            described(server)
    assert not other.requests
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [301, 302])
def test_a_redirect_that_would_lose_the_image_names_the_right_address(status):
    with (
        ChatServer(sends("", status, Location="/v2/chat/completions")) as server,
        pytest.raises(ApiError, match=r"redirects to http://127.0.0.1:\d+/v2; if"),
    ):
        described(server)


@pytest.mark.parametrize(
    ("status", "location", "words"),
    [
        (307, "http://[::1", r"redirects to 'http://\[::1', which is no address"),
        (308, "/v1/chat/completions", "redirects in a circle"),
    ],
)
def test_a_redirect_to_no_address_or_in_a_circle_ends_in_a_sentence(status, location, words):
    with ChatServer(sends("", status, Location=location)) as server, pytest.raises(ApiError, match=words):
        client(server).ask("Hello")


# bodies


def stream(*deltas: dict, end: str = "data: [DONE]\n\n", finish: str | None = "stop") -> str:
    chunks = [{"choices": [{"delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"delta": {}, "finish_reason": finish}], "model": "model-0"})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
    return ": PROCESSING\n\n" + "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + end


WHOLE = json.dumps(completion())
HALVES = [{"role": "assistant", "content": ANSWER[:90]}, {"content": ANSWER[90:]}]


@pytest.mark.parametrize(
    "body",
    [
        f"{WHOLE}\n\ndata: [DONE]\n\n",
        f"\ufeff{WHOLE}",
        f"\n\n {WHOLE}\n",
        f"[{WHOLE}]",
        WHOLE.encode("utf-16"),
        stream(*HALVES),
        stream(*HALVES, end=""),
        stream({"reasoning_content": "{" + ANSWER}, *HALVES),
        f"data: {WHOLE}\n\ndata: [DONE]\n\n",
    ],
    ids=["done", "mark", "blank", "list", "utf-16", "stream", "stream without done", "thinking stream", "one event"],
)
def test_a_body_in_another_form_is_read_at_once(body):
    with ChatServer(sends(body)) as server:
        assert described(server)["valid"].all()
    assert len(server.requests) == 1


def test_a_sign_that_ends_a_line_for_python_alone_does_not_part_an_event():
    text = json.dumps(DESCRIPTION | {"description": "A dark\u2028macule."}, ensure_ascii=False)
    delta = {"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}
    with ChatServer(sends(f"data: {json.dumps(delta, ensure_ascii=False)}\n\ndata: [DONE]\n\n")) as server:
        assert described(server)["text"].tolist() == ["A dark macule."]


def test_the_tokens_of_a_stream_are_counted():
    with ChatServer(sends(stream(*HALVES))) as server:
        answer = client(server).ask("Hello")
    assert (answer.input_tokens, answer.output_tokens, answer.model) == (7, 3, "model-0")


@pytest.mark.parametrize(
    "body",
    ["", "<html>Log in</html>", "[]", "{}", '{"choices": []}', '{"choices": [{"message": null}]}', "[" * 100_000,
     "data: [DONE]", stream(*HALVES[:1], end="", finish=None), b"\xff\xfe\x00", "null", '{"choices": {"0": 1}}'],
)  # fmt: skip
def test_a_body_that_is_no_completion_may_be_billed_and_says_so(body):
    with ChatServer(sends(body)) as server:
        asking = client(server, price_in=1.0, price_out=1.0)
        with pytest.raises(ApiError, match=r"no chat completion.*asked 3 times. Each may be billed. Is the base URL"):
            asking.ask("Hello")
    assert asking.spent > 3 * 1000 / 1e6


@pytest.mark.parametrize(("charset", "body"), [("iso-8859-1", "latin-1"), ("iso-8859-1", "utf-8"), ("none", "utf-8")])
def test_an_encoding_is_that_of_the_body_and_else_that_of_the_header(charset, body):
    reply = json.dumps(completion("Nævus"), ensure_ascii=False).encode(body)
    with ChatServer(sends(reply, Content_Type=f"application/json; charset={charset}")) as server:
        assert client(server).ask("Hello").text == "Nævus"


@pytest.mark.parametrize(
    "usage",
    [None, {}, [], {"prompt_tokens": -5, "completion_tokens": 1}, {"prompt_tokens": 1e999, "completion_tokens": 1},
     {"prompt_tokens": math.nan, "completion_tokens": 1}, {"prompt_tokens": "many", "completion_tokens": True}],
)  # fmt: skip
def test_a_count_of_tokens_that_is_none_costs_the_worst_case(usage):
    with ChatServer(says(usage=usage)) as server:
        assert client(server, price_in=1.0, price_out=1.0).ask("Hello").cost > 1000 / 1e6


# where the answer stands

QUOTED = '{\n "description": "A \\"dark\\" macule, the lesion\'s.",\n' + ANSWER[ANSWER.index(",") + 1 :]


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": QUOTED}],
        [{"type": "text", "text": QUOTED[:60]}, {"type": "text", "text": QUOTED[60:]}],
        [{"type": "thinking", "thinking": [{"type": "text", "text": ANSWER}]}, {"type": "text", "text": QUOTED}],
        [{"type": "reasoning", "text": ANSWER}, {"type": "text", "text": QUOTED}],
        [{"type": "output_text", "text": {"value": QUOTED, "annotations": []}}],
        {"type": "text", "text": QUOTED},
        [QUOTED],
        json.loads(QUOTED),
    ],
)
def test_an_answer_in_parts_is_joined(content):
    reply = completion() | {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
    with ChatServer(sends(reply)) as server:
        table = described(server)
    assert table["text"].tolist() == ['A "dark" macule, the lesion\'s.']
    assert table["valid"].all()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "message",
    [
        {"tool_calls": [{"type": "function", "function": {"name": "Reply", "arguments": ANSWER}}]},
        {"function_call": {"name": "Reply", "arguments": DESCRIPTION}},
        {"parsed": DESCRIPTION},
        {"reasoning_content": ANSWER},
        {"reasoning": f" {ANSWER}\n"},
    ],
    ids=["tool", "function", "parsed", "reasoning_content", "reasoning"],
)
@pytest.mark.parametrize("content", ["", None])
def test_an_answer_beside_an_empty_content_is_used_and_named(message, content):
    reply = {"choices": [{"message": {"content": content, **message}, "finish_reason": "stop"}]}
    with ChatServer(sends(reply)) as server:
        table = described(server)
    assert table["valid"].all()
    assert table.attrs["repairs"] == {"other field": 1}


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_content": f"Draft: {ANSWER} but maybe"},
        {"reasoning": {"summary": ANSWER, **DESCRIPTION}},
        {"reasoning": [{"text": ANSWER}]},
        {"content": [{"type": "reasoning", "text": ANSWER}]},
    ],
)
def test_a_draft_in_the_reasoning_never_becomes_scores(message):
    reply = {"choices": [{"message": {"content": None, **message}, "finish_reason": "stop"}]}
    with ChatServer(sends(reply)) as server:
        table = described(server)
    has_content = "content" in message
    expected = "the reply is empty" if has_content else "the reply holds reasoning and no answer"
    assert table["text"].tolist() == [f"[no JSON] {expected}"]
    assert table[list(FEATURES)].isna().all(axis=None)


@pytest.mark.parametrize("message", [{"content": ""}, {"content": None, "reasoning_content": ANSWER}])
@pytest.mark.parametrize("end", ["length", "MAX_TOKENS"])
def test_a_model_whose_reasoning_takes_all_tokens_is_paid_once_and_the_parameter_is_named(message, end):
    with ChatServer(sends({"choices": [{"message": message, "finish_reason": end}]})) as server:
        table = described(server, max_tokens=300)
    expected = "[no JSON] 300 tokens ended before an answer: raise 02_describe.api_max_tokens"
    assert table["text"].tolist() == [expected]
    assert len(server.requests) == 1


def test_an_error_that_all_tokens_were_used_is_a_row_as_well():
    text = "Could not finish the message because max_tokens or model output limit was reached."
    with ChatServer(fails(400, text), says()) as server:
        table = described(server, 2)
    assert table["valid"].tolist() == [False, True]
    assert len(server.requests) == 2


def test_a_refusal_in_a_part_is_a_refusal():
    content = [{"type": "refusal", "refusal": "This I will not do."}]
    with ChatServer(sends({"choices": [{"message": {"content": content}}]})) as server:
        assert described(server)["text"].tolist() == ["[refused] This I will not do."]


# the network


@contextmanager
def socks_proxy(server: ChatServer, targets: list[str]):
    """A SOCKS5 proxy (RFC 1928) that leads every connection to the server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            incoming, _ = listening.accept()
            with incoming, socket.create_connection(("127.0.0.1", int(server.url.split(":")[2][:-3]))) as outgoing:
                incoming.recv(64)
                incoming.sendall(b"\x05\x00")
                request = incoming.recv(300)
                targets.append(request[5 : 5 + request[4]].decode())
                incoming.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00" + struct.pack(">H", 1))
                back = threading.Thread(target=_pipe, args=(outgoing, incoming), daemon=True)
                back.start()
                _pipe(incoming, outgoing)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def _pipe(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass


@pytest.mark.parametrize("scheme", ["socks5", "socks"])
def test_a_socks_proxy_leads_to_a_far_server(monkeypatch, scheme):
    pytest.importorskip("socksio")
    targets = []
    with ChatServer() as server, socks_proxy(server, targets) as address:
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://{address}")
        assert client(server, url="http://far.example/v1").ask("Hello").text
    assert targets == ["far.example"]


def test_an_http_proxy_leads_to_a_far_server_and_no_proxy_is_kept_to(monkeypatch):
    with ChatServer() as server:
        monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1").removeprefix("http://"))
        assert client(server, url="http://far.example/v1").ask("Hello").text
        assert server.requests[0]["path"] == "http://far.example/v1/chat/completions"
        for no_proxy, url in [(".example", "http://far.example/v1"), ("192.0.2.0/24", "http://192.0.2.1:1/v1")]:
            monkeypatch.setenv("NO_PROXY", no_proxy)
            with pytest.raises(ApiError):
                client(server, url=url, tries=1, timeout=0.2).ask(url)
    assert len(server.requests) == 1, "the proxy was asked for the first alone"


@pytest.mark.parametrize("name", ["ALL_PROXY", "HTTP_PROXY"])
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "http://127.0.0.1:9", "nonsense://x"])
def test_a_server_on_this_machine_needs_no_proxy(monkeypatch, name, proxy):
    monkeypatch.setenv(name, proxy)
    with ChatServer() as server:
        assert client(server, url=server.url.replace("127.0.0.1", "localhost")).ask("Hello").text


@pytest.mark.parametrize("proxy", ["nonsense://host:1", "http://me:secret@ho st:1", "http://host:port"])
def test_a_proxy_that_is_none_is_named_and_not_shown(monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with ChatServer() as server, pytest.raises(ApiError, match="HTTPS_PROXY is no address of a proxy") as refused:
        client(server, url="https://far.example/v1")
    assert "secret" not in str(refused.value)


def test_a_proxy_that_refuses_is_not_tried_again(monkeypatch):
    with ChatServer(sends("", 407)) as server:
        monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
        with pytest.raises(ApiError, match="check the name and password of the proxy"):
            client(server, url="http://far.example/v1").ask("Hello")
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize("is_there", [False, True])
def test_certificates_that_cannot_be_read_are_named_and_are_no_matter_for_http(monkeypatch, name, is_there):
    path = Path("ca.pem").resolve()
    if is_there:
        path.write_text("no certificate")
    monkeypatch.setenv(name, str(path))
    with ChatServer() as server:
        if name == "SSL_CERT_FILE":
            with pytest.raises(ApiError, match=rf"SSL_CERT_FILE is '{path}', which holds no certificates"):
                client(server, url="https://far.example/v1")
        assert client(server).ask("Hello").text


def test_https_to_a_server_that_speaks_http_is_not_tried_again():
    with ChatServer() as server, pytest.raises(ApiError, match="speaks no https"):
        client(server, url=server.url.replace("http://", "https://")).ask("Hello")
