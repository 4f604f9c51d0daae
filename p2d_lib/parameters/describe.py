"""The parameters of 02_describe."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from p2d_lib.parameters import server
from p2d_lib.parameters.types import ClipName, Distinct, Notebook, WeightsName


class Describe(Notebook):
    HEADINGS: ClassVar = {
        "describers": "Who describes",
        "worded_as": "How prompts are worded",
        "captioner_model": "The captioner",
        "vlm_model": "The vision-language model",
        "api_model": "The server's model",
        "n_described": "How much is described and scored",
    }
    BY_MODEL: ClassVar = (
        "max_tokens", "captioner_model", "captioner_clip", "captioner_instruction", "captioner_decoding",
        "broad_wording", "captioner_steps", "prefix_tokens", "other_clip",
    )  # fmt: skip

    describers: Annotated[
        list[Literal["template", "captioner", "vlm", "api", "file"]], Field(min_length=1), Distinct
    ] = Field(
        ["template", "captioner"],
        description="In order of priority: an image's first valid description makes its prompt.",
    )
    template_source: Literal["measured", "truth"] = Field(
        "measured",
        description="Features of the template: measured from mask, pixels and metadata, or a phantom's truth.",
    )
    descriptions_file: str = Field(
        "", description='The original prompt2derm\'s descriptions.json, for the describer file; "": none.'
    )
    edits_file: str = Field(
        "",
        description="CSV of people's edits (image_id, reviewer, text, rejected, features), which take priority; "
        '"": none.',
    )

    worded_as: Literal["phrases", "sentence", "json", "seven_point", "abcd"] = Field(
        "phrases", description="Wording of the prompts."
    )
    caption_mode: Literal["none", "concepts", "rewritten"] = Field(
        "none", description="Full prompts, concepts alone, or prompts paraphrased by the rewriter."
    )
    rewriter: Literal["rules", "api"] = Field("rules", description="Paraphrases prompts in caption_mode rewritten.")
    max_features: Annotated[int, Field(ge=1, le=22)] = Field(8, description="Most features that one prompt names.")
    max_tokens: Annotated[int, Field(ge=8, le=512)] = Field(
        62, description="Longest prompt, in tokens of the text encoder (tiny: 62, CLIP: 75)."
    )
    top_concepts: Annotated[int, Field(ge=1, le=22)] = Field(
        22, description="Prompts name only this many features, the most frequent in train images."
    )

    captioner_model: WeightsName = Field(
        "tiny",
        description='Language model: "tiny", a GPT-2 (hub id; trained here), or a captioner (folder or hf-hub:id).',
    )
    captioner_clip: ClipName = Field(
        "tiny",
        description='Vision encoder: "tiny" (trained here) or a name that open_clip loads, also hf-hub:id@revision.',
    )
    captioner_digest: str = Field(
        "", description='Required SHA-256 of a published captioner\'s weights; "": not checked.'
    )
    clip_steps: PositiveInt = Field(400, description="Training steps of the tiny vision encoder.")
    broad_wording: Literal["phrases", "sentence"] = Field(
        "sentence", description="Wording of the captions in training stage A."
    )
    target_wording: Literal["clinical", "sentence", "phrases"] = Field(
        "clinical", description="Wording of the captions in stage B; clinical sentences end in the diagnosis."
    )
    captioner_instruction: Literal["short", "published"] = Field(
        "short", description="Instruction before each caption: four words, or the published one word for word."
    )
    captioner_steps: Annotated[list[PositiveInt], Field(min_length=2, max_length=2)] = Field(
        [200, 200], description="Training steps of stages A and B."
    )
    prefix_tokens: PositiveInt = Field(
        4, description="Prefix tokens between vision encoder and GPT-2 (published DermLIP + GPT-2: 32)."
    )
    captioner_decoding: Literal["greedy", "published"] = Field(
        "greedy", description="How a caption is decoded: its likeliest token at each place, or as published (beams)."
    )
    captions_per_image: PositiveInt = Field(
        16, description="Captions sampled per image; a feature's score is the share of them that mention it."
    )

    other_clip: ClipName = Field(
        "tiny",
        description="Second encoder for the CLIP similarity: tiny (trained here) or a name that open_clip loads.",
    )
    other_clip_steps: PositiveInt = Field(150, description="Training steps of the tiny second encoder.")

    vlm_model: WeightsName = Field(
        "", description='Hub id, id@revision or folder of an image-text-to-text model; "": none.'
    )
    vlm_adapter: WeightsName = Field("", description='Folder of a LoRA for it; "": none.')
    vlm_answers: Literal["constrained", "repaired"] = Field(
        "constrained", description="Decoding yields valid JSON only, or free text is repaired."
    )

    api_model: server.ApiModel
    api_allow_upload: server.ApiAllowUpload
    api_usd_per_million: server.ApiUsdPerMillion
    api_max_cost: server.ApiMaxCost
    api_concurrency: server.ApiConcurrency
    api_max_tokens: server.ApiMaxTokens
    api_timeout: server.ApiTimeout

    n_described: NonNegativeInt = Field(
        530,
        description="Images for captioner, vlm and api: test, then val, then classes of train in turn; 0: all.",
    )
    bert_model: WeightsName = Field(
        "", description='Hub id, id@revision or folder of the model for BERTScore; "": no BERTScore.'
    )

    @model_validator(mode="after")
    def _models_are_named(self):
        needs_api = "api" in self.describers or (self.caption_mode, self.rewriter) == ("rewritten", "api")
        if "vlm" in self.describers and not self.vlm_model:
            raise ValueError("vlm_model: '': describers name vlm; give a hub id or a folder")
        if needs_api and not self.api_model:
            raise ValueError("api_model: '': describers or rewriter name api; give a model of your server")
        if "file" in self.describers and not self.descriptions_file:
            raise ValueError("descriptions_file: '': describers name file; give a descriptions.json")
        server.check_ceiling(self.api_max_cost, self.api_usd_per_million)
        if (self.caption_mode, self.rewriter) == ("rewritten", "rules") and self.worded_as != "phrases":
            raise ValueError(f"worded_as: {self.worded_as!r}: the rules rewrite phrases alone; let rewriter be api")
        return self
