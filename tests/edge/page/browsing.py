"""What a person does on the server's page, and what is to be seen there."""

from __future__ import annotations

import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.conftest import ROOT

BUILD = ROOT / "edge" / "page" / "build.py"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCORING_MS = 120_000  # one run of the network, on whatever machine
READING_MS = 60_000  # one file into a texture, without a GPU


def card(page: Page, modality: str) -> Locator:
    return page.locator(f".card[data-modality={modality}]")


def choose(page: Page, modality: str, file: str | Path) -> None:
    card(page, modality).locator("input.image").set_input_files(file)


def shown(page: Page, *modalities: str) -> None:
    for modality in modalities:
        expect(card(page, modality)).to_have_attribute("data-state", "shown", timeout=READING_MS)


def press_score(page: Page) -> dict[str, Any]:
    """The server's answer to the pressed button, once the page shows what came of it."""
    with page.expect_response("**/v1/studies", timeout=SCORING_MS) as waiting:
        page.get_by_role("button", name="Score").click()
    expect(page.locator("#result:visible, #alert:visible")).to_be_visible()
    answer: dict[str, Any] = waiting.value.json()
    return answer


def pixels(locator: Locator) -> np.ndarray:
    """(height, width, 3) of what is on the screen."""
    return np.asarray(Image.open(BytesIO(locator.screenshot())).convert("RGB"), dtype=np.int16)


def assert_is_a_brain(view: np.ndarray) -> None:
    """Black around, many greys within: neither an empty canvas nor labels on one."""
    grey = view.max(axis=2) - view.min(axis=2) < 8
    tissue = grey & (view[..., 0] > 30) & (view[..., 0] < 230)
    assert 0.08 < tissue.mean() < 0.6
    assert len(np.unique(view[..., 0][tissue])) > 100
