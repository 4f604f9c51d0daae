"""One request to a language model: a prompt, perhaps with an image and a schema for the reply."""

import hashlib
import json
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from p2d_lib.images import data_uri


@dataclass(frozen=True)
class Request:
    """One question to a model.

    prompt: text. image: uint8 (h, w, 3), sent as PNG made of its pixels alone. schema: JSON schema of the reply, or
    None. temperature: 0 is the likeliest reply. Raises ValueError for an image of another type or shape.
    """

    prompt: str
    image: np.ndarray | None = None
    schema: dict | None = None
    temperature: float = 0.0

    def __post_init__(self):
        image = self.image
        if image is not None and (image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3):
            raise ValueError(f"image is {image.dtype} {image.shape}, expected uint8 (h, w, 3)")

    @property
    def has_image(self) -> bool:
        return self.image is not None

    @property
    def max_input_tokens(self) -> int:
        """Input tokens that the request will hardly exceed: one per byte of text, and for the image the highest count
        known of any model (gpt-4o-mini: 2833 and 5667 for each tile of 512 px)."""
        text = len((self.prompt + json.dumps(self.schema)).encode()) + 100
        if self.image is None:
            return text
        tiles = -(-self.image.shape[0] // 512) * -(-self.image.shape[1] // 512)
        return text + 2833 + 5667 * tiles

    def key(self, model: str) -> str:
        """The key of the reply in the cache: a digest of everything that it may depend on."""
        shape = None if self.image is None else self.image.shape
        digest = hashlib.sha256(json.dumps([model, self.prompt, self.schema, self.temperature, shape]).encode())
        if self.image is not None:
            digest.update(np.ascontiguousarray(self.image))
        return digest.hexdigest()

    def body(self, model: str, max_tokens: int, without: set[str] = frozenset()) -> dict:
        """The request as chat completions take it.

        without: options that the server has rejected, of "response_format", "temperature" and "max_tokens". Instead of
        response_format the schema is stated in the prompt; max_tokens has a later name, max_completion_tokens.
        """
        text = self.prompt
        if self.schema and "response_format" in without:
            text += (
                f"\nReply with one JSON object and nothing else. It fits this JSON schema:\n{json.dumps(self.schema)}"
            )
        content: str | list = text
        if self.image is not None:
            content = [{"type": "image_url", "image_url": {"url": self._data_url()}}, {"type": "text", "text": text}]
        options = {"temperature": self.temperature, "max_tokens": max_tokens}
        if self.schema:
            form = {"name": self.schema["title"], "strict": True, "schema": self.schema}
            options["response_format"] = {"type": "json_schema", "json_schema": form}
        body = {"model": model, "messages": [{"role": "user", "content": content}]}
        body |= {name: value for name, value in options.items() if name not in without}
        return body | ({"max_completion_tokens": max_tokens} if "max_tokens" in without else {})

    def _data_url(self) -> str:
        png = BytesIO()
        Image.fromarray(self.image).save(png, "PNG")
        return data_uri(png.getvalue())
