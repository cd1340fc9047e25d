"""What the named queries say of a catalog whose models are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Ran

from jobs.demo.show import prepared

Survey = Callable[..., Ran]
Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's catalog, measured serially."""
    from survey.cli import main

    folder = tmp_path_factory.mktemp("demo")
    with prepared(folder) as (endpoint, _):
        assert main(["run", str(folder / "models.txt"), "--catalog", str(folder / "c"), "--endpoint", endpoint, "--executor", "serial"]) == 0  # fmt: skip
    return folder / "c"


@pytest.fixture
def ask(survey: Survey, demo: Path) -> Ask:
    def run(name: str, **params: str) -> list[dict[str, Any]]:
        given = [f"--param={key}={value}" for key, value in params.items()]
        ran = survey("query", name, *given, "--catalog", demo, "--format", "json")
        assert ran.code == 0, ran.err
        found: list[dict[str, Any]] = json.loads(ran.out)
        return found

    return run


def test_families_compares_them(ask: Ask) -> None:
    found = {row["family"]: row for row in ask("families")}
    assert {name: row["models"] for name, row in found.items()} == {
        "Qwen": 3,
        "GPT-2": 1,
        "Gemma": 1,
        "Llama": 1,
        "Mistral": 1,
    }
    assert found["Qwen"]["share_with_black_holes"] == 1
    assert found["Qwen"]["median_angle_deg"] == pytest.approx(26.6, abs=0.05)
    assert found["Llama"]["median_angle_deg"] is None
    assert found["Llama"]["median_centroid_ratio"] == pytest.approx(0.3836, abs=1e-4)


def test_black_holes_ranks_by_dead_rows(ask: Ask) -> None:
    found = ask("black_holes", min_dead="100")
    assert [(row["repo"], row["black_hole_count"], row["dead_count"]) for row in found] == [
        ("demo/Qwen3-mini-Instruct", 13, 253),
        ("demo/Qwen3-mini-Base", 62, 221),
        ("demo/Qwen2.5-mini-Instruct", 60, 220),
    ]


def test_off_centre_ranks_by_ratio(ask: Ask) -> None:
    ratios = [row["centroid_ratio"] for row in ask("off_centre")]
    assert len(ratios) == 7
    assert ratios == sorted(ratios, reverse=True)


def test_angles_leaves_out_models_without_dead_rows(ask: Ask) -> None:
    assert [row["repo"].split("/")[1] for row in ask("angles")] == [
        "Gemma-3-mini-it", "Qwen3-mini-Base", "Qwen3-mini-Instruct", "Qwen2.5-mini-Instruct",
    ]  # fmt: skip


def test_compare_sets_two_models_side_by_side(ask: Ask) -> None:
    found = {
        row["column"]: row
        for row in ask("compare", a="demo/Qwen3-mini-Base", b="demo/Qwen3-mini-Instruct@main")
    }
    assert list(found)[:3] == ["repo", "revision", "sha"]  # in the table's own order
    assert (found["black_hole_count"]["a"], found["black_hole_count"]["b"]) == ("62", "13")
    assert found["black_hole_count"]["b_minus_a"] == -49
    assert found["family"]["b_minus_a"] is None


def test_failures_lists_what_failed_last_and_not_what_was_mended(
    survey: Survey, checkpoint: Callable[..., Path]
) -> None:
    mended, broken = checkpoint("mended"), checkpoint("broken")
    config = (mended / "config.json").read_bytes()
    for folder in (mended, broken):
        (folder / "config.json").unlink()
    survey("run", mended, broken, "--catalog", "c", "--executor", "serial")
    (mended / "config.json").write_bytes(config)
    survey("run", mended, broken, "--catalog", "c", "--executor", "serial")
    found = json.loads(survey("query", "failures", "--catalog", "c", "--format", "json").out)
    assert [(row["repo"], row["reason"]) for row in found] == [(str(broken), "no-config")]
