"""Kinematics of recorded histories, against the seed's arithmetic in float64."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from support.checkpoints import sparse_safetensors

from survey.dynamics.gaps import gaps
from survey.dynamics.history import History
from survey.dynamics.kinematics import kinematics
from survey.errors import SurveyError, UsageError
from survey.records.results import Motion

STEPS, ROWS, DIMS = 40, 12, 6
DEAD = np.array([2, 7, 8, 11], dtype=np.int64)


def deltas(seed: int = 0) -> NDArray[np.float32]:
    """Moves that fade, with a common part among the rows."""
    source = np.random.default_rng(seed)
    common = source.normal(size=DIMS)
    fading = np.exp(-np.arange(STEPS) / 5)[:, None, None]
    return (fading * (common + 0.1 * source.normal(size=(STEPS, ROWS, DIMS)))).astype(np.float32)


def history(path: Path, **tensors: NDArray[np.generic]) -> Path:
    """A file of the notebook's; each tensor can be replaced, or left out with None."""
    whole = {"recorded_steps": np.arange(STEPS), "dead_token_ids": DEAD, "deltas": deltas()}
    save_file({name: value for name, value in (whole | tensors).items() if value is not None}, path)
    return path


@dataclass
class Followed:
    motion: Motion
    tensors: Mapping[str, NDArray[np.generic]]


def follow(path: Path, **options: object) -> Followed:
    output = path.with_name("out.safetensors")
    with History(path, **{k: options.pop(k) for k in ("tensor", "holds") if k in options}) as opened:  # type: ignore[arg-type]
        return Followed(kinematics(opened, output, **options), load_file(output))  # type: ignore[arg-type]


def seeds_way(
    moves: NDArray[np.generic], start: NDArray[np.generic] | None = None
) -> dict[str, NDArray[np.float64]]:
    """The notebook's lines in float64; start: the dead rows before the first step."""
    dead = moves[:, DEAD].astype(np.float64)
    positions = np.cumsum(dead, axis=0) + (0 if start is None else start[DEAD].astype(np.float64))
    bulk = dead.mean(axis=1)
    return {
        "positions": positions,
        "centroid": positions.mean(axis=1),
        "bulk_velocity": bulk,
        "thermal_velocities": dead - bulk[:, None],
    }


def assert_close(
    result: Mapping[str, NDArray[np.generic]], expected: Mapping[str, NDArray[np.float64]]
) -> None:
    largest = np.abs(expected["positions"]).max()
    for name, values in expected.items():
        assert result[name].shape == values.shape
        assert np.abs(result[name] - values).max() <= 1e-6 * largest, name


def test_the_six_tensors_are_the_notebooks(tmp_path: Path) -> None:
    result = follow(history(tmp_path / "h"))
    assert {name: (str(v.dtype), v.shape) for name, v in result.tensors.items()} == {
        "recorded_steps": ("int64", (STEPS,)),
        "dead_token_ids": ("int64", (4,)),
        "positions": ("float32", (STEPS, 4, DIMS)),
        "centroid": ("float32", (STEPS, DIMS)),
        "bulk_velocity": ("float32", (STEPS, DIMS)),
        "thermal_velocities": ("float32", (STEPS, 4, DIMS)),
    }
    assert (result.tensors["recorded_steps"] == np.arange(STEPS)).all()
    assert (result.tensors["dead_token_ids"] == DEAD).all()
    assert_close(result.tensors, seeds_way(deltas()))
    assert result.motion.frame == "displacement"


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_floats_of_other_widths_are_read_exactly(tmp_path: Path, dtype: type) -> None:
    moves = deltas().astype(dtype)
    assert_close(follow(history(tmp_path / "h", deltas=moves)).tensors, seeds_way(moves))


def test_bf16_is_summed_without_its_rounding(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_torch

    moves = torch.from_numpy(deltas()).bfloat16()
    save_torch(
        {"recorded_steps": torch.arange(STEPS), "dead_token_ids": torch.from_numpy(DEAD), "deltas": moves},
        tmp_path / "h",
    )
    assert_close(follow(tmp_path / "h").tensors, seeds_way(moves.float().numpy()))


def test_ten_thousand_small_moves_do_not_drift(tmp_path: Path) -> None:
    """A running sum in float32 would be off by some 1e-5 here."""
    moves = (0.001 + 0.0003 * np.random.default_rng(1).normal(size=(10_000, 12, 2))).astype(np.float32)
    result = follow(history(tmp_path / "h", deltas=moves, recorded_steps=np.arange(10_000)))
    assert_close(result.tensors, seeds_way(moves))


def test_the_initial_matrix_makes_positions_absolute(tmp_path: Path) -> None:
    start = np.random.default_rng(5).normal(size=(ROWS, DIMS)).astype(np.float32)
    path = history(tmp_path / "h", initial_W=start)
    result = follow(path)
    assert_close(result.tensors, seeds_way(deltas(), start))
    expected = seeds_way(deltas(), start)
    away = np.linalg.norm(expected["positions"] - expected["centroid"][:, None], axis=-1)
    assert result.motion.frame == "absolute"
    assert result.motion.mean_radius == pytest.approx(away.mean(axis=1))
    assert result.motion.max_radius == pytest.approx(away.max(axis=1))
    assert_close(follow(path, frame="displacement").tensors, seeds_way(deltas()))


def test_a_history_of_the_matrix_itself_moves_alike(tmp_path: Path) -> None:
    start = np.random.default_rng(5).normal(size=(ROWS, DIMS)).astype(np.float32)
    weights = (start + np.cumsum(deltas().astype(np.float64), axis=0)).astype(np.float32)
    moved = follow(history(tmp_path / "h", deltas=None, W=weights))
    expected = seeds_way(np.diff(weights.astype(np.float64), axis=0), weights[0])
    later = {name: values[1:] for name, values in moved.tensors.items() if name in expected}
    assert_close(later, expected)
    assert not moved.tensors["bulk_velocity"][0].any()
    assert not moved.tensors["thermal_velocities"][0].any()
    assert moved.motion.bulk_speed[0] is None
    assert moved.motion.path_length == pytest.approx(np.linalg.norm(expected["bulk_velocity"], axis=1).sum())
    named = follow(history(tmp_path / "n", deltas=None, movie=weights), tensor="movie", holds="weights")
    assert (named.tensors["positions"] == moved.tensors["positions"]).all()


def test_the_checks_are_those_of_the_notebook(tmp_path: Path) -> None:
    motion, expected = (
        follow(history(tmp_path / "h", recorded_steps=np.arange(STEPS) * 10)).motion,
        seeds_way(deltas()),
    )
    norms = np.linalg.norm(expected["centroid"], axis=1)
    speeds = np.linalg.norm(expected["bulk_velocity"], axis=1)
    thermal = np.sqrt((np.linalg.norm(expected["thermal_velocities"], axis=2) ** 2).mean(axis=1))
    assert motion.centroid_norm == pytest.approx(norms)
    assert (motion.centroid_norm_min_step, motion.centroid_norm_max_step) == (
        norms.argmin() * 10,
        norms.argmax() * 10,
    )
    assert (motion.centroid_norm_min, motion.centroid_norm_max) == pytest.approx((norms.min(), norms.max()))
    assert motion.bulk_speed == pytest.approx(speeds)
    assert motion.thermal_rms == pytest.approx(thermal)
    assert motion.bulk_thermal_ratio == pytest.approx(speeds / thermal)
    assert motion.path_length == pytest.approx(speeds.sum())
    assert motion.displacement == pytest.approx(norms[-1])
    assert motion.straightness == pytest.approx(norms[-1] / speeds.sum())
    assert motion.thermal_sum_max is not None
    assert motion.thermal_sum_max < 1e-6


def test_a_straight_line_is_straight_and_a_circle_is_not(tmp_path: Path) -> None:
    line = np.ones((STEPS, ROWS, DIMS), np.float32)
    assert follow(history(tmp_path / "l", deltas=line)).motion.straightness == pytest.approx(1)
    angle = 2 * np.pi * np.arange(STEPS) / STEPS
    circle = np.zeros((STEPS, ROWS, DIMS), np.float32)
    circle[:, :, 0], circle[:, :, 1] = np.cos(angle)[:, None], np.sin(angle)[:, None]
    assert follow(history(tmp_path / "c", deltas=circle)).motion.straightness == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([0, 1, 2, 3], []),
        ([0, 1, 2, 4, 5], [(2, 1)]),
        ([0, 10, 20, 50, 60, 75], [(20, 2), (60, 1)]),
        ([7], []),
        ([0, 100], []),
        ([1, 10, 20], []),
    ],
    ids=["none", "one", "coarse", "a single record", "two records", "step 1 and every tenth"],
)
def test_missing_steps_are_gaps(steps: list[int], expected: list[tuple[int, int]]) -> None:
    assert [(gap.after, gap.missing) for gap in gaps(np.array(steps))] == expected


def test_a_gap_is_a_column(tmp_path: Path) -> None:
    steps = np.arange(STEPS) + (np.arange(STEPS) > 20) * 3
    motion = follow(history(tmp_path / "h", recorded_steps=steps)).motion
    assert (motion.gaps, motion.missing_steps) == ((20,), 3)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"dead_token_ids": np.array([], np.int64)}, "dead_token_ids is empty"),
        ({"dead_token_ids": np.array([3, 12])}, "runs from 3 to 12, deltas has rows 0 to 11"),
        ({"dead_token_ids": np.array([-1, 3])}, "runs from -1 to 3"),
        ({"dead_token_ids": np.array([3, 3])}, "names a row twice"),
        ({"dead_token_ids": np.array([3.0])}, "dead_token_ids is F64, expected integers"),
        ({"dead_token_ids": None}, "has no dead_token_ids"),
        ({"recorded_steps": np.arange(STEPS - 1)}, f"has {STEPS - 1} entries, deltas has {STEPS} records"),
        ({"recorded_steps": np.arange(STEPS)[::-1].copy()}, "must rise: 38 follows 39"),
        ({"recorded_steps": np.zeros((STEPS, 1), np.int64)}, r"has shape \[40, 1\], expected one dimension"),
        ({"deltas": np.zeros((STEPS, ROWS), np.float32)}, r"has shape \[40, 12\], expected \[steps, tokens"),
        ({"deltas": np.zeros((STEPS, ROWS, DIMS), np.int32)}, "deltas is I32, expected one of F64"),
        ({"deltas": None}, "expected deltas or W or weights"),
        ({"deltas": np.full((STEPS, ROWS, DIMS), np.nan, np.float32)}, "a NaN, an infinity or .* in a dead row at step 0"),
        ({"initial_W": np.full((ROWS, DIMS), np.inf, np.float32)}, "initial_W holds a NaN, an infinity or"),
        ({"deltas": np.full((STEPS, ROWS, DIMS), 3e38, np.float32)}, "a number beyond 1e30 in a dead row at step 0"),
        ({"recorded_steps": np.array([-(2**63), *range(1, STEPS)])}, "recorded_steps holds -9223372036854775808"),
        ({"recorded_steps": np.array([*range(1, STEPS), 2**63 - 1])}, "which is no step"),
        ({"initial_W": np.zeros((ROWS, 3), np.float32)}, r"initial_W has shape \[12, 3\], expected \[12, 6\]"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:30],
)  # fmt: skip
def test_a_wrong_history_is_refused_by_name(
    tmp_path: Path, wrong: dict[str, NDArray[np.generic]], says: str
) -> None:
    path = history(tmp_path / "h", **wrong)
    with pytest.raises(UsageError, match=says) as refused:
        follow(path)
    assert str(path) in str(refused.value)
    assert not list(tmp_path.glob("*out*")), "nothing is left behind"


@pytest.mark.parametrize("numbers", ["recorded_steps", "dead_token_ids"])
def test_a_sparse_history_of_billions_of_steps_or_rows_is_not_read(tmp_path: Path, numbers: str) -> None:
    counts = {"recorded_steps": 1, "dead_token_ids": 1} | {numbers: 10**9}
    layout = {name: ("I64", [count]) for name, count in counts.items()} | {"deltas": ("F32", [1, 1, 1])}
    sparse_safetensors(tmp_path / "h", layout)
    with pytest.raises(UsageError, match=rf"{numbers} has (shape \[1000000000\]|1000000000 entries)"):
        History(tmp_path / "h")


def test_a_pipe_is_no_history(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "h")
    with pytest.raises(UsageError, match="is not a regular file"):
        History(tmp_path / "h")


def test_a_nan_in_a_live_row_is_nobodys_business(tmp_path: Path) -> None:
    moves = deltas()
    moves[3, 0] = np.nan
    assert_close(follow(history(tmp_path / "h", deltas=moves)).tensors, seeds_way(moves))


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"{}" * 50, (1 << 40).to_bytes(8, "little")])
def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "h").write_bytes(content)
    with pytest.raises(SurveyError, match="h:"):
        History(tmp_path / "h")


def test_a_history_far_larger_than_memory_may_be_is_followed(tmp_path: Path) -> None:
    """A sparse file of 2.5 GB, of which 64 rows are dead, within 300 MB."""
    steps, rows, dims = 300, 4_000, 512
    path = tmp_path / "h"
    layout = {
        "deltas": ("F32", (steps, rows, dims)),
        "recorded_steps": ("I64", (steps,)),
        "dead_token_ids": ("I64", (64,)),
    }
    sparse_safetensors(path, layout)
    size = path.stat().st_size
    with path.open("r+b") as opened:
        opened.seek(size - 8 * (steps + 64))
        opened.write(np.arange(steps).tobytes() + np.arange(0, 64 * 60, 60).tobytes())
    code = (
        "import sys; from pathlib import Path\n"
        "from survey.dynamics.history import History\nfrom survey.dynamics.kinematics import kinematics\n"
        "with History(Path(sys.argv[1])) as h: kinematics(h, Path(sys.argv[2]))\n"
        # Not ru_maxrss: that begins with the memory of the process that started this one.
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, path, tmp_path / "out"], capture_output=True, text=True, check=True
    )
    assert size > 2.4e9
    assert int(ran.stdout) < 300_000
    assert load_file(tmp_path / "out")["positions"].shape == (steps, 64, dims)
