"""The server behind the page: which run, who may enter, and what it gives away (nothing but the page)."""

import hmac
import os
import sys
from collections.abc import Mapping
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported: nothing is reported to anybody

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse

from p2d_lib.app import safety, store
from p2d_lib.app.command import NotStarted, is_loopback
from p2d_lib.app.page import NOTICE, page
from p2d_lib.home import home
from p2d_lib.locks import RunBusy
from p2d_lib.run import ArtefactError, Run

FONT = ("system-ui", "-apple-system", "Segoe UI", "sans-serif")  # of the machine: gradio's own come from the internet
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)


def open_run(name: str) -> Run:
    """A finished run. Raises NotStarted where it is being made, is open in another app, or lacks what makes images."""
    try:
        run = Run(name, "app")
        for network in ("base", "adapter", "scout"):
            run.path(network)
    except (RunBusy, ArtefactError) as problem:
        raise NotStarted(str(problem)) from None
    return run


class Guard:
    """Around the server: no way to its files, and headers that keep a browser from loading or framing anything.

    The page holds its pictures itself, so gradio's ways to serve, fetch and leave files are closed.
    """

    CLOSED = ("/file=", "/file/", "/proxy=", "/upload", "/deep_link", "/download/")
    HEADERS = (
        (b"content-security-policy", POLICY.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    )

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def with_headers(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.HEADERS]
            await send(message)

        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if any(part in scope["path"] for part in self.CLOSED):
            return await PlainTextResponse("Not here.", 404)(scope, receive, with_headers)
        return await self.app(scope, receive, with_headers)


def serve(run: Run, host: str, port: int, passwords: Mapping[str, str]) -> None:
    """Serves the page over a run until it is interrupted.

    passwords: by user; where it is empty, everybody who reaches the address may enter. Raises NotStarted where the run
    is not whole or the port is taken.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(store.folder(run) / "cache")  # not where other users of the machine look
    middleware = [Middleware(Guard)]
    if is_loopback(host):  # a page elsewhere may have its own name point here (DNS rebinding)
        middleware.append(Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"]))
    try:
        blocks = page(run)
    except ArtefactError as problem:
        raise NotStarted(str(problem)) from None
    blocks.queue(max_size=safety.MOST_EVENTS, default_concurrency_limit=8)
    try:
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            auth=_check(passwords) if passwords else None,
            auth_message=f"{NOTICE}.",
            share=False,
            show_error=False,
            quiet=True,
            inbrowser=False,
            prevent_thread_lock=True,
            ssr_mode=False,
            footer_links=[],
            allowed_paths=[],
            blocked_paths=[str(home())],
            max_file_size=safety.LARGEST_UPLOAD,
            max_threads=safety.MOST_EVENTS,
            enable_monitoring=False,
            mcp_server=False,
            theme=_theme(),
            css_paths=sorted(Path(__file__).parent.glob("*.css")),
            app_kwargs={"middleware": middleware, "docs_url": None, "redoc_url": None, "openapi_url": None},
        )
    except OSError:
        raise NotStarted(f"port {port} of {host} is taken: choose another one (--port)") from None
    if not is_loopback(host):
        print(f"prompt2derm: {host} is open to others on the network, unencrypted", file=sys.stderr, flush=True)
    print(f"prompt2derm: run {run.name!r} at {address}  (Ctrl-C ends it)", file=sys.stderr, flush=True)
    blocks.block_thread()


def _theme() -> gr.themes.Base:
    """Colours with the contrast that WCAG 2.1 asks for (AA), and fonts that the machine has."""
    theme = gr.themes.Base(primary_hue="teal", font=FONT, font_mono=("ui-monospace", "monospace"))
    return theme.set(
        color_accent="#0b6e4f",
        slider_color="#0b6e4f",
        slider_color_dark="#34d399",
        button_primary_background_fill="#0b6e4f",
        button_primary_background_fill_hover="#095a41",
        button_primary_background_fill_dark="#0b6e4f",
        button_primary_background_fill_hover_dark="#095a41",
        button_primary_text_color="#ffffff",
        button_cancel_background_fill="#f3d7db",
        button_cancel_text_color="#8a0018",
        button_cancel_background_fill_dark="#5c1020",
        button_cancel_text_color_dark="#ffdfe4",
    )


def _check(passwords: Mapping[str, str]):
    """Whether a name and a password belong together, in the same time whichever is wrong."""

    def check(user: str, password: str) -> bool:
        expected = passwords.get(user, "")
        return hmac.compare_digest(expected.encode(), password.encode()) and bool(expected)

    return check
