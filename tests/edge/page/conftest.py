"""The page as built and served, in Debian's Chromium.

Every test runs under the server's Content-Security-Policy. What that blocks, a script's error or a request to elsewhere fails it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.conftest import write_study
from tests.edge.page.browsing import BUILD, CHROMIUM
from tests.real_mri import real_cases

FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]  # WebGL on the processor


@pytest.fixture(scope="session", autouse=True)
def built_page() -> None:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
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
