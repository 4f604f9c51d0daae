"""The address of the server, and the key for it."""

import re

import httpx
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from p2d_lib.describe.llm.errors import ApiError
from p2d_lib.run import home


class Settings(BaseSettings):
    """Address and key, from the environment, or from .env in the working folder or the project's.

    P2D_API_BASE_URL and P2D_API_KEY, else OPENAI_BASE_URL and OPENAI_API_KEY. A local server needs no key. The key for
    OpenAI is never sent to an address from P2D_API_BASE_URL.
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

    def checked(self) -> tuple[httpx.URL, SecretStr]:
        """Address and key. Raises ApiError, without showing either, for those that no request can be made with."""
        url = httpx.URL(self.base_url)
        if url.scheme not in ("http", "https") or not url.host:
            raise ApiError("the base URL is no http address; it looks like http://localhost:8000/v1")
        if url.userinfo:  # which would be logged with every request
            raise ApiError("the base URL holds a name or password: leave it out and give the key as P2D_API_KEY")
        if not re.fullmatch("[!-~]*", self.key.get_secret_value()):
            raise ApiError("the API key holds a space or a character that no key has; copy it again")
        return url, self.key
