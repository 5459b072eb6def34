"""What the page makes of an answer that is no score: a refusal, a busy server, a token that is asked for, files that changed."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests.edge.page.browsing import READING_MS, card, choose, press_score, shown


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
