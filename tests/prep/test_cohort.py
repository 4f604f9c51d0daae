import numpy as np
import pandas as pd

from p2d_lib.prep import cohort


def test_the_cohort_counts_lesions_images_and_people():
    table = pd.DataFrame({"lesion_id": list("aabbccdd"), "dx": ["nv"] * 6 + ["mel"] * 2})
    table["split"] = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    table["age"] = [30.0, 30, 40, 40, np.nan, np.nan, 70, 70]
    table["sex"] = ["female"] * 2 + ["male"] * 2 + ["unknown"] * 2 + ["female"] * 2
    table["dx_type"] = ["follow_up"] * 6 + ["histo"] * 2
    rows = cohort.cohort(table).set_index("diagnosis")
    nevi, both = rows.loc["melanocytic nevus (nv)"], rows.loc["all"]
    assert nevi.tolist() == [3, 6, 4, 2, 0, "35 [32, 38]", 50.0, 0.0]
    assert both[["lesions", "images", "% histology"]].tolist() == [4, 8, 25.0]
    unknown = cohort.cohort(table.assign(sex="unknown", dx_type="unknown"))
    assert unknown[["% female", "% histology"]].isna().all(axis=None)
