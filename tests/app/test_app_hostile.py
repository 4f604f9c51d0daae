"""Hostile input: no crash, no leak, one clear sentence."""

import base64
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from app_client import Client
from app_run import MARKUP

from p2d_lib import images
from p2d_lib.models import generate

FINE = ["dermoscopic image of melanoma", "1", "adapter", 2.0, 1.4, 3.0, 3, "dpm++2m", 1]
NAMES = ("prompt", "seed", "generator", "guidance", "low", "high", "steps", "solver", "count")


@pytest.fixture
def client(address):
    return Client(address)


def create(client, **changes) -> dict:
    return client.call(
        "p2d-create", "click", *(changes.get(name, value) for name, value in zip(NAMES, FINE, strict=True))
    )


def refused(answer: dict, app_home) -> str:
    """The sentence of a refusal, after a check that it gives nothing away."""
    assert answer["success"] is False, answer
    whole = json.dumps(answer)
    for leak in (str(app_home), "Traceback", "p2d_lib", ".py", "site-packages", "<img", "<script"):
        assert leak not in whole, whole
    return str(answer["output"]["error"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": "x" * 10_000}, "10,000 characters"),
        ({"prompt": "a\x00\x1b[31mb"}, "U\\+0000"),
        ({"prompt": "mel\u202eanoma"}, "U\\+202E"),
        ({"prompt": None}, "text"),
        ({"seed": "../../../etc/passwd"}, "Seed"),
        ({"seed": "9" * 22}, "Seed"),
        ({"steps": 10**9}, "Num inference steps"),
        ({"steps": "many"}, "Num inference steps"),
        ({"guidance": -1}, "Guidance scale"),
        ({"low": 5.0, "high": 1.0}, "noise level|[Gg]uidance interval"),
        ({"count": 10**6}, "How many"),
        ({"count": 0.5}, "How many"),
        ({"generator": MARKUP}, "Generator"),
        ({"solver": "../euler"}, "Solver"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_made_is_refused_in_one_sentence(client, app_home, changes, words):
    sentence = refused(create(client, **changes), app_home)
    assert re.search(words, sentence) and "\n" not in sentence.strip() and len(sentence) < 500


@pytest.mark.parametrize(
    "png", ["", "no base64 !", "A" * (12 * 2**20), None, 7, base64.b64encode(b"\x89PNG forged").decode()]
)
def test_a_dropped_file_that_is_not_ours_is_refused(client, app_home, png):
    sentence = refused(client.call("p2d-dropped", "upload", event_data={"png": png}), app_home)
    assert "file" in sentence.lower()


def test_a_forged_png_with_markup_in_its_prompt_restores_it_as_text(client):
    about = generate.description(f"nevus {MARKUP}", 1, "adapter", "")
    png = base64.b64encode(images.encode(np.zeros((8, 8, 3), np.uint8), about)).decode()
    answer = client.call("p2d-dropped", "upload", event_data={"png": png})
    assert answer["success"] and answer["output"]["data"][0] == f"nevus {MARKUP}"


@pytest.mark.parametrize("name", ["../../../cases.parquet", "/etc/passwd", "..\\..\\key.csv", MARKUP, None, ["a"]])
def test_the_gallery_is_no_way_to_other_files(client, app_home, name):
    assert "no such image" in refused(client.call("p2d-gallery", "click", event_data={"image": name}), app_home)


@pytest.mark.parametrize("what", ["../../../../etc/passwd", "t4_copies/../../x", MARKUP, None])
def test_browse_shows_only_what_the_run_has(client, app_home, what):
    answer = client.call("p2d-browse-what", "input", what, "")
    assert "root:" not in json.dumps(answer) and "<img src=x" not in json.dumps(answer)
    assert "rate" not in json.dumps(answer)


def test_browse_shows_only_runs(client, app_home):
    refused(client.call("p2d-browse-what", "input", "t4_copies", "../little"), app_home)


PATHS = (
    "data/runs/little/cases.parquet",
    "data/runs/little/synthetic/adapter_mel_0.png",
    "app.log",
    "tables/little/t4_copies.csv",
)


@pytest.mark.parametrize(
    "way", ["gradio_api/file={}", "file={}", "gradio_api/file=/proc/self/cwd/..{}", "static/{}", "assets/../../..{}"]
)
def test_no_file_of_the_machine_or_of_the_run_is_served(client, app_home, way):
    for path in ("/etc/passwd", *(f"{app_home}/{name}" for name in PATHS)):
        for form in (path, path.replace("/", "%2f"), path.replace("/", "%252f")):
            answer = client.http.get(way.format(form))
            assert answer.status_code >= 400 or b"<!doctype html>" in answer.content[:200].lower(), (way, form)
            assert (
                b"root:" not in answer.content and b"PAR1" not in answer.content and b"0.123456" not in answer.content
            )


def test_nothing_can_be_left_on_the_machine(client):
    answer = client.http.post("gradio_api/upload", files={"files": ("a.html", b"<script>alert(1)</script>")})
    assert answer.status_code == 404


def test_the_page_names_no_place_on_the_machine_and_asks_for_nothing_elsewhere(client, app_home):
    page, config = client.http.get(""), client.http.get("config")
    assert str(app_home) not in page.text + config.text and "/home/" not in config.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy and "frame-ancestors 'none'" in policy
    assert page.headers["x-content-type-options"] == "nosniff"


def test_another_name_for_this_machine_is_refused(client):
    assert client.http.get("config", headers={"host": "rebound.example"}).status_code == 400


def test_fifty_requests_at_once_are_each_answered_and_the_app_goes_on(address, client, app_home):
    def ask(k: int) -> dict:
        prompt = f"dermoscopic image of melanoma {MARKUP if k % 2 else k}"
        return create(Client(address, client.config), prompt=prompt, seed=str(k), steps=1)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))
    assert any(answer["success"] for answer in answers)
    for answer in answers:
        if not answer["success"]:
            assert re.search("wait already|[Qq]ueue", refused(answer, app_home))
    for _ in range(100):
        if create(client, steps=1)["success"]:
            break
        time.sleep(0.2)
    else:
        raise AssertionError("the queue has not emptied")
    assert "Traceback" not in (app_home / "app.log").read_text()
