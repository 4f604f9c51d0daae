"""A checkpoint in LLaVA-Med's own layout, made here and small, is the same model in transformers' layout."""

import json

import numpy as np
import pytest
import torch
from llava_med_original import QUESTION, ROPE_THETA, SIDE, FastWords, SentencePieceWords, make
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, LlavaForConditionalGeneration

from p2d_lib.models import llava_med, vlm
from p2d_lib.models.vlm_likelihood import log_likelihoods

CPU = torch.device("cpu")
OPTIONS = ["melanoma", "melanocytic nevus", "red"]
PUBLISHED = {  # of config.json of microsoft/llava-med-v1.5-mistral-7b, as a copy has it (zky11235/dpo_checkpoints)
    "model_type": "llava_mistral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_act": "silu", "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-5, "rope_theta": 1e6, "sliding_window": None, "vocab_size": 32000, "bos_token_id": 1,
    "eos_token_id": 2, "tie_word_embeddings": False, "mm_projector_type": "mlp2x_gelu", "mm_hidden_size": 1024,
    "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch", "mm_use_im_start_end": False,
    "mm_vision_tower": "openai/clip-vit-large-patch14-336",
}  # fmt: skip
CLIP_L_336 = CLIPVisionConfig(
    image_size=336, patch_size=14, hidden_size=1024, intermediate_size=4096, num_hidden_layers=24,
    num_attention_heads=16, projection_dim=768,
)  # fmt: skip
PUBLISHED_INDEX = 73.2  # kB of model.safetensors.index.json, as the hub lists it; 24.2 in copies without the tower
PUBLISHED_SHARDS = (4.94, 5.00, 4.93, 0.262)  # GB


def published_names():
    """The tensors that such a checkpoint has, by the code that wrote it (see `llava_med`)."""
    of_layer = ("input_layernorm", "post_attention_layernorm", *(f"self_attn.{side}_proj" for side in "qkvo"),
                *(f"mlp.{side}_proj" for side in ("gate", "up", "down")))  # fmt: skip
    of_tower = ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2",
                *(f"self_attn.{side}_proj" for side in ("q", "k", "v", "out")))  # fmt: skip
    both, tower = ("weight", "bias"), "model.vision_tower.vision_tower.vision_model."
    return [
        "lm_head.weight", "model.embed_tokens.weight", "model.norm.weight",
        *(f"model.layers.{k}.{name}.weight" for k in range(32) for name in of_layer),
        *(f"model.mm_projector.{k}.{kind}" for k in (0, 2) for kind in both),
        f"{tower}embeddings.class_embedding", f"{tower}embeddings.patch_embedding.weight",
        f"{tower}embeddings.position_embedding.weight",
        *(f"{tower}{name}.{kind}" for name in ("pre_layrnorm", "post_layernorm") for kind in both),
        *(f"{tower}encoder.layers.{k}.{name}.{kind}" for k in range(24) for name in of_tower for kind in both),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("llava-med")
    return root, *make(root, FastWords())


def assert_same_likelihoods(model, original):
    images = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    pixels = vlm.encode(model, images, QUESTION)["pixel_values"]
    expected = [[original.log_likelihoods(pixels[k : k + 1], option) for option in OPTIONS] for k in range(3)]
    sums, _ = log_likelihoods(model, images, QUESTION, OPTIONS)
    np.testing.assert_allclose(sums, expected, rtol=3e-4)  # <image> and <pad> take a little of the probability
    assert np.abs(sums[0] - sums[1]).max() > 0.01, "the images make no difference"
    assert vlm.generate(model, images, QUESTION, 4)


def test_the_converted_checkpoint_gives_the_original_likelihoods(made):
    root, original, folder = made
    assert_same_likelihoods(vlm.load(llava_med.in_transformers_layout(str(folder), root / "converted"), CPU), original)


def test_a_checkpoint_with_a_tokenizer_model_alone_is_asked_in_the_published_words_and_tokens(tmp_path):
    """The published one has no tokenizer.json, and Mistral's own chat template in its settings."""
    words = SentencePieceWords()
    original, folder = make(tmp_path, words)
    model = vlm.load(llava_med.in_transformers_layout(str(folder), tmp_path / "converted"), CPU)
    assert vlm.prompt(model, QUESTION) == f"<s>[INST] <image>\n{QUESTION} [/INST]"  # get_prompt of mistral_instruct
    image, pad = model.processor.tokenizer.convert_tokens_to_ids(["<image>", "<pad>"])
    assert (image, pad) == (len(words), len(words) + 1) and model.model.config.image_token_id == image
    assert len(model.model.get_input_embeddings().weight) == len(words) + 2
    before, after = words.prompt(QUESTION)
    tokens = vlm.encode(model, np.zeros((1, SIDE, SIDE, 3), np.uint8), QUESTION)["input_ids"][0].tolist()
    assert tokens == [*before, *[image] * 16, *after], "16 patches"
    for option in OPTIONS:
        assert vlm.answer_tokens(model, QUESTION, option).tolist() == words.answer(QUESTION, option)
    assert_same_likelihoods(model, original)


def test_every_tensor_of_the_published_checkpoint_has_its_place_and_no_place_is_left_empty():
    names = published_names()
    index = {
        "metadata": {"total_size": 15132446720},
        "weight_map": dict.fromkeys(names, "model-00001-of-00004.safetensors"),
    }
    assert round(len(json.dumps(index, indent=2)) / 1000, 1) == PUBLISHED_INDEX, "these are not the published names"
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(llava_med.configuration(PUBLISHED, CLIP_L_336, 32000))
    places = {name: tensor.numel() for name, tensor in model.state_dict().items()}
    placed = [llava_med._new_name(name, None) for name in names]
    assert sorted(placed) == sorted(places)
    assert round(2 * sum(places.values()) / 1e9, 2) == round(sum(PUBLISHED_SHARDS), 2), "GB in bfloat16"


def test_the_published_settings_reach_the_model():
    config = llava_med.configuration(PUBLISHED, CLIP_L_336, 32000)
    text = config.text_config
    assert text.rope_parameters["rope_theta"] == PUBLISHED["rope_theta"] == ROPE_THETA and text.sliding_window is None
    for name in ("hidden_size", "num_key_value_heads", "rms_norm_eps", "vocab_size", "eos_token_id", "hidden_act"):
        assert getattr(text, name) == PUBLISHED[name]
    assert config.vision_feature_layer == -2 and config.vision_feature_select_strategy == "default"
    assert config.projector_hidden_act == "gelu" and config.image_token_id == 32000


def test_a_checkpoint_is_converted_once_and_another_model_is_left_alone(made, tmp_path):
    root, _, folder = made
    converted = llava_med.in_transformers_layout(str(folder), root / "converted")
    (root / "converted" / "original" / "mark").write_text("")
    assert llava_med.in_transformers_layout(str(folder), root / "converted") == converted
    assert (root / "converted" / "original" / "mark").exists()
    assert llava_med.in_transformers_layout(converted, tmp_path) == converted


def test_a_tower_that_the_checkpoint_lacks_comes_from_the_clip_that_it_names(made, tmp_path):
    _, original, folder = made
    (tmp_path / "cut").mkdir()
    for file in folder.iterdir():
        if file.suffix == ".safetensors":
            save_file({n: t for n, t in load_file(file).items() if "vision" not in n}, tmp_path / "cut" / file.name)
        else:
            (tmp_path / "cut" / file.name).write_bytes(file.read_bytes())
    llava_med.convert(tmp_path / "cut", tmp_path / "out")
    tower = vlm.load(tmp_path / "out", CPU).model.model.vision_tower
    for name, tensor in tower.state_dict().items():
        torch.testing.assert_close(tensor, original.vision.state_dict()[name])


def test_what_does_not_fit_is_named_and_nothing_is_written(made, tmp_path):
    _, original, folder = made
    tower = json.loads((folder / "config.json").read_text())["mm_vision_tower"]
    other = original.save(tmp_path / "other", tower, mm_projector_type="linear")
    with pytest.raises(vlm.VlmError, match="mm_projector_type is 'linear'"):
        llava_med.convert(other, tmp_path / "out")
    deep = original.save(tmp_path / "deep", tower, num_hidden_layers=3)
    with pytest.raises(vlm.VlmError, match=r"tensors do not fit .*layers\.2"):
        llava_med.convert(deep, tmp_path / "out")
    strange = original.save(tmp_path / "strange", tower)
    save_file({"model.adapter.weight": torch.zeros(1)}, strange / "model-00003-of-00002.safetensors")
    with pytest.raises(vlm.VlmError, match=r"tensor 'model\.adapter\.weight' has no place"):
        llava_med.convert(strange, tmp_path / "out")
    assert not (tmp_path / "out").exists()
