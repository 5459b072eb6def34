"""One study, four ways: the bundle with torch, `predict`, POST /v1/studies, the Open Inference Protocol: one score."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import tritonclient.http as triton
from etscnet_edge.classifier import Classifier

from tests.conftest import ROOT
from tests.edge.conftest import Server
from tests.real_mri import real_cases

MODALITIES = ("flair", "t2w")
SAME = 1e-5


def test_real_pairs_get_one_score(
    shared_dir: Path, exports: Path, server: Server, run_bundle: Callable[..., Any], tmp_path: Path
) -> None:
    cases = real_cases(shared_dir / "mri")
    (tmp_path / "datalist.json").write_text(json.dumps(cases))
    run_bundle("inference", "inference.json", datalist=tmp_path / "datalist.json", output_dir=tmp_path, pictures=False)
    with (tmp_path / "predictions.csv").open() as file:
        by_torch = {row["case"]: row for row in csv.DictReader(file)}
    assert set(by_torch) == {case["case"] for case in cases}
    with (
        Classifier(exports) as classifier,
        triton.InferenceServerClient(urlsplit(server.url).netloc) as client,
    ):
        for case in cases:
            expected = float(by_torch[case["case"]]["score"])
            files = {key: case[key] for name in MODALITIES for key in (name, f"{name}_mask") if key in case}
            form = {key: (Path(path).name, Path(path).read_bytes()) for key, path in files.items()}
            posted = requests.post(f"{server.url}/v1/studies", files=form, timeout=60).json()
            alone = classifier.predict(
                {name: files[name] for name in MODALITIES},
                {name: files[f"{name}_mask"] for name in MODALITIES if f"{name}_mask" in files},
            )
            tensor = triton.InferInput("image", list(alone.image.shape), "FP32")
            tensor.set_data_from_numpy(alone.image)
            inferred = client.infer("etscnet", [tensor])
            assert alone.score == pytest.approx(expected, abs=SAME)
            assert posted["score"] == pytest.approx(expected, abs=SAME)
            assert float(inferred.as_numpy("pred")[0, 0]) == pytest.approx(expected, abs=SAME)
            assert alone.decision == posted["decision"] == by_torch[case["case"]]["decision"]
            for name, score in zip(MODALITIES, inferred.as_numpy("branch_scores")[0], strict=True):
                assert float(score) == pytest.approx(float(by_torch[case["case"]][f"score_{name}"]), abs=SAME)


def test_the_command_gives_it_too(shared_dir: Path, exports: Path, server: Server) -> None:
    case = next(case for case in real_cases(shared_dir / "mri") if case["case"] == "sub-mni07")
    command = [sys.executable, "-m", "etscnet_edge", "predict", "--exports", str(exports)]
    command += [word for name in MODALITIES for word in (f"--{name}", case[name])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "edge")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=60)
    form = {name: (name, Path(case[name]).read_bytes()) for name in MODALITIES}
    posted = requests.post(f"{server.url}/v1/studies", files=form, timeout=60).json()
    assert json.loads(done.stdout)["score"] == pytest.approx(posted["score"], abs=1e-7)
