"""The artefacts that the notebooks hand to one another: where each lies, which notebook makes it, which read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandera.pandas as pa

NOTEBOOKS = (
    "01_prep", "02_describe", "03_finetune", "04_sample", "05_fidelity", "06_classify", "07_readers", "08_fairness",
)  # fmt: skip
ADAPTER_WEIGHTS = "pytorch_lora_weights.safetensors"  # in the folder of the artefact adapter, as diffusers names it
SAME_RESULTS = ("run", "shard")  # parameters that say where and by how many processes, not what is computed


@dataclass(frozen=True)
class Artefact:
    """What one notebook hands to others: a table (with a schema) or a folder (without)."""

    path: str  # relative to the run's folder
    made_by: str
    columns: str = ""  # the name of the table's schema in schemas.py

    @property
    def schema(self) -> pa.DataFrameSchema | None:
        """The schema of a table, None for a folder. Loaded when it is needed: the driver does without pandas."""
        from p2d_lib import schemas

        return getattr(schemas, self.columns) if self.columns else None


ARTEFACTS = {
    "images": Artefact("images", "01_prep"),  # resized real images, <image_id>.png
    "cases": Artefact("cases.parquet", "01_prep", "CASES"),
    "measurements": Artefact("measurements.parquet", "01_prep", "MEASUREMENTS"),
    "quarantine": Artefact("quarantine.parquet", "01_prep", "QUARANTINE"),
    "descriptions": Artefact("descriptions.parquet", "02_describe", "DESCRIPTIONS"),
    "captioner": Artefact("captioner", "02_describe"),  # empty where none was fitted
    "wording": Artefact("wording.json", "02_describe"),  # how prompts are worded: words.wording.Wording
    "base": Artefact("base", "03_finetune"),  # the pipeline the adapter was fitted on, diffusers layout
    "adapter": Artefact("adapter", "03_finetune"),
    "baselines": Artefact("baselines", "03_finetune"),  # a folder each
    "scout": Artefact("scout", "03_finetune"),
    "alignment": Artefact("alignment", "03_finetune"),
    "plan": Artefact("plan.parquet", "04_sample", "PLAN"),
    "synthetic": Artefact("synthetic.parquet", "04_sample", "SYNTHETIC"),
    "synthetic_images": Artefact("synthetic", "04_sample"),
    "worst_case": Artefact("worst_case.parquet", "04_sample", "WORST_CASE"),  # several images a prompt, for 05
    "worst_case_images": Artefact("worst_case", "04_sample"),
    "counterfactual": Artefact("counterfactual.parquet", "04_sample", "COUNTERFACTUAL"),  # pairs, one attribute changed
    "counterfactual_images": Artefact("counterfactual", "04_sample"),
    "memorisation": Artefact("memorisation.parquet", "05_fidelity", "MEMORISATION"),  # 04 obeys it on its next run
    "memorisation_tests": Artefact("memorisation_tests.parquet", "05_fidelity", "MEMORISATION_TESTS"),  # of the set
    "classifiers": Artefact("classifiers", "06_classify"),
    "network_readings": Artefact("readings/networks.parquet", "06_classify", "READINGS"),
    "published_readings": Artefact("readings/published.parquet", "06_classify", "READINGS"),  # the protocol that leaks
    "curriculum": Artefact("curriculum.parquet", "06_classify", "CURRICULUM"),  # empty without that arm
    "external_images": Artefact("external", "06_classify"),  # resized, <image_id>.png; empty without external sets
    "external_cases": Artefact("external.parquet", "06_classify", "EXTERNAL"),
    "external_readings": Artefact("readings/external.parquet", "06_classify", "READINGS"),
    "pair_readings": Artefact("readings/pairs.parquet", "06_classify", "READINGS"),  # of counterfactual pairs, for 08
    "study": Artefact("study", "07_readers"),  # the reader-study sheet, its images and the key kept apart
    "reader_readings": Artefact("readings/readers.parquet", "07_readers", "READINGS"),
    "vlm_adapter": Artefact("vlm_adapter", "07_readers"),  # LoRA of the vision-language model; empty without one
    "vlm_answers": Artefact("readings/vlm_answers.parquet", "07_readers", "VLM_ANSWERS"),
    "vlm_readings": Artefact("readings/vlm.parquet", "07_readers", "READINGS"),  # of test images, CLIPs included
}
READS = {
    "01_prep": (),
    "02_describe": ("images", "cases", "measurements"),
    "03_finetune": ("images", "cases", "descriptions", "wording"),
    "04_sample": ("images", "cases", "descriptions", "wording", "base", "adapter", "baselines", "scout", "alignment"),
    "05_fidelity": (
        "images", "cases", "descriptions", "synthetic", "synthetic_images", "base", "worst_case", "worst_case_images",
        "baselines", "scout", "alignment",
    ),
    "06_classify": (
        "images", "cases", "descriptions", "wording", "base", "adapter", "synthetic", "synthetic_images", "worst_case",
        "worst_case_images", "counterfactual", "counterfactual_images",
    ),
    "07_readers": (
        "images", "cases", "descriptions", "synthetic", "synthetic_images", "classifiers", "scout", "alignment",
        "network_readings", "external_images", "external_cases", "external_readings",
    ),
    "08_fairness": ("cases", "network_readings", "counterfactual", "worst_case", "pair_readings"),
}  # fmt: skip


def result_parameters(parameters: dict) -> dict:
    """The parameters that a notebook's results depend on, as JSON gives them back (tuples are lists)."""
    return json.loads(json.dumps({name: value for name, value in parameters.items() if name not in SAME_RESULTS}))
