"""`survey kinematics` and `survey train` as a person meets them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Ran
from safetensors.numpy import load_file, save_file

Survey = Callable[..., Ran]


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Twelve records of nine rows that move together ever more slowly; a record is missing."""
    moves = np.exp(-np.arange(12.0))[:, None, None] * np.ones((12, 9, 4), np.float32)
    moves += 0.01 * np.random.default_rng(0).normal(size=moves.shape)
    steps = np.delete(np.arange(13), 5)
    path = tmp_path / "history.safetensors"
    tensors = {
        "recorded_steps": steps,
        "dead_token_ids": np.array([1, 4, 8]),
        "deltas": moves.astype(np.float32),
    }
    save_file(tensors | {"scalars": np.linspace(8, 7, 12, dtype=np.float32)}, path)
    return path


def test_a_history_becomes_a_file_a_row_and_a_picture(survey: Survey, history: Path, tmp_path: Path) -> None:
    ran = survey("kinematics", history, "-o", "out.safetensors", "--plot", "motion.png", "--catalog", "c")
    assert (ran.code, ran.err) == (0, "")
    assert "1 records missing, after step 4" in ran.out
    assert "straightness" in ran.out
    assert set(load_file("out.safetensors")) == {
        "recorded_steps", "dead_token_ids", "positions", "centroid", "bulk_velocity", "thermal_velocities",
    }  # fmt: skip
    assert Path("motion.png").read_bytes().startswith(b"\x89PNG")
    asked = survey(
        "sql",
        "SELECT source, gaps, len(bulk_speed), loss[1] FROM kinematics",
        "--catalog",
        "c",
        "--format",
        "csv",
    )
    assert asked.out.splitlines()[1] == f"{history},[4],12,8.0".replace("[4]", "[4]")


def test_the_same_history_again_replaces_its_row(survey: Survey, history: Path) -> None:
    for _ in range(2):
        assert survey("kinematics", history, "--catalog", "c").code == 0
    assert (
        survey("sql", "SELECT count(*) FROM kinematics", "--catalog", "c", "--format", "csv").out.split()[1]
        == "1"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.safetensors"], "nowhere.safetensors: cannot be read: No such file"),
        (["{history}", "-o", "{history}"], "that is the history itself"),
        (["{history}", "-o", "no/folder/out"], "there is no folder no/folder"),
        (["{history}", "--plot", "p.pdf"], "ends in .png or .svg"),
        (["{history}", "--frame", "absolute"], "holds no initial_W"),
        (["{history}", "--tensor", "scalars"], "say what scalars holds"),
    ],
)
def test_misuse_is_told_before_anything_is_made(
    survey: Survey, history: Path, arguments: list[str], says: str
) -> None:
    ran = survey("kinematics", *(word.format(history=history) for word in arguments), "--catalog", "c")
    assert ran.code == 2
    assert says in ran.err
    assert ran.out == ""
