"""What a form's parity is: false as soon as one score of one study differs by more than may be, or one decision flips."""

from __future__ import annotations

import json

import numpy as np
import pytest

from export.parity import FormParity, ParityResult, _compare

EXPECTED = np.array([[0.2, 0.1, 0.3], [0.5, 0.4, 0.6], [0.8, 0.9, 0.7]])


def compared(found: np.ndarray, *, precision: str = "float32", threshold: float = 0.5) -> FormParity:
    return _compare("form", precision, found, EXPECTED, [0, None, 1], threshold)


def test_equal_scores_pass() -> None:
    same = compared(EXPECTED)
    assert same == FormParity("form", "float32", 1e-5, 0.0, 0.0, 0, 0.0, 3) and same
    assert compared(EXPECTED, precision="float16") == FormParity("form", "float16", 1e-3, 0.0, 0.0, 0, 0.0, 3)


@pytest.mark.parametrize(("precision", "passes"), [("float32", False), ("float16", True)])
def test_one_branch_score_of_one_study_decides_by_the_tolerance_of_its_precision(precision: str, passes: bool) -> None:
    found = EXPECTED.copy()
    found[2, 1] += 5e-4
    result = compared(found, precision=precision)
    assert bool(result) is passes
    assert result.score == pytest.approx(5e-4)
    assert result.logit == pytest.approx(5e-4 / (0.9 * 0.1), rel=0.01), "d logit = d score / (s (1 - s))"


def test_a_decision_flips_only_outside_of_the_band_around_the_threshold() -> None:
    found = EXPECTED.copy()
    found[1, 0] -= 1e-6  # torch's own score lies on the threshold
    assert compared(found).flips == 0
    found[0, 0] = 0.51
    assert compared(found).flips == 1 and not compared(found)


def test_a_flip_is_of_the_fused_score_whatever_the_branches_say() -> None:
    one_branch = np.array([[0.8, 0.2, 0.95], [0.2, 0.7, 0.05]])
    result = _compare("form", "float32", one_branch, one_branch, [None, None], 0.5)
    assert result and result.flips == 0


def test_a_score_of_one_and_of_zero_have_logits_all_the_same() -> None:
    found = np.array([[0.5, 1.0, 0.0]])
    result = _compare("form", "float32", found, found, [None], 0.5)
    assert result and result.logit == 0.0
    off = _compare("form", "float32", found, np.array([[0.5, 1.0 - 1e-6, 0.0]]), [None], 0.5)
    assert off.logit == pytest.approx(np.log(10), rel=1e-3), "logits are cut at scores of 1e-7 and 1 - 1e-7"


def test_the_auc_is_compared_on_the_studies_whose_outcome_is_known() -> None:
    found = EXPECTED.copy()
    found[[0, 2], 0] = found[[2, 0], 0]
    assert compared(found).auc_difference == 1.0
    assert _compare("form", "float32", EXPECTED, EXPECTED, [0, None, None], 0.5).auc_difference is None


def test_a_result_is_true_if_all_forms_that_ran_are() -> None:
    good, skipped = compared(EXPECTED), FormParity("b", "float32", 0, 0, 0, 0, None, 0, reason="no AVX-512")
    bad = compared(EXPECTED + 0.1)
    assert ParityResult((good, skipped), ("a",))
    assert not ParityResult((good, bad), ("a",))
    assert not ParityResult((skipped,), ("a",)), "nothing ran, nothing is proven"
    assert "not run: no AVX-512" in ParityResult((good, skipped), ("a",)).table()
    assert json.dumps(ParityResult((good, bad), ("a",)).to_dict())
