"""One image that somebody asks for: all that it depends on, from a form or from the text of a PNG."""

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Annotated, Literal, get_args

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from p2d_lib.app.safety import LARGEST_UPLOAD, LONGEST_PROMPT, MOST_STEPS, Refused, plain_line
from p2d_lib.artefacts import ADAPTER_WEIGHTS
from p2d_lib.files import sha256
from p2d_lib.parameters.sample import GuidanceScale
from p2d_lib.parameters.types import NoiseInterval
from p2d_lib.run import ArtefactError, Run

Generator = Literal["adapter", "base"]
Solver = Literal["dpm++2m", "ddim", "euler"]
SETTINGS = ("guidance_scale", "guidance_interval", "num_inference_steps", "solver", "size")


class Request(BaseModel):
    """What one image is sampled from. Two equal requests to one run give the same pixels (same machine and threads)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    generator: Generator = "adapter"
    guidance_scale: GuidanceScale
    guidance_interval: NoiseInterval  # noise levels (sigma)
    num_inference_steps: Annotated[int, Field(ge=1, le=MOST_STEPS)]
    solver: Solver
    size: int  # px

    @field_validator("prompt", mode="before")
    @classmethod
    def _one_line(cls, text: object) -> str:
        return plain_line(text, "prompt", LONGEST_PROMPT)

    @property
    def settings(self) -> dict:
        """The sampler's settings, as `sampling.sample_steps` takes them and a PNG's text holds them."""
        return {name: getattr(self, name) for name in SETTINGS}

    def text(self, adapter: str) -> dict[str, str]:
        """What the image's PNG says. adapter: SHA-256 of the adapter's weights."""
        from p2d_lib.models import generate  # with torch, which the page does without until an image is made

        return generate.description(self.prompt, self.seed, self.generator, adapter, self.settings)


def defaults(run: Run) -> dict:
    """The settings with which 04 sampled this run's images, and their side in px.

    Raises ArtefactError where the run has no synthetic images, or nothing says how they were made.
    """
    first = run.images(run.read("synthetic").iloc[:1])[0]
    parameters = run.made_with("synthetic")["parameters"]
    if missing := set(SETTINGS) - {"size"} - parameters.keys():
        raise ArtefactError(
            f"{run.path('synthetic')}: its provenance does not name {min(missing)}: run notebooks/04_sample.ipynb again"
        )
    return {name: parameters[name] for name in SETTINGS if name != "size"} | {"size": first.shape[0]}


def adapter_digest(run: Run) -> str:
    """SHA-256 of the run's adapter, by which a PNG says what it was sampled with."""
    return sha256(run.path("adapter") / ADAPTER_WEIGHTS)


def checked(values: Mapping) -> Request:
    """A Request of these values. Raises Refused, which names the first value that cannot be."""
    try:
        return Request(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", " ") if first["loc"] else "the request"
        message = first["msg"].removeprefix("Value error, ")
        raise Refused(message if message.startswith(f"{name}:") else f"{name}: {_lowered(message)}") from None


def of_png(png: bytes, defaults: Mapping) -> tuple[Request, str]:
    """The Request that a PNG of ours holds, and the adapter's SHA-256 that it names ("" where it names none).

    defaults: the run's own settings, for files that were written before PNGs held them. Raises Refused for a file that
    is too large, no PNG, not one of ours, or that asks for what the page does not give. Its pixels are not decoded.
    """
    if len(png) > LARGEST_UPLOAD:
        raise Refused(f"the file is larger than {LARGEST_UPLOAD // 2**20} MB")
    try:
        with Image.open(BytesIO(png), formats=["PNG"]) as image:
            text = {str(name): str(value) for name, value in image.info.items() if isinstance(value, str)}
    except Exception:  # of whatever Pillow stumbles over in a file that somebody may have forged
        raise Refused("the file is no PNG that can be read") from None
    if text.get("synthetic") != "true" or not {"prompt", "seed", "generator"} <= text.keys():
        raise Refused("the file does not say how it was made: only a PNG from this project holds its settings")
    if text["generator"] not in get_args(Generator):
        raise Refused(f"the file was made by {text['generator'][:40]!r}, and this page samples from adapter and base")
    if not (text["seed"].isascii() and text["seed"].isdigit() and len(text["seed"]) < 20):
        raise Refused("the file's seed is no number")
    settings = _settings(text.get("settings", "{}"))
    if unknown := settings.keys() - set(SETTINGS):
        raise Refused(f"the file names a setting that this page does not know: {min(unknown)[:40]!r}")
    if settings.get("size", defaults["size"]) != defaults["size"]:
        raise Refused(f"the file was made at {str(settings['size'])[:12]} px, and this run makes {defaults['size']} px")
    about = {"prompt": text["prompt"], "seed": int(text["seed"]), "generator": text["generator"]}
    return checked({**defaults, **settings, **about}), text.get("adapter", "")


def _settings(text: str) -> dict:
    try:
        settings = json.loads(text) if len(text) < 2000 else None
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise Refused("the file's settings cannot be read")
    return settings


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]
