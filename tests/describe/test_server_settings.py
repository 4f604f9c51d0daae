"""Which server is asked: the one that is meant, or none."""

from pathlib import Path

import pytest
from chat_server import KEY, ChatServer, client

from p2d_lib.llm.client import Client
from p2d_lib.llm.errors import ApiError
from p2d_lib.llm.settings import OPENAI, Settings

pytestmark = pytest.mark.usefixtures("no_settings_of_this_machine")


def address(**settings) -> str:
    return str(Settings(**settings).endpoint().url)


def test_settings_come_from_the_environment_or_dot_env(monkeypatch):
    Path(".env").write_text(f"OPENAI_BASE_URL=http://file/v1\nOPENAI_API_KEY={KEY}\nUNRELATED=1\n")
    endpoint = Settings(_env_file=".env").endpoint()
    assert (str(endpoint.url), endpoint.key.get_secret_value()) == ("http://file/v1", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://environment/v1")
    assert address(_env_file=".env") == "http://environment/v1"
    monkeypatch.setenv("P2D_API_BASE_URL", "http://ours/v1")
    monkeypatch.setenv("P2D_API_KEY", "ours")
    endpoint = Settings(_env_file=".env").endpoint()
    assert (str(endpoint.url), endpoint.key.get_secret_value()) == ("http://ours/v1", "ours")


def test_openai_is_asked_only_by_its_address_or_with_its_key_alone(monkeypatch):
    assert address(openai_api_key=KEY) == OPENAI
    with pytest.raises(ApiError, match="no server is named: set P2D_API_BASE_URL"):
        address()
    with pytest.raises(ApiError, match="P2D_API_KEY is set and P2D_API_BASE_URL is not"):
        address(p2d_api_key="ours", openai_api_key=KEY)


@pytest.mark.parametrize("empty", ["", "  ", "\n", '""'])
@pytest.mark.parametrize("name", ["P2D_API_BASE_URL", "OPENAI_BASE_URL"])
def test_an_empty_address_sends_nothing_to_another_server(monkeypatch, name, empty):
    monkeypatch.setenv(name, empty)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ApiError, match=f"{name} is set and empty"):
        Client(Settings(), "some-llm", Path("cache.jsonl"))


@pytest.mark.parametrize("name", ["P2D_API_URL", "P2D_BASE_URL", "P2D_ENDPOINT", "p2d_api_base"])
@pytest.mark.parametrize("in_file", [False, True])
def test_a_misspelt_name_of_the_address_is_refused(monkeypatch, name, in_file):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    Path(".env").write_text(f"{name}=http://ours/v1\n" if in_file else "")
    if not in_file:
        monkeypatch.setenv(name, "http://ours/v1")
    with pytest.raises(ApiError, match=f"{name} is no setting: .* as P2D_API_BASE_URL"):
        Settings(_env_file=".env")
    monkeypatch.setenv("P2D_API_BASE_URL", "http://ours/v1")
    assert address(_env_file=".env") == "http://ours/v1"


def test_the_name_of_earlier_versions_of_openai_is_understood(monkeypatch):
    monkeypatch.setenv("OPENAI_API_BASE", "http://ours/v1")
    assert address(openai_api_key=KEY) == "http://ours/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://theirs/v1")
    with pytest.raises(ApiError, match="OPENAI_BASE_URL and OPENAI_API_BASE name two servers"):
        address()


@pytest.mark.parametrize(
    "written",
    [
        "{}\n", " {}", '"{}"', "'{}' ", "“{}”", "<{}>", "{}/", "{}/chat/completions", "{}/chat/completions/", "{}#top",
    ],
)  # fmt: skip
def test_an_address_as_it_is_copied_is_asked(written):
    with ChatServer() as server:
        assert client(server, url=written.format(server.url)).ask("Hello").text
    assert server.requests[0]["path"] == "/v1/chat/completions"


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000/v1", "ftp://host/v1", "http://", "http:///v1", "http://ho st/v1", "http://host:port/v1",
        "http://host:99999/v1", "http://${HOST}/v1", "http://[::1/v1", "http://a\nb/v1", "/v1", "None",
        "[http://host/v1](http://host/v1)",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ApiError, match=r"P2D_API_BASE_URL is no http address; it looks like http://localhost"):
        address(p2d_api_base_url=url, openai_api_key=KEY)


@pytest.mark.parametrize(
    "url", [f"http://me:{KEY}@host/v1", f"https://host/v1?key={KEY}", f"http://h/v1?api_token={KEY}"]
)
def test_a_password_or_key_in_the_address_is_refused_unseen(url):
    with pytest.raises(ApiError, match="holds a name, a password or a key") as refused:
        Client(Settings(p2d_api_base_url=url), "some-llm", Path("cache.jsonl"))
    assert KEY not in str(refused.value)


def test_a_query_such_as_azures_api_version_is_sent_with_each_request_and_azure_gets_its_own_header():
    with ChatServer() as server:
        root = server.url.removesuffix("/v1")
        client(server, url=f"{root}/openai/deployments/gpt?api-version=2024-10-21").ask("Hello")
        client(server, url=f"{root}/v1?region=eu").ask("Hi")
    azure, other = server.requests
    assert azure["path"] == "/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
    assert (azure["headers"].get("api-key"), azure["headers"].get("Authorization")) == (KEY, None)
    assert other["path"] == "/v1/chat/completions?region=eu"
    assert other["headers"]["Authorization"] == f"Bearer {KEY}"


def test_the_key_for_openai_is_not_sent_to_another_address(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ChatServer() as server:
        monkeypatch.setenv("P2D_API_BASE_URL", server.url)
        Client(Settings(), "local", Path("cache.jsonl"), allow_upload=True).ask("Hello")
    assert not {"Authorization", "api-key"} & set(server.requests[0]["headers"])


@pytest.mark.parametrize("key", [KEY, f"{KEY}\n", f'"{KEY}"', f" '{KEY}'"])
def test_a_key_is_sent_as_it_is_without_what_comes_with_copying(key):
    with ChatServer() as server:
        settings = Settings(p2d_api_base_url=server.url, p2d_api_key=key)
        Client(settings, "some-llm", Path("cache.jsonl"), allow_upload=True).ask("Hello")
    assert server.requests[0]["headers"]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", [f"{KEY}\nX-Other: 1", f"{KEY}é", f"Bearer {KEY}"])
def test_a_key_that_cannot_be_one_is_refused_unseen(key):
    with pytest.raises(ApiError, match="holds a space or a character that no key has") as refused:
        Client(Settings(openai_api_key=key), "some-llm", Path("cache.jsonl"))
    assert KEY not in str(refused.value)


def test_settings_do_not_show_their_key():
    settings = Settings(openai_api_key=KEY, p2d_api_key=KEY)
    endpoint = Settings(openai_api_key=KEY).endpoint()
    assert KEY not in f"{settings!r} {settings!s} {settings.model_dump()} {settings.model_dump_json()} {endpoint!r}"


# .env

LINES = "# Schlüssel für München\nP2D_API_BASE_URL=http://file/v1\n"


@pytest.mark.parametrize("data", [LINES.encode(), LINES.encode("utf-8-sig"), LINES.replace("\n", "\r\n").encode()])
def test_a_dot_env_with_a_mark_or_other_line_ends_is_read_from_its_first_line(data):
    first = data.replace("# Schlüssel für München".encode(), b"A=1")
    for content in (data, first, first.replace(b"A=1\r\n", b"").replace(b"A=1\n", b"")):
        Path(".env").write_bytes(content)
        assert address(_env_file=".env", openai_api_key=KEY) == "http://file/v1"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le"])
def test_a_dot_env_in_another_encoding_is_named(encoding):
    Path("my.env").write_bytes(LINES.encode(encoding))
    with pytest.raises(ApiError, match=r"my\.env: is not UTF-8 text; save it as UTF-8"):
        Settings(_env_file="my.env")


@pytest.mark.parametrize(
    "line", ["P2D_API_BASE_URL: http://ours/v1", "P2D_API_BASE_URL", "set P2D_API_BASE_URL=http://x"]
)
def test_a_line_on_the_server_that_would_be_passed_over_is_named(line):
    Path(".env").write_text(f"A=1\n\n{line}\nB=2\n")
    with pytest.raises(ApiError, match=r"\.env, line 3: mentions P2D_API_BASE_URL and is not NAME=value"):
        Settings(_env_file=".env")


def test_lines_on_other_things_are_no_fault():
    Path(".env").write_text(
        "# P2D_API_BASE_URL: none\nsome words\nexport P2D_API_BASE_URL = 'http://ours/v1' # local\n"
    )
    assert address(_env_file=".env") == "http://ours/v1"
