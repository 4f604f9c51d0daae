import contextlib
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from chat_server import (
    DESCRIPTION,
    KEY,
    ChatServer,
    client,
    completion,
    cuts,
    drips,
    fails,
    hangs,
    picture,
    prompt,
    says,
    sends,
)  # fmt: skip
from PIL import Image

from p2d_lib.describe import api
from p2d_lib.describe.llm import replies
from p2d_lib.describe.table import rows
from p2d_lib.llm import cache as caching
from p2d_lib.llm.client import Client
from p2d_lib.llm.errors import ApiError, CeilingError
from p2d_lib.llm.settings import Settings
from p2d_lib.vocabulary import FEATURES

PRICES = {"price_in": 0.4, "price_out": 1.6}  # USD per million tokens
PAID = (1000 * 0.4 + 400 * 1.6) / 1e6  # USD, for chat_server.USAGE
pytestmark = pytest.mark.usefixtures("no_settings_of_this_machine")


def cases(n: int) -> pd.DataFrame:
    return pd.DataFrame({"image_id": [f"i{k}" for k in range(n)]})


def load(part: pd.DataFrame) -> np.ndarray:
    """Images that differ, of 8 x 8 px."""
    numbers = part["image_id"].str[1:].astype(int).to_numpy()
    images = np.zeros((len(part), 8, 8, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = numbers % 256, numbers // 256
    return images


def test_an_image_becomes_a_row_of_descriptions():
    with ChatServer() as server:
        described = api.describe(cases(3), load, client(server, **PRICES))
    assert described.columns.tolist() == rows([], "x", [], []).columns.tolist()
    assert described["image_id"].tolist() == ["i0", "i1", "i2"]
    assert (described["describer"] == "api:some-llm").all()
    assert (described["text"] == "A dark macule.").all()
    assert (described[list(FEATURES)] == 0.25).all(axis=None)
    assert described["valid"].all()
    assert described["cost"].tolist() == pytest.approx([PAID] * 3)
    assert (described["seconds"] > 0).all()


def test_no_case_gives_no_row():
    with ChatServer() as server:
        assert api.describe(cases(0), load, client(server)).empty
    assert not server.requests


def test_each_reply_goes_to_its_own_image():
    def step(handler):
        number = int(picture(server.requests[-1])[1][0, 0, 0])
        handler.reply(200, completion(json.dumps(DESCRIPTION | {"description": f"Image {number}."})))

    with ChatServer(step) as server:
        described = api.describe(cases(40), load, client(server, concurrency=1))
    assert described["text"].tolist() == [f"Image {k}." for k in range(40)]


def test_images_are_loaded_in_small_parts_and_requests_are_bounded():
    sizes = []

    def counted(part):
        sizes.append((len(part), len(server.requests)))
        return load(part)

    with ChatServer(delay=0.01) as server:
        api.describe(cases(80), counted, client(server, concurrency=3))
    assert [size for size, _ in sizes] == [32, 32, 16]
    assert sizes[1][1] >= 32 - 6  # the second part was loaded when the first was nearly finished
    assert server.most_at_once <= 3


def test_the_schema_is_sent_in_the_strict_form():
    with ChatServer() as server:
        api.describe(cases(1), load, client(server))
    sent = server.requests[0]["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["strict"] is True
    schema = sent["json_schema"]["schema"]
    assert schema["required"] == ["description", *FEATURES]
    assert schema["additionalProperties"] is False
    assert "default" not in json.dumps(schema)


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_schemas_gets_the_schema_in_the_prompt(status):
    with ChatServer(fails(status, "Unknown field: response_format"), says()) as server:
        described = api.describe(cases(3), load, client(server, concurrency=1))
    assert described["valid"].all()
    assert len(server.requests) == 4  # the refusal was learnt once
    assert "response_format" not in server.requests[1]
    assert '"additionalProperties": false' in prompt(server.requests[1])


def test_a_model_that_knows_max_tokens_by_its_later_name_gets_that():
    refusal = fails(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    with ChatServer(refusal, fails(400, "'temperature' does not support 0.0"), says()) as server:
        client(server, max_tokens=77).ask("Hello")
    last = server.requests[-1]
    assert last["max_completion_tokens"] == 77
    assert not {"max_tokens", "temperature"} & set(last)


def test_pixels_are_sent_without_exif_or_any_other_note(tmp_path):
    noted = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    exif = Image.Exif()
    exif[0x010E] = "PATIENT NAME"
    file = io.BytesIO()
    noted.save(file, "PNG", exif=exif)
    pixels = np.asarray(Image.open(file))
    with ChatServer() as server:
        client(server).ask("What is it?", image=pixels)
    data, received = picture(server.requests[0])
    assert np.array_equal(received, pixels)
    assert b"PATIENT NAME" in file.getvalue()
    assert not any(mark in data for mark in (b"PATIENT", b"Exif", b"eXIf", b"tEXt", b"iTXt"))
    assert not Image.open(io.BytesIO(data)).getexif()


@pytest.mark.parametrize("allowed", [{}, {"allow_upload": False}])
def test_nothing_is_sent_unless_it_was_allowed(allowed):
    with ChatServer() as server:
        settings = Settings(p2d_api_base_url=server.url)
        closed = Client(settings, "some-llm", Path("cache.jsonl"), **allowed)
        with pytest.raises(ApiError, match=r"an image would be sent to some-llm at 127.0.0.1:.*set allow_upload"):
            api.describe(cases(3), load, closed)
        with pytest.raises(ApiError, match="a prompt would be sent"):
            closed.ask("Rewrite this")
    assert not server.requests


def test_what_the_cache_holds_needs_no_permission_and_no_server():
    with ChatServer() as server:
        first = api.describe(cases(3), load, client(server))
    again = api.describe(cases(3), load, client(server, allow_upload=False))
    pd.testing.assert_frame_equal(first, again)


# faults


@pytest.mark.parametrize(
    "fault",
    [*map(fails, (408, 409, 425, 429, 500, 503, 529)), cuts, sends("<html>"), sends({"error": "overloaded"})],
    ids=["408", "409", "425", "429", "500", "503", "529", "cut connection", "no JSON of the server", "no completion"],
)  # fmt: skip
def test_a_fault_that_passes_is_asked_again(fault):
    with ChatServer(fault, fault, says()) as server:
        assert api.describe(cases(1), load, client(server))["valid"].all()
    assert len(server.requests) == 3


@pytest.mark.parametrize("no_answer", [hangs(20), drips], ids=["hang", "drip"])
def test_a_hang_meets_the_timeout_and_is_asked_again(no_answer):
    started = time.monotonic()
    with ChatServer(no_answer, says()) as server:
        assert client(server, timeout=0.3).ask("Hello").text
    assert time.monotonic() - started < 3
    assert len(server.requests) == 2


def test_a_fault_that_stays_ends_in_one_sentence():
    server = ChatServer(fails(500, "out of order"))
    with (
        server,
        pytest.raises(ApiError, match=r"some-llm at 127.*HTTP 500.*out of order.*asked 3 times.*cache\.jsonl"),
    ):
        client(server).ask("Hello")
    assert len(server.requests) == 3


def test_a_server_that_is_not_there_is_named():
    with ChatServer() as server:
        pass
    with pytest.raises(ApiError, match=r"some-llm at 127\.0\.0\.1:\d+: no connection"):
        client(server).ask("Hello")


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_kept_to(as_date):
    def busy(handler):
        later = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        handler.reply(429, "busy", {"Retry-After": later if as_date else "0.5"})

    with ChatServer(busy, says()) as server:
        client(server).ask("Hello")
    first, second = (request["time"] for request in server.requests)
    assert second - first >= (0.9 if as_date else 0.5)  # a date is whole seconds


def test_a_server_that_asks_to_wait_for_an_hour_stops_the_run():
    server = ChatServer(fails(429, Retry_After="3600"))
    with server, pytest.raises(ApiError, match="asks to wait for 3600 s"):
        client(server).ask("Hello")
    assert len(server.requests) == 1


def test_pauses_grow_and_are_jittered(monkeypatch):
    pauses = []
    monkeypatch.setattr("tenacity.sleep_using_event", lambda _: pauses.append)
    with ChatServer(fails(500)) as server:
        for k in range(8):
            with pytest.raises(ApiError):
                client(server, tries=5, backoff=1.0).ask(f"Hello {k}")
    table = np.array(pauses).reshape(8, 4)
    assert (table <= [1, 2, 4, 8]).all()
    assert len(np.unique(table)) == table.size
    assert table[:, 3].mean() > table[:, 0].mean()


@pytest.mark.parametrize(
    ("status", "advice"),
    [(400, "does not suit"), (401, "check the key"), (403, "may not use"), (404, "no such address or model"),
     (413, "too large"), (418, "was not accepted")],
)  # fmt: skip
def test_a_mistake_of_ours_stops_at_once_with_a_sentence(status, advice):
    server = ChatServer(fails(status, "no"))
    with server, pytest.raises(ApiError, match=f"HTTP {status}: .*{advice}.*The server says: .*no"):
        client(server).ask("Hello")
    assert len(server.requests) == 1


def test_an_empty_account_is_not_waited_for():
    server = ChatServer(fails(429, "insufficient_quota"))
    with server, pytest.raises(ApiError, match="no credit left"):
        client(server).ask("Hello")
    assert len(server.requests) == 1


def test_one_wrong_key_does_not_ask_for_all_images():
    with ChatServer(fails(401)) as server, pytest.raises(ApiError, match="check the key"):
        api.describe(cases(50), load, client(server, concurrency=2))
    assert len(server.requests) <= 4


# replies


@pytest.mark.parametrize(
    ("content", "repairs", "valid"),
    [
        (f"```json\n{json.dumps(DESCRIPTION)}\n```", {"fenced": 1}, True),
        (json.dumps(DESCRIPTION | {"diagnosis": "melanoma"}), {"extra field": 1}, True),
        (json.dumps(DESCRIPTION | {"red": 1.5, "black": -1}), {"score out of range": 1}, False),
        (json.dumps({k: v for k, v in DESCRIPTION.items() if k != "red"}), {"score missing": 1}, False),
    ],
)
def test_repairs_of_replies_are_counted(content, repairs, valid):
    with ChatServer(says(content)) as server:
        described = api.describe(cases(1), load, client(server))
    counted = replies.repairs([described]).set_index("repair")["n"]
    assert counted[counted > 0].to_dict() == repairs
    assert described["valid"].tolist() == [valid]
    assert described["red"].isna().tolist() == [not valid]
    assert len(server.requests) == 1


def test_a_reply_without_json_is_asked_for_once_more_and_both_are_paid():
    with ChatServer(says("It is brown."), says()) as server:
        described = api.describe(cases(1), load, client(server, **PRICES))
    assert described["valid"].all()
    assert described["cost"].tolist() == pytest.approx([2 * PAID])
    assert "the JSON object alone" in prompt(server.requests[1])


def test_a_reply_that_never_is_json_is_not_valid_and_states_why():
    with ChatServer(says("It is brown.")) as server:
        described = api.describe(cases(1), load, client(server))
        api.describe(cases(1), load, client(server))
    assert len(server.requests) == 2  # what it said stays in the cache
    assert described["text"].tolist() == ["[no JSON] It is brown."]
    assert not described["valid"].any()
    assert described[list(FEATURES)].isna().all(axis=None)


@pytest.mark.parametrize(
    "refusal",
    [
        says("I'm sorry, I can't help with that."),
        says("", refusal="This I will not do."),
        says("It is", end="content_filter"),
        fails(400, "code: content_filter"),
    ],
    ids=["in words", "in its field", "by a filter", "as an error"],
)
def test_a_refusal_is_a_row_that_is_not_valid(refusal):
    with ChatServer(refusal, says()) as server:
        described = api.describe(cases(2), load, client(server, concurrency=1))
    assert len(server.requests) == 2
    assert described["text"].str.startswith("[refused]").tolist() == [True, False]
    assert described["valid"].tolist() == [False, True]
    assert described[list(FEATURES)].isna().all(axis=1).tolist() == [True, False]


def test_a_reply_that_was_cut_off_is_asked_again_only_with_more_tokens():
    with ChatServer(says(json.dumps(DESCRIPTION)[:200], end="length"), says()) as server:
        first = api.describe(cases(1), load, client(server, max_tokens=50))
        api.describe(cases(1), load, client(server, max_tokens=50))
        assert len(server.requests) == 1
        second = api.describe(cases(1), load, client(server, max_tokens=500))
    assert first["valid"].tolist() + second["valid"].tolist() == [False, True]


# text


def test_a_prompt_without_an_image_shares_cache_and_accounts():
    with ChatServer(says("A brown spot.", usage={"prompt_tokens": 10, "completion_tokens": 5})) as server:
        api_client = client(server, **PRICES)
        answers = [api_client.ask("Rewrite this caption: a brown macule.") for _ in range(3)]
        hot = api_client.ask("Rewrite this caption: a brown macule.", temperature=0.9)
    assert len(server.requests) == 2
    assert server.requests[0]["messages"] == [{"role": "user", "content": "Rewrite this caption: a brown macule."}]
    assert "response_format" not in server.requests[0]
    assert {answer.text for answer in answers} == {"A brown spot."}
    assert hot.cost == pytest.approx((10 * 0.4 + 5 * 1.6) / 1e6)
    assert api_client.account() == {"replies": 2, "input_tokens": 20, "output_tokens": 10, "cost": api_client.spent}
    assert api_client.spent == pytest.approx(2 * hot.cost)
    assert hot.model == "model-0"


def test_replies_and_cost_are_those_of_the_model_though_the_cache_holds_other_models_too():
    with ChatServer() as server:
        first = client(server, **PRICES)
        for k in range(5):
            first.ask(f"{k}")
        settings = Settings(p2d_api_base_url=server.url)
        other = Client(settings, "other", Path("cache.jsonl"), allow_upload=True, **PRICES)
        other.ask("0")
        again = client(server, **PRICES)
    for api_client, n in ((first, 5), (other, 1), (again, 5)):
        tokens = {"input_tokens": n * 1000, "output_tokens": n * 400}
        assert api_client.account() == {"replies": n, **tokens, "cost": pytest.approx(n * PAID)}
    assert again.spent == pytest.approx(6 * PAID), "the ceiling counts all models"


def test_a_request_that_was_lost_is_a_cost_of_its_model():
    with ChatServer(hangs(20), says()) as server:
        api_client = client(server, **PRICES, timeout=0.2)
        answer = api_client.ask("Hello")
        other = Client(Settings(p2d_api_base_url=server.url), "other", Path("cache.jsonl"), **PRICES)
    assert api_client.account()["cost"] > answer.cost + 1000 * 1.6 / 1e6
    assert other.account() == {"replies": 0, "input_tokens": 0, "output_tokens": 0, "cost": 0.0}


def test_replies_of_earlier_versions_are_still_used_and_counted_under_the_servers_name_of_the_model():
    with ChatServer() as server:
        client(server, **PRICES).ask("a")
        path = Path("cache.jsonl")
        record = json.loads(path.read_text())
        del record["requested"]
        path.write_text(json.dumps(record) + "\n")
        client(server, allow_upload=False).ask("a")
        named = Client(Settings(p2d_api_base_url=server.url), "model-0", path, **PRICES)
    assert named.account()["replies"] == 1
    assert len(server.requests) == 1


def test_work_in_threads_keeps_its_order():
    with ChatServer(delay=0.01) as server:
        api_client = client(server)
        assert list(api_client.each(lambda k: (api_client.ask(f"{k}"), k)[1], range(20))) == list(range(20))


# cache


def test_a_request_that_differs_in_pixels_prompt_model_or_schema_is_sent_anew():
    image = load(cases(2))
    with ChatServer() as server:
        api_client = client(server)
        for again in range(2):
            api_client.ask("a", image=image[0])
            api_client.ask("a", image=image[1])
            api_client.ask("b", image=image[0])
            api_client.ask("a", image=image[0].reshape(4, 16, 3))
            api_client.ask("a", image=image[0], schema=replies.Reply)
            Client(Settings(p2d_api_base_url=server.url), "other", Path("other.jsonl"), allow_upload=True).ask("a")
            assert len(server.requests) == 6, again


WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_api import Client, Settings, api, cases, load
settings = Settings(_env_file=None, p2d_api_base_url={url!r})
api.describe(cases(200), load, Client(settings, "some-llm", Path({cache!r}), allow_upload=True, concurrency=4))
"""


def test_after_kill_9_only_what_was_under_way_is_asked_again(tmp_path):
    cache = tmp_path / "cache.jsonl"
    with ChatServer(delay=0.005) as server:
        program = WORKER.format(here=str(Path(__file__).parent), url=server.url, cache=str(cache))
        worker = subprocess.Popen(
            [sys.executable, "-c", program],
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        while len(server.requests) < 90 and worker.poll() is None:
            time.sleep(0.001)
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        assert worker.returncode == -signal.SIGKILL
        time.sleep(0.05)
        asked_before = len(server.requests)
        with cache.open("ab") as file:  # as if it had been writing
            file.write(b'{"key": "0123456789abcdef", "text": "A da')
        described = api.describe(cases(200), load, client(server, cache))
    times = Counter(picture(request)[0] for request in server.requests)
    assert described["valid"].all()
    assert 90 <= asked_before < 200
    assert len(times) == 200
    assert sum(times.values()) - 200 <= 4
    assert len(caching.Cache(cache).answers) == 200


@pytest.mark.parametrize("kept", [0, 5, 30, -1])
def test_a_line_cut_anywhere_is_passed_over_and_what_follows_is_read(kept):
    with ChatServer() as server:
        client(server).ask("a")
        client(server).ask("b")
        path = Path("cache.jsonl")
        first, second, _ = path.read_bytes().split(b"\n")
        path.write_bytes(first + b"\n" + second[:kept])
        client(server).ask("b")
        client(server).ask("a")
        client(server).ask("b")
    assert len(server.requests) == 3
    assert path.read_bytes().endswith(b"}\n")


def test_every_line_is_on_disk_before_its_answer_is_returned(monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(Path("cache.jsonl").read_bytes().count(b"\n")))
    with ChatServer() as server:
        for k in range(3):
            client(server).ask(f"{k}")
    assert synced == [1, 2, 3]


@pytest.mark.parametrize("text", ["image_id,dx\n", '{"key": "k", "text": "of some other program"}\n'])
def test_a_file_that_is_no_cache_is_left_alone(text):
    Path("cases.csv").write_text(text)
    with ChatServer() as server, pytest.raises(ApiError, match=r"cases\.csv.* is no"):
        client(server, "cases.csv")
    assert Path("cases.csv").read_text() == text


def test_a_cache_that_cannot_be_read_or_written_is_named():
    Path("folder.jsonl").mkdir()
    Path("file").write_text("")
    with ChatServer() as server:
        with pytest.raises(ApiError, match=r"folder\.jsonl: cannot be read \(Is a directory\); name another file"):
            client(server, "folder.jsonl")
        with pytest.raises(ApiError, match=r"cannot be written \(File exists\); make room"):
            client(server, "file/cache.jsonl").ask("Hello")


# cost


def test_a_ceiling_of_one_cent_is_not_passed_and_all_that_was_paid_for_is_kept():
    with ChatServer(delay=0.002) as server:
        with pytest.raises(CeilingError) as stopped:
            api.describe(cases(40), load, client(server, **PRICES, max_cost=0.01))
        n = len(server.requests)
        spent = n * PAID
        assert 0.01 - 3 * PAID < spent <= 0.01
        message = str(stopped.value)
        assert f"{spent:.6g} USD spent" in message
        assert "Raise max_cost and run again" in message
        assert f"{n} of 40 images are described" in message
        subset = cases(40).iloc[sorted(int(picture(request)[1][0, 0, 0]) for request in server.requests)]
        kept = api.describe(subset, load, client(server, **PRICES, max_cost=0.01))
        assert kept["cost"].sum() == pytest.approx(spent)
        assert len(server.requests) == n
        described = api.describe(cases(40), load, client(server, **PRICES, max_cost=1.0))
    assert len(server.requests) == 40
    assert described["cost"].sum() == pytest.approx(40 * PAID)


def test_a_ceiling_holds_over_runs():
    with ChatServer() as server:
        for _ in range(4):
            with pytest.raises(CeilingError):
                api.describe(cases(40), load, client(server, **PRICES, max_cost=0.01))
    assert len(server.requests) * PAID <= 0.01


def test_requests_under_way_count_with_their_worst_case():
    """Eight at a time, of which each may cost 0.0016 USD for its output alone."""
    usage = {"prompt_tokens": 10, "completion_tokens": 1000}
    with ChatServer(says(usage=usage), delay=0.02) as server, pytest.raises(CeilingError):
        api.describe(cases(40), load, client(server, **PRICES, max_cost=0.01, concurrency=8))
    assert 0.005 < len(server.requests) * (10 * 0.4 + 1000 * 1.6) / 1e6 <= 0.01


def test_a_ceiling_below_one_request_sends_nothing():
    with ChatServer() as server, pytest.raises(CeilingError, match=r"stopped at 0 USD spent.*0 of 2 images"):
        api.describe(cases(2), load, client(server, **PRICES, max_cost=0.001))
    assert not server.requests


def test_a_reply_that_never_came_counts_as_paid_also_in_the_next_run():
    with ChatServer(hangs(20), says()) as server:
        api_client = client(server, **PRICES, timeout=0.2)
        api_client.ask("Hello")
    assert api_client.spent > PAID + 1000 * 1.6 / 1e6
    assert client(server, **PRICES).spent == pytest.approx(api_client.spent)


def test_a_ceiling_without_prices_is_an_error():
    with ChatServer() as server, pytest.raises(ApiError, match="prices are not known: give price_in and price_out"):
        client(server, max_cost=1.0, price_in=0.4)
    assert not Path("cache.jsonl").exists()


# the key


@pytest.mark.parametrize(
    "step",
    [fails(401, f"Incorrect key {KEY}"), fails(500, f"Bearer {KEY}"), lambda h: h.reply(200, f"<p>{KEY}</p>"),
     fails(400, "content_filter: " + KEY), says(f"Your key is {KEY}")],
    ids=["401", "500", "foreign", "refusal", "reply"],
)  # fmt: skip
def test_a_key_that_the_server_echoes_reaches_no_error_log_or_file(step, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with ChatServer(step) as server:
        api_client = client(server)
        try:
            shown = repr(api_client.ask("Hello"))
        except ApiError as error:
            shown = f"{error!r} {error.__cause__!r}"
    path = Path("cache.jsonl")
    files = path.read_text() if path.exists() else ""
    assert "[key]" in shown
    holders = (api_client, api_client._transport, api_client._transport._openai, api_client._transport._openai._client)
    kept = " ".join(repr(vars(holder)) for holder in holders)
    assert KEY not in shown + files + caplog.text + "".join(capfd.readouterr()) + kept


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((8, 8, 4), np.uint8)])
def test_what_is_no_rgb_image_is_refused(image):
    with ChatServer() as server, pytest.raises(ValueError, match=r"expected uint8 \(h, w, 3\)"):
        client(server).ask("Hello", image=image)
    assert not server.requests


# a real server

SERVE = """
import sys
sys.path.insert(0, {models!r})
import tiny_vlm
tiny_vlm.save({folder!r}, *tiny_vlm.llava())
from transformers.cli.serve import Serve
Serve({folder!r}, host="127.0.0.1", port={port}, device="cpu")
"""


@pytest.fixture
def transformers_serve(tmp_path):
    """`transformers serve` with a tiny LLaVA of random weights: its URL and the model's name."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = str(tmp_path / "llava")
    program = SERVE.format(models=str(Path(__file__).parents[1] / "models"), folder=folder, port=port)
    with (tmp_path / "serve.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", program], stdout=log, stderr=log, env=os.environ | {"HF_HUB_OFFLINE": "1"}
        )
    try:
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/health", timeout=1)
                break
            assert server.poll() is None, (tmp_path / "serve.log").read_text()[-2000:]
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1", folder
    finally:
        server.kill()
        server.wait()


def test_transformers_serve_describes_and_rewrites(transformers_serve):
    """Its weights are random and it knows no schemas: its replies are no JSON and become no number."""
    url, model = transformers_serve
    api_client = Client(
        Settings(p2d_api_base_url=url), model, Path("cache.jsonl"), allow_upload=True, max_tokens=12, tries=1
    )
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    first, second = (api_client.ask("Describe this dermoscopic image.", image=image) for image in images)
    rewritten = api_client.ask("Describe this dermoscopic image.")
    assert first.input_tokens == second.input_tokens == rewritten.input_tokens + 16 + 1  # patches and a line end
    assert first.output_tokens == 12
    assert first.text != second.text  # it was shown different images
    described = api.describe(cases(2), lambda part: images[: len(part)], api_client)
    assert described["text"].str.startswith("[no JSON]").all()
    assert described[list(FEATURES)].isna().all(axis=None)
    assert not described["valid"].any()
