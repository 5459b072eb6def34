"""Brain extraction inside of a run: what the transform makes, refuses and says, and what its cache goes by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.data.utils import pickle_hashing
from monai.transforms import Compose

from scripts.bids import find_cases
from scripts.brain_extraction import bet
from scripts.brain_extraction.quality import StudyQuality
from scripts.dataset import StudyDataset, TolerantLoader
from scripts.errors import InputError, RefusedMaskError, UnavailableError
from scripts.transforms import BrainExtractiond, LoadStudyd
from tests.brain_extraction.heads import write_heads
from tests.brain_extraction.surfaces import by_threshold, half

KEYS = ("flair", "t2w")


@pytest.mark.usefixtures("quick")
def test_the_transform_extracts_in_process_and_says_how(tmp_path: Path) -> None:
    write_heads(tmp_path, 1)
    (case,) = find_cases(tmp_path)
    done = BrainExtractiond(KEYS, "bet")(LoadStudyd(KEYS)(dict(case.items())))
    for key in KEYS:
        image = nib.Nifti1Image.from_filename(case[key])
        brain = by_threshold(image.get_fdata(), image.affine)
        assert np.array_equal(done[key][0].numpy(), np.where(brain, image.get_fdata(dtype=np.float32), 0))
    assert json.loads(done["extraction"])["method"] == "bet" and done["extraction_faults"] == ""


def test_the_transform_refuses_with_a_picture_or_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_heads(tmp_path, 1)
    monkeypatch.setattr(bet, "bet_mask", half)
    loaded = LoadStudyd(KEYS)(dict(find_cases(tmp_path)[0].items()))
    with pytest.raises(RefusedMaskError, match="as a brain at 72 months") as refused:
        BrainExtractiond(KEYS, "bet")(loaded)
    assert refused.value.picture.startswith(b"\x89PNG")
    done = BrainExtractiond(KEYS, "bet", mask_quality="warn")(loaded)
    assert "as a brain at 72 months" in done["extraction_faults"]
    with pytest.raises(InputError, match="mask_quality is 'skip'"):
        BrainExtractiond(KEYS, "bet", mask_quality="skip")


def test_the_cache_knows_weights_by_their_content_and_masks_whatever_the_device(tmp_path: Path) -> None:
    (tmp_path / "fold_all").mkdir()

    def key(**options: Any) -> object:
        return pickle_hashing(BrainExtractiond(KEYS, options.pop("method", "hd-bet"), **options))

    (tmp_path / "fold_all" / "checkpoint_final.pth").write_bytes(b"one")
    first = key(hd_bet_weights=tmp_path)
    assert key(hd_bet_weights=tmp_path) == first
    assert key(hd_bet_weights=tmp_path, hd_bet_mirroring=True) != first
    (tmp_path / "fold_all" / "checkpoint_final.pth").write_bytes(b"another")
    assert key(hd_bet_weights=tmp_path) != first
    assert key(method="mask", device="cpu") == key(method="mask", device="cuda:1")
    assert key(device="cuda:0") == key(device="cuda:1") != key(device="cpu")


def test_what_every_case_lacks_ends_a_run_at_once(tmp_path: Path) -> None:
    write_heads(tmp_path, 2)
    steps = Compose([LoadStudyd(KEYS), BrainExtractiond(KEYS, "hd-bet", hd_bet_weights=tmp_path / "nowhere")])
    loader = TolerantLoader(StudyDataset(find_cases(tmp_path), steps))
    with pytest.raises(UnavailableError):
        list(loader)
    with pytest.raises(UnavailableError):
        StudyDataset(find_cases(tmp_path), steps, cache_dir=tmp_path / "cache").prepare()


def test_a_verdict_is_true_or_false() -> None:
    assert StudyQuality({}, {}, ()) and not StudyQuality({}, {}, ("a fault",))
