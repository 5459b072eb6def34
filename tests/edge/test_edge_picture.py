"""The PNG of one study: what it shows and where left is."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from etscnet_edge.classifier import Classifier
from etscnet_edge.picture import CELL, MARGIN, draw
from etscnet_edge.prediction import Prediction
from PIL import Image

from tests.conftest import ROOT, write_study


@pytest.fixture(scope="module")
def prediction(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Prediction:
    with Classifier(exports) as classifier:
        return classifier.predict(write_study(tmp_path_factory.mktemp("picture"), "sub-01", seed=1))


def pixels(prediction: Prediction) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(draw(prediction))).convert("RGB"))


def test_left_is_on_the_left_and_the_front_is_up(prediction: Prediction) -> None:
    image = np.zeros_like(prediction.image)
    image[0, 0, : image.shape[2] // 4, -image.shape[3] // 4 :] = 1.0  # RAS: the left, front corner
    page = pixels(replace(prediction, image=image))
    first = page[176 : 176 + CELL, MARGIN : MARGIN + CELL, 0]
    assert first[: CELL // 5, : CELL // 5].min() == 255 and first[CELL // 3 :].max() == 0


def test_the_bar_ends_at_the_score(prediction: Prediction) -> None:
    blue = (0x2F, 0x6F, 0x9F)
    lengths = []
    for score in (0.25, 0.75):
        page = pixels(replace(prediction, score=score, branch_scores=dict.fromkeys(prediction.branch_scores, 0.0)))
        lengths.append(int((page == blue).all(axis=2).sum(axis=1).max()))
    assert lengths[1] == pytest.approx(3 * lengths[0], abs=6)


def test_the_command_writes_it_whole(exports: Path, tmp_path: Path) -> None:
    paths = write_study(tmp_path, "sub-01", seed=1)
    command = [sys.executable, "-m", "etscnet_edge", "predict", "--exports", str(exports)]
    command += ["--flair", paths["flair"], "--t2w", paths["t2w"], "--picture", str(tmp_path / "new" / "study.png")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "edge")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert json.loads(done.stdout)["score"] > 0
    assert Image.open(tmp_path / "new" / "study.png").size[0] == 1200
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["study.png"]
