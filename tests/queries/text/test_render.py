"""Answers as text."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import datetime

import pytest
from rich.console import Console

from catalog.read.reader import Answer
from queries.text.render import (
    as_csv,
    as_download_csv,
    as_json,
    as_markdown,
    as_page_json,
    as_terminal_csv,
    formulas,
    print_table,
    short,
)
from survey.errors import printable

SHOWN = [
    (None, "·"),
    (0.30477712345, "0.304777"),
    (2e-21, "2e-21"),
    (151_936, "151936"),
    (True, "True"),
    (datetime(2026, 1, 2, 3, 4, 5, 678), "2026-01-02 03:04:05"),
    ([814, 704, 306, 228, 11, 10, 6], "[814, 704, 306, 228, 11, 10, …]"),
    ([], "[]"),
    ((1.0, 0.30477712345), "[1, 0.304777]"),
    ("Qwen", "Qwen"),
]


@pytest.mark.parametrize(("value", "text"), SHOWN, ids=[text for _, text in SHOWN])
def test_a_value_is_shown_to_a_person(value: object, text: str) -> None:
    assert short(value) == text


def test_control_and_direction_characters_are_spelled_out() -> None:
    assert printable("a\x1b[31m\u202e\nb é 中") == "a\\u001b[31m\\u202e\\u000ab é 中"


def test_an_array_of_fixed_length_is_a_list_like_others() -> None:
    answer = Answer(["a"], ["DOUBLE[2]"], [((1.0, float("nan")),)])
    assert json.loads(as_json(answer)) == [{"a": [1.0, None]}]
    assert json.loads(as_page_json(answer))["rows"] == [[[1.0, None]]]
    assert as_csv(Answer(["a"], ["DOUBLE[2]"], [((1.0, 2.0),)])) == 'a\n"[1.0, 2.0]"\n'


def test_a_name_of_a_column_ends_no_cell_of_markdown() -> None:
    answer = Answer(["a|b\n"], ["VARCHAR"], [("c|d",)])
    assert as_markdown(answer) == "| a\\|b\\u000a |\n| --- |\n| c\\|d |\n"


HOSTILE = "\x1b]0;owned\x07\x9b31m\u202eexe"


@pytest.mark.parametrize("form", [as_terminal_csv, as_json, as_markdown])
def test_what_a_terminal_obeys_is_escaped(form: Callable[[Answer], str]) -> None:
    text = form(Answer([HOSTILE], ["VARCHAR"], [(HOSTILE,), ([HOSTILE],), ({HOSTILE: HOSTILE},)]))
    assert not [char for char in text if not char.isprintable() and char != "\n"]


def test_a_table_does_not_obey_either() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    print_table(Answer([HOSTILE], ["VARCHAR"], [(HOSTILE,)]), console)
    assert all(char.isprintable() or char == "\n" for char in console.export_text())


def test_a_file_of_csv_holds_the_text_as_it_is() -> None:
    assert as_csv(Answer(["a"], ["VARCHAR"], [("=1+\x1b[2J",)])) == "a\n=1+\x1b[2J\n"


FORMULAS = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_in_a_download_is_text(text: str) -> None:
    answer = Answer(["a"], ["VARCHAR"], [(text,)])
    assert as_download_csv(answer).partition("\n")[2].lstrip('"').startswith(f"'{text}")
    assert formulas(answer) == 1


@pytest.mark.parametrize("value", ["a=1", " =1", "", -1, -1.5, None, [-1]])
def test_what_is_no_formula_stays_as_it_is(value: object) -> None:
    answer = Answer(["a"], ["VARCHAR"], [(value,)])
    assert as_download_csv(answer) == as_csv(answer)
    assert formulas(answer) == 0


@pytest.mark.parametrize(
    ("value", "written"),
    [(2**53, 2**53), (2**53 + 1, str(2**53 + 1)), (-(2**63), str(-(2**63))), ([2**64 - 1], [str(2**64 - 1)])],
)
def test_an_integer_that_a_double_cannot_hold_is_text_in_json(value: object, written: object) -> None:
    answer = Answer(["a"], ["UBIGINT"], [(value,)])
    assert json.loads(as_json(answer)) == [{"a": written}]
    assert json.loads(as_page_json(answer))["rows"] == [[written]]
