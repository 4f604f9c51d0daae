"""LLaVA-Med in the words of its own files, small and with random weights: what a converted checkpoint has to equal.

Facts about the published one (huggingface.co/microsoft/llava-med-v1.5-mistral-7b, github.com/microsoft/LLaVA-Med at
d406e3f): four *.safetensors with CLIP's tower in them, and of the tokenizer tokenizer.model alone.
"""

import io
import json

import sentencepiece
import tiny_vlm
import torch
from safetensors.torch import save_file
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel, MistralConfig, MistralForCausalLM

from p2d_lib.models import llava_med

SIDE, PATCH, QUESTION = 32, 8, "What is it?"
ROPE_THETA = 1e6  # as published; MistralConfig's own is 1e4


class FastWords:
    """A tokenizer.json, as re-uploads of the checkpoint have it."""

    bos, eos = 0, 1

    def __init__(self):
        self.tokenizer = tiny_vlm.tokenizer()

    def __len__(self):
        return len(self.tokenizer)

    def prompt(self, question):
        """Tokens before the image, and after it."""
        return self._ids("<s>[INST] "), self._ids(f"\n{question} [/INST]")

    def answer(self, question, option):
        return self._ids(f" {option}")

    def save(self, folder):
        self.tokenizer.save_pretrained(folder)

    def _ids(self, text):
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


class SentencePieceWords:
    """A tokenizer.model with the settings of Mistral's, read by sentencepiece itself, as the original code does.

    tokenizer_image_token of mm_utils.py: what stands before the image and what stands after it are two texts.
    """

    bos, eos = 1, 2

    def __init__(self):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([*tiny_vlm.WORDS, "[INST] [/INST]"] * 9), model_writer=model, vocab_size=330,
            model_type="bpe", byte_fallback=True, split_digits=True, normalization_rule_name="identity",
            remove_extra_whitespaces=False, hard_vocab_limit=False, minloglevel=2,
        )  # fmt: skip
        self.model = model.getvalue()
        self.pieces = sentencepiece.SentencePieceProcessor(model_proto=self.model)

    def __len__(self):
        return self.pieces.get_piece_size()

    def prompt(self, question):
        return [self.bos, *self.pieces.encode("[INST] ")], self.pieces.encode(f"\n{question} [/INST]")

    def answer(self, question, option):
        after = self.pieces.encode(f"\n{question} [/INST]")
        whole = self.pieces.encode(f"\n{question} [/INST] {option}")
        assert whole[: len(after)] == after
        return whole[len(after) :]

    def save(self, folder):
        (folder / "tokenizer.model").write_bytes(self.model)
        settings = {
            "add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "</s>", "legacy": True,
            "unk_token": "<unk>", "pad_token": "<unk>", "tokenizer_class": "LlamaTokenizer",
            "chat_template": "{{ 'of Mistral, without an image' }}", "clean_up_tokenization_spaces": False,
        }  # fmt: skip
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))


class Original:
    """LLaVA-Med's arithmetic, in the words of its own files: a CLIP tower, two linear layers, a Mistral."""

    def __init__(self, words):
        """words: FastWords or SentencePieceWords."""
        torch.manual_seed(0)
        self.words = words
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
                num_attention_heads=4, num_key_value_heads=2, bos_token_id=words.bos, eos_token_id=words.eos,
                initializer_range=0.3, sliding_window=None,
                rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
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
        """The checkpoint in the layout of the published one. changed: settings of its config.json."""
        folder.mkdir()
        text = self.text.config.to_dict()
        kept = {name: text[name] for name in llava_med._TEXT if text.get(name) is not None}
        config = {
            **kept, "model_type": "llava_mistral", "rope_theta": ROPE_THETA,
            "mm_vision_tower": str(tower), "mm_hidden_size": 32,
            "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
            "mm_use_im_start_end": False, "mm_use_im_patch_token": False, "image_aspect_ratio": "pad",
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config | changed))
        names = sorted(tensors := {name: t.contiguous() for name, t in self.tensors().items()})
        for part, of_part in enumerate((names[::2], names[1::2]), start=1):
            save_file(
                {name: tensors[name].clone() for name in of_part}, folder / f"model-0000{part}-of-00002.safetensors"
            )
        self.words.save(folder)
        return folder

    @torch.inference_mode()
    def log_likelihoods(self, pixels, option):
        """prepare_inputs_labels_for_multimodal of llava_arch.py: the image's features stand where <image> stood."""
        texts = [*self.words.prompt(QUESTION), self.words.answer(QUESTION, option)]
        before, after, answer = (torch.tensor([ids]) for ids in texts)
        features = self.projector(self.vision(pixels, output_hidden_states=True).hidden_states[-2][:, 1:])
        table = self.text.get_input_embeddings()
        whole = torch.cat([table(before), features, table(after), table(answer)], 1)
        logits = self.text(inputs_embeds=whole).logits[:, -answer.shape[1] - 1 : -1].log_softmax(-1)
        return float(logits.gather(-1, answer[..., None]).sum())


def make(root, words):
    """(the model, its checkpoint in root/original), with the CLIP that it names in root/clip."""
    original, tower = Original(words), root / "clip"
    original.vision.save_pretrained(tower)
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}).save_pretrained(tower)
    return original, original.save(root / "original", tower)
