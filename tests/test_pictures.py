"""Pictures are written, whole, and show what they are given."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from scripts.explanation.maps import BrainMap
from scripts.pictures import case_picture, explanation_picture, learning_curves, roc_picture

RESULT: dict[str, Any] = {
    "case": "sub-01_ses-1",
    "score": 0.61,
    "branch_scores": {"flair": 0.7, "t2w": 0.4},
    "fusion_weights": {"flair": 0.6, "t2w": 0.4},
    "threshold": 0.5,
    "decision": "controlled",
    "model_version": "0.1.0+1f3a9c02",
    "warnings": ["Research only, not for diagnosis."],
}


def brain(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, (2, 32, 40, 24)).astype(np.float32)


def pixels(path: Path) -> np.ndarray:
    """(rows, columns, 4) of a PNG that was written whole, without leftovers."""
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and content[-8:-4] == b"IEND"
    return np.asarray(imread(io.BytesIO(content)))


def test_a_case_picture_shows_images_and_scores(tmp_path: Path) -> None:
    paths = [tmp_path / name / "case.png" for name in ("one", "other-image", "other-score", "same")]
    case_picture(brain(0), RESULT, path=paths[0])
    case_picture(brain(1), RESULT, path=paths[1])
    lower = copy.deepcopy(RESULT)
    lower.update(score=0.31, decision="uncontrolled")
    case_picture(brain(0), lower, path=paths[2])
    case_picture(brain(0), RESULT, path=paths[3])
    one, image, score, same = (pixels(path) for path in paths)
    assert min(one.shape[:2]) > 400 and one[..., :3].std() > 0.1  # not an empty page
    assert not np.array_equal(one, image) and not np.array_equal(one, score)
    assert np.array_equal(one, same)


def test_an_empty_image_is_drawn_all_the_same(tmp_path: Path) -> None:
    case_picture(np.zeros((2, 16, 16, 8), np.float32), RESULT, path=tmp_path / "case.png")
    assert pixels(tmp_path / "case.png").size


@pytest.mark.parametrize("modalities", [("flair",), ("flair", "t2w", "t1w")])
def test_a_case_picture_of_any_number_of_modalities(tmp_path: Path, modalities: tuple[str, ...]) -> None:
    shares = {name: 1 / len(modalities) for name in modalities}
    result = {**RESULT, "branch_scores": dict.fromkeys(modalities, 0.5), "fusion_weights": shares}
    images = np.repeat(brain(0)[:1], len(modalities), axis=0)
    case_picture(images, result, path=tmp_path / "case.png")
    assert pixels(tmp_path / "case.png")[..., :3].std() > 0.1


def brain_map(place: int | None) -> BrainMap:
    """An ellipsoid of a brain and a spot at that height, or no map."""
    x, y, z = np.meshgrid(*(np.linspace(-1.2, 1.2, edge) for edge in (32, 40, 24)), indexing="ij")
    image = np.where(x**2 + y**2 + z**2 < 1, 100 + 50 * x, 0).astype(np.float32)
    values = np.zeros_like(image)
    if place is not None:
        values[12:18, 20:26, place] = 1
    return BrainMap(values, image, np.diag([4.0, 4.0, 6.0, 1.0]), 0.5, None if place is None else (0.0, 0.0, 0.0))


def test_a_page_of_maps_shows_them_over_the_brain(tmp_path: Path) -> None:
    result = {**RESULT, "outcome": "controlled", "layers": {"flair": "layer a", "t2w": "layer b"}}
    pages = {}
    for name, places in {"one": (14, 9), "other": (14, 16), "same": (14, 9), "none": (None, None)}.items():
        maps = {modality: brain_map(place) for modality, place in zip(("flair", "t2w"), places, strict=True)}
        explanation_picture(maps, result, path=tmp_path / name / "page.png")
        pages[name] = pixels(tmp_path / name / "page.png")
    assert np.array_equal(pages["one"], pages["same"]) and not np.array_equal(pages["one"], pages["other"])
    # Without a map the brains stay grey: the colours that are left are those of the bar, the scores and the warning.
    coloured = {name: int((np.ptp(page[..., :3], axis=-1) > 0.1).sum()) for name, page in pages.items()}
    assert coloured["none"] < coloured["one"]
    one = {**result, "branch_scores": {"flair": 0.5}, "fusion_weights": {"flair": 1.0}}
    explanation_picture({"flair": brain_map(14)}, one, path=tmp_path / "single" / "page.png")
    assert pixels(tmp_path / "single" / "page.png")[..., :3].std() > 0.1


def test_roc_curves(tmp_path: Path) -> None:
    labels = np.array([0, 1] * 6)
    rng = np.random.default_rng(0)
    scores = {name: labels * 0.4 + rng.uniform(0, 0.6, 12) for name in ("fused", "flair", "t2w")}
    roc_picture(labels, scores, path=tmp_path / "one" / "roc.png")
    roc_picture(labels, {**scores, "t2w": 1 - scores["t2w"]}, path=tmp_path / "other" / "roc.png")
    one, other = pixels(tmp_path / "one" / "roc.png"), pixels(tmp_path / "other" / "roc.png")
    assert one[..., :3].std() > 0.05 and not np.array_equal(one, other)


def test_learning_curves_with_epochs_that_were_not_validated(tmp_path: Path) -> None:
    history = [
        {"epoch": 1, "train_loss": 1.4},
        {"epoch": 2, "train_loss": 1.2, "loss_flair": 0.7, "loss_t2w": 0.6, "auc_flair": 0.5, "auc_t2w": 0.8},
        {"epoch": 3, "train_loss": 1.0, "loss_flair": 0.6, "loss_t2w": 0.6, "auc_flair": 0.7, "auc_t2w": 0.8},
    ]
    learning_curves(history, ["flair", "t2w"], path=tmp_path / "one" / "training.png")
    learning_curves(history[:2], ["flair", "t2w"], path=tmp_path / "other" / "training.png")
    one, other = pixels(tmp_path / "one" / "training.png"), pixels(tmp_path / "other" / "training.png")
    assert one[..., :3].std() > 0.05 and not np.array_equal(one, other)
