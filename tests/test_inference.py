"""`run inference` on real MRI: a pair in, a score out, whatever the file's axis order, type and container."""

from __future__ import annotations

import csv
import json
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from scripts.checkpoint import save
from scripts.network import ETSCNet
from tests.conftest import BUNDLE
from tests.real_mri import real_cases

Run = Callable[..., subprocess.CompletedProcess[str]]
AXES = {"LAS": np.float32, "RAS": np.uint16, "PSR": np.float32}


def stored_otherwise(source: str, target: Path, axes: str, dtype: type) -> str:
    """The same image in another axis order, type and container; whole numbers with slope and intercept where not float."""
    image = nib.Nifti1Image.from_filename(source)
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(axes))
    )
    turned = image.as_reoriented(turn)
    data = turned.get_fdata(dtype=np.float64)
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    nib.save(
        nib.Nifti1Image(data, turned.affine, header), target
    )  # nibabel finds slope and intercept for whole numbers
    return str(target)


def scores(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


@pytest.fixture(scope="module")
def results(shared_dir: Path, run_bundle: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """One run over the real pairs, and over one of each kind stored otherwise."""
    folder = tmp_path_factory.mktemp("real")
    cases = real_cases(shared_dir / "mri")
    for case in (cases[0], cases[-1]):
        for number, (axes, dtype) in enumerate(AXES.items()):
            other = {**case, "case": f"{case['case']}_{axes}"}
            for key in ("flair", "t2w"):
                suffix = ".nii" if number % 2 else ".nii.gz"
                other[key] = stored_otherwise(case[key], folder / f"{other['case']}_{key}{suffix}", axes, dtype)
            cases.append(other)
    (folder / "studies.json").write_text(json.dumps(cases))
    run_bundle(
        "inference", "inference.json", datalist=folder / "studies.json", output_dir=folder / "out", pictures=False
    )
    return scores(folder / "out")


def test_real_pairs_get_finite_scores(results: dict[str, dict[str, Any]]) -> None:
    assert len(results) == 5 + 2 * len(AXES)
    for result in results.values():
        values = [result["score"], *result["branch_scores"].values()]
        assert all(0 < value < 1 for value in values)
        assert result["seconds"].keys() == {"load", "preprocess", "network"}
        assert result["warnings"][0] == "Research only, not for diagnosis."
        assert "synthetic" in result["warnings"][1]
    assert len({result["score"] for result in results.values()}) >= 5, "different children, different scores"


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("case", ["sub-long01_ses-1", "sub-mni19"])
def test_a_score_does_not_depend_on_how_the_image_is_stored(
    results: dict[str, dict[str, Any]], case: str, axes: str
) -> None:
    assert results[f"{case}_{axes}"]["score"] == pytest.approx(results[case]["score"], abs=1e-4)


def test_one_pair_named_on_the_command_line(shared_dir: Path, run_bundle: Run, tmp_path: Path) -> None:
    case = real_cases(shared_dir / "mri")[0]
    options = {key: case[key] for key in ("flair", "t2w", "flair_mask", "t2w_mask")}
    run_bundle(
        "inference", "inference.json", cwd=tmp_path, output_dir=tmp_path / "out", brain_extraction="mask", **options
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "predictions.csv",
        "failures.csv",
        "sub-long01_ses-1.json",
        "sub-long01_ses-1.png",
    }
    (row,) = csv.DictReader((tmp_path / "out" / "predictions.csv").open())
    result = scores(tmp_path / "out")["sub-long01_ses-1"]
    assert row["case"] == "sub-long01_ses-1"
    assert float(row["score"]) == result["score"]
    assert row["decision"] == ("controlled" if result["score"] >= result["threshold"] else "uncontrolled")
    weights = result["fusion_weights"]
    fused = sum(weights[name] * score for name, score in result["branch_scores"].items())
    assert result["score"] == pytest.approx(fused, abs=2e-6)  # rounded to 6 digits


def test_the_default_is_hd_bet_and_without_it_the_run_ends_at_once_and_says_what_to_do(
    cohort: Path, run_bundle: Run, tmp_path: Path
) -> None:
    default = json.loads((BUNDLE / "configs" / "inference.json").read_text())["brain_extraction"]
    failed = run_bundle(
        "inference",
        "inference.json",
        check=False,
        dataset_dir=cohort,
        output_dir=tmp_path,
        brain_extraction=default,
        hd_bet_weights=tmp_path / "model",
    )
    assert default == "hd-bet" and failed.returncode != 0
    # Without the package that comes first, with it the weights: either way once, not for each of the 20 studies.
    assert failed.stderr.count("error: ") == 1
    assert "error: the package hd-bet cannot be used" in failed.stderr or "HD-BET's weights are not in" in failed.stderr
    assert "--brain_extraction bet (no weights), mask (your own masks), none" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_an_image_with_its_skull_is_refused_where_none_is_extracted(
    shared_dir: Path, run_bundle: Run, tmp_path: Path
) -> None:
    failed = run_bundle(
        "inference", "inference.json", check=False, dataset_dir=shared_dir / "mri", output_dir=tmp_path, pictures=False
    )
    assert failed.returncode == 1
    assert "3 of 5 studies failed" in failed.stderr
    assert "Traceback" not in failed.stderr
    reasons = {row["case"]: row["reason"] for row in csv.DictReader((tmp_path / "failures.csv").open())}
    assert reasons.keys() == {"sub-long01_ses-1", "sub-long04_ses-1", "sub-long12_ses-1"}
    assert all("the brain-extracted image fills" in reason for reason in reasons.values())
    assert {row["case"] for row in csv.DictReader((tmp_path / "predictions.csv").open())} == {"sub-mni07", "sub-mni19"}


def test_evaluation_of_a_bids_cohort(cohort: Path, run_bundle: Run, tmp_path: Path) -> None:
    run_bundle(
        "evaluating", "train.json", "evaluate.json", dataset_dir=cohort, output_dir=tmp_path, fractions="[0.4,0.2,0.4]",
    )  # fmt: skip
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open()))
    assert metrics.keys() >= {"fused", "flair", "t2w"}
    assert metrics["fused"]["n"] == len(rows) == 8
    assert metrics["fused"].keys() >= {"auc", "acc", "sensitivity", "specificity", "balanced_accuracy", "intervals"}
    pairs = [(float(a["score"]), float(b["score"])) for a in rows for b in rows if a["label"] > b["label"]]
    assert metrics["fused"]["auc"] == pytest.approx(sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs))
    assert (tmp_path / "roc.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_study_at_full_size_stays_under_3200_mb(shared_dir: Path, run_bundle: Run, tmp_path: Path) -> None:
    save(ETSCNet(["flair", "t2w"]).state_dict(), tmp_path / "model.pt")  # doesn't say its size: 256 x 256 x 128
    pair = {key: real_cases(shared_dir / "mri")[-1][key] for key in ("flair", "t2w")}
    run_bundle("inference", "inference.json", checkpoint=tmp_path / "model.pt", output_dir=tmp_path, **pair)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024 < 3200  # of the largest child so far: this one
