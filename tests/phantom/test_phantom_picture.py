"""The picture of a pair: drawn from the dataset alone, beside a real pair on demand."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import pytest

from scripts.phantom.picture import draw_pair


def test_a_synthetic_pair_is_drawn_small_enough_for_the_documents(small_cohort: Path, tmp_path: Path) -> None:
    path = Path(draw_pair(small_cohort, tmp_path / "docs" / "pair.png"))
    assert path.stat().st_size < 300_000
    assert matplotlib.image.imread(path).std() > 0.05
    assert list(path.parent.iterdir()) == [path]


def test_a_real_pair_stands_beside_it(small_cohort: Path, shared_dir: Path, tmp_path: Path) -> None:
    anat = shared_dir / "mri" / "sub-long04" / "ses-1" / "anat"
    flair, t2w = (anat / f"sub-long04_ses-1_{kind}.nii.gz" for kind in ("FLAIR", "T2w"))
    alone = matplotlib.image.imread(draw_pair(small_cohort, tmp_path / "alone.png"))
    beside = matplotlib.image.imread(draw_pair(small_cohort, tmp_path / "beside.png", real_flair=flair, real_t2w=t2w))
    assert beside.shape[1] > 1.5 * alone.shape[1]


def test_half_a_pair_and_a_missing_subject_are_refused(small_cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one image of a real pair"):
        draw_pair(small_cohort, tmp_path / "pair.png", real_flair="x.nii.gz")
    with pytest.raises(ValueError, match=r"sub-099_FLAIR\.nii\.gz: the file is not there"):
        draw_pair(small_cohort, tmp_path / "pair.png", subject="sub-099")
