"""The cards of a release: of the set, of the adapter, and how to cite both."""

from pathlib import Path
from typing import Any

import jinja2
import yaml
from huggingface_hub import DatasetCardData, ModelCard, ModelCardData

from p2d_lib.prep.layouts import REPOSITORY
from p2d_lib.release.facts import Facts
from p2d_lib.vocabulary import FEATURES
from p2d_lib.words.render import TRIGGER

CITATION, README = "CITATION.cff", "README.md"
GRID, PHANTOM_GRID = "images.png", "phantoms.png"
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
TAGS = ["synthetic", "dermatology", "dermoscopy", "medical", "not-for-clinical-use"]
ADAPTER_TAGS = ["text-to-image", "diffusers-training", "lora", "stable-diffusion", "template:sd-lora"]


def dataset_card(facts: Facts, tars: str) -> str:
    """README.md of the set, as the Hugging Face hub reads it; tars: the name, with braces, of the WebDataset tars."""
    derived = "original" if facts.is_phantom else f"extended|other-{facts.origin.source}"
    data = DatasetCardData(
        license=facts.origin.licence.hub,
        language=["en"],
        pretty_name=facts.title,
        size_categories=[next(name for size, name in SIZES if len(facts.metadata) < size)],
        task_categories=["image-classification", "text-to-image"],
        annotations_creators=["machine-generated"],
        source_datasets=[derived],
        tags=[*TAGS, *(["phantom"] if facts.is_phantom else [])],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "train/**"}]}],
    )
    features = ", ".join(f"`{name}`" for name in FEATURES)
    body = _text("dataset_card.md.jinja", facts=facts, tars=tars, features=features, grids=(GRID, PHANTOM_GRID))
    return f"---\n{data.to_yaml()}\n---\n{body}"


def adapter_card(facts: Facts) -> str:
    """README.md of the adapter, with the fields that diffusers' training scripts give theirs."""
    from diffusers.utils.hub_utils import populate_model_card  # which loads torch

    data = ModelCardData(
        license=facts.origin.licence.hub,
        library_name="diffusers",
        base_model=facts.recipe["base"]["base"] if facts.recipe["base"]["commit"] else None,  # only the hub's ids
        instance_prompt=TRIGGER,
        widget=[{"text": facts.metadata["prompt"].iloc[0]}],
    )
    card = ModelCard(f"---\n{data.to_yaml()}\n---\n{_text('adapter_card.md.jinja', facts=facts)}")
    return f"{populate_model_card(card, tags=ADAPTER_TAGS)}\n"


def citation(facts: Facts) -> str:
    """CITATION.cff of the set: the set, the software and the real images."""
    software: dict[str, Any] = yaml.safe_load((REPOSITORY / CITATION).read_text(encoding="utf-8"))
    cited = {
        "cff-version": "1.2.0",
        "message": "If you use these images, please cite them, the software and the real images behind them.",
        "type": "dataset",
        "title": facts.title,
        "license": facts.origin.licence.spdx,
        "date-released": facts.published,
        "authors": [{"name": facts.creator}],
        "references": [
            {"type": "software", **{name: software[name] for name in ("title", "version", "license", "authors")}},
            {"type": "data", "title": facts.origin.citation, "authors": [{"name": "See the title"}]},
        ],
    }
    return yaml.safe_dump(cited, sort_keys=False, allow_unicode=True, width=120)


def _text(template: str, **values: Any) -> str:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, trim_blocks=True, undefined=jinja2.StrictUndefined)
    return environment.get_template(template).render(**values)
