"""The server's page in Debian's Chromium: a real pair is shown and scored, by mouse and by keyboard, and nothing leaves it.

Every test runs under the server's Content-Security-Policy. What that blocks, a script's error or a request to elsewhere fails it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Route, expect, sync_playwright

from tests.conftest import write_study
from tests.real_mri import real_cases

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "edge" / "page" / "build.py"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]  # WebGL on the processor
SCORING_MS = 120_000  # one run of the network, on whatever machine
READING_MS = 60_000  # one file into a texture, without a GPU

if CHROMIUM is None:
    pytest.skip("no Chromium here: apt-get install chromium", allow_module_level=True)


@pytest.fixture(scope="session", autouse=True)
def built_page() -> None:
    done = subprocess.run([sys.executable, str(BUILD)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(built_page: None, server: Any, browser: Browser) -> Iterator[Page]:
    """The page as served, its cards there. A complaint of the browser or a request to elsewhere fails the test at its end."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    complaints: list[str] = []
    addresses: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        answered = re.match(r"Failed to load resource: the server responded with a status of (4\d\d|503)", message.text)
        if message.type in ("error", "warning") and not answered:
            complaints.append(message.text)

    page.on("filechooser", lambda chooser: None)  # from the start: Chromium opens a real one until it has heard of this
    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    context.on("request", lambda request: addresses.append(request.url))
    page.goto(f"{server.url}/")
    expect(page.locator(".card")).to_have_count(2)
    page.screenshot()  # Chromium drops keys and clicks until a page's first frame is painted
    yield page
    context.close()
    assert not complaints
    outside = [url for url in addresses if not url.startswith((f"{server.url}/", "data:", f"blob:{server.url}/"))]
    assert addresses and not outside


@pytest.fixture(scope="session")
def real_pair(shared_dir: Path) -> dict[str, str]:
    """Brain-extracted, 1 mm."""
    return next(case for case in real_cases(shared_dir / "mri") if case["case"] == "sub-mni07")


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A synthetic one of few voxels, for what doesn't depend on the image."""
    return write_study(tmp_path_factory.mktemp("page"), "sub-01", seed=1)


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
    return waiting.value.json()


def pixels(locator: Locator) -> np.ndarray:
    """(height, width, 3) of what is on the screen."""
    return np.asarray(Image.open(BytesIO(locator.screenshot())).convert("RGB"), dtype=np.int16)


def assert_is_a_brain(view: np.ndarray) -> None:
    """Black around, many greys within: neither an empty canvas nor labels on one."""
    grey = view.max(axis=2) - view.min(axis=2) < 8
    tissue = grey & (view[..., 0] > 30) & (view[..., 0] < 230)
    assert 0.08 < tissue.mean() < 0.6
    assert len(np.unique(view[..., 0][tissue])) > 100


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


def test_a_refusal_is_shown_and_no_score_stays(page: Page, pair: dict[str, str]) -> None:
    for modality in ("flair", "t2w"):
        choose(page, modality, pair[modality])
    press_score(page)
    expect(page.locator("#result")).to_be_visible()
    choose(page, "t2w", pair["flair"])
    expect(page.locator("#result")).to_be_hidden()
    answer = press_score(page)
    expect(page.get_by_role("alert")).to_have_text(answer["error"])
    expect(page.locator("#result")).to_be_hidden()
    for modality in ("flair", "t2w"):  # the files are kept
        assert card(page, modality).locator("input.image").evaluate("input => input.files.length") == 1
    choose(page, "t2w", pair["t2w"])
    expect(page.locator("#alert")).to_be_hidden()
    press_score(page)
    expect(page.locator("#result")).to_be_visible()


def test_a_score_of_files_that_changed_meanwhile_is_not_shown(page: Page, pair: dict[str, str]) -> None:
    held: list[Route] = []
    page.route("**/v1/studies", lambda route: held.append(route))  # never answered
    for modality in ("flair", "t2w"):
        choose(page, modality, pair[modality])
    shown(page, "flair", "t2w")
    page.get_by_role("button", name="Score").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="Scoring")).to_be_visible()
    choose(page, "t2w", pair["flair"])
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    expect(page.get_by_role("status").filter(has_text="T2w is shown")).to_be_visible(timeout=READING_MS)
    assert len(held) == 1
    expect(page.locator("#result")).to_be_hidden()
    expect(page.locator("#alert")).to_be_hidden()


def test_masks_are_shown_and_sent(page: Page, shared_dir: Path) -> None:
    case = real_cases(shared_dir / "mri")[0]
    for modality in ("flair", "t2w"):
        choose(page, modality, case[modality])
    shown(page, "flair", "t2w")
    plain = pixels(card(page, "flair").locator("canvas"))
    for modality in ("flair", "t2w"):
        card(page, modality).locator("summary").click()
        card(page, modality).locator("input.mask").set_input_files(case[f"{modality}_mask"])
    shown(page, "flair", "t2w")
    masked = pixels(card(page, "flair").locator("canvas"))
    assert np.mean(masked[..., 2] - masked[..., 0] > 30) > np.mean(plain[..., 2] - plain[..., 0] > 30) + 0.05  # cyan
    answer = press_score(page)
    assert set(answer["files"]) == {"flair", "t2w", "flair_mask", "t2w_mask"}
    card(page, "t2w").get_by_role("button", name="Remove the T2w brain mask").click()
    expect(page.locator("#result")).to_be_hidden()


def test_a_file_is_dropped_on_its_card(page: Page, real_pair: dict[str, str]) -> None:
    for name, taken in (("notes.txt", False), ("sub-mni07_FLAIR.nii.gz", True)):
        page.evaluate(
            "() => document.body.append(Object.assign(document.createElement('input'), {type: 'file', id: 'hand'}))"
        )
        content = Path(real_pair["flair"]).read_bytes() if taken else b"text"
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


def test_a_busy_server_says_when_to_try_again(page: Page, pair: dict[str, str]) -> None:
    busy = {"status": 503, "headers": {"Retry-After": "7"}, "json": {"error": "one study is being scored"}}
    page.route("**/v1/studies", lambda route: route.fulfill(**busy), times=1)
    for modality in ("flair", "t2w"):
        choose(page, modality, pair[modality])
    press_score(page)
    expect(page.get_by_role("alert")).to_contain_text("busy")
    expect(page.get_by_role("alert")).to_contain_text("one study is being scored")
    expect(page.get_by_role("alert")).to_contain_text("in 7 s")
    press_score(page)
    expect(page.locator("#result")).to_be_visible()
    expect(page.locator("#alert")).to_be_hidden()


def test_a_server_that_still_loads_its_model_is_waited_for(page: Page) -> None:
    busy = {"status": 503, "headers": {"Retry-After": "1"}, "json": {"error": "The model is being loaded."}}
    page.route("**/v2/models/etscnet", lambda route: route.fulfill(**busy), times=1)
    page.reload()
    expect(page.get_by_role("status").filter(has_text="The model is being loaded.")).to_be_visible()
    expect(page.locator(".card")).to_have_count(2)
    expect(page.locator("#alert")).to_be_hidden()


def test_a_token_is_asked_for_sent_and_not_stored(page: Page, pair: dict[str, str]) -> None:
    sent: list[str | None] = []

    def guard(route: Route) -> None:
        given = route.request.headers.get("authorization")
        sent.append(given)
        if given == "Bearer let-me-in":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": "no valid token"})

    page.route(re.compile("/v[12]/"), guard)
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("wants an access token")
    expect(page.get_by_label("Access token")).to_be_focused()
    for token, accepted in (("wrong", False), ("let-me-in", True)):
        page.get_by_label("Access token").fill(token)
        page.keyboard.press("Enter")
        if not accepted:
            expect(page.get_by_role("alert")).to_contain_text("did not accept")
    expect(page.locator("#alert")).to_be_hidden()
    expect(page.get_by_label("Access token")).to_be_hidden()
    for modality in ("flair", "t2w"):
        choose(page, modality, pair[modality])
    press_score(page)
    expect(page.locator("#result")).to_be_visible()
    assert sent == [None, "Bearer wrong", "Bearer let-me-in", "Bearer let-me-in"]
    assert page.evaluate("() => [localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


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


def test_a_page_of_the_same_sources_is_not_built_again(built_page: None) -> None:
    index = ROOT / "edge" / "etscnet_edge" / "page" / "index.html"
    before = index.stat().st_mtime_ns
    done = subprocess.run([sys.executable, str(BUILD)], capture_output=True, text=True, env={"PATH": ""}, check=True)
    assert "up to date" in done.stdout and index.stat().st_mtime_ns == before


def test_the_bundle_is_pinned_by_hashes_and_carries_its_licences() -> None:
    lock = json.loads((BUILD.parent / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert "node_modules/@niivue/niivue" in packages
    for entry in packages.values():
        assert entry["resolved"].startswith("https://registry.npmjs.org/") and entry["integrity"].startswith("sha512-")
    licences = (ROOT / "edge" / "etscnet_edge" / "page" / "LICENSES.txt").read_text()
    for name in ("@niivue/niivue", "nifti-reader-js", "gl-matrix", "fflate", "Roboto"):
        assert name in licences
