"""A checkpoint in LLaVA-Med's own layout, made here and small, is the same model in transformers' layout."""

import json

import numpy as np
import pytest
import tiny_vlm
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    MistralConfig,
    MistralForCausalLM,
)

from p2d_lib.models import llava_med, vlm
from p2d_lib.models.vlm_likelihood import log_likelihoods

CPU = torch.device("cpu")
SIDE, PATCH, QUESTION = 32, 8, "What is it?"


class Original:
    """LLaVA-Med's arithmetic, in the words of its own files: a CLIP tower, two linear layers, a Mistral."""

    def __init__(self):
        torch.manual_seed(0)
        self.words = tiny_vlm.tokenizer()
        self.vision = CLIPVisionModel(
            CLIPVisionConfig(
                image_size=SIDE, patch_size=PATCH, hidden_size=32, intermediate_size=64, num_hidden_layers=3,
                num_attention_heads=2,
            )
        ).eval()  # fmt: skip
        self.projector = torch.nn.Sequential(torch.nn.Linear(32, 48), torch.nn.GELU(), torch.nn.Linear(48, 48)).eval()
        self.text = MistralForCausalLM(
            MistralConfig(
                vocab_size=len(self.words), hidden_size=48, intermediate_size=64, num_hidden_layers=2,
                num_attention_heads=4, num_key_value_heads=2, bos_token_id=0, eos_token_id=1, initializer_range=0.3,
                sliding_window=None,
            )
        ).eval()  # fmt: skip

    def tensors(self) -> dict[str, torch.Tensor]:
        of_vision = {name.removeprefix("vision_model."): t for name, t in self.vision.state_dict().items()}
        return {
            **self.text.state_dict(),
            **{f"model.mm_projector.{name}": t for name, t in self.projector.state_dict().items()},
            **{f"model.vision_tower.vision_tower.vision_model.{name}": t for name, t in of_vision.items()},
        }

    def save(self, folder, tower, **changed):
        folder.mkdir()
        text = self.text.config.to_dict()
        kept = {name: text[name] for name in llava_med._TEXT if text.get(name) is not None}
        config = {
            **kept, "model_type": "llava_mistral", "mm_vision_tower": str(tower), "mm_hidden_size": 32,
            "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
            "mm_use_im_start_end": False, "mm_use_im_patch_token": False, "image_aspect_ratio": "pad",
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config | changed))
        names = sorted(tensors := {name: t.contiguous() for name, t in self.tensors().items()})
        for part, of_part in enumerate((names[::2], names[1::2]), start=1):
            save_file(
                {name: tensors[name].clone() for name in of_part}, folder / f"model-0000{part}-of-00002.safetensors"
            )
        self.words.save_pretrained(folder)
        return folder

    @torch.inference_mode()
    def log_likelihoods(self, pixels, option):
        """prepare_inputs_labels_for_multimodal of llava_arch.py: the image's features stand where <image> stood."""
        before, after = (
            self.words(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            for text in ("<s>[INST] ", f"\n{QUESTION} [/INST]")
        )
        answer = self.words(f" {option}", add_special_tokens=False, return_tensors="pt")["input_ids"]
        features = self.projector(self.vision(pixels, output_hidden_states=True).hidden_states[-2][:, 1:])
        table = self.text.get_input_embeddings()
        whole = torch.cat([table(before), features, table(after), table(answer)], 1)
        logits = self.text(inputs_embeds=whole).logits[:, -answer.shape[1] - 1 : -1].log_softmax(-1)
        return float(logits.gather(-1, answer[..., None]).sum())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root, original = tmp_path_factory.mktemp("llava-med"), Original()
    tower = root / "clip"
    original.vision.save_pretrained(tower)
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}).save_pretrained(tower)
    return root, original, original.save(root / "original", tower)


def test_the_converted_checkpoint_gives_the_original_likelihoods(made):
    root, original, folder = made
    converted = llava_med.in_transformers_layout(str(folder), root / "converted")
    model = vlm.load(converted, CPU)
    images = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    options = ["melanoma", "melanocytic nevus", "red"]
    pixels = vlm.encode(model, images, QUESTION)["pixel_values"]
    expected = [[original.log_likelihoods(pixels[k : k + 1], option) for option in options] for k in range(3)]
    sums, _ = log_likelihoods(model, images, QUESTION, options)
    np.testing.assert_allclose(sums, expected, atol=1e-3)
    assert np.abs(sums[0] - sums[1]).max() > 0.01, "the images make no difference"
    assert vlm.generate(model, images, QUESTION, 4)


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
