"""The codes of the vocabulary: every concept has a row, every code is well-formed and says where it comes from."""

import re

import pytest

from p2d_lib.vocabulary import DX, FEATURES, SEXES, SITES, codes

INVERSE = (0, 4, 3, 2, 1, 5, 6, 7, 8, 9)  # in the dihedral group of order 10
PERMUTED = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def dihedral(a: int, b: int) -> int:
    """The product of two symmetries of a pentagon: 0..4 are turns, 5..9 are flips."""
    turned = a + b if a < 5 else a - b
    return turned % 5 + 5 * ((a >= 5) != (b >= 5))


def verhoeff(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (Verhoeff 1969), as in SNOMED CT identifiers."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit)
        for _ in range(place % 8):
            value = PERMUTED[value]
        check = dihedral(check, value)
    return check == 0


def test_every_concept_of_the_vocabulary_has_one_row_and_no_other_has():
    kinds = {
        "dx": DX,
        "feature": FEATURES,
        "site": SITES,
        "sex": SEXES,
        "fitzpatrick": ("I", "II", "III", "IV", "V", "VI"),
    }
    assert list(codes()) == [(kind, concept) for kind, concepts in kinds.items() for concept in concepts]


def test_the_check_digit_is_that_of_the_literature_and_sees_a_wrong_digit_and_a_swap():
    assert verhoeff("2363")  # 236 and its check digit 3: the usual worked example
    assert all(dihedral(digit, INVERSE[digit]) == 0 for digit in range(10))
    known = "404684003"  # Clinical finding, a root of SNOMED CT
    assert verhoeff(known)
    assert not any(verhoeff(known[:4] + other + known[5:]) for other in "0123456789" if other != known[4])
    assert not verhoeff("440684003")


@pytest.mark.parametrize("code", codes().values(), ids=lambda code: f"{code.kind}-{code.concept}")
def test_a_code_is_well_formed_and_sourced_and_a_missing_one_has_a_note(code):
    assert re.fullmatch(r"(C\d{7})?", code.umls_cui)
    assert re.fullmatch(r"([1-9]\d{5,17})?", code.snomed_ct)
    assert not code.snomed_ct or verhoeff(code.snomed_ct)
    assert bool(code.source) == bool(code.umls_cui or code.snomed_ct)
    missing = not (code.umls_cui and code.snomed_ct)
    assert ("code found" in code.note) >= missing, "say in the note which code was not found"


def test_a_code_that_two_concepts_share_is_noted_as_broader_than_both():
    """A check digit does not see a wrong meaning; that two concepts claim one code is the sign of it."""
    for system in ("umls_cui", "snomed_ct"):
        with_code = [code for code in codes().values() if getattr(code, system)]
        for code in with_code:
            same = [other.concept for other in with_code if getattr(other, system) == getattr(code, system)]
            assert len(same) == 1 or code.note.startswith("broader"), f"{getattr(code, system)}: {same}"


def test_diagnoses_all_have_codes():
    assert all(codes()["dx", dx].umls_cui and codes()["dx", dx].snomed_ct for dx in DX)
