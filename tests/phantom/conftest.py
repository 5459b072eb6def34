"""Small synthetic cohorts: the anatomical grid is 3 mm, the images' own grids are those of the scanner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from scripts.phantom.anatomy import Anatomy, load_anatomy
from scripts.phantom.cohort import make_cohort

VOXEL_MM = 3.0


@pytest.fixture(scope="session")
def anatomy() -> Anatomy:
    return load_anatomy(None, VOXEL_MM)


@pytest.fixture(scope="session")
def make_small() -> Callable[..., Path]:
    """Make a cohort of two subjects in this process; anything else is said by name."""

    def make(
        folder: Path,
        subjects: int = 2,
        *,
        preset: Literal["paper", "easy", "null"] = "paper",
        seed: int = 7,
        workers: int = 1,
    ) -> Path:
        return Path(make_cohort(folder, subjects, preset=preset, seed=seed, workers=workers, voxel_mm=VOXEL_MM))

    return make


@pytest.fixture(scope="session")
def small_cohort(make_small: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small(tmp_path_factory.mktemp("phantom") / "cohort")
