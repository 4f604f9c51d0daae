"""Captioners on disk, in the layout of the published "DermLIP + GPT-2" captioners, so that those open here too.

Published: moxeeeem/dermlip-gpt2-captioner, moxeeeem/biomedclip-gpt2-captioner. A captioner that was fitted in a run has
two folders more, with which it opens without a download: gpt2/ (configuration and tokenizer) and, if its vision encoder
was fitted in the run too, clip/.
"""

import json
import pickle
from pathlib import Path

import torch
from transformers import AutoConfig, AutoTokenizer, GPT2LMHeadModel

from p2d_lib.files import sha256
from p2d_lib.models import clip as clips
from p2d_lib.models import weights as sources
from p2d_lib.models.captioner.network import Captioner, embedding_size

NEEDED = {"gpt2_name", "clip_backend_kind", "clip_weight_path", "clip_arch", "embed_dim", "prefix_tokens", "prompt"}
MIN_DIGITS = 12  # of a digest: the published READMEs state this many


class CaptionerError(Exception):
    """A captioner's folder is incomplete, has other contents than stated, or does not fit this code."""


def save(captioner: Captioner, folder: Path) -> None:
    """Writes the captioner into a folder (made where missing): the published files, and what `load` needs offline."""
    folder.mkdir(parents=True, exist_ok=True)
    tag = "_".join(captioner.about[part].replace("/", "-") for part in ("gpt2_name", "clip_arch"))
    state = {name: tensor.cpu() for name, tensor in captioner.state_dict().items()}
    torch.save({"model": state}, folder / f"final_captioner_{tag}.pt")
    text = json.dumps(captioner.about, indent=2, ensure_ascii=False) + "\n"
    (folder / f"final_captioner_{tag}.json").write_text(text, encoding="utf-8")
    captioner.gpt2.config.save_pretrained(folder / "gpt2")
    captioner.tokenizer.save_pretrained(folder / "gpt2")
    if captioner.clip.config:
        clips.save(captioner.clip, folder / "clip")


def folder_of(name: str) -> Path | None:
    """The folder of a captioner that is loaded and not fitted; None for another name, such as "tiny" or a GPT-2's id.

    name: a folder, or "hf-hub:id@revision", whose files are downloaded. Raises WeightsError for an unknown id.
    """
    if name.startswith(clips.HUB):
        return sources.download(name.removeprefix(clips.HUB))
    return Path(name) if Path(name).is_dir() else None


def load(folder: Path, device: torch.device, digest: str = "") -> Captioner:
    """A captioner that `save` wrote or that was published.

    digest: the SHA-256 that its weights must have, or the first twelve digits of it or more; "": not checked. Raises
    CaptionerError for a folder without exactly one captioner, for weights with another digest, and for weights that do
    not fit the configuration (some missing, left over or of another shape).
    """
    about_path, weights = _only_file(folder, "json"), _only_file(folder, "pt")
    about = json.loads(about_path.read_text(encoding="utf-8"))
    if lacking := NEEDED - about.keys():
        raise CaptionerError(f"{about_path} does not state {', '.join(sorted(lacking))}")
    if about["clip_backend_kind"] != "open_clip":
        raise CaptionerError(f"{about_path}: a vision encoder of {about['clip_backend_kind']!r}; only open_clip's load")
    _check_digest(weights, digest)
    clip = _vision_encoder(folder, about, device)
    if (dim := embedding_size(clip)) != about["embed_dim"]:
        raise CaptionerError(
            f"{about_path}: embed_dim is {about['embed_dim']}; {about['clip_weight_path']} gives {dim}"
        )
    source = sources.resolve(folder / "gpt2" if (folder / "gpt2").exists() else about["gpt2_name"])
    gpt2 = GPT2LMHeadModel(AutoConfig.from_pretrained(source.name, **source.options))  # the weights are in the .pt
    captioner = Captioner(clip, gpt2, AutoTokenizer.from_pretrained(source.name, **source.options), about)
    captioner.load_state_dict(_fitting(_weights(weights), captioner, weights, about_path))
    return captioner.to(device).eval()


def _only_file(folder: Path, suffix: str) -> Path:
    files = sorted(folder.glob(f"final_captioner_*.{suffix}"))
    if len(files) != 1:
        raise CaptionerError(f"{folder}: {len(files)} files final_captioner_*.{suffix}, one is needed")
    return files[0]


def _check_digest(weights: Path, digest: str) -> None:
    if digest and len(digest) < MIN_DIGITS:
        raise CaptionerError(f"captioner_digest {digest!r}: give at least twelve digits of the SHA-256 of {weights}")
    if digest and not (actual := sha256(weights)).startswith(digest.lower()):
        raise CaptionerError(
            f"{weights} has the SHA-256 {actual}, not {digest}: fetch the file again, from where the digest was stated"
        )


def _vision_encoder(folder: Path, about: dict, device: torch.device) -> clips.Clip:
    saved = folder / about["clip_weight_path"]
    clip = clips.load(saved if saved.exists() else about["clip_weight_path"], device)
    if saved.exists():
        clip.config = json.loads((saved / clips.CONFIG).read_text())["model_cfg"]
    return clip


def _weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CaptionerError(f"{path} holds no weights: fetch the file again ({error})") from None
    return _with_lora_folded_in(state.get("model", state))


def _with_lora_folded_in(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Low-rank updates added to the weights that they update.

    The published files keep those of the last block apart (<layer>.base.*, .A.weight, .B.weight; alpha = rank, so the
    factor is 1). A loader that ignores unknown names would leave that block as OpenAI trained it.
    """
    folded = {name.replace(".base.", "."): tensor for name, tensor in state.items()}
    for name in [name for name in folded if name.endswith(".A.weight")]:
        layer = name.removesuffix("A.weight")
        down, up = folded.pop(name), folded.pop(f"{layer}B.weight")
        folded[f"{layer}weight"] = folded[f"{layer}weight"] + (up @ down).T  # GPT-2's weights are (in, out)
    return folded


def _fitting(
    state: dict[str, torch.Tensor], captioner: Captioner, weights: Path, about_path: Path
) -> dict[str, torch.Tensor]:
    """The state, if it has all weights of the captioner in the right shapes and no others."""
    expected = captioner.state_dict()
    problems = {
        "missing": expected.keys() - state.keys(),
        "not known": state.keys() - expected.keys(),
        "of another shape": {k for k in expected.keys() & state.keys() if expected[k].shape != state[k].shape},
    }
    if any(problems.values()):
        listed = "; ".join(
            f"{problem}: {', '.join(sorted(keys)[:3])} ({len(keys)})" for problem, keys in problems.items() if keys
        )
        raise CaptionerError(f"{weights} does not fit {about_path.name}: weights {listed}")
    return state
