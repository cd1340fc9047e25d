"""Answers as text."""

from __future__ import annotations

from datetime import datetime

import pytest

from queries.render import short
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
    ("Qwen", "Qwen"),
]


@pytest.mark.parametrize(("value", "text"), SHOWN, ids=[text for _, text in SHOWN])
def test_a_value_is_shown_to_a_person(value: object, text: str) -> None:
    assert short(value) == text


def test_control_and_direction_characters_are_spelled_out() -> None:
    assert printable("a\x1b[31m\u202e\nb é 中") == "a\\u001b[31m\\u202e\\u000ab é 中"
