"""LLaVA-Med v1.5 in the layout of transformers' LLaVA, which has no class for `llava_mistral` checkpoints.

What is in such a checkpoint, and where its code says so (github.com/microsoft/LLaVA-Med, commit d406e3f):
- `model.embed_tokens`, `model.layers.*`, `model.norm`, `lm_head`: a Mistral (llava/model/language_model/
  llava_mistral.py: LlavaMistralForCausalLM is a MistralForCausalLM whose `model` also holds the two parts below);
- `model.mm_projector.0` and `.2`: the linear layers of "mlp2x_gelu" (llava/model/multimodal_projector/builder.py;
  1 is the GELU, which has no weights);
- `model.vision_tower.vision_tower.vision_model.*`: a CLIPVisionModel inside a CLIPVisionTower (llava/model/
  multimodal_encoder/clip_encoder.py), which reads the layer `mm_vision_select_layer` without the class token. A
  checkpoint may leave it out: then its weights are those of the model that `mm_vision_tower` names.

Names on the other side: LlavaForConditionalGeneration of transformers 5. `<image>` becomes a token, `<pad>` too, whose
embeddings are never read: the first is replaced by the image's, the second is masked (transformers'
convert_llava_weights_to_hf.py samples them). The words around a question are those of `mistral_instruct` in
llava/conversation.py. What stands before the image and what stands after it are two texts to the original code
(tokenizer_image_token in llava/mm_utils.py), and each begins with a blank: so does the tokenizer with the published
setting `legacy`. It comes as tokenizer.model alone, which transformers reads with sentencepiece. An image is padded to
a square there; the images of this project are squares.
"""

import json
import re
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import (
    AddedToken,
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MistralConfig,
    PreTrainedTokenizerBase,
)

from p2d_lib.files import atomic
from p2d_lib.models import weights
from p2d_lib.models.vlm import VlmError

ORIGINAL = "llava_mistral"
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{% if loop.first %}{{ bos_token }}{% endif %}"
    "[INST] {% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %} [/INST]{% else %} {% for part in message['content'] %}{{ part['text'] }}{% endfor %} "
    "{{ eos_token }}{% endif %}{% endfor %}"
)
_NAMES = (  # a pattern of the original names -> the name in transformers; None: no weight of the model
    (r"model\.vision_tower\.vision_tower\.vision_model\.(.*)", r"model.vision_tower.\1"),
    (r"model\.mm_projector\.0\.(.*)", r"model.multi_modal_projector.linear_1.\1"),
    (r"model\.mm_projector\.2\.(.*)", r"model.multi_modal_projector.linear_2.\1"),
    (r".*\.(rotary_emb\.inv_freq|position_ids)|model\.image_newline", None),
    (r"model\.(embed_tokens|layers|norm)\.(.*)", r"model.language_model.\1.\2"),
    (r"lm_head\.(.*)", r"lm_head.\1"),
)
_TEXT = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_act",
    "max_position_embeddings", "rms_norm_eps", "rope_theta", "sliding_window", "bos_token_id", "eos_token_id",
    "vocab_size", "head_dim",
)  # fmt: skip


def in_transformers_layout(name: str, folder: Path) -> str:
    """The name itself; of a `llava_mistral` checkpoint the folder into which it is converted, once per commit.

    name: folder, hub id or id@revision. Raises VlmError for a checkpoint that cannot be converted, WeightsError for one
    that cannot be had.
    """
    source = weights.resolve(name)
    original = weights.download(name) if source.commit else Path(source.name)
    if _config(original).get("model_type") != ORIGINAL:
        return name
    to = folder / (source.commit or original.name)
    if not to.is_dir():
        convert(original, to)
    return str(to)


def convert(original: Path, to: Path) -> None:
    """Writes a checkpoint of LLaVA-Med v1.5, a folder, as one that `vlm.load` loads.

    The CLIP that the checkpoint names gives its weights where the checkpoint has none of its own. Raises VlmError for
    another layout, naming the tensor or setting that does not fit; nothing is written then.
    """
    config = _config(original)
    _refuse_other_layouts(original, config)
    clip = weights.resolve(config["mm_vision_tower"])
    tensors = _renamed(original)
    if not any(name.startswith("model.vision_tower.") for name in tensors):
        tower = CLIPVisionModel.from_pretrained(clip.name, **clip.options)
        tensors |= {f"model.vision_tower.{name}": tensor for name, tensor in tower.state_dict().items()}
    tokenizer = _tokenizer(original)
    model = _model(config, CLIPVisionConfig.from_pretrained(clip.name, **clip.options), tokenizer, tensors)
    preparation = CLIPImageProcessor.from_pretrained(clip.name, **clip.options)
    with atomic(to) as partial:
        model.save_pretrained(partial)
        processor(preparation, tokenizer, model.config).save_pretrained(partial)


def add_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    """Adds the two tokens that the original code has no words for: that of the image, and that of padding."""
    tokenizer.add_tokens(AddedToken("<image>", special=True, normalized=False), special_tokens=True)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})


def configuration(config: dict, vision: CLIPVisionConfig, image_token_id: int) -> LlavaConfig:
    """A checkpoint's own config.json in the terms of transformers' LLaVA; vision: of its CLIP."""
    return LlavaConfig(
        vision_config=vision,
        text_config=MistralConfig(**{name: config[name] for name in _TEXT if name in config}),
        image_token_id=image_token_id,
        vision_feature_layer=config.get("mm_vision_select_layer", -2),
        vision_feature_select_strategy="full" if config.get("mm_vision_select_feature") == "cls_patch" else "default",
    )


def processor(
    preparation: CLIPImageProcessor, tokenizer: PreTrainedTokenizerBase, config: LlavaConfig
) -> LlavaProcessor:
    """What turns images and words into tokens. preparation: of the CLIP's images; tokenizer: after `add_tokens`."""
    return LlavaProcessor(
        preparation,
        tokenizer,
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        num_additional_image_tokens=1,  # the class token
        chat_template=TEMPLATE,
    )


def _tokenizer(original: Path) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(original)
    add_tokens(tokenizer)
    if hasattr(tokenizer, "legacy"):  # transformers 5 reads this setting, but would not save it
        tokenizer.init_kwargs["legacy"] = tokenizer.legacy
    return tokenizer


def _config(folder: Path) -> dict:
    file = folder / "config.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VlmError(f"{file}: cannot be read ({error}); give the folder of a whole checkpoint") from None


def _refuse_other_layouts(folder: Path, config: dict) -> None:
    expected = {"model_type": (ORIGINAL,), "mm_projector_type": ("mlp2x_gelu",),
                "mm_vision_select_feature": ("patch", "cls_patch"), "tune_mm_mlp_adapter": (False, None),
                "mm_use_im_start_end": (False,)}  # fmt: skip
    for name, values in expected.items():
        if (value := config.get(name, values[-1])) not in values:
            raise VlmError(
                f"{folder / 'config.json'}: {name} is {value!r}; this converter knows {values[0]!r} alone, as "
                "microsoft/llava-med-v1.5-mistral-7b has it"
            )


def _renamed(folder: Path) -> dict[str, torch.Tensor]:
    """The checkpoint's tensors under their names in transformers."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise VlmError(f"{folder}: holds no *.safetensors; get the whole checkpoint")
    tensors = {}
    for file in files:
        with safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                if new := _new_name(name, file):
                    tensors[new] = opened.get_tensor(name)
    return tensors


def _new_name(name: str, file: Path) -> str | None:
    for pattern, new in _NAMES:
        if match := re.fullmatch(pattern, name):
            return match.expand(new) if new else None
    raise VlmError(f"{file}: tensor {name!r} has no place in LlavaForConditionalGeneration; is it a LLaVA-Med v1.5?")


def _model(
    config: dict, vision: CLIPVisionConfig, tokenizer: PreTrainedTokenizerBase, tensors: dict[str, torch.Tensor]
) -> LlavaForConditionalGeneration:
    """The model with all tensors in place, its vocabulary extended by the two tokens."""
    image, pad = tokenizer.convert_tokens_to_ids(["<image>", "<pad>"])
    own = configuration(config, vision, image)
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(own)
    dtype = tensors["lm_head.weight"].dtype
    missing, unexpected = model.load_state_dict(
        {name: tensor.to(dtype) for name, tensor in tensors.items()}, strict=False, assign=True
    )
    if wrong := [*missing, *unexpected]:
        raise VlmError(f"{len(wrong)} tensors do not fit the configuration, the first is {wrong[0]!r}")
    model.resize_token_embeddings(max(len(tokenizer), own.text_config.vocab_size), mean_resizing=False)
    model.config.text_config.pad_token_id = pad
    return model.to(dtype)
