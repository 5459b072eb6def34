"""Brain extraction in no time."""

from __future__ import annotations

import pytest

from scripts.brain_extraction import bet
from tests.brain_extraction.surfaces import by_threshold


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bet, "bet_mask", by_threshold)
