"""The pages are true: their commands and queries are run, their tables are generated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from documents.generated import GENERATED, ROOT, filled, pages, sections
from documents.sessions import parse, steady
from documents.stage import Stage, staged

from queries.library import load
from survey.cli import cli

PAGES = {str(page.relative_to(ROOT)): page.read_text() for page in pages()}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("pages")) as made:
        yield made


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_is_what_its_commands_print(stage: Stage, page: str) -> None:
    """`make docs` writes it anew."""
    text = PAGES[page]
    assert steady(stage.session(text).play(text)) == steady(text)


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if sections(text)])
def test_a_generated_part_is_what_the_code_makes(page: str) -> None:
    """`make docs` writes it anew."""
    assert filled(PAGES[page]) == PAGES[page]


def test_every_generated_part_stands_in_one_page() -> None:
    assert sorted(name for text in PAGES.values() for name in sections(text)) == sorted(GENERATED)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        pytest.param("survey surveil models.txt", "No such command", id="command"),
        pytest.param("survey run models.txt --fast", "No such option", id="option"),
        pytest.param("survey query --format pdf", "is not one of", id="choice"),
        pytest.param("surveil run", "what is surveil", id="program"),
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, problem: str) -> None:
    with pytest.raises(Exception, match=problem):
        parse(f"$ {command}\n", "")


def test_every_command_and_query_is_explained_by_hand() -> None:
    """The generated reference does not count: a page must say what each is for."""
    by_hand = "\n".join(text for page, text in PAGES.items() if "/reference/" not in page)
    for name in (*cli.commands, *load()):
        assert re.search(rf"survey {name}\b|survey query {name}\b|`{name}`", by_hand), name


def test_every_link_leads_somewhere() -> None:
    for page, text in PAGES.items():
        for target, _, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#([^)]*))?\)", text):
            file = (ROOT / page).parent / target if target else ROOT / page
            assert file.exists(), f"{page}: {target}"
            assert not anchor or anchor in anchors(file), f"{page}: {target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
