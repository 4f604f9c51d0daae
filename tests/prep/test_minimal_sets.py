"""Each shipped layout goes through 01 to 03 from its smallest set, with masks or without, with all classes or not."""

import re

import pandas as pd
import pytest
from minimal_sets import LESIONS, SETS
from notebook_cells import findings

from p2d_lib.run import Run

SHORT = {"lora_steps": 1, "baselines": [], "scout_steps": 2, "alignment_steps": 2, "num_inference_steps": 2}


@pytest.mark.parametrize("layout", SETS)
def test_a_minimal_set_of_each_layout_goes_through_notebooks_01_to_03(layout, tmp_path):
    SETS[layout](tmp_path / "raw")
    text = findings(
        "01_prep", "minimal", source=layout, data=str(tmp_path / "raw"), image_size=32, test_size=0.34, val_size=0.5
    )
    run = Run("minimal", "02_describe")
    cases, measurements = run.read("cases"), run.read("measurements")
    assert set(cases["dataset"]) == ({"rosendahl"} if layout == "ham10000" else {layout})
    assert set(cases["split"]) == {"train", "val", "test"} and len(run.images(cases)) == len(cases)
    masked = layout in ("ham10000", "ph2")
    assert measurements["area"].notna().all() if masked else measurements["area"].isna().all()
    assert ("100.0% of the images have a lesion mask" in text) == masked
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)
    of_template = findings("02_describe", "minimal", describers=["template"])
    descriptions = Run("minimal", "03_finetune").read("descriptions")
    assert descriptions["valid"].all() and set(descriptions["image_id"]) == set(cases["image_id"])
    if layout == "isic2019":
        _states_what_is_unknown(run, of_template)
        assert descriptions["prompt"].str.contains("melanoma").sum() == LESIONS
    findings("03_finetune", "minimal", **SHORT)
    assert Run("minimal", "04_sample").path("adapter").is_dir()


def _states_what_is_unknown(run: Run, text: str) -> None:
    """02 with the template alone, of images without masks."""
    assert "follow the descriptions of “measured” (42 images)" in text
    assert "on no image: atypical pigment network" in text and "asymmetry" in text
    assert "so agreement cannot be measured" in text
    assert "nan" not in text.lower()
    assert {path.stem for path in run.tables.glob("t2_*.csv")}.isdisjoint({"t2_faithfulness", "t2_attributes"})
    assert (pd.read_csv(run.tables / "t2_features.csv")["known"] > 0).sum() <= 2, "hair and ruler need no mask"
