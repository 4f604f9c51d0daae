"""The client that a notebook's parameters state."""

from pathlib import Path

from p2d_lib.llm.client import Client
from p2d_lib.llm.settings import Settings
from p2d_lib.parameters.describe import Describe
from p2d_lib.parameters.readers import Readers


def client(parameters: Describe | Readers, cache: Path) -> Client:
    """A client for `api_model` with the limits of the api_* parameters. cache: as of `Client`. Raises ApiError."""
    price_in, price_out = parameters.api_usd_per_million
    return Client(
        Settings(),
        parameters.api_model,
        cache,
        allow_upload=parameters.api_allow_upload,
        concurrency=parameters.api_concurrency,
        timeout=parameters.api_timeout,
        max_tokens=parameters.api_max_tokens,
        price_in=price_in,
        price_out=price_out,
        max_cost=parameters.api_max_cost or None,
    )
