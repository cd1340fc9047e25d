"""A real headless Chromium for tests of pages; it fails a test that prints to the console or asks the network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, driven by Playwright; tests are skipped if there is none, never in CI."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        reason = f"needs {NAMES[0]}: `make debian` installs it as root on Debian"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched(browser: Browser, origin: str = "file://", **options: Any) -> Iterator[Page]:
    """A page; at its end nothing may have been printed to the console or asked of another origin."""
    with browser.new_context(**options) as context:
        page = context.new_page()
        printed: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: printed.append(message.text))
        page.on("pageerror", lambda error: printed.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        yield page
        foreign = [url for url in requests if not url.startswith((origin, "data:", "blob:"))]
        assert not printed, printed
        assert not foreign, foreign
