"""The edge package finds the statistics, the flags and the probability that the bundle finds, by the manifest alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests
from etscnet_edge.classifier import NO_DISTANCE, Classifier
from etscnet_edge.errors import InputError
from etscnet_edge.manifest import NAME, read_manifest
from etscnet_edge.quality import case_statistics, judge, ras_grid

from export.manifest import _reference
from scripts.likeness import quality as bundles
from scripts.likeness.cohort_reference import build_reference
from scripts.likeness.reference import sentences
from scripts.stats.temperature import calibrated
from tests.conftest import brain_image
from tests.edge.conftest import Server
from tests.likeness.test_reference import cohort

SAME = 1e-6
Said = dict[str, Any]


@pytest.mark.parametrize("seed", range(6))
def test_the_statistics_are_the_bundles(seed: int) -> None:
    image = np.asarray(brain_image(seed).dataobj, dtype=np.float32)
    image /= image.max()
    if seed % 2:  # as the preprocessing leaves it: a view that runs backwards, axes in another order of memory
        image = np.flip(np.ascontiguousarray(np.flip(image.transpose(2, 0, 1), 0)).transpose(1, 2, 0), 2)
    ours = case_statistics(image, [0.7, 0.8, 6.0], [278, 328, 26])
    theirs = bundles.case_statistics(np.ascontiguousarray(image), [0.7, 0.8, 6.0], [278, 328, 26])
    assert list(ours) == list(theirs)
    assert list(ours.values()) == pytest.approx(list(theirs.values()), abs=SAME, rel=SAME)


def test_without_a_brain_there_are_none() -> None:
    with pytest.raises(InputError, match="holds no brain"):
        case_statistics(np.zeros((4, 4, 4), np.float32), [1, 1, 1], [4, 4, 4])


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR"])
def test_the_grid_is_the_bundles(tmp_path: Path, codes: str) -> None:
    image = nib.Nifti1Image(np.zeros((5, 6, 7), np.int16), np.diag([1.0, 2.0, 3.0, 1.0]))
    here, there = nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(codes))
    turned = image.as_reoriented(nib.orientations.ornt_transform(here, there))
    nib.save(turned, tmp_path / "image.nii")
    assert ras_grid(turned.affine, turned.shape) == bundles.ras_grid(tmp_path / "image.nii")


def test_the_flags_and_the_sentences_are_the_bundles() -> None:
    made = build_reference(cohort(100, seed=0), cohort(30, seed=1))
    said = json.loads(json.dumps(_reference({"reference": made.to_dict()}, for_timing=False)))
    assert "features" not in said
    flagged = 0
    for shift in np.linspace(0, 10, 21):
        measured = cohort(1, seed=5, shift=float(shift))[0].statistics
        ours, warnings = judge(measured, said)
        theirs = made.judge_quality(measured)
        assert warnings == sentences(theirs, made)
        assert ours["flagged"] is theirs["flagged"] and ours["p"] == pytest.approx(theirs["p"], abs=SAME)
        for modality, statistics in theirs["statistics"].items():
            for name, one in statistics.items():
                assert ours["statistics"][modality][name] == pytest.approx(one, abs=SAME)
        flagged += ours["flagged"]
    assert 0 < flagged < 21


def test_a_statistic_that_is_not_known_here_is_refused() -> None:
    made = build_reference(cohort(30, seed=0), cohort(9, seed=1))
    measured = {name: {"mean": 0.5} for name in ("flair", "t2w")}
    with pytest.raises(InputError, match=r"\['noise', 'voxel_x_mm'\].*Update etscnet-edge"):
        judge(measured, _reference({"reference": made.to_dict()}, for_timing=False))


def test_an_export_for_timing_has_no_reference() -> None:
    made = build_reference(cohort(30, seed=0), cohort(9, seed=1))
    assert "another size" in _reference({"reference": made.to_dict()}, for_timing=True)["reason"]
    assert "no reference" in _reference({}, for_timing=False)["reason"]


def test_a_study_gets_what_the_bundle_gives_it(
    exports: Path, server: Server, pair: dict[str, str], run_bundle: Callable[..., Any], tmp_path: Path
) -> None:
    study = [{"case": "sub-01", **pair}]
    (tmp_path / "datalist.json").write_text(json.dumps(study))
    options = {"brain_extraction": "none", "output_dir": tmp_path, "pictures": False}
    run_bundle("inference", "inference.json", datalist=tmp_path / "datalist.json", **options)
    theirs = json.loads((tmp_path / "sub-01.json").read_text())
    files = {name: (f"{name}.nii.gz", Path(path).read_bytes()) for name, path in pair.items()}
    posted = requests.post(f"{server.url}/v1/studies", files=files, timeout=60).json()
    with Classifier(exports) as classifier:
        alone = classifier.predict(pair).to_dict()
    for ours in (alone, posted):
        assert ours["quality"]["flagged"] is theirs["quality"]["flagged"] is True, "voxels of 3.5 mm"
        assert ours["quality"]["p"] == pytest.approx(theirs["quality"]["p"], abs=SAME)
        for modality, statistics in theirs["quality"]["statistics"].items():
            for name, one in statistics.items():
                # 1e-4: what the prepared images may differ by, see test_edge_classifier
                found = ours["quality"]["statistics"][modality][name]
                assert found["value"] == pytest.approx(one["value"], rel=1e-4, abs=1e-4)
                assert found["flagged"] is one["flagged"]
        assert ours["warnings"][-1].startswith("Unlike the training cohort (p = ")
        assert ours["calibration"]["temperature"] == theirs["calibration"]["temperature"]
        expected = calibrated(ours["score"], theirs["calibration"]["temperature"])
        assert ours["calibrated_probability"] == pytest.approx(float(expected), abs=SAME)
        assert ours["out_of_distribution"] == {"flagged": None, "reason": NO_DISTANCE}


@pytest.fixture
def copy(exports: Path, tmp_path: Path) -> Path:
    for name in (NAME, "etscnet.onnx", "preprocess.onnx"):
        shutil.copy(exports / name, tmp_path / name)
    return tmp_path


def test_an_earlier_export_says_that_it_holds_neither(copy: Path, pair: dict[str, str]) -> None:
    said = json.loads((copy / NAME).read_text())
    del said["reference"], said["temperature"]
    (copy / NAME).write_text(json.dumps(said))
    with Classifier(copy, form="standard") as classifier:
        result = classifier.predict(pair)
    assert result.calibrated_probability is None and "earlier export" in result.calibration["reason"]
    assert result.quality["flagged"] is None and "earlier export" in result.quality["reason"]


def change(path: str, value: object) -> Callable[[Said], None]:
    def apply(said: Said) -> None:
        *way, last = path.split("/")
        for part in way:
            said = said[part]
        said[last] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("temperature", {"temperature": 0}, "temperature = "),
        ("temperature", {"temperature": None}, "temperature = "),
        ("temperature", [1.0], "temperature = "),
        ("reference", "none", "reference = none"),
        ("reference", {}, "no reference.calibration"),
        ("reference/limit", 0, "reference.limit = 0"),
        ("reference/calibration", [2.0, 1.0], "reference.calibration"),
        ("reference/calibration", [], "reference.calibration"),
        ("reference/statistics/flair/mean/above", 0.0, "reference.statistics.flair.mean.above = 0.0"),
        ("reference/statistics/flair/mean/q50", None, "no reference.statistics.flair.mean.q50"),
        ("reference/statistics", {"flair": {}, "t2w": {}}, r"reference.statistics of"),
        ("reference/statistics", {"flair": {}}, r"reference.statistics of \['flair'\]"),
    ],
)
def test_a_reference_or_temperature_that_can_not_be_followed_is_refused(
    copy: Path, path: str, value: object, words: str
) -> None:
    said = json.loads((copy / NAME).read_text())
    change(path, value)(said)
    (copy / NAME).write_text(json.dumps(said))
    with pytest.raises(InputError, match=words):
        read_manifest(copy)
