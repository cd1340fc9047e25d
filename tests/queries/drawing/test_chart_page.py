"""A chart as a page: foreign texts in it stay text, even if they look like markup or script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import altair as alt
import pytest
from playwright.sync_api import Browser, expect
from support.browser import chromium, watched

from queries.drawing.picture_files import save_picture
from queries.drawing.theme import chart_data

TEXTS = {
    "the end of the script": "</script><script>alert(1)</script>",
    "the end of the script, in capitals and with a space": "</SCRIPT ><script>alert(1)</script>",
    "the beginning of a comment with a script": "<!--<script>",
    "a section of XML": "]]><script>alert(1)</script>",
    "a picture": "<img src=http://e.invalid/x onerror=alert(1)>",
    "an entity": "&lt;script&gt;",
    "the end of a string": '"};alert(1);//\\',
    "a template": "${alert(1)} {{7*7}} {0}",
    "plain text": "org/model@main, output",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_text_of_a_chart_is_markup_or_script(browser: Browser, tmp_path: Path, text: str) -> None:
    data = chart_data([{"x": 1, "name": text}])
    chart = alt.Chart(data, title=text).mark_square(size=400).encode(x="x:Q", tooltip="name:N")
    save_picture(chart, tmp_path / "chart.html")
    with watched(browser) as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        page.goto((tmp_path / "chart.html").as_uri())
        expect(page.locator("#chart svg text", has_text=text)).to_have_count(1)
        assert page.locator("script").count() == 3
        page.locator("#chart svg g.mark-symbol path").hover()
        expect(page.locator("#vg-tooltip-element")).to_contain_text(text)
        assert page.locator("img").count() == 0


def test_a_page_with_a_chart_may_ask_nobody(tmp_path: Path) -> None:
    save_picture(alt.Chart(chart_data([{"x": 1}])).mark_tick().encode(x="x:Q"), tmp_path / "chart.html")
    page = (tmp_path / "chart.html").read_text()
    assert "default-src 'none'" in page
    assert "http://" not in page.split("<script>")[0]
