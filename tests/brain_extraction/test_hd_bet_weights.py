"""HD-BET's weights: what is said where there are none, and that a checkpoint is no program."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from scripts.brain_extraction import hd_bet
from scripts.errors import UnavailableError


def test_without_weights_the_error_says_what_to_get_and_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as missing:
        hd_bet.check_weights(tmp_path / "model")
    said = str(missing.value)
    for part in (
        "https://zenodo.org/records/14445620/files/release_v1.5.0.zip",
        str(tmp_path / "model" / "fold_all" / "checkpoint_final.pth"),
        "md5sum",
        "--hd_bet_weights",
        "bet (no weights), mask (your own masks), none",
    ):
        assert part in said
    assert not (tmp_path / "model").exists()


def test_a_checkpoint_that_would_run_something_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    (tmp_path / "fold_all").mkdir()
    for name in ("plans.json", "dataset.json"):
        (tmp_path / name).write_text("{}")
    harmless = {"weights": torch.zeros(2), "loss": np.float64(1.5), "losses": np.zeros(3)}
    torch.save(harmless, tmp_path / hd_bet.CHECKPOINT)
    assert hd_bet.check_weights(tmp_path).keys() == {"plans.json", "dataset.json", "fold_all/checkpoint_final.pth"}
    torch.save({**harmless, "evil": Evil()}, tmp_path / hd_bet.CHECKPOINT)
    with pytest.raises(UnavailableError, match=r"holds more than weights: (posix|nt)\.system"):
        hd_bet.check_weights(tmp_path)
    assert not (tmp_path / "ran").exists()
