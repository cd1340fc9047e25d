"""The summary of a plan and of a run, on terminals of every width and in pipes."""

from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from jobs.planning.plan import Plan
from jobs.run.summary import print_plan
from survey.records.target import ModelRef, Refusal

FACTS = [
    "org/a-model-with-a-long-name-Instruct-2507@refs/pr/1", "0123456789",
    "language_model.model.embed_tokens.weight", "model-00001-of-00003.safetensors",
    "BF16", "151,936 × 2,560", "777.9 MB", "8.0 GB", "1.2 GB",
]  # fmt: skip


def _target(**of: Any) -> Any:  # what is printed of a Target
    return SimpleNamespace(
        identity=SimpleNamespace(
            repo=FACTS[0].partition("@")[0], revision="refs/pr/1", sha="0123456789" * 4, stored_as="BF16"
        ),
        spec=SimpleNamespace(
            name=FACTS[2], file=FACTS[3], dtype="BF16", shape=(151_936, 2_560), bytes=range(777_912_320)
        ),
        repo_bytes=8_000_000_000,
        memory_bytes=1_200_000_000,
        **{"key": ("org", "sha", "output"), "folder": None, "part": None, **of},
    )


def _printed(plan: Plan, width: int, *, terminal: bool = True) -> str:
    out = StringIO()
    print_plan(plan, Console(file=out, width=width, force_terminal=terminal, color_system=None))
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_narrow_plan_folds_nothing_and_leaves_nothing_out(width: int) -> None:
    shown = _printed(Plan([_target(), _target()], [], [], {}), width)
    targets = " ".join(shown.partition("2 to measure")[0].split())
    for fact in FACTS:
        assert targets.count(fact) == 2, f"{fact} is folded or left out:\n{shown}"
    assert max(map(len, shown.splitlines())) <= width


@pytest.mark.parametrize(
    ("targets", "whole"),
    [
        ([{"key": ("a/b", "s", "output")}, {"key": ("a/b", "s", "input")}], "8.0 GB"),
        ([{"key": ("a/b:Q4_0", "s", "output"), "part": "Q4_0"}, {"key": ("a/b:Q8_0", "s", "output"), "part": "Q8_0"}], "8.0 GB"),
        ([{"key": ("/a:Q4_0", "x", "output"), "part": "Q4_0", "folder": Path("/a")}, {"key": ("/a", "y", "output"), "folder": Path("/a")}], "8.0 GB"),
        ([{"key": ("a/b", "s", "output")}, {"key": ("a/b", "t", "output")}], "16.0 GB"),
        ([{"key": ("a/b", "s", "output")}, {"key": ("a/c", "s", "output")}], "16.0 GB"),
    ],
    ids=["both matrices", "quantisations", "parts of a folder", "two commits", "two models"],
)  # fmt: skip
def test_a_repository_counts_once(targets: list[dict[str, Any]], whole: str) -> None:
    shown = _printed(Plan([_target(**of) for of in targets], [], [], {}), 400, terminal=False)
    assert f"of {whole} in their repositories" in shown


def test_a_plan_is_a_table_if_it_fits() -> None:
    head, row, *_ = _printed(Plan([_target()], [], [], {}), 400, terminal=False).splitlines()
    assert (head.split()[0], [fact for fact in FACTS if fact not in row]) == ("model", [])


def test_every_line_below_a_refused_name_is_indented() -> None:
    problem = "org/name: " + "what was found is not what was expected, and this is told at length " * 3
    plan = Plan([], [], [Refusal(ModelRef("org/name"), "output", "split-head", problem)], {})
    name, *below = _printed(plan, 60).splitlines()
    assert (name, len(below) > 4) == ("org/name  split-head", True)
    assert all(line.startswith("    ") and len(line) <= 60 for line in below)


def test_off_a_terminal_a_message_is_one_line() -> None:
    problem = "what was found " * 60
    plan = Plan([], [], [Refusal(ModelRef("org/name"), "output", "split-head", problem)], {})
    assert len(_printed(plan, 60, terminal=False).splitlines()) == 3
