"""Claims about training batches: shares and frequencies are those asked for, and parts make the whole."""

import numpy as np
import pytest
import torch

from p2d_lib.finetune import denoiser, inversion
from p2d_lib.finetune.adapter import fit_adapter
from p2d_lib.finetune.base import fit_base
from p2d_lib.finetune.batches import TrainingBatches, ahead
from p2d_lib.finetune.latents import Encoded
from p2d_lib.finetune.loop import Recipe
from p2d_lib.models import pipelines


@pytest.fixture(scope="module")
def pipe():
    return pipelines.load("random", seed=2)


@pytest.fixture(scope="module")
def numbered():
    """Twenty images whose latents are their number, and embeddings that are the number of their prompt, 4 for ""."""
    latents = torch.arange(20.0).view(20, 1, 1, 1, 1).expand(20, 2, 8, 8, 8)
    embeddings = torch.arange(5.0).view(5, 1, 1).expand(5, 3, 96)
    return Encoded(latents, embeddings, torch.arange(20) % 4)


def test_parts_of_a_batch_make_the_batch(fitted):
    batches = TrainingBatches(fitted[0], fitted[1], seed=0, name="adapter", caption_dropout=0.5)
    whole = batches.at(3, range(8), 8)
    parts = [batches.at(3, places, 8) for places in (range(0, 2), range(2, 8))]
    assert all(torch.equal(value, torch.cat([part[kind] for part in parts])) for kind, value in whole.items())
    assert not torch.equal(whole["noise"], batches.at(4, range(8), 8)["noise"])


@pytest.mark.parametrize("words", ["embeddings", "tokens"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_the_share_of_images_asked_for_loses_its_words_and_no_other_image_does(pipe, numbered, words, share):
    encoded = numbered
    if words == "tokens":
        ids = torch.arange(21).view(21, 1).expand(21, 4).int()  # an image's number, 20 for ""
        encoded = Encoded(numbered.latents, None, None, ids=ids)
    batches = TrainingBatches(pipe, encoded, seed=0, name="adapter", caption_dropout=share)
    lost, n = 0, 100 * 16
    for step in range(100):
        batch = batches.at(step, range(16), 16)
        images = batch["latents"][:, 0, 0, 0]
        if words == "tokens":
            empty = batch["ids"][:, 0] == 20
            assert torch.equal(empty, batch["without_words"])
            assert torch.equal(batch["ids"][~empty, 0].float(), images[~empty])
        else:
            empty = batch["embeddings"][:, 0, 0] == 4
            assert torch.equal(batch["embeddings"][~empty, 0, 0], images[~empty] % 4)
        lost += int(empty.sum())
    assert abs(lost / n - share) <= 4 * (share * (1 - share) / n) ** 0.5  # four standard errors; none where share is 0


def test_images_enter_batches_as_often_as_their_weights_say(pipe, numbered):
    weights = np.where(np.arange(20) < 10, 3.0, 1.0)
    batches = TrainingBatches(pipe, numbered, seed=0, name="adapter", weights=weights)
    values = torch.cat([batches.at(step, range(1), 1)["latents"][:, 0, 0, 0] for step in range(2000)]).long()
    counts = np.bincount(values.numpy(), minlength=20) / len(values)
    expected = weights / weights.sum()
    assert np.abs(counts - expected).max() < 4 * np.sqrt(expected.max() / len(values))
    equal = TrainingBatches(pipe, numbered, seed=0, name="adapter")
    values = torch.cat([equal.at(step, range(1), 1)["latents"][:, 0, 0, 0] for step in range(2000)])
    assert (values < 10).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_noise_times_have_the_mean_and_spread_asked_for_and_else_are_even(pipe, numbered):
    def times(**asked) -> torch.Tensor:
        batches = TrainingBatches(pipe, numbered, seed=0, name="base", **asked)
        return torch.cat([batches.at(step, range(64), 64)["times"] for step in range(40)]).double()

    logits = torch.logit((times(times=(-0.5, 0.8)) + 0.5) / 1000)
    assert logits.mean().item() == pytest.approx(-0.5, abs=0.02)
    assert logits.std().item() == pytest.approx(0.8, abs=0.02)
    even = times()
    assert torch.histc(even, 10, 0, 1000).sub(256).abs().max() <= 10  # of 2,560 times, a tenth in each tenth


RECIPE = Recipe(steps=2, batch_size=4, learning_rate=1e-3, seed=0, caption_dropout=0.0)
ONLY_RED = np.where(np.arange(16) % 2 == 0, 1.0, 1e-12)  # every second of the blots is red


@pytest.mark.parametrize("what", ["adapter", "word"])
def test_what_is_fitted_sees_images_by_their_weights(fitted, blots, monkeypatch, what):
    batches = _spy(monkeypatch)
    pipe, encoded = pipelines.load("random", seed=2), fitted[1]
    if what == "adapter":
        fit_adapter(pipe, encoded, RECIPE, rank=2, weights=ONLY_RED)
    else:
        prompts = [f"<w> {prompt}" for prompt in blots[1]]
        inversion.fit_token(pipe, encoded, prompts, RECIPE, "<w>", start="image", weights=ONLY_RED)
    red, black = encoded.latents[torch.tensor([0, 1])].float().mean((1, 3, 4))  # (channels,): of both views
    means = torch.cat([batch["latents"].mean((2, 3)) for batch in batches])
    assert len(means) == 2 * 4
    assert ((means - red).norm(dim=1) < 0.2 * (means - black).norm(dim=1)).all()


@pytest.mark.parametrize("what", ["base", "adapter", "word"])
def test_what_is_fitted_drops_captions_as_its_recipe_says(fitted, blots, monkeypatch, what):
    batches = _spy(monkeypatch)
    pipe, encoded = pipelines.load("random", seed=2), fitted[1]
    recipe = Recipe(steps=6, batch_size=8, learning_rate=1e-3, seed=0, caption_dropout=0.5)
    if what == "adapter":
        fit_adapter(pipe, encoded, recipe, rank=2)
        empty = encoded.embeddings[torch.tensor([2])].float()
        without = [(batch["embeddings"] == empty).all((1, 2)) for batch in batches]
    else:
        if what == "base":
            fit_base(pipe, encoded, blots[1], recipe)
        else:
            inversion.fit_token(pipe, encoded, [f"<w> {p}" for p in blots[1]], recipe, "<w>", start="image")
        without = [batch["without_words"] for batch in batches]
    assert 12 <= int(torch.cat(without).sum()) <= 36  # of 48


def _spy(monkeypatch) -> list[dict]:
    """The batches that the denoising loss gets."""
    batches, honest = [], denoiser.denoising_loss
    monkeypatch.setattr(
        denoiser, "denoising_loss", lambda pipe, batch, *rest: batches.append(batch) or honest(pipe, batch, *rest)
    )
    return batches


@pytest.mark.parametrize("first", [0, 7], ids=["from the start", "after a restart"])
def test_batches_made_ahead_are_those_of_their_steps_each_made_once(first):
    made = []

    def make(step, places):
        made.append((step, places))
        return {"step": step, "places": places}

    parts = range(2), range(2, 4)  # of each batch
    with ahead(make, steps=12) as batch_at:
        for step in range(first, 12):
            for places in parts:
                assert batch_at(step, places) == {"step": step, "places": places}
    assert sorted(made, key=str) == sorted(((step, of) for step in range(first, 12) for of in parts), key=str)


def test_an_error_in_a_batch_made_ahead_is_raised_at_its_own_step():
    def make(step):
        if step == 4:
            raise ValueError("step 4")
        return step

    with ahead(make, steps=12) as batch_at:
        assert [batch_at(step) for step in range(4)] == [0, 1, 2, 3]
        with pytest.raises(ValueError, match="step 4"):
            batch_at(4)
