"""Answers as text."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from catalog.read import Answer
from queries.render import as_csv, as_json, as_markdown, as_page_json, short
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
