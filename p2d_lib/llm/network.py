"""The HTTP client for one server: its proxy, its certificates, its key, and no redirect that leads to another host."""

import ipaddress
import os
import re
from contextlib import suppress
from urllib.request import getproxies, proxy_bypass

import httpx

from p2d_lib.llm.errors import ApiError
from p2d_lib.llm.settings import HOST, Endpoint


class Key(httpx.Auth):
    """Sends a key with each request, and does not show it where it is printed; "": sends none."""

    def __init__(self, endpoint: Endpoint):
        self._secret = endpoint.key
        self._azure = "api-version" in endpoint.query  # Azure takes a key by this name, and only tokens as Bearer

    def auth_flow(self, request: httpx.Request):
        if key := self._secret.get_secret_value():
            request.headers.update({"api-key": key} if self._azure else {"Authorization": f"Bearer {key}"})
        yield request


def http_client(endpoint: Endpoint, *, timeout: float, connections: int) -> httpx.Client:
    """A client for this server alone. timeout: seconds. connections: at a time.

    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR are kept to. Raises ApiError for a
    proxy or certificates that cannot be used.
    """
    return httpx.Client(
        auth=Key(endpoint),
        timeout=timeout,
        limits=httpx.Limits(max_connections=connections),
        trust_env=False,  # httpx would look for all proxies and fail for one that is not needed
        verify=_certificates(endpoint.url),
        proxy=_proxy(endpoint.url),
        follow_redirects=True,
        event_hooks={"response": [_stay_at_host]},
    )


def _certificates(url: httpx.URL):
    """The ssl context, from the environment where it names certificates."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        if url.scheme == "http":
            return httpx.create_ssl_context(trust_env=False)
        name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        raise ApiError(
            f"{name} is {os.environ.get(name)!r}, which holds no certificates that can be read ({error.strerror}); "
            "correct it or unset it"
        ) from None


def _proxy(url: httpx.URL) -> httpx.Proxy | None:
    """The proxy that the environment names for this server. This machine's own addresses need none: a proxy would look
    for them on itself."""
    if _is_of_this_machine(url.host) or proxy_bypass(url.netloc.decode()) or _is_in_no_proxy(url.host):
        return None
    proxies = getproxies()
    name = next((name for name in (url.scheme, "all") if proxies.get(name)), None)
    if name is None:
        return None
    address = proxies[name] if "://" in proxies[name] else f"http://{proxies[name]}"
    with suppress(httpx.InvalidURL, ValueError):
        proxy = httpx.Proxy(address.replace("socks://", "socks5://", 1))
        if re.fullmatch(HOST, proxy.url.host):
            return proxy
    raise ApiError(
        f"{name.upper()}_PROXY is no address of a proxy; it looks like http://host:3128 or socks5://host:1080"
    )


def _is_of_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_in_no_proxy(host: str) -> bool:
    """Whether NO_PROXY has a network (10.0.0.0/8) that an address is in, which `proxy_bypass` does not see."""
    for network in getproxies().get("no", "").split(","):
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(network.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False


def _stay_at_host(response: httpx.Response) -> None:
    """Raises ApiError for a redirect to another host, to plain http, or of a kind that turns a POST into a GET."""
    if not response.has_redirect_location:
        return
    url, location = response.request.url, response.headers["Location"]
    try:
        target = url.join(location)
    except (httpx.InvalidURL, ValueError):
        raise ApiError(f"{url.netloc.decode()}: redirects to {location!r}, which is no address") from None
    is_safe = target.host == url.host and target.scheme in (url.scheme, "https")
    if not (is_safe and response.status_code in (307, 308)):
        address = str(target.copy_with(query=None)).removesuffix("/chat/completions")
        raise ApiError(
            f"{url.netloc.decode()}: redirects to {address}; if that is the server you mean, give it as the base URL"
        )
