"""The section on the maps says what its numbers say, and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.errors import InputError
from scripts.explanation.lesion_maps import Found
from scripts.explanation.localization import mean_estimate, summarise
from scripts.explanation.overlap import Boxed, Overlap
from scripts.report.document import Table, Text
from scripts.report.localization import localization_section, localization_text

SIDECAR = {
    "Layer": "_blocks.1",
    "FeatureGrid": [24, 24, 8],
    "NetworkGrid": [96, 96, 32],
    "Model": "0.1.0+12345678",
    "ModelSHA256": "0" * 64,
    "Weights": "trained",
    "Outcome": "uncontrolled",
    "ResolutionMillimeters": [8.0, 9.5, 19.5],
    "Warnings": ["Research only, not for diagnosis."],
}


def children(excess: float, *, count: int = 20, own: bool = True, seed: int = 0) -> list[Found]:
    """Children whose maps put a share on tubers that is `excess` times the tubers', on their own or on anyone's."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        share = rng.uniform(0.04, 0.06)
        brain, lesions, values = (np.zeros(2000, np.float32) for _ in range(3))
        brain[:1900] = 1
        place = 100 * (number % 18) if own else 300
        lesions[place : place + 100] = 1
        values[:1900] = 1
        values[place : place + 100] = excess
        distance = np.where(lesions > 0, 0, 20).astype(np.float32)
        peak = place if excess > 1 else 1850
        boxed = Boxed(values, lesions, brain, distance, peak)
        measured = Overlap(share * excess, share, float(distance[peak]), 0.1, boxed)
        found.append(Found(f"sub-{number:02d}", SIDECAR, measured, None))
    return found


def section_of(found: list[Found], folder: Path, **changes: Any) -> tuple[str, dict[str, Any]]:
    content: dict[str, Any] = {
        "tolerance_mm": 5.0,
        "method": "gradcam",
        "seed": 0,
        "resamples": 499,
        "level": 0.95,
        "lesions": ["tuber"],
        "modalities": {"flair": summarise(found, tolerance_mm=5.0, seed=0, resamples=499)},
        "warnings": ["Research only, not for diagnosis."],
        "failures": 0,
    }
    path = folder / "localization.json"
    path.write_text(json.dumps({**content, **changes}))
    return localization_text(localization_section(path)), content["modalities"]["flair"]


def test_maps_on_their_own_tubers_are_said_to_be(tmp_path: Path) -> None:
    text, found = section_of(children(3.0), tmp_path)
    assert found["energy"]["value"] == pytest.approx(3 * found["tuber_share"]["value"])
    assert f"{100 * found['energy']['value']:.2f} %" in text and "more than a map without contrast" in text
    assert "tell this child's tubers from those of others" in text and "(p = 0.002," in text
    assert found["on_tuber"]["value"] == 1 and "100.0 % of the children" in text


def test_maps_without_contrast_are_said_to_be_no_better_than_chance(tmp_path: Path) -> None:
    text, found = section_of(children(1.0), tmp_path)
    assert found["energy_minus_share"]["value"] == pytest.approx(0, abs=1e-12)
    assert "no more than a map without contrast" in text and "do not tell this child's tubers" in text


def test_maps_that_shun_tubers_are_said_to(tmp_path: Path) -> None:
    text, found = section_of(children(0.3), tmp_path)
    assert found["energy_minus_share"]["interval"][1] < 0
    assert "less than a map without contrast" in text and "does worse than those of others" in text


def test_tubers_in_one_place_are_hit_without_knowing_the_child(tmp_path: Path) -> None:
    """More than chance, and yet no more than anyone's map: this is what the exchange is for."""
    text, found = section_of(children(3.0, own=False), tmp_path)
    assert "more than a map without contrast" in text and "do not tell this child's tubers" in text
    assert found["exchange"]["energy"]["p"] == 1 and found["exchange"]["energy"]["own"] == pytest.approx(
        found["exchange"]["energy"]["others"]
    )


def test_the_order_of_the_children_does_not_matter() -> None:
    found = children(2.0)
    one = summarise(found, tolerance_mm=5.0, seed=0, resamples=499)
    other = summarise(found[::-1], tolerance_mm=5.0, seed=0, resamples=499)
    assert one == other


def test_random_weights_are_compared_child_by_child(tmp_path: Path) -> None:
    trained, drawn = children(3.0), children(1.0)
    found = [Found(a.case, a.sidecar, a.measured, b.measured) for a, b in zip(trained, drawn, strict=True)]
    text, content = section_of(found, tmp_path)
    shares = [one.measured.lesion_share for one in trained if one.measured]
    assert content["random_weights"]["trained_minus_random"]["value"] == pytest.approx(2 * np.mean(shares))
    assert content["random_weights"]["rank_correlation"]["value"] == 0  # the random map is the same everywhere
    assert "training has brought the maps nearer" in text
    same, _ = section_of([Found(a.case, a.sidecar, a.measured, a.measured) for a in trained], tmp_path)
    assert "no difference that shows" in same


def test_a_test_and_an_interval_that_disagree_leave_it_open(tmp_path: Path) -> None:
    _, found = section_of(children(3.0), tmp_path)
    for p, low in ((0.018, -0.001), (0.2, 0.001)):
        energy = {**found["exchange"]["energy"], "p": p, "gain": {"value": 0.003, "interval": [low, 0.006], "n": 20}}
        changed = {"flair": {**found, "exchange": {**found["exchange"], "energy": energy}}}
        text, _ = section_of(children(3.0), tmp_path, modalities=changed)
        assert "stays open" in text and "from those of others" not in text


def test_outcomes_are_told_apart(tmp_path: Path) -> None:
    near, far = children(3.0), children(0.5)
    other = {**SIDECAR, "Outcome": "controlled"}
    found = [*near[:10], *(Found(one.case, other, one.measured, None) for one in far[10:])]
    text, content = section_of(found, tmp_path)
    groups = content["by_outcome"]
    assert groups["uncontrolled"]["children"] == groups["controlled"]["children"] == 10
    assert (
        groups["uncontrolled"]["energy_minus_share"]["value"] > 0 > groups["controlled"]["energy_minus_share"]["value"]
    )
    assert "maps for 'controlled': sum on tubers" in text and "10 controlled, 10 uncontrolled" in text


def test_who_is_left_out_is_named(tmp_path: Path) -> None:
    found = [*children(2.0), Found("sub-98", SIDECAR, None, None, "no tubers")]
    text, content = section_of(found, tmp_path, failures=2)
    assert content["left_out"] == {"sub-98": "no tubers"} and content["children"] == 20
    assert "left out: sub-98 (no tubers)" in text and "2 maps failed" in text


def test_one_child_several_sessions_or_several_runs_are_refused() -> None:
    with pytest.raises(InputError, match="1 children"):
        summarise(children(2.0, count=1), tolerance_mm=5.0, seed=0, resamples=499)
    with pytest.raises(InputError, match="no map could be read"):
        summarise([], tolerance_mm=5.0, seed=0, resamples=499)
    one, other, *_ = children(2.0)
    sessions = [Found(f"sub-01_ses-{n}", SIDECAR, f.measured, None) for n, f in enumerate((one, other))]
    with pytest.raises(InputError, match="several sessions of sub-01"):
        summarise(sessions, tolerance_mm=5.0, seed=0, resamples=499)
    with pytest.raises(InputError, match="differ in ModelSHA256"):
        summarise(
            [one, Found("sub-99", {**SIDECAR, "ModelSHA256": "1" * 64}, other.measured, None)],
            tolerance_mm=5.0,
            seed=0,
            resamples=499,
        )


def test_means_have_intervals_that_hold_them_or_none() -> None:
    values = np.random.default_rng(0).gamma(2, size=40)
    found = mean_estimate(values, seed=0)
    assert found.interval is not None and found.value == pytest.approx(values.mean())
    assert found.interval[0] < found.value < found.interval[1]
    half = (found.interval[1] - found.interval[0]) / 2
    assert half == pytest.approx(1.96 * values.std(ddof=1) / 40**0.5, rel=0.15)
    assert mean_estimate(np.full(10, 0.3), seed=0).interval is None
    assert mean_estimate(np.array([0.1, 0.2]), seed=0).interval is None


def test_it_is_made_of_words_a_table_and_warnings(tmp_path: Path) -> None:
    section_of(children(2.0), tmp_path)
    blocks = localization_section(tmp_path / "localization.json").blocks
    assert sum(isinstance(block, Table) for block in blocks) == 1
    assert [block.text for block in blocks if isinstance(block, Text) and block.warning] == [
        "Research only, not for diagnosis."
    ]


@pytest.mark.parametrize("content", ["", "[]", '{"modalities": {"flair": {}}}', '{"modalities": 3}'])
def test_a_damaged_file_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "localization.json").write_text(content)
    with pytest.raises(InputError, match=r"localization\.json.*Localize again"):
        localization_section(tmp_path / "localization.json")


def test_neither_torch_nor_monai_is_needed() -> None:
    code = (
        "import sys, scripts.explanation.localization, scripts.report.localization;"
        "assert not {'torch', 'monai'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
