"""`survey report`: one page that works from disk, looked at with a real browser."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, Page, expect
from support.big_catalog import multiplied
from support.browser import chromium, watched
from support.commands import Ran
from support.little_models import LITTLE, little

from jobs.demo.checkpoints import write
from jobs.demo.demo_hub import demo_hub
from queries.drawing.chart_page import in_script

Survey = Callable[..., Ran]
POINTS = "[data-chart=scatter] svg g.mark-symbol.role-mark path"
READY = "html[data-ready=yes]"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's models, one that is refused, and one whose branch moved."""
    from survey.cli import main

    folder = tmp_path_factory.mktemp("report")
    with demo_hub(folder) as (endpoint, _):
        common = ["--catalog", str(folder / "c"), "--endpoint", endpoint, "--executor", "serial"]
        assert main(["run", str(folder / "models.txt"), "demo/none", "--spectrum", "on", *common]) == 1
    return folder / "c"


@pytest.fixture(scope="module")
def written(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from survey.cli import main

    path = tmp_path_factory.mktemp("page") / "report.html"
    assert main(["report", "-o", str(path), "--catalog", str(catalog)]) == 0
    return path


@pytest.fixture
def page(browser: Browser, written: Path) -> Iterator[Page]:
    with watched(browser) as opened:
        opened.goto(written.as_uri())
        opened.wait_for_selector(READY)
        yield opened


def column(page: Page, table: str, name: str) -> list[str]:
    """The texts of one column of a table, as shown."""
    table_rows = page.locator(f"[data-table={table}]")
    names = table_rows.locator("th").all_inner_texts()
    return [row.split("\t")[names.index(name)] for row in table_rows.locator("tbody tr").all_inner_texts()]


def test_every_chart_is_drawn_and_nothing_is_asked_of_anybody(page: Page) -> None:
    expect(page.locator("[data-chart] svg")).to_have_count(5)
    expect(page.locator(".problem:visible")).to_have_count(0)
    expect(page.locator(POINTS)).to_have_count(6)


def test_every_chart_says_in_words_what_it_shows(page: Page) -> None:
    for figure in page.locator("figure").all():
        assert figure.get_attribute("role") == "img"
        assert len(figure.get_attribute("aria-label") or "") > 40
        assert figure.locator("svg").get_attribute("aria-hidden") == "true"
    assert page.locator("html").get_attribute("lang") == "en"


def test_a_model_and_its_quantisations_are_one_tick_of_its_family(page: Page, catalog: Path) -> None:
    figure = page.locator("figure", has=page.locator("[data-chart=families]"))
    expect(figure.locator("svg .mark-rule.role-mark path, svg .mark-rect.role-mark path")).to_have_count(7)
    expect(figure.locator("figcaption")).to_contain_text("2 copies and quantisations are left out")


def test_tables_hold_what_the_queries_say(page: Page, survey: Survey, catalog: Path) -> None:
    families = json.loads(survey("query", "families", "--catalog", catalog, "--format", "json").out)
    assert column(page, "families", "family") == [row["family"] for row in families]
    assert column(page, "families", "median_angle_deg")[0] == f"{families[0]['median_angle_deg']:.5g}"
    assert len(column(page, "models", "repo")) == 9
    assert column(page, "refusals", "reason") == ["not-found"]
    assert "centroid" in column(page, "versions", "measure")


def test_tables_are_sorted_by_a_click_or_a_key(page: Page) -> None:
    button = page.locator("[data-table=models] th button", has_text="dead_count")
    button.click()
    dead = [int(text.replace(",", "")) for text in column(page, "models", "dead_count")]
    assert dead == sorted(dead, reverse=True)
    assert dead[0] == 253
    button.press("Enter")
    assert column(page, "models", "dead_count")[0] == "0"
    header = page.locator("[data-table=models] th", has_text="dead_count")
    assert header.get_attribute("aria-sort") == "ascending"


def test_what_is_not_known_is_sorted_last(page: Page) -> None:
    button = page.locator("[data-table=models] th button", has_text="dead_live_angle_deg")
    for _ in range(2):
        button.click()
        assert column(page, "models", "dead_live_angle_deg")[-3:] == ["·"] * 3


def test_tables_are_filtered_by_words(page: Page) -> None:
    page.locator("[data-table=models] input").fill("qwen bf16")
    assert len(column(page, "models", "repo")) == 3
    assert page.locator("[data-table=models] [role=status]").inner_text() == "3 of 9"
    page.locator("[data-table=models] input").fill("nothing like it")
    assert column(page, "models", "repo") == []


def test_a_model_in_the_table_leads_to_its_card(page: Page) -> None:
    page.locator("[data-table=models]").get_by_role(
        "link", name="demo/Qwen3-mini-Instruct", exact=True
    ).click()
    card = page.locator("#card")
    expect(card.locator("h3")).to_have_text("demo/Qwen3-mini-Instruct")
    expect(card.locator("figure svg")).to_have_count(3)
    facts = dict(zip(card.locator("dt").all_inner_texts(), card.locator("dd").all_inner_texts(), strict=True))
    assert facts["dead_count"] == "253"
    assert card.locator("tbody tr").count() == 8
    assert "and 5 smaller ones" in card.inner_text()


def test_a_card_shows_the_spectrum_beside_its_familys(page: Page) -> None:
    page.locator("#pick").select_option(label="demo/Qwen3-mini-Instruct")
    figure = page.locator("#card figure", has_text="Singular values")
    expect(figure.locator("svg .mark-line path[aria-roledescription='line mark']")).to_have_count(3)
    for name in ("median of 3 Qwen", "all rows", "live rows"):
        expect(figure.locator("svg .role-legend text", has_text=name)).to_have_count(1)
    page.locator("#pick").select_option(label="demo/gpt2-mini")  # no row is dead
    expect(figure.locator("svg .mark-line path[aria-roledescription='line mark']")).to_have_count(2)


def test_the_scatter_shows_other_figures_if_they_are_chosen(page: Page) -> None:
    section = page.locator("section[aria-labelledby=scatter]")
    across, up = section.locator("select").all()
    said = section.locator("figcaption").inner_text()
    across.select_option(label="effective rank / hidden size")
    up.select_option(label="centroid length / mean row length")
    expect(section.locator("figcaption")).to_contain_text(
        "Models by effective rank / hidden size and centroid"
    )
    expect(page.locator(POINTS)).to_have_count(9)
    across.select_option(label="centroid length / mean row length")
    up.select_option(label="angle between dead and live centroid, degrees")
    expect(section.locator("figcaption")).to_have_text(said)
    expect(page.locator(POINTS)).to_have_count(6)


def test_a_model_in_a_chart_leads_to_its_card(page: Page) -> None:
    page.locator(POINTS).first.click()
    assert re.fullmatch(r".*#card-\d+", page.url)
    number = int(page.url.rpartition("-")[2])
    assert page.locator("#card h3").inner_text() == page.locator("#pick option").nth(number).inner_text()


def test_a_card_can_be_chosen_and_linked_to(page: Page, browser: Browser, written: Path) -> None:
    page.locator("#pick").select_option(label="demo/gpt2-mini")
    expect(page.locator("#card h3")).to_have_text("demo/gpt2-mini")
    with watched(browser) as other:
        other.goto(page.url)
        expect(other.locator("#card h3")).to_have_text("demo/gpt2-mini")


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(browser: Browser, written: Path, colours: str) -> None:
    with watched(browser, color_scheme=colours) as page:
        page.goto(written.as_uri())
        page.wait_for_selector("[data-chart=scatter] svg text")
        paper, ink, axis = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,"
            " getComputedStyle(document.querySelector('[data-chart=scatter] svg text')).fill]"
        )
        assert contrast(paper, ink) > 7
        assert contrast(paper, axis) > 7


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.1 between two rgb() colours."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_a_phone_scrolls_only_down(browser: Browser, written: Path) -> None:
    with watched(browser, viewport={"width": 360, "height": 740}) as page:
        page.goto(written.as_uri())
        page.wait_for_selector(READY)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def test_names_of_others_are_text_and_nothing_else(survey: Survey, browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "<img src=x onerror=alert(3)> & \"'`{{7*7}}"
    write(little("org/model", cloud=LITTLE), folder)
    assert survey("run", f"./{folder.name}", "--catalog", "c", "--executor", "serial").code == 0
    assert survey("report", "-o", "r.html", "--catalog", "c", "--title", HOSTILE).code == 0
    with watched(browser) as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        page.goto((tmp_path / "r.html").as_uri())
        page.wait_for_selector(READY)
        assert page.locator("h1").inner_text() == HOSTILE
        assert column(page, "models", "repo") == [str(folder)]
        assert page.locator("#card h3").inner_text() == str(folder)
        page.locator(POINTS).first.hover()
        expect(page.locator("#vg-tooltip-element")).to_contain_text("<img")
        assert page.locator("script").count() == 3


@pytest.mark.parametrize(
    "text",
    ["a\u2028b", "a\u2029b", "\u202eab", '{"signal": "alert(1)"}', "datum.x'];alert(1)//", "__proto__"],
)
def test_no_name_of_others_keeps_a_chart_from_being_drawn(
    survey: Survey, browser: Browser, catalog: Path, tmp_path: Path, text: str
) -> None:
    shutil.copytree(catalog, tmp_path / "c")
    path = min((tmp_path / "c/rows").glob("*gpt2*"))
    table = pq.read_table(path)
    for name in ("repo", "family"):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(name), pa.array([text]))
    pq.write_table(table, path)
    assert survey("report", "-o", "r.html", "--catalog", "c").code == 0
    with watched(browser) as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        page.goto((tmp_path / "r.html").as_uri())
        page.wait_for_selector(READY)
        expect(page.locator("[data-chart] svg, [data-chart] .problem")).to_have_count(5)
        expect(page.locator(".problem:visible")).to_have_count(0)


def test_data_cannot_end_the_script_that_holds_them() -> None:
    text = "</script><!--<script>\u2028&"
    script = in_script({"name": text})
    assert not set("<>&\u2028") & set(script)
    assert json.loads(script) == {"name": text}


def test_an_empty_catalog_has_a_page_too(survey: Survey, browser: Browser, tmp_path: Path) -> None:
    Path("c").mkdir()
    assert survey("report", "-o", "r.html", "--catalog", "c").code == 0
    with watched(browser) as page:
        page.goto((tmp_path / "r.html").as_uri())
        page.wait_for_selector(READY)
        assert "Nothing has been measured yet." in page.inner_text("header")


def test_two_thousand_models_fit_into_5_mb_and_open_in_two_seconds(survey: Survey, catalog: Path, browser: Browser, tmp_path: Path) -> None:  # fmt: skip
    multiplied(catalog, tmp_path / "many", 2000)
    assert survey("report", "-o", "r.html", "--catalog", "many").code == 0
    page_bytes = (tmp_path / "r.html").stat().st_size
    assert page_bytes < 5_000_000
    with watched(browser) as page:
        began = time.monotonic()
        page.goto((tmp_path / "r.html").as_uri())
        page.wait_for_selector(READY)
        page.wait_for_selector("[data-chart=scatter] svg")
        assert time.monotonic() - began < 20  # two seconds on a quiet machine: tests.bench.report measures it
        assert page.locator("#pick option").count() == 2000
        assert page.locator("[data-table=models] tbody tr").count() == 200
        page.locator("[data-table=models] button", has_text="Show all").click()
        assert page.locator("[data-table=models] tbody tr").count() == 2000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "nowhere/r.html"], "there is no folder nowhere"),
        (["-o", "r.html", "--catalog", "none"], "no catalog at"),
        ([], "Missing option '-o'"),
    ],
)
def test_what_cannot_be_written_is_named_first(survey: Survey, arguments: list[str], message: str) -> None:
    ran = survey("report", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
