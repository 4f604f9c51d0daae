"""What is printed about people is what was computed, with nobody as with several."""

import numpy as np
import pandas as pd
import pytest
from studies import oracle
from test_isic2018_people import _row

from p2d_lib.readers import analysis, people_report, together
from p2d_lib.readings import readings
from p2d_lib.vocabulary import DX


def test_without_people_tables_are_empty_and_there_is_nothing_to_say(key):
    nobody = oracle(key, None).iloc[:0]
    result = together.analyse(nobody, key, margin=0.1)
    assert people_report.together_table(result).empty and people_report.together_findings(result, simulated=False) == []
    assert analysis.kappa(nobody, nobody).empty


def test_the_finding_of_all_readers_says_whether_they_are_persons(key):
    rng = np.random.default_rng(0)
    people = pd.concat([oracle(key, np.round(rng.random(len(key)), 1), name, kind="person") for name in ("Ada", "Bob")])
    result = together.analyse(people, key, margin=0.1)
    assert people_report.together_table(result)["readers"].tolist() == ["Ada"] * 2 + ["Bob"] * 2 + ["all readers"] * 2
    lines = people_report.together_findings(result, simulated=True)
    assert len(lines) == 2 and all(line.startswith("Simulated readers (no persons)") for line in lines)
    assert "0.00 [-0.10, 0.10]: no difference of 0.1 or more" in lines[1], "both name all of 35 and 35 diagnoses"


def test_people_and_networks_stand_in_one_table_and_in_batches_of_thirty(tmp_path):
    """Of 28 images people name 3 in 4 right, the network all."""
    images = [(f"i{k}", DX[k % 7]) for k in range(28)]
    rows = [_row(name, {dx: 3, DX[(k + 1) % 7]: 1}, {dx: 4}, {dx: 1}) for k, (name, dx) in enumerate(images)]
    pd.DataFrame(rows).to_csv(tmp_path / "people.csv", index=False)
    cases = pd.DataFrame(images, columns=["image_id", "dx"]).assign(lesion_id=lambda table: table["image_id"])
    network = readings(cases["image_id"], "tiny_resnet", "network", dx_read=cases["dx"], arm="real", seed=0)
    table, finding = people_report.beside_published(str(tmp_path / "people.csv"), network, cases, seed=0)
    shown = table.set_index("reader")
    assert shown.loc["people without support, published", "accuracy, real"] == "0.75"
    assert shown.loc["real", ["kind", "n, real", "accuracy, real"]].tolist() == ["network", 28, "1.00"]
    assert "On 28 ISIC 2018 test images" in finding and "people without support, published 22.5;" in finding


def test_the_matrix_of_agreement_shows_kappa_of_each_two_readers(key):
    first = oracle(key, None, "Ada")
    rng = np.random.default_rng(0)
    other = oracle(key, None, "Bob").assign(dx_read=rng.choice(DX, len(key)))
    figure = people_report.agreement_figure(pd.concat([first, other]))
    numbers = [float(text.get_text().replace("−", "-")) for text in figure.axes[0].texts]
    expected = analysis.kappa(pd.concat([first, other]))["kappa"].iloc[0]
    assert numbers == pytest.approx([1, expected, expected, 1], abs=0.01)


def test_the_figure_of_power_has_a_line_for_each_number_of_images():
    table = pd.DataFrame({"readers": [2, 4] * 2, "images": [70, 70, 140, 140], "finds": [0.1, 0.2, 0.3, 0.4],
                          "cannot_tell": [0.5, 0.6, 0.7, 0.8]})  # fmt: skip
    left, right = people_report.power_figure(table, area=0.65, margin=0.1, n_studies=50).axes
    assert [line.get_ydata().tolist() for line in left.lines[:2]] == [[0.1, 0.2], [0.3, 0.4]]
    assert [line.get_ydata().tolist() for line in right.lines[:2]] == [[0.5, 0.6], [0.7, 0.8]]
    band = left.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.0333, 0.3372), abs=1e-4)  # 5 and 10 of 50, Clopper and Pearson
