"""Pictures are drawn into PNG and SVG files, or a message says what is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import altair as alt
import pytest

from queries.drawing.picture_files import check_picture, save_picture
from survey.errors import UsageError

SQUARE = alt.Chart(alt.Data(values=[{"x": 1, "y": 2}])).mark_square().encode(x="x:Q", y="y:Q")


@pytest.mark.parametrize(
    ("name", "begins"), [("a.png", b"\x89PNG"), ("a.svg", b"<svg"), ("A.PNG", b"\x89PNG")]
)
def test_the_ending_decides_the_format(tmp_path: Path, name: str, begins: bytes) -> None:
    save_picture(SQUARE, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_more_rows_than_altair_takes_by_itself(tmp_path: Path) -> None:
    many = alt.Data(values=[{"x": number} for number in range(6000)])
    save_picture(alt.Chart(many).mark_tick().encode(x="x:Q"), tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 6000


@pytest.mark.parametrize(
    ("name", "problem"),
    [("sky.jpg", "ends in .png or .svg"), ("sky", "ends in"), ("nowhere/sky.png", "there is no folder")],
)
def test_a_name_that_cannot_be_drawn_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        check_picture(tmp_path / name)


def test_without_the_extra_its_name_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"altair and vl_convert: pip install 'centroid-survey\[plots\]'"):
        check_picture(tmp_path / "sky.png")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "sky.png").mkdir()
    with pytest.raises(UsageError, match=r"sky\.png: cannot be written"):
        save_picture(SQUARE, tmp_path / "sky.png")
