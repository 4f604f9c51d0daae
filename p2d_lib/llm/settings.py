"""The address of the server, and the key for it. Where it is not certain which server is meant, none is asked."""

import os
import re
from dataclasses import dataclass

import httpx
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from p2d_lib.home import home
from p2d_lib.llm import dotenv_file
from p2d_lib.llm.errors import ApiError

OPENAI = "https://api.openai.com/v1"
_ADDRESSES = ("p2d_api_base_url", "openai_base_url", "openai_api_base")  # the last: the name of openai before 1.0
_NO_SETTING = re.compile(r"P2D_\w*(URL|BASE|ENDPOINT|HOST|SERVER)\w*", re.IGNORECASE)
_SECRET = re.compile(r"key|token|secret|sig|password", re.IGNORECASE)
HOST = r"[\w.:-]+"
_QUOTES = "\"'`“”‘’<>"


@dataclass(frozen=True)
class Endpoint:
    """A server that can be asked. url: without query. query: sent with each request, such as Azure's api-version."""

    url: httpx.URL
    query: dict[str, str]
    key: SecretStr  # "": none


class Settings(BaseSettings):
    """Address and key, from the environment, or from .env in the working folder or the project's.

    P2D_API_BASE_URL and P2D_API_KEY; else OPENAI_BASE_URL (or OPENAI_API_BASE) and OPENAI_API_KEY; with OPENAI_API_KEY
    alone, OpenAI's own address. A local server needs no key. The key for OpenAI is never sent to an address from
    P2D_API_BASE_URL. Raises ApiError for a .env that cannot be read, and for names such as P2D_API_URL.
    """

    model_config = SettingsConfigDict(
        env_file=(home() / ".env", ".env"),
        env_file_encoding="utf-8-sig",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    p2d_api_base_url: str | None = None
    p2d_api_key: SecretStr = SecretStr("")
    openai_base_url: str | None = None
    openai_api_base: str | None = None
    openai_api_key: SecretStr = SecretStr("")

    def __init__(self, **values):
        defined = dotenv_file.names(values.get("_env_file", self.model_config["env_file"])) | set(os.environ)
        super().__init__(**values)
        wrong = [name for name in sorted(defined) if _NO_SETTING.fullmatch(name) and name.lower() not in _ADDRESSES]
        if wrong and self.p2d_api_base_url is None:
            raise ApiError(f"{wrong[0]} is no setting: give the server's address as P2D_API_BASE_URL")

    def endpoint(self) -> Endpoint:
        """The server that is meant. Raises ApiError, without showing address or key, where none can be asked."""
        name, address = self._address()
        key = _clean((self.p2d_api_key if name == "P2D_API_BASE_URL" else self.openai_api_key).get_secret_value())
        if not re.fullmatch("[!-~]*", key):
            raise ApiError("the API key holds a space or a character that no key has; copy it again")
        url = _url(name, address)
        query = dict(url.params)
        if url.userinfo or any(map(_SECRET.search, query)):  # which would be logged with every request
            raise ApiError(f"{name} holds a name, a password or a key: leave it out and give the key as P2D_API_KEY")
        path = re.sub(r"/chat/completions/?$", "", url.path)  # which the openai package adds
        return Endpoint(url.copy_with(path=path, query=None, fragment=None), query, SecretStr(key))

    def _address(self) -> tuple[str, str]:
        """The name of the setting and the address. A setting that is empty is a mistake, not a wish for another."""
        addresses = {name.upper(): getattr(self, name) for name in _ADDRESSES}
        named = {name: _clean(address) for name, address in addresses.items() if address is not None}
        if "P2D_API_BASE_URL" not in named and self.p2d_api_key.get_secret_value().strip():
            raise ApiError(f"P2D_API_KEY is set and P2D_API_BASE_URL is not: give both (OpenAI's address is {OPENAI})")
        if not named and self.openai_api_key.get_secret_value().strip():
            return "OPENAI_BASE_URL", OPENAI
        if not named:
            raise ApiError(
                "no server is named: set P2D_API_BASE_URL, such as http://localhost:8000/v1, or OPENAI_API_KEY alone"
            )
        name = next(iter(named))
        if not named[name]:
            raise ApiError(f"{name} is set and empty: give the server's address, or remove it to use another setting")
        if name == "OPENAI_BASE_URL" and named.get("OPENAI_API_BASE", named[name]) != named[name]:
            raise ApiError("OPENAI_BASE_URL and OPENAI_API_BASE name two servers: give the one you mean")
        return name, named[name]


def _clean(text: str) -> str:
    """A text without the spaces, line ends and quotes that come with copying."""
    return text.strip().strip(_QUOTES).strip()


def _url(name: str, address: str) -> httpx.URL:
    try:
        url = httpx.URL(address)
        fits = (
            re.match(r"https?://", address, re.IGNORECASE) and re.fullmatch(HOST, url.host) and (url.port or 1) < 2**16
        )
    except (httpx.InvalidURL, ValueError):
        fits = False
    if not fits:
        raise ApiError(f"{name} is no http address; it looks like http://localhost:8000/v1")
    return url
