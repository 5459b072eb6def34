"""The server's page: a real pair is shown and scored, by mouse and by keyboard, and nothing leaves it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.edge.page.browsing import (
    SCORING_MS,
    assert_is_a_brain,
    card,
    choose,
    pixels,
    press_score,
    shown,
)


def test_a_real_pair_is_shown_and_scored(page: Page, real_pair: dict[str, str], tmp_path: Path) -> None:
    for modality in ("flair", "t2w"):
        choose(page, modality, real_pair[modality])
    shown(page, "flair", "t2w")
    views = [pixels(card(page, modality).locator("canvas")) for modality in ("flair", "t2w")]
    for view in views:
        assert_is_a_brain(view)
    assert np.abs(views[0] - views[1]).mean() > 2  # two images, not one twice

    answer = press_score(page)
    assert page.locator(".score").inner_text() == f"{answer['score']:.3f}"
    assert page.locator(".decision").inner_text() == answer["decision"]
    rows = [row.split() for row in page.locator(".scale tbody tr").all_inner_texts()]
    branches = [answer["branch_scores"][name] for name in ("flair", "t2w")]
    expected = zip(("Fused", "FLAIR", "T2w"), (answer["score"], *branches), strict=True)
    assert rows == [[name, f"{score:.3f}"] for name, score in expected]
    assert page.locator(".warnings li").all_inner_texts() == answer["warnings"]
    side = "at or above" if answer["decision"] == "controlled" else "below"
    assert f"{side} the threshold {answer['threshold']:.3f}" in page.locator(".rule").inner_text()
    facts = page.locator(".facts").inner_text()
    assert answer["model"]["version"] in facts and answer["model"]["sha256"][:12] in facts
    assert f"{round(answer['milliseconds']['network']):,} ms".replace(",", "\u202f") in facts

    for number, score in enumerate((answer["score"], *branches)):  # on the scale where the number is
        mark, track = (page.locator(f".scale {what}").nth(number).bounding_box() for what in (".mark", ".track"))
        assert mark is not None and track is not None
        place = (mark["x"] + mark["width"] / 2 - track["x"]) / track["width"]
        assert place == pytest.approx(score, abs=0.005)  # a pixel or two

    for path in filter(None, (str(tmp_path / "page.png"), os.environ.get("ETSCNET_SCREENSHOT"))):
        page.screenshot(path=path, full_page=True)
        assert Path(path).stat().st_size > 50_000


def test_the_policy_forbids_everything_but_the_servers_own(page: Page, server: Any) -> None:
    headers = page.request.get(f"{server.url}/").headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";") if part.strip())
    assert policy["default-src"] == "'none'"
    for name in ("script-src", "style-src", "connect-src"):
        assert policy[name] == "'self'"
    for name in ("base-uri", "frame-ancestors", "form-action"):
        assert policy[name] == "'none'"


def test_the_research_note_is_there_before_any_script_and_any_answer(
    server: Any, browser: Browser, built_page: None
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{server.url}/")
    expect(page.get_by_role("note")).to_contain_text("Research only, not for diagnosis.")
    context.close()


def test_the_result_is_saved_as_it_came(page: Page, pair: dict[str, str]) -> None:
    for modality in ("flair", "t2w"):
        choose(page, modality, pair[modality])
    answer = press_score(page)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save result (JSON)").click()
    assert waiting.value.suggested_filename == "etscnet-result.json"
    assert json.loads(waiting.value.path().read_text()) == answer


def test_the_keyboard_alone_is_enough(page: Page, pair: dict[str, str]) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.locator(f"{selector}:focus").count():
                return
        raise AssertionError(f"{selector} is not reached by the Tab key")

    for modality in ("flair", "t2w"):
        tab_to(f"[data-modality={modality}] input.image")
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files(pair[modality])
        shown(page, modality)
        tab_to(f"[data-modality={modality}] canvas")
        before, place = pixels(card(page, modality).locator("canvas")), card(page, modality).locator(".place")
        first = place.inner_text()
        for key in ("ArrowRight", "Shift+ArrowUp", "Shift+PageUp"):
            page.keyboard.press(key)
        assert place.inner_text() != first
        expect(page.locator("canvas:focus")).to_have_count(1)
        after = pixels(card(page, modality).locator("canvas"))
        assert np.abs(after - before).mean() > 1  # other slices
        tab_to(f"[data-modality={modality}] summary")
        page.keyboard.press("Enter")
        expect(card(page, modality).locator("input.mask")).to_be_visible()
        tab_to(f"[data-modality={modality}] input.mask")

    flair, t2w = (card(page, modality).locator(".place").inner_text() for modality in ("flair", "t2w"))
    assert flair.split("\u00b7")[0] == t2w.split("\u00b7")[0]  # the other crosshair follows
    tab_to("#score")
    with page.expect_response("**/v1/studies", timeout=SCORING_MS):
        page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Scored")).to_be_visible()
    assert page.locator("#score:focus").count() == 1  # it is not lost
    tab_to("#save")
    with page.expect_download():
        page.keyboard.press("Enter")


def test_masks_are_shown_and_sent(page: Page, pair: dict[str, str], tmp_path: Path) -> None:
    for modality in ("flair", "t2w"):
        choose(page, modality, pair[modality])
        image = nib.Nifti1Image.from_filename(pair[modality])
        brain = nib.Nifti1Image((np.asarray(image.dataobj) > 0).astype(np.uint8), image.affine)
        nib.save(brain, tmp_path / f"{modality}_mask.nii.gz")
    shown(page, "flair", "t2w")
    plain = pixels(card(page, "flair").locator("canvas"))
    for modality in ("flair", "t2w"):
        card(page, modality).locator("summary").click()
        card(page, modality).locator("input.mask").set_input_files(tmp_path / f"{modality}_mask.nii.gz")
    shown(page, "flair", "t2w")
    masked = pixels(card(page, "flair").locator("canvas"))
    assert np.mean(masked[..., 2] - masked[..., 0] > 30) > np.mean(plain[..., 2] - plain[..., 0] > 30) + 0.05  # cyan
    answer = press_score(page)
    assert set(answer["files"]) == {"flair", "t2w", "flair_mask", "t2w_mask"}
    card(page, "t2w").get_by_role("button", name="Remove the T2w brain mask").click()
    expect(page.locator("#result")).to_be_hidden()


def test_a_file_is_dropped_on_its_card(page: Page, pair: dict[str, str]) -> None:
    for name, taken in (("notes.txt", False), ("sub-01_FLAIR.nii.gz", True)):
        page.evaluate(
            "() => document.body.append(Object.assign(document.createElement('input'), {type: 'file', id: 'hand'}))"
        )
        content = Path(pair["flair"]).read_bytes() if taken else b"text"
        page.locator("#hand").set_input_files({"name": name, "mimeType": "application/gzip", "buffer": content})
        card(page, "flair").locator(".drop").evaluate(
            """(target) => {
                const dataTransfer = new DataTransfer();
                dataTransfer.items.add(document.getElementById("hand").files[0]);
                document.getElementById("hand").remove();
                target.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));
            }"""
        )
        if not taken:
            expect(card(page, "flair").locator(".note")).to_contain_text("notes.txt was not taken")
            expect(card(page, "flair")).to_have_attribute("data-state", "empty")
    shown(page, "flair")
    assert_is_a_brain(pixels(card(page, "flair").locator("canvas")))
    expect(page.get_by_role("status").filter(has_text="Choose the T2w image.")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_needs_no_scrolling_sideways(
    page: Page, pair: dict[str, str], scheme: Any, tmp_path: Path
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 400, "height": 800})
    for modality in ("flair", "t2w"):
        choose(page, modality, pair[modality])
    shown(page, "flair", "t2w")
    press_score(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 400
    ground = pixels(page.locator(".foot"))[0, 0].mean()
    assert ground < 60 if scheme == "dark" else ground > 200
    page.screenshot(path=str(tmp_path / f"narrow-{scheme}.png"), full_page=True)
