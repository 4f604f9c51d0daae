"""The captioner reproduces what it was trained on, opens published folders, and resumes an interrupted stage."""

import json
import math
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch

from p2d_lib.files import sha256
from p2d_lib.models.captioner import training
from p2d_lib.models.captioner.decoding import DECODING, caption, several_captions
from p2d_lib.models.captioner.network import Captioner, build, embed
from p2d_lib.models.captioner.published import CaptionerError, folder_of, load, save
from p2d_lib.models.captioner.training import PUBLISHED_STAGES, Stage, fit, loss, perplexity, stages
from p2d_lib.models.clip import Clip
from p2d_lib.models.weights import Source

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200), "white": (230, 230, 230)}
TEXTS = [f"Dermatofibroma. Colors: {name} and black. Seen: {name}ish veil, hair." for name in COLOURS]
IMAGES = np.array([[[colour] * 32] * 32 for colour in COLOURS.values()], np.uint8)
STAGE = Stage("A", 120, 4, 3e-3, (2,), evaluate_every=40)


@pytest.fixture(scope="module")
def vision() -> Clip:
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Clip(open_clip.CLIP(**config).eval(), open_clip.SimpleTokenizer(), config)


def fresh(vision: Clip) -> Captioner:
    return build(vision, TEXTS, prefix_tokens=4)


def pairs(captioner: Captioner) -> tuple[np.ndarray, list[str]]:
    return embed(captioner, IMAGES), TEXTS


@pytest.fixture(scope="module")
def fitted(vision):
    captioner = fresh(vision)
    return captioner, fit(captioner, STAGE, pairs(captioner), pairs(captioner), seed=0)


def test_four_images_are_captioned_as_they_were_learnt(fitted):
    captioner, log = fitted
    assert caption(captioner, IMAGES) == TEXTS
    assert caption(captioner, IMAGES, num_beams=3) == TEXTS
    assert perplexity(captioner, IMAGES, TEXTS) == pytest.approx(log["perplexity"].min(), rel=1e-4)
    assert log["perplexity"].iloc[-1] < 1.2 < perplexity(captioner, IMAGES, TEXTS[::-1])
    np.testing.assert_allclose(log["perplexity"], np.exp(log["val_loss"]))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_captions_are_the_same_for_any_batch_size(fitted, batch_size):
    captioner = fitted[0]
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    assert caption(captioner, images, batch_size) == caption(captioner, images, 5)
    assert several_captions(captioner, images, 3, batch_size) == several_captions(captioner, images, 3, 64)


def test_the_share_of_spread_captions_is_the_captioners_probability(vision):
    captioner = fresh(vision)
    both = embed(captioner, IMAGES[[0] * 8])
    fit(captioner, STAGE, (both, [TEXTS[0]] * 6 + [TEXTS[2]] * 2), (both, [TEXTS[0]] * 6 + [TEXTS[2]] * 2), seed=0)
    sampled = several_captions(captioner, IMAGES[:1], 40, views=1)[0]
    tokens = training.tokens(captioner, [TEXTS[0]], 1)
    with torch.no_grad():
        nats = loss(captioner, torch.from_numpy(both[:1, 0]), tokens).item() * tokens.shape[1]
    assert sampled.count(TEXTS[0]) / 40 == pytest.approx(math.exp(-nats), abs=0.05)
    assert 0.6 < sampled.count(TEXTS[0]) / 40 < 0.9


def test_the_loss_counts_neither_prefix_nor_instruction_nor_padding(fitted):
    captioner = fitted[0]
    embeddings, tokens = torch.from_numpy(embed(captioner, IMAGES)[:2, 0]), training.tokens(captioner, TEXTS[:2], 2)
    tokens[0, 5:] = -100
    with torch.no_grad():
        context = captioner.context(embeddings)
        words = captioner.gpt2.transformer.wte(tokens.clamp(min=0))
        logits = captioner.gpt2(inputs_embeds=torch.cat([context, words], 1)).logits.log_softmax(-1)
        before = context.shape[1] - 1  # the position that predicts the first word
        each = [
            -logits[i, before + k, tokens[i, k]] for i in range(2) for k in range(tokens.shape[1]) if tokens[i, k] >= 0
        ]
        assert loss(captioner, embeddings, tokens).item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)
        padded = torch.nn.functional.pad(tokens, (0, 7), value=-100)
        assert loss(captioner, embeddings, padded).item() == pytest.approx(loss(captioner, embeddings, tokens).item())


@pytest.mark.parametrize("killed_after", [1, 2])
def test_a_stage_that_was_cut_off_ends_with_the_same_bits(vision, fitted, tmp_path, monkeypatch, killed_after):
    captioner, evaluations, real = fresh(vision), [], training.mean_loss

    def mean_loss(*args):
        evaluations.append(args)
        if len(evaluations) > killed_after:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(training, "mean_loss", mean_loss)
    with pytest.raises(KeyboardInterrupt):
        fit(captioner, STAGE, pairs(captioner), pairs(captioner), seed=0, checkpoints=tmp_path)
    monkeypatch.setattr(training, "mean_loss", real)
    captioner = fresh(vision)
    log = fit(captioner, STAGE, pairs(captioner), pairs(captioner), seed=0, checkpoints=tmp_path)
    assert log.equals(fitted[1])
    assert all(map(torch.equal, captioner.state_dict().values(), fitted[0].state_dict().values()))


def test_another_seed_does_not_go_on_from_this_ones_checkpoint(vision, tmp_path):
    short = replace(STAGE, steps=2)
    logs = []
    for seed in (0, 1, 0):
        captioner = fresh(vision)
        logs.append(fit(captioner, short, pairs(captioner), pairs(captioner), seed=seed, checkpoints=tmp_path))
    assert not logs[0].equals(logs[1])
    assert logs[0].equals(logs[2])


def test_a_stage_ends_when_val_no_longer_improves_and_the_best_weights_stay(vision):
    captioner = fresh(vision)
    embeddings, texts = pairs(captioner)
    stage = replace(STAGE, steps=400, evaluate_every=10, patience=2, batch_size=2)
    log = fit(captioner, stage, (embeddings[:2], texts[:2]), (embeddings[2:], texts[2:]), seed=0)
    assert log["step"].iloc[-1] < 400
    assert log["val_loss"].idxmin() == len(log) - 3
    assert perplexity(captioner, IMAGES[2:], TEXTS[2:]) == pytest.approx(log["perplexity"].min(), rel=1e-4)


def test_the_published_schedule_is_kept_at_its_length_and_evaluates_as_often_at_another():
    assert stages("gpt2-medium", (2538, 4140)) == PUBLISHED_STAGES
    longer = stages("gpt2-medium", (5076, 414))
    assert [(stage.steps, stage.evaluate_every) for stage in longer] == [(5076, 1692), (414, 21)]
    assert [stage.learning_rate for stage in longer] == [stage.learning_rate for stage in PUBLISHED_STAGES]


def test_only_what_a_stage_names_is_trained_and_blocks_thaw_one_by_one(vision):
    captioner = fresh(vision)
    before = {name: tensor.clone() for name, tensor in captioner.state_dict().items()}
    stage = replace(STAGE, steps=2, blocks=(0, 1), prefix=False, evaluate_every=1)
    fit(captioner, replace(stage, blocks=(0,)), pairs(captioner), pairs(captioner), seed=0)
    moved = {name for name, tensor in captioner.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"gpt2.transformer.wte.weight", "gpt2.lm_head.weight"}
    fit(captioner, stage, pairs(captioner), pairs(captioner), seed=0)
    moved = {name for name, tensor in captioner.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[3] for name in moved if ".h." in name} == {"1"}
    assert not any(name.startswith("prefix") for name in moved)


def test_a_saved_captioner_is_the_same_and_holds_nothing_but_weights(fitted, tmp_path):
    captioner = fitted[0]
    save(captioner, tmp_path)
    weights = tmp_path / "final_captioner_tiny_VisionTransformer.pt"
    loaded = load(tmp_path, torch.device("cpu"), sha256(weights)[:12])
    assert caption(loaded, IMAGES) == TEXTS
    save(loaded, tmp_path / "again")
    assert caption(load(tmp_path / "again", torch.device("cpu")), IMAGES) == TEXTS
    assert torch.load(weights, weights_only=True)["model"].keys() == captioner.state_dict().keys()
    assert {name.split(".")[0] for name in captioner.state_dict()} == {"prefix", "gpt2"}


def test_a_gpt2_of_the_hub_is_loaded_at_one_commit_which_is_recorded(fitted, vision, tmp_path, monkeypatch):
    fitted[0].gpt2.save_pretrained(tmp_path)
    fitted[0].tokenizer.save_pretrained(tmp_path)
    calls = []

    def resolve(name):
        calls.append(name)
        return Source(str(tmp_path), "c" * 40)

    monkeypatch.setattr("p2d_lib.models.weights.resolve", resolve)
    captioner = build(vision, TEXTS, gpt2="gpt2-medium@main", prefix_tokens=4)
    assert calls == ["gpt2-medium@main"]
    assert captioner.about["gpt2_commit"] == "c" * 40
    assert torch.equal(captioner.gpt2.transformer.wpe.weight, fitted[0].gpt2.transformer.wpe.weight)


@pytest.fixture
def published(fitted, tmp_path):
    """A folder as the published training leaves it: updates of the last block kept apart, and more than weights."""
    save(fitted[0], tmp_path)
    weights = next(tmp_path.glob("*.pt"))
    state = torch.load(weights)["model"]
    for layer in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
        name = f"gpt2.transformer.h.1.{layer}"
        whole = state.pop(f"{name}.weight")
        down, up = torch.randn(16, whole.shape[0]), torch.randn(whole.shape[1], 16)
        state |= {f"{name}.A.weight": down, f"{name}.B.weight": up, f"{name}.base.weight": whole - (up @ down).T}
        state[f"{name}.base.bias"] = state.pop(f"{name}.bias")
    torch.save(
        {"model": state, "cfg": {"seed": 42, "schedule": (3, 2)}, "meta": {"prompt": "", "phrases": []}}, weights
    )
    about = next(tmp_path.glob("*.json"))
    more = {"cliche_phrases": ["seek medical attention"], "columns": {"image_path": "img_path"}}
    about.write_text(json.dumps(json.loads(about.read_text()) | more, indent=2))
    return tmp_path


def test_the_published_layout_opens_with_the_updates_of_its_last_block(published):
    loaded = load(published, torch.device("cpu"), sha256(next(published.glob("*.pt"))))
    assert caption(loaded, IMAGES) == TEXTS
    long = caption(loaded, IMAGES[:1], **DECODING["published"])[0]
    assert 24 <= len(loaded.tokenizer.encode(long)) <= 61


def test_a_published_captioner_is_named_by_its_folder_or_its_hub_id(published, monkeypatch):
    monkeypatch.setattr("p2d_lib.models.weights.download", {"org/captioner@v1": published}.__getitem__)
    assert folder_of("hf-hub:org/captioner@v1") == folder_of(str(published)) == published
    assert folder_of("tiny") is None and folder_of("gpt2-medium") is None


def test_other_bytes_than_stated_are_refused(published):
    with pytest.raises(CaptionerError, match=r"final_captioner_.*\.pt has the SHA-256 .*, not 536ae07811c9: fetch"):
        load(published, torch.device("cpu"), "536ae07811c9")
    with pytest.raises(CaptionerError, match="twelve digits of the SHA-256"):
        load(published, torch.device("cpu"), sha256(next(published.glob("*.pt")))[:4])


def altered(folder, change):
    weights = next(folder.glob("*.pt"))
    state = torch.load(weights)["model"]
    change(state)
    torch.save(state, weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("prefix.ln.bias"), r"missing: prefix.ln.bias \(1\)"),
        (lambda state: state.update(extra=torch.zeros(1)), r"not known: extra \(1\)"),
        (lambda state: state.update({"prefix.alpha": torch.zeros(2)}), r"of another shape: prefix.alpha \(1\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(published, change, message):
    altered(published, change)
    with pytest.raises(CaptionerError, match=message):
        load(published, torch.device("cpu"))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("embed_dim", 512, "embed_dim is 512; clip gives 16"),
        ("clip_backend_kind", "hf_clip", "'hf_clip'; only open_clip's"),
        ("prompt", None, "does not state prompt"),
    ],
)
def test_a_configuration_that_cannot_be_met_is_named(published, key, value, message):
    path = next(published.glob("*.json"))
    about = json.loads(path.read_text()) | {key: value}
    path.write_text(json.dumps({k: v for k, v in about.items() if v is not None}))
    with pytest.raises(CaptionerError, match=message):
        load(published, torch.device("cpu"))


def test_a_folder_without_weights_and_a_pointer_to_them_are_refused(published):
    next(published.glob("*.pt")).write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CaptionerError, match="holds no weights"):
        load(published, torch.device("cpu"))
    next(published.glob("*.pt")).unlink()
    with pytest.raises(CaptionerError, match="0 files final_captioner"):
        load(published, torch.device("cpu"))


def test_an_image_without_a_caption_is_refused(fitted):
    with pytest.raises(ValueError, match="4 images and 3 captions"):
        perplexity(fitted[0], IMAGES, TEXTS[:3])
