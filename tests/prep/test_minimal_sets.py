"""Each shipped layout goes through 01 to 03 from its smallest set, with masks or without, with all classes or not."""

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from minimal_sets import SETS

from p2d_lib.parameters import profile
from p2d_lib.run import Run

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def execute(notebook: str, run: str, **parameters) -> dict:
    """Runs a notebook's code cells in this process with its smoke parameters and those given; its variables."""
    cells = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    variables = profile("smoke")[notebook] | {"run": run, **parameters}
    for cell in cells:
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", ()):
            exec(compile("".join(cell["source"]), f"{notebook}:{cell['id']}", "exec"), variables)
    plt.close("all")
    return variables


SHORT = {"lora_steps": 1, "baselines": [], "scout_steps": 2, "alignment_steps": 2, "num_inference_steps": 2}


@pytest.mark.parametrize("layout", SETS)
def test_a_minimal_set_of_each_layout_goes_through_notebooks_01_to_03(layout, tmp_path):
    SETS[layout](tmp_path / "raw")
    prepared = execute(
        "01_prep", "minimal", source=layout, data=str(tmp_path / "raw"), image_size=32, test_size=0.34, val_size=0.5
    )
    run = Run("minimal", "02_describe")
    cases, measurements = run.read("cases"), run.read("measurements")
    assert set(cases["dataset"]) == ({"rosendahl"} if layout == "ham10000" else {layout})
    assert set(cases["split"]) == {"train", "val", "test"} and len(run.images(cases)) == len(cases)
    masked = layout in ("ham10000", "ph2")
    assert measurements["area"].notna().all() if masked else measurements["area"].isna().all()
    findings = prepared["report"].findings(*(prepared[name] for name in (
        "cases", "quarantine", "measurements", "leaks", "pairs", "doubts", "tone")))  # fmt: skip
    assert ("100.0% of the images have a lesion mask" in findings) == masked
    assert not re.search(r"\bnan\b", findings, re.IGNORECASE)
    execute("02_describe", "minimal", describers=["template"])
    descriptions = Run("minimal", "03_finetune").read("descriptions")
    assert descriptions["valid"].all() and set(descriptions["image_id"]) == set(cases["image_id"])
    execute("03_finetune", "minimal", **SHORT)
    assert Run("minimal", "04_sample").path("adapter").is_dir()
