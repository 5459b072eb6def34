"""Studies as forms: the score of `predict`, refusals with words, counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests
from etscnet_edge.classifier import Classifier
from prometheus_client.parser import text_string_to_metric_families

from tests.edge.asking import form, post
from tests.edge.conftest import Server


def test_a_study_is_scored_as_by_predict(server: Server, exports: Path, pair: dict[str, str]) -> None:
    with Classifier(exports) as classifier:
        expected = classifier.predict(pair).to_dict()
    said = post(server.url, form(pair)).json()
    assert set(said) == set(expected)
    for key in ("score", "branch_scores", "decision", "threshold", "warnings"):
        assert said[key] == expected[key]
    for name, path in pair.items():
        assert said["files"][name] == {"name": Path(path).name, "sha256": expected["files"][name]["sha256"]}


def test_masks_are_taken_all_or_none(server: Server, pair: dict[str, str], tmp_path: Path) -> None:
    files = form(pair)
    for name, path in pair.items():
        image = nib.Nifti1Image.from_filename(path)
        mask = tmp_path / f"{name}_mask.nii.gz"
        nib.save(nib.Nifti1Image((np.asarray(image.dataobj) > 0).astype(np.uint8), image.affine), mask)
        files[f"{name}_mask"] = (mask.name, mask.read_bytes())
    assert post(server.url, files).json()["score"] == pytest.approx(post(server.url, form(pair)).json()["score"])
    del files["t2w_mask"]
    answer = post(server.url, files)
    assert answer.status_code == 400 and "a mask for each or for none" in answer.json()["error"]


def test_a_name_is_never_a_path(server: Server, pair: dict[str, str], tmp_path: Path) -> None:
    secret = tmp_path / "secret.nii.gz"
    secret.write_bytes(b"")
    files = {name: (f"../../../{secret}", content) for name, (_, content) in form(pair).items()}
    assert post(server.url, files).status_code == 200
    nameless = {name: ("", content) for name, (_, content) in form(pair).items()}
    assert post(server.url, nameless).status_code in (200, 400)


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        (lambda pair: {"flair": form(pair)["flair"]}, 400, "expected ['flair', 't2w']"),
        (lambda pair: {**form(pair), "t1w": form(pair)["flair"]}, 400, "No multipart form (Too many files"),
        (lambda pair: {"flair": form(pair)["flair"], "t1w": form(pair)["flair"]}, 400, "The field 't1w'"),
        (lambda pair: {**form(pair), "flair": form(pair)["t2w"]}, 422, "are the same image"),
        (lambda pair: {**form(pair), "t2w": ("a.nii.gz", b"")}, 422, "the file is empty"),
        (lambda pair: {**form(pair), "t2w": ("a.nii.gz", b"PK\3\4" + b"x" * 500)}, 422, "not NIfTI"),
        (lambda pair: {**form(pair), "t2w": ("a.nii.gz", form(pair)["t2w"][1][:5000])}, 422, "cut short or damaged"),
    ],
)
def test_a_study_at_fault_is_refused_with_words(
    server: Server, pair: dict[str, str], files: Callable[[dict[str, str]], Any], status: int, words: str
) -> None:
    if "Too many" in words:
        files = lambda pair: [*form(pair).items(), *[("flair", form(pair)["flair"])] * 3]  # noqa: E731
    answer = post(server.url, files(pair))
    assert answer.status_code == status and words in answer.json()["error"]


def test_a_text_field_is_refused(server: Server, pair: dict[str, str]) -> None:
    answer = post(server.url, form(pair), data={"patient": "Jane"})
    assert answer.status_code == 400 and "expected files in" in answer.json()["error"]


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "multipart/form-data; boundary=x"])
def test_what_is_no_form_is_refused(server: Server, kind: str) -> None:
    answer = requests.post(f"{server.url}/v1/studies", data=b"{}", headers={"content-type": kind}, timeout=30)
    assert answer.status_code in (400, 415) and "expected" in answer.json()["error"]


def test_an_unknown_path_or_method_is_said(server: Server) -> None:
    assert requests.get(f"{server.url}/v1/nothing", timeout=30).status_code == 404
    answer = requests.get(f"{server.url}/v1/studies", timeout=30)
    assert answer.status_code == 405 and answer.json()["error"].startswith("GET /v1/studies")


def test_metrics_and_statistics_count_what_was_asked(start_server: Callable[..., Any], pair: dict[str, str]) -> None:
    with start_server() as server:
        for _ in range(3):
            assert post(server.url, form(pair)).status_code == 200
        assert post(server.url, {**form(pair), "t2w": ("a.nii", b"x")}).status_code == 422
        metrics = requests.get(f"{server.url}/metrics", timeout=30).text
        values = {
            (sample.name, sample.labels.get("reason")): sample.value
            for family in text_string_to_metric_families(metrics)
            for sample in family.samples
        }
        assert values["nv_inference_request_success", None] == 3
        assert values["nv_inference_request_failure", "OTHER"] == 1
        assert values["nv_inference_request_failure", "BACKEND"] == 0
        stages = ("queue", "compute_input", "compute_infer", "compute_output")
        durations = [values[f"nv_inference_{stage}_duration_us", None] for stage in stages]
        assert 0 < sum(durations) <= values["nv_inference_request_duration_us", None]
        assert values["process_resident_memory_bytes", None] > 1e7
        said = requests.get(f"{server.url}/v2/models/etscnet/stats", timeout=30).json()["model_stats"][0]
        assert said["inference_count"] == 3 and said["inference_stats"]["fail"]["count"] == 1
        assert said["inference_stats"]["compute_infer"]["ns"] > 0
