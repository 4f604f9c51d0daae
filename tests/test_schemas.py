import pandas as pd
import pytest

from p2d_lib.artefacts import ARTEFACTS, NOTEBOOKS, READS
from p2d_lib.parameters import MODELS
from p2d_lib.schemas import CASES, DESCRIPTIONS, MEASUREMENTS, PLAN, READINGS, SYNTHETIC
from p2d_lib.vocabulary import DX, DX_NAMES, FEATURES, HAM10000_LESIONS, MALIGNANT


def test_every_artefact_is_made_before_it_is_read():
    for notebook, artefacts in READS.items():
        for artefact in artefacts:
            assert NOTEBOOKS.index(ARTEFACTS[artefact].made_by) < NOTEBOOKS.index(notebook), (notebook, artefact)


def test_every_notebook_has_parameters_and_inputs_and_only_01_starts_from_nothing():
    assert tuple(MODELS) == tuple(READS) == NOTEBOOKS
    assert [notebook for notebook in NOTEBOOKS if not READS[notebook]] == ["01_prep"]


def test_no_two_artefacts_share_a_path():
    paths = [artefact.path for artefact in ARTEFACTS.values()]
    assert len(set(paths)) == len(paths)


def test_tables_have_a_schema_and_folders_have_none():
    for name, artefact in ARTEFACTS.items():
        assert (artefact.schema is not None) == artefact.path.endswith(".parquet"), name


def test_only_the_phantom_may_add_columns_to_cases():
    assert not CASES.strict and all(schema.strict for schema in (MEASUREMENTS, DESCRIPTIONS, READINGS))


def reading(**probabilities):
    """A person's reading: no probabilities, no time, nothing said about synthetic."""
    unknown = dict.fromkeys([*(f"p_{dx}" for dx in DX), "is_synthetic_read", "seconds"], float("nan"))
    known = {"image_id": "x", "reader": "r1", "kind": "person", "arm": "", "seed": -1, "dx_read": "mel"}
    return pd.DataFrame([known | unknown | probabilities])


def test_a_person_may_read_without_probabilities_and_nobody_with_impossible_ones():
    assert len(READINGS.validate(reading())) == 1
    with pytest.raises(Exception, match="p_mel"):
        READINGS.validate(reading(p_mel=1.2))


def test_the_vocabulary_is_ham10000s():
    assert sum(HAM10000_LESIONS.values()) == 7_470
    assert set(DX) == set(DX_NAMES) == set(HAM10000_LESIONS) >= set(MALIGNANT)
    assert len(FEATURES) == len({feature.field for feature in FEATURES.values()}) == 22
    assert set(FEATURES) <= set(DESCRIPTIONS.columns)


def test_plan_and_synthetic_images_remember_what_was_asked_for_and_after_which_case():
    for schema in (PLAN, SYNTHETIC):
        assert {"prompted_by", *FEATURES} <= set(schema.columns)
    assert set(PLAN.columns) < set(SYNTHETIC.columns)
