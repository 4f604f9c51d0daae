"""Any vision-language model answers in words and in scores, and what it is decides what it says."""

import json

import numpy as np
import pytest
import tiny_vlm
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_vlm import ARCHITECTURES, CPU, QUESTION, noise, whole_forward
from transformers import BlipConfig, BlipForConditionalGeneration, GPT2Config, GPT2LMHeadModel

from p2d_lib.models import vlm

FIELDS = ["asymmetry", "Border Irregularity", 'say "red"']


def red_and_blue(n, seed):
    images = np.random.default_rng(seed).integers(0, 60, (2 * n, 40, 40, 3), dtype=np.uint8)
    images[:n, ..., 0] += 180
    images[n:, ..., 2] += 180
    return images


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("vlm")
    return {name: tiny_vlm.save(root / name, *getattr(tiny_vlm, name)()) for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def vlms(folders):
    return {name: vlm.load(folder, CPU) for name, folder in folders.items()}


def edited(folder, to, edit):
    """A copy of a checkpoint in which each tensor's name is edit(name), None leaving it out."""
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    weights = next(to.glob("*model.safetensors"))
    kept = {edit(name): tensor for name, tensor in load_file(weights).items() if edit(name)}
    save_file(kept, weights, metadata={"format": "pt"})
    return to


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_answer_does_not_depend_on_the_batch_size(vlms, name):
    images, model = noise(5), vlms[name]
    replies = [vlm.generate(model, images, QUESTION, 8, size) for size in (1, 2, 5)]
    assert replies[0] == replies[1] == replies[2]
    assert len(set(replies[0])) > 1, "the images make no difference"
    scores = [vlm.scores(model, images, QUESTION, FIELDS, size) for size in (1, 2, 5)]
    np.testing.assert_allclose(scores[1:], [scores[0]] * 2, atol=1e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_scores_are_the_digits_expectation_given_all_digits_before(vlms, name):
    images, model = noise(3), vlms[name]
    skeleton, slots, digits = vlm._skeleton(model, QUESTION, FIELDS)
    written = skeleton.repeat(len(images), 1)
    expected = np.empty((len(images), len(FIELDS)))
    for k, slot in enumerate(slots):
        p = whole_forward(model, images, QUESTION, written)[:, slot, digits[k]].softmax(-1)
        expected[:, k] = p @ torch.arange(10.0) / 10
        written[:, slot] = digits[k, p.argmax(-1)]
    np.testing.assert_allclose(vlm.scores(model, images, QUESTION, FIELDS), expected, atol=1e-5)
    for row in written:
        reply = json.loads(model.processor.tokenizer.decode(row))
        assert list(reply) == FIELDS
        assert all(0 <= score <= 0.9 for score in reply.values())


def test_the_prompt_opens_once_and_holds_image_and_question(vlms, tmp_path):
    plain = vlm.load(tiny_vlm.save(tmp_path / "plain", *tiny_vlm.llava(template=False)), CPU)
    for model, ending in ((vlms["llava"], "<|start|>assistant\n"), (plain, f"{QUESTION} ASSISTANT:")):
        tokens = vlm.encode(model, noise(1), QUESTION)["input_ids"][0]
        text = model.processor.tokenizer.decode(tokens)
        assert text.count("<image>") == (tiny_vlm.SIDE // tiny_vlm.PATCH) ** 2
        assert text.count("<s>") == 1 and QUESTION in text and text.endswith(ending)
    assert vlm.scores(plain, noise(2), QUESTION, FIELDS).shape == (2, 3)


def test_a_fitted_adapter_makes_red_score_high_and_blue_low(folders, vlms, tmp_path):
    base, images = vlms["llava"], red_and_blue(4, seed=0)
    skeleton, slots, digits = vlm._skeleton(base, QUESTION, FIELDS[:1])
    answers = skeleton.repeat(8, 1)
    answers[:4, slots[0]], answers[4:, slots[0]] = digits[0, 9], digits[0, 1]
    inputs = vlm.encode(base, images, QUESTION)
    ids = torch.cat([inputs["input_ids"], answers], 1)
    labels = ids.masked_fill(torch.arange(ids.shape[1]) < inputs["input_ids"].shape[1], -100)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fitted = get_peft_model(tiny_vlm.llava()[0], LoraConfig(r=4, target_modules=["q_proj", "v_proj", "linear_2"]))
        optimizer = torch.optim.AdamW(fitted.parameters(), lr=1e-2)
        for _ in range(40):
            fitted(input_ids=ids, pixel_values=inputs["pixel_values"], labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    fitted.save_pretrained(tmp_path / "adapter")
    adapted = vlm.load(folders["llava"], CPU, adapter=tmp_path / "adapter")
    unseen = red_and_blue(3, seed=1)
    red, blue = vlm.scores(adapted, unseen, QUESTION, FIELDS[:1]).reshape(2, 3)
    assert red.min() > 0.7 and blue.max() < 0.3
    assert np.abs(vlm.scores(base, unseen, QUESTION, FIELDS[:1]).reshape(2, 3) - [[0.9], [0.1]]).max() > 0.3

    with pytest.raises(vlm.VlmError, match=r"adapter: was fitted on another model than .*qwen2_vl"):
        vlm.load(folders["qwen2_vl"], CPU, adapter=tmp_path / "adapter")
    renamed = edited(tmp_path / "adapter", tmp_path / "renamed", lambda name: name.replace("q_proj", "elsewhere"))
    with pytest.raises(vlm.VlmError, match="renamed: was fitted on another model"):
        vlm.load(folders["llava"], CPU, adapter=renamed)
    with pytest.raises(vlm.VlmError, match=r"none: is no adapter for .*llava"):
        vlm.load(folders["llava"], CPU, adapter=tmp_path / "none")


def test_a_model_that_cannot_be_used_is_named(folders, tmp_path):
    with pytest.raises(vlm.VlmError, match=r"none: cannot be loaded .*give a folder or a hub id"):
        vlm.load(tmp_path / "none", CPU)

    words_only = GPT2LMHeadModel(
        GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=9, bos_token_id=0, eos_token_id=1)
    )
    words_only.save_pretrained(tmp_path / "gpt2")
    with pytest.raises(vlm.VlmError, match="gpt2: cannot be loaded as an image-text-to-text model"):
        vlm.load(tmp_path / "gpt2", CPU)

    incomplete = edited(folders["llava"], tmp_path / "incomplete", lambda name: None if "lm_head" in name else name)
    with pytest.raises(vlm.VlmError, match=r"incomplete: 1 weights are missing \(lm_head"):
        vlm.load(incomplete, CPU)

    original = edited(folders["llava"], tmp_path / "original", str)
    config = json.loads((original / "config.json").read_text())
    (original / "config.json").write_text(json.dumps({**config, "model_type": "llava_mistral"}))
    with pytest.raises(vlm.VlmError, match=r"original: .*`llava_mistral`.* LLaVA-Med a checkpoint converted .*-hf"):
        vlm.load(original, CPU)

    (edited(folders["llava"], tmp_path / "mute", str) / "processor_config.json").unlink()
    with pytest.raises(vlm.VlmError, match=r"mute: cannot be loaded .*image processor"):
        vlm.load(tmp_path / "mute", CPU)


def test_a_model_that_does_not_continue_a_prompt_is_refused(tmp_path):
    sides = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "sep_token_id": 1}
    config = BlipConfig(
        text_config={**sides, **ends, "vocab_size": 9, "encoder_hidden_size": 8, "projection_dim": 4},
        vision_config={**sides, "image_size": 16, "patch_size": 8, "projection_dim": 4},
        projection_dim=4,
    )
    tiny_vlm.save(tmp_path / "blip", BlipForConditionalGeneration(config), tiny_vlm.llava()[1])
    with pytest.raises(vlm.VlmError, match="blip: a BlipForConditionalGeneration does not continue a prompt"):
        vlm.load(tmp_path / "blip", CPU)


def test_digits_may_be_tokenised_in_any_way_that_keeps_them_apart():
    def with_vocabulary(words):
        cut = tiny_vlm.tokenizer("<image>", words=words, digits_alone=False)
        model, processor = tiny_vlm.llava(words=cut)
        return vlm.Vlm(model, processor, "cut-otherwise")

    joined = with_vocabulary([f"0.{digit}" for digit in range(10)] * 9)
    digits = vlm._skeleton(joined, QUESTION, FIELDS)[2]
    texts = joined.processor.tokenizer.convert_ids_to_tokens(digits[0])
    assert texts == [f"0.{digit}" for digit in range(10)]
    assert vlm.scores(joined, noise(2), QUESTION, FIELDS).shape == (2, 3)

    with pytest.raises(vlm.VlmError, match="cut-otherwise: its tokenizer has no token for each digit"):
        vlm.scores(with_vocabulary(["0.1 0.2"] * 9), noise(2), QUESTION, FIELDS)


def test_images_that_cannot_be_asked_about_and_weights_of_4_bits_without_their_package_are_refused(
    vlms, folders, monkeypatch
):
    with pytest.raises(ValueError, match=r"images are float64 \(1, 40, 40, 3\), expected uint8"):
        vlm.generate(vlms["llava"], noise(1) / 255, QUESTION, 4)
    monkeypatch.setattr(vlm, "find_spec", lambda name: None)
    with pytest.raises(vlm.VlmError, match=r"weights of 4 bits need the package bitsandbytes.*vlm_four_bit to false"):
        vlm.load(folders["llava"], CPU, four_bit=True)
