"""Training runs: the notebooks' figures at step 1, the file that a run leaves, and a killed run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file

from survey.dynamics.config import SETUPS, Training, training
from survey.dynamics.corpus import corpus_of
from survey.dynamics.figures import figures_of
from survey.dynamics.history import History
from survey.dynamics.kinematics import kinematics
from survey.dynamics.scalars import SCALARS, coherence
from survey.dynamics.training import history_bytes, train_model
from survey.errors import UsageError

LITTLE = {
    "layers": 1,
    "dim": 16,
    "ff": 32,
    "vocabulary": 60,
    "dead": 20,
    "batch": 2,
    "context": 16,
    "steps": 6,
    "record_every": 1,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The order of sums is then the same everywhere; and other tests may run beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def first_step(folder: Path, **options: object) -> dict[str, float]:
    """The figures of step 1 of the goldilocks set-up."""
    run_config = training("goldilocks", {"steps": 1, "history": False} | options)
    scalars = load_file(train_model(run_config, folder / "h").path)["scalars"]
    return dict(zip(SCALARS, scalars[0].tolist(), strict=True))


# ------------------------------------------------------------------- what the notebooks saw


def test_small_rows_at_the_start_push_all_dead_rows_along_the_mean_hidden_state(tmp_path: Path) -> None:
    """The notebooks: coherence 0.985, cosine 1.0000, live/dead 6.3, dead gradient 6.7e-4."""
    step = first_step(tmp_path)
    assert step["coherence"] > 0.97
    assert step["hidden_cosine"] > 0.999
    assert 2 < step["live_dead_ratio"] < 10
    assert 1e-4 < step["dead_grad_norm"] < 1e-2
    assert step["loss"] == pytest.approx(np.log(3_988), rel=0.01), "all tokens are equally likely"
    assert step["mean_radius"] == pytest.approx(0.02 * np.sqrt(128), rel=0.01)


def test_rows_of_unit_variance_leave_the_dead_ones_where_they_are(tmp_path: Path) -> None:
    """The notebooks: dead gradient 1.8e-10, live/dead 42 million, coherence 0.0002."""
    step = first_step(tmp_path, init_scale=1.0)
    assert step["dead_grad_norm"] < 1e-9
    assert step["live_dead_ratio"] > 1e6
    assert step["coherence"] < 0.3
    assert step["hidden_cosine"] < 0.5


def test_the_dead_centroid_turns_towards_the_live_one(tmp_path: Path) -> None:
    """The notebooks: 86.7° to 13.0° within 100 steps."""
    options = {"steps": 12, "record_every": 12, "history": False, "batch": 2, "context": 32}
    figures = figures_of(train_model(training("goldilocks", options), tmp_path / "h").path)
    assert figures.steps == (1, 12)
    first, last = figures.centroid_angle_deg
    assert first is not None
    assert last is not None
    assert first > 60
    assert last < 30
    assert figures.centroid_norm[-1] > 4 * figures.centroid_norm[0]  # type: ignore[operator]


def test_the_bytes_begin_at_one_point_of_the_unit_sphere(tmp_path: Path) -> None:
    run_config = training("bytes", {"steps": 1, "batch": 2})
    start = load_file(train_model(run_config, tmp_path / "h").path)["initial_W"]
    assert start.shape == (128, 64)
    assert np.linalg.norm(start, axis=1) == pytest.approx(1, abs=1e-4)
    assert (start - start.mean(axis=0)).std() == pytest.approx(1e-5, rel=0.05)


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed", "bf16-pure"])
def test_each_precision_keeps_its_weights_as_it_says(tmp_path: Path, precision: str) -> None:
    run_config = training("goldilocks", LITTLE | {"precision": precision})
    tensors = load_file(train_model(run_config, tmp_path / "h").path)
    last = tensors["initial_W"] + tensors["deltas"].astype(np.float64).sum(axis=0)
    rounded = torch.from_numpy(last).bfloat16().double().numpy()
    assert bool(np.abs(rounded - last).max() < 1e-7) == (precision == "bf16-pure")
    assert np.isfinite(tensors["scalars"][:, 0]).all()


def test_adam_in_bfloat16_underflows() -> None:
    """Why `bf16-pure` freezes: β2 = 0.999 leaves a second moment in bfloat16 as it was."""
    moment = torch.tensor(1.0, dtype=torch.bfloat16)
    assert (moment * 0.999).item() == 1.0
    assert SETUPS["goldilocks"].precision == "fp32"


# ---------------------------------------------------------------------------------- the file


def test_the_history_is_the_notebooks_with_the_initial_matrix(tmp_path: Path) -> None:
    run_config = training("goldilocks", LITTLE | {"record_every": 2})
    path = train_model(run_config, tmp_path / "h").path
    with safe_open(path, "np") as opened:
        result = {
            name: (opened.get_slice(name).get_dtype(), tuple(opened.get_slice(name).get_shape()))
            for name in list(opened.keys())
        }
        assert opened.metadata()["scalars"].split(",") == list(SCALARS)
        assert json.loads(opened.metadata()["training"])["dim"] == 16
    assert result == {
        "recorded_steps": ("I64", (4,)),
        "dead_token_ids": ("I64", (20,)),
        "live_token_ids": ("I64", (40,)),
        "grads": ("F32", (4, 60, 16)),
        "deltas": ("F32", (4, 60, 16)),
        "scalars": ("F32", (4, len(SCALARS))),
        "initial_W": ("F32", (60, 16)),
    }
    assert load_file(path)["recorded_steps"].tolist() == [1, 2, 4, 6]
    assert abs(path.stat().st_size - history_bytes(run_config)) < 4_096
    assert [item.name for item in tmp_path.iterdir()] == ["h"]


def test_moves_add_up_whatever_is_recorded(tmp_path: Path) -> None:
    every = load_file(train_model(training("goldilocks", LITTLE), tmp_path / "1").path)
    third = load_file(train_model(training("goldilocks", LITTLE | {"record_every": 3}), tmp_path / "3").path)
    assert third["deltas"].sum(axis=0) == pytest.approx(every["deltas"].sum(axis=0), abs=1e-6)
    assert (third["grads"][1] == every["grads"][2]).all(), "the gradient is the step's own"
    assert (every["initial_W"] == third["initial_W"]).all()


def test_a_history_of_ours_can_be_followed_and_agrees_with_its_figures(tmp_path: Path) -> None:
    path = train_model(training("goldilocks", LITTLE), tmp_path / "h").path
    with History(path) as history:
        result = kinematics(history, None)
    figures = figures_of(path)
    assert result.frame == "absolute"
    assert result.gaps == ()
    assert result.centroid_norm[-1] == pytest.approx(figures.centroid_norm[-1], rel=1e-5)
    assert result.mean_radius[-1] == pytest.approx(figures.mean_radius[-1], rel=1e-5)
    assert result.loss == pytest.approx(load_file(path)["scalars"][:, 0].tolist())


def test_figures_alone_need_no_room(tmp_path: Path) -> None:
    full = train_model(training("goldilocks", LITTLE), tmp_path / "f").path
    lean = train_model(training("goldilocks", LITTLE | {"history": False}), tmp_path / "l").path
    assert (load_file(lean)["scalars"] == load_file(full)["scalars"]).all()
    assert lean.stat().st_size < full.stat().st_size / 4


# -------------------------------------------------------------------------- kill and resume

SLOW = LITTLE | {"steps": 600, "record_every": 20}
TRAIN = (
    "import json, sys, torch; from pathlib import Path\n"
    "from survey.dynamics.config import training\nfrom survey.dynamics.training import train_model\n"
    "torch.set_num_threads(1)\n"
    "train_model(training('goldilocks', json.loads(sys.argv[1])), Path(sys.argv[2]), save_every_s=0.1)"
)


def test_a_run_that_is_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, cut, state = tmp_path / "whole", tmp_path / "cut", tmp_path / ".cut.state"
    killed = subprocess.Popen([sys.executable, "-c", TRAIN, json.dumps(SLOW), cut])
    while not state.exists() and killed.poll() is None:
        time.sleep(0.01)
    time.sleep(0.15)  # past the saved state: what was written since is written again
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert state.exists(), "it ended before it could be killed"
    assert not cut.exists(), "a name means a finished history"
    resumed = train_model(training("goldilocks", SLOW), cut)
    train_model(training("goldilocks", SLOW), whole)
    assert 0 < resumed.resumed_at < SLOW["steps"]
    assert cut.read_bytes() == whole.read_bytes()
    assert not state.exists()


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-pure"])
def test_other_precisions_go_on_to_the_same_bits(tmp_path: Path, precision: str) -> None:
    run_config = training("goldilocks", LITTLE | {"precision": precision})
    stop_after(run_config, tmp_path / "cut", 4)
    assert train_model(run_config, tmp_path / "cut").resumed_at == 4
    train_model(run_config, tmp_path / "whole")
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()


def stop_after(run_config: Training, path: Path, steps: int) -> None:
    """Train until after so many steps something else fails."""
    left = steps

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train_model(run_config, path, save_every_s=0, on_step=count)


def test_other_options_begin_anew(tmp_path: Path) -> None:
    stop_after(training("goldilocks", LITTLE), tmp_path / "h", 4)
    assert train_model(training("goldilocks", LITTLE | {"seed": 1}), tmp_path / "h").resumed_at == 0


def test_two_processes_do_not_write_one_history(tmp_path: Path) -> None:
    run_config = training("goldilocks", LITTLE)

    def again() -> None:
        with pytest.raises(UsageError, match="h: another process is writing it"):
            train_model(run_config, tmp_path / "h")

    whole = train_model(run_config, tmp_path / "whole").path.read_bytes()
    assert train_model(run_config, tmp_path / "h", on_step=again).path.read_bytes() == whole


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    stop_after(training("goldilocks", LITTLE), tmp_path / "h", 4)
    (tmp_path / ".h.state").write_bytes(b"no state")
    with pytest.raises(UsageError, match=r"\.h\.state: cannot be resumed from"):
        train_model(training("goldilocks", LITTLE), tmp_path / "h")


STRANGE_STATES: dict[str, dict[str, object]] = {
    "a step beyond the last one": {"step": 10**18},
    "a step before the first one": {"step": -1},
    "a step that is none": {"step": "4"},
    "no step": {"step": None},
    "rows of another shape": {"before": torch.zeros(1, 1, 7)},
    "no rows": {"before": None},
    "no time": {"train_s": [1]},
}


@pytest.mark.parametrize("change", STRANGE_STATES.values(), ids=STRANGE_STATES)
def test_a_state_that_no_run_saved_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    stop_after(training("goldilocks", LITTLE), tmp_path / "h", 4)
    state = torch.load(tmp_path / ".h.state", weights_only=True)
    torch.save(state | change, tmp_path / ".h.state")
    with pytest.raises(UsageError, match=r"\.h\.state: cannot be resumed from"):
        train_model(training("goldilocks", LITTLE), tmp_path / "h")


def test_a_pipe_in_the_place_of_a_state_is_named(tmp_path: Path) -> None:
    stop_after(training("goldilocks", LITTLE), tmp_path / "h", 4)
    (tmp_path / ".h.state").unlink()
    os.mkfifo(tmp_path / ".h.state")
    with pytest.raises(UsageError, match=r"\.h\.state: cannot be resumed from .*regular file"):
        train_model(training("goldilocks", LITTLE), tmp_path / "h")


# -------------------------------------------------------------------- corpora and wrong options


def tokens_of(**options: object) -> NDArray[np.int64]:
    return corpus_of(training("goldilocks", LITTLE | options)).tokens


def test_the_generated_corpus_is_zipfian_and_never_uses_the_dead() -> None:
    corpus = corpus_of(SETUPS["goldilocks"])
    assert (len(corpus.dead), len(corpus.live)) == (1_914, 2_074)
    counts = np.sort(np.bincount(corpus.tokens))[::-1]
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.7), "frequency falls as 1 / rank"
    assert (tokens_of() == tokens_of()).all()
    assert not np.array_equal(tokens_of(), tokens_of(seed=7))


def test_a_text_is_bytes_or_words_by_the_size_of_the_vocabulary(tmp_path: Path) -> None:
    text = tmp_path / "t.txt"
    text.write_text("to be, or not to be: that is the question — " * 20, encoding="utf-8")
    as_bytes = tokens_of(corpus=str(text), vocabulary=128)
    assert bytes(as_bytes[:6].tolist()) == b"to be,"
    assert as_bytes.max() < 128
    words = corpus_of(training("goldilocks", LITTLE | {"corpus": str(text), "vocabulary": 300, "dead": 290}))
    assert words.live.tolist() == list(range(10)), "the nine most frequent pieces, and 0 for the others"
    assert len(words.dead) == 290


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"corpus": "nowhere.txt"}, "nowhere.txt: cannot be read"),
        ({"heads": 3}, "dim 16 cannot be divided among 3 heads"),
        ({"dead": 60}, "dead is 60, expected 0 to 59"),
        ({"dead": 0}, "uses all 60 tokens, so none is dead"),
        ({"steps": 0}, "steps is 0, expected at least 1"),
        ({"steps": 1.5}, "steps is 1.5, expected int"),
        ({"init_scale": "big"}, "init_scale is 'big', expected a number"),
        ({"init_scale": float("nan")}, "init_scale is nan, expected a number"),
        ({"precision": "fp8"}, "precision is 'fp8', expected one of fp32, bf16-mixed, bf16-pure"),
        ({"learning_rate": 0}, "learning_rate must be positive"),
        ({"depth": 3}, "unknown: depth; a run takes batch"),
        ({"learning_rate": 1e30, "steps": 50}, "the loss is (nan|inf) at step"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:28],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(tmp_path: Path, options: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        train_model(training("goldilocks", LITTLE | options), tmp_path / "h")


def test_a_full_disk_is_named_before_hours_of_training(tmp_path: Path) -> None:
    run_config = training("goldilocks", LITTLE | {"steps": 10**9})
    with pytest.raises(UsageError, match="GB are free; record fewer steps"):
        train_model(run_config, tmp_path / "h")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "expected"),
    [([[1, 0], [2, 0]], 1), ([[1, 0], [0, 1]], 0), ([[1, 0], [-1, 0]], -1), ([[1, 0], [0, 0], [3, 0]], 1)],
    ids=["parallel", "square", "opposed", "a zero row has no direction"],
)
def test_coherence_is_the_mean_cosine_of_pairs(rows: list[list[float]], expected: float) -> None:
    assert coherence(torch.tensor(rows, dtype=torch.float64)) == pytest.approx(expected)
