"""Answers as text."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import datetime

import pytest
from rich.console import Console

from catalog.read.reader import Answer
from queries.text import forms
from queries.text.forms import as_download_csv, as_markdown, as_page_json, formulas
from queries.text.render import print_table, short
from survey.errors import printable


def as_csv(answer: Answer) -> str:
    return "".join(forms.csv_text(forms.whole(answer)))


def as_terminal_csv(answer: Answer) -> str:
    return "".join(forms.terminal_csv_text(forms.whole(answer)))


def as_json(answer: Answer) -> str:
    return "".join(forms.json_text(forms.whole(answer)))


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


def test_markdown_holds_text_alone() -> None:
    texts = {
        "a|b": "a\\|b",
        "a\\|b": "a\\\\\\|b",
        "<img src=x onerror=alert(1)>": "&lt;img src=x onerror=alert(1)>",
        "[a](http://b)": "[a]\\(http://b)",
        "![a](http://b)": "![a]\\(http://b)",
        "Qwen/Qwen3_4B-Base [1]": "Qwen/Qwen3_4B-Base [1]",
    }
    answer = Answer(["a"], ["VARCHAR"], [(text,) for text in texts])
    assert as_markdown(answer).splitlines()[2:] == [f"| {written} |" for written in texts.values()]


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["a", "a", "a_1"], ["a", "a_2", "a_1"]),
        (["a", "a_1", "a"], ["a", "a_1", "a_2"]),
        (["a", "a", "a"], ["a", "a_1", "a_2"]),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_no_column_takes_the_name_of_another_in_json(names: list[str], keys: list[str]) -> None:
    answer = Answer(names, ["INTEGER"] * len(names), [tuple(range(len(names)))])
    assert json.loads(as_json(answer)) == [dict(zip(keys, range(len(names)), strict=True))]


FORMULAS = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", "\uff1d1", "\uff201"]
BEHIND_SEPARATORS = {
    "a;=1": "a;'=1",
    "a; +1": "a;' +1",
    "=1;-2": "'=1;'-2",
    "[;@a": "[;'@a",
    "a\t=1": "a\t'=1",
}


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_in_a_download_is_text(text: str) -> None:
    answer = Answer(["a"], ["VARCHAR"], [(text,)])
    written = as_download_csv(answer).partition("\n")[2].strip('"\n')
    assert written.startswith("'")
    assert written.replace("'", "") == text
    assert formulas([answer.names, *answer.rows]) == 1


@pytest.mark.parametrize(("text", "written"), BEHIND_SEPARATORS.items())
def test_a_formula_behind_a_separator_of_other_countries_is_text(text: str, written: str) -> None:
    answer = Answer(["a"], ["VARCHAR"], [(text,)])
    assert as_download_csv(answer) == f"a\n{written}\n"
    assert formulas([answer.names, *answer.rows]) == 1


@pytest.mark.parametrize("value", ["a=1", "a-b; c", "", -1, -1.5, None, [-1]])
def test_what_is_no_formula_stays_as_it_is(value: object) -> None:
    answer = Answer(["a"], ["VARCHAR"], [(value,)])
    assert as_download_csv(answer) == as_csv(answer)
    assert formulas([answer.names, *answer.rows]) == 0


@pytest.mark.parametrize(
    ("value", "written"),
    [(2**53, 2**53), (2**53 + 1, str(2**53 + 1)), (-(2**63), str(-(2**63))), ([2**64 - 1], [str(2**64 - 1)])],
)
def test_an_integer_that_a_double_cannot_hold_is_text_in_json(value: object, written: object) -> None:
    answer = Answer(["a"], ["UBIGINT"], [(value,)])
    assert json.loads(as_json(answer)) == [{"a": written}]
    assert json.loads(as_page_json(answer))["rows"] == [[written]]
