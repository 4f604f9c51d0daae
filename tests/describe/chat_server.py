"""A chat endpoint of OpenAI's kind on this machine that replies what a test has planned, request by request."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from p2d_lib.llm.client import Client
from p2d_lib.llm.settings import Settings
from p2d_lib.vocabulary import FEATURES

KEY = "sk-a-very-secret-key-0123456789"
DESCRIPTION = {"description": "A dark macule.", **dict.fromkeys(FEATURES, 0.25)}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 400}


def completion(content: str | None = None, *, usage: dict | None = USAGE, end: str = "stop", **message) -> dict:
    """A whole reply; without content, a faultless description."""
    content = json.dumps(DESCRIPTION) if content is None else content
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": end}
    return {"object": "chat.completion", "model": "model-0", "choices": [choice], "usage": usage}


def says(*args, **kwargs) -> Callable:
    """A step of a plan: a reply of `completion`."""
    return lambda handler: handler.reply(200, completion(*args, **kwargs))


def sends(body: dict | str | bytes, status: int = 200, **headers: str) -> Callable:
    """A step of a plan: a body as it is, with headers (Content_Type="...")."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.reply(status, body, named)


def fails(status: int, text: str = "trouble", **headers: str) -> Callable:
    """A step of a plan: an error with a text and headers (Retry_After="1")."""
    return sends({"error": {"message": text}}, status, **headers)


def hangs(seconds: float) -> Callable:
    return lambda handler: handler.server.stopped.wait(seconds)


def cuts(handler) -> None:
    """Announces a reply, sends the beginning of it and ends the connection."""
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"choices"')
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def drips(handler) -> None:
    """Sends a space every 50 ms, for as long as anybody listens."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not handler.server.stopped.wait(0.05):
        handler.wfile.write(b" ")
        handler.wfile.flush()


class ChatServer:
    """With `ChatServer(step, step, ...) as server`: each request takes a step, the last of them for all that follow."""

    def __init__(self, *plan: Callable, delay: float = 0.0):
        self.plan, self.delay = plan or (says(),), delay
        self.requests: list[dict] = []  # bodies, with "headers", "path" and "time"
        self.at_once, self.most_at_once = 0, 0
        self._lock = threading.Lock()

    def __enter__(self) -> "ChatServer":
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # which makes each reply 40 ms slower

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with owner._lock:
                    step = owner.plan[min(len(owner.requests), len(owner.plan) - 1)]
                    owner.requests.append(
                        body | {"headers": dict(self.headers), "path": self.path, "time": time.monotonic()}
                    )
                    owner.at_once += 1
                    owner.most_at_once = max(owner.most_at_once, owner.at_once)
                time.sleep(owner.delay)
                with owner._lock:
                    owner.at_once -= 1
                try:
                    step(self)
                except OSError:
                    self.close_connection = True

            def reply(self, status: int, reply: dict | str | bytes, headers: dict | None = None) -> None:
                text = json.dumps(reply) if isinstance(reply, dict) else reply
                data = text.encode() if isinstance(text, str) else text
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads, self._http.block_on_close = True, False
        self._http.stopped = threading.Event()
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._http.stopped.set()
        self._http.shutdown()
        self._http.server_close()


def client(server: ChatServer, cache: Path | str = "cache.jsonl", url: str = "", **changed) -> Client:
    """A client of the server, or of another address, whose pauses are short."""
    settings = Settings(p2d_api_base_url=url or server.url, p2d_api_key=KEY)
    options = {"allow_upload": True, "backoff": 0.01, "timeout": 5.0, "tries": 3}
    return Client(settings, "some-llm", Path(cache), **options | changed)


def prompt(request: dict) -> str:
    content = request["messages"][0]["content"]
    return content if isinstance(content, str) else content[1]["text"]


def picture(request: dict) -> tuple[bytes, np.ndarray]:
    """The image file that a request carries, and its pixels."""
    data = base64.b64decode(request["messages"][0]["content"][0]["image_url"]["url"].split(",")[1])
    return data, np.asarray(Image.open(BytesIO(data)))
