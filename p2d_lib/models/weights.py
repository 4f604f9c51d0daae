"""Which weights a name means: a folder, or a Hugging Face id at one commit; and a digest of the weights loaded.

Every parameter that names weights takes the same three forms: `folder`, `id`, `id@revision`, where a revision is a
commit, a tag or a branch. `resolve` turns the name into a Source, whose commit is then passed to each
`from_pretrained(source.name, **source.options)`, so that all files come from one commit.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import resolve_revision, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RevisionResolutionError


class WeightsError(Exception):
    """Weights cannot be loaded, or differ from the recorded ones; the message names them and what to do."""


@dataclass(frozen=True)
class Source:
    """Where weights are loaded from."""

    name: str  # an absolute folder, or a Hugging Face id without revision
    commit: str | None = None  # 40 hex digits of the id's commit; None for a folder

    @property
    def options(self) -> dict[str, str]:
        """Keyword arguments for `from_pretrained` of diffusers and transformers."""
        return {"revision": self.commit} if self.commit else {}

    def __str__(self) -> str:
        return f"{self.name}@{self.commit}" if self.commit else self.name


def resolve(name: str | Path) -> Source:
    """The source that a name means today. Without a network, the local cache knows the commit of an id used before.

    name: a folder, a Hugging Face id, or id@revision. Raises WeightsError for a name that is neither a folder nor an
    id, and for an id or a revision that neither the hub nor the cache knows.
    """
    if str(name) and Path(name).is_dir():
        return Source(str(Path(name).resolve()))
    repository, _, revision = str(name).partition("@")
    try:
        return Source(repository, resolve_revision(repository, revision=revision or None).resolved)
    except HFValidationError:
        reason = "there is no such folder, and it is not a Hugging Face id"
    except (HfHubHTTPError, RevisionResolutionError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
    raise WeightsError(
        f"{str(name)!r} cannot be loaded ({reason}): give a folder, a Hugging Face id or id@revision that this machine "
        "can download or has in its cache"
    )


def download(name: str | Path) -> Path:
    """The folder that holds all files of a source, for libraries whose loaders take no revision.

    Raises WeightsError as `resolve` does, and when the files can neither be downloaded nor are in the cache.
    """
    source = resolve(name)
    if not source.commit:
        return Path(source.name)
    try:
        return Path(snapshot_download(source.name, revision=source.commit))
    except OSError as error:
        raise WeightsError(f"{source} cannot be downloaded: {str(error).strip().splitlines()[0]}") from None


def reason(error: Exception) -> str:
    """What a library says of damaged or unfit files, in one line of at most 200 letters; without words its type."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def not_finite(tensors: Mapping[str, torch.Tensor]) -> str:
    """The name of the first tensor that holds NaN or an infinite value, from which no image and no reading can come; ""
    where there is none."""
    return next((name for name, tensor in tensors.items() if not tensor.float().isfinite().all()), "")


def sha256(*modules: torch.nn.Module) -> str:
    """SHA-256, in hex, of the names and values of the modules' weights.

    Values count in half precision, so the digest is the same whether a file was loaded as float32 or as float16.
    """
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in module.state_dict().items():
            half = tensor.half() if tensor.is_floating_point() else tensor
            digest.update(f"{name} {list(half.shape)}\n".encode())
            digest.update(half.cpu().contiguous().numpy())
    return digest.hexdigest()
