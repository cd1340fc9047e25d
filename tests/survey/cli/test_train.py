"""`survey kinematics` and `survey train` as a person meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.commands import Ran

from catalog.store.lock import catalog_lock
from catalog.store.open import open_for_writing

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
    assert "1 record missing, after step 4" in ran.out
    assert "straightness" in ran.out
    assert set(load_file("out.safetensors")) == {
        "recorded_steps", "dead_token_ids", "positions", "centroid", "bulk_velocity", "thermal_velocities",
    }  # fmt: skip
    assert Path("motion.png").read_bytes().startswith(b"\x89PNG")
    answer = survey(
        "sql",
        "SELECT source, gaps, len(bulk_speed), loss[1] FROM kinematics",
        "--catalog",
        "c",
        "--format",
        "csv",
    )
    assert answer.out.splitlines()[1] == f"{history},[4],12,8.0"


def test_a_followed_history_as_json_is_the_row_of_its_view(survey: Survey, history: Path) -> None:
    ran = survey("kinematics", history, "--catalog", "c", "--format", "json")
    stored = survey("sql", "SELECT * FROM kinematics", "--catalog", "c", "--format", "json")
    assert json.loads(ran.out) == json.loads(stored.out)
    assert json.loads(ran.out)[0]["gaps"] == [4]


def test_a_result_is_kept_while_a_run_holds_a_catalog_that_is_due_for_merging(
    survey: Survey, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.write.compact.LOOSE_FILES_DUE", 1)
    with catalog_lock(open_for_writing("c")):
        ran = survey("kinematics", history, "--catalog", "c")
        assert (ran.code, ran.err) == (0, "")
        assert "straightness" in ran.out
        assert [path.name.startswith("part-") for path in Path("c/kinematics").iterdir()] == [False]
    assert survey("kinematics", history, "--catalog", "c").code == 0
    assert sum(path.name.startswith("part-") for path in Path("c/kinematics").iterdir()) == 1


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
        (["{history}", "-o", "{history}"], "was not written by this command"),
        (["nowhere.safetensors.partial"], "cannot be read: No such file"),
        (["{history}", "--from-catalog", "you/none@step*"], "not both"),
        (["{history}", "-o", "no/folder/out"], "there is no folder no/folder"),
        (["{history}", "--plot", "p.pdf"], "ends in .png or .svg"),
        (["{history}", "--frame", "absolute"], "holds no initial_W"),
        (["{history}", "--tensor", "scalars"], "say what scalars holds"),
    ],
)
def test_misuse_is_named_before_anything_is_made(
    survey: Survey, history: Path, arguments: list[str], says: str
) -> None:
    ran = survey("kinematics", *(word.format(history=history) for word in arguments), "--catalog", "c")
    assert ran.code == 2
    assert says in ran.err
    assert ran.out == ""


def test_a_history_that_is_still_written_is_refused(survey: Survey, history: Path) -> None:
    """What is not written yet would be read as zeros."""
    partial = Path(".run.safetensors.partial")
    partial.write_bytes(history.read_bytes())
    ran = survey("kinematics", partial, "--catalog", "c")
    assert ran.code == 2
    assert "is a history that is still written; the same `survey train` finishes it" in ran.err


# ------------------------------------------------------------------------------------ train

LITTLE = [
    "--dim",
    "16",
    "--vocabulary",
    "60",
    "--dead",
    "20",
    "--batch",
    "2",
    "--context",
    "16",
    "--threads",
    "1",
]
SWEEP = """
setup = "goldilocks"
layers = 1
dim = 16
vocabulary = 60
dead = 20
batch = 2
context = 16
steps = 3
record_every = 1
[grid]
init_scale = [0.02, 1.0]
precision = ["fp32", "bf16-pure"]
"""


TINY = [*LITTLE, "--layers", "1", "--heads", "2", "--ff", "16", "--catalog", "c"]


def test_another_run_is_not_written_over(survey: Survey) -> None:
    command = ["train", *TINY, "-o", "run.safetensors"]
    assert survey(*command, "--steps", "3").code == 0
    before = Path("run.safetensors").read_bytes()
    ran = survey(*command, "--steps", "4")
    assert ran.code == 2
    assert "run.safetensors: holds another run; name another file with -o, or delete this one" in ran.err
    assert Path("run.safetensors").read_bytes() == before


def test_a_run_that_was_there_keeps_its_speed(survey: Survey) -> None:
    query = ["sql", "SELECT steps_per_s FROM training_runs", "--catalog", "c", "--format", "csv"]
    speeds = []
    for _ in range(2):
        assert survey("train", *TINY, "--steps", "3").code == 0
        speeds.append(survey(*query).out)
    assert speeds[0] == speeds[1]
    assert float(speeds[0].split()[1]) > 0


@pytest.mark.parametrize("command", [["train", *LITTLE, "--steps", "3"], ["kinematics", "{history}"]])
def test_what_another_program_wrote_is_not_written_over(
    survey: Survey, history: Path, command: list[str]
) -> None:
    Path("mine.safetensors").write_bytes(b"something else")
    ran = survey(
        *(word.format(history=history) for word in command), "-o", "mine.safetensors", "--catalog", "c"
    )
    assert ran.code == 2
    assert "-o mine.safetensors: exists, and was not written by this command" in ran.err
    assert Path("mine.safetensors").read_bytes() == b"something else"


def rows_of(survey: Survey, statement: str) -> list[str]:
    return survey("sql", statement, "--catalog", "c", "--format", "csv").out.splitlines()[1:]


def test_a_run_leaves_its_history_and_its_row_and_can_be_followed(survey: Survey) -> None:
    ran = survey("train", *LITTLE, "--steps", "12", "--record-every", "1", "--catalog", "c")
    assert ran.code == 0, ran.err
    assert "coherence" in ran.out
    history = load_file("gradient_delta_history.safetensors")
    assert history["deltas"].shape == (12, 60, 16)
    row = "SELECT setup, dead_count, steps, steps_per_s > 0, ends_with(history, 'history.safetensors') FROM training_runs"
    assert rows_of(survey, row) == ['goldilocks,20,"[1, 2, 5, 10, 12]",True,True']
    again = survey("train", *LITTLE, "--steps", "12", "--record-every", "1", "--catalog", "c")
    assert (again.code, rows_of(survey, "SELECT count(*) FROM training_runs")) == (0, ["1"])
    assert "was finished before" in again.err
    followed = survey("kinematics", "gradient_delta_history.safetensors", "--catalog", "c")
    assert followed.code == 0
    assert "20 dead rows × 16, 12 recorded steps 1–12; positions" in followed.out
    state = survey("status", "--catalog", "c").out
    assert "0 clusters, 0 spectra, 1 histories followed, 1 training runs" in state


@pytest.mark.parametrize("steps", ["1", "12"])
def test_a_run_becomes_json_and_a_picture(survey: Survey, steps: str) -> None:
    options = ("--steps", steps, "--record-every", "1", "--no-history", "--catalog", "c")
    ran = survey("train", *LITTLE, *options, "--format", "json", "--plot", "run.svg")
    assert ran.code == 0, ran.err
    stored = survey("sql", "SELECT * FROM training_runs", "--catalog", "c", "--format", "json")
    assert json.loads(ran.out) == json.loads(stored.out)
    assert json.loads(ran.out)[0]["last_step"] == int(steps)
    assert "20 of 60 tokens never occur" in Path("run.svg").read_text()


def test_every_part_of_the_model_is_an_option(survey: Survey) -> None:
    options = ("--layers", "1", "--heads", "4", "--ff", "24", "--steps", "1")
    ran = survey("train", *LITTLE, *options, "--record-every", "1", "--no-history", "--catalog", "c")
    assert ran.code == 0, ran.err
    assert rows_of(survey, "SELECT layers, heads, ff FROM training_runs") == ["1,4,24"]
    refused = survey("train", *LITTLE, "--heads", "3", "--catalog", "c")
    assert (refused.code, "cannot be divided among 3 heads" in refused.err) == (2, True)


@pytest.mark.parametrize("executor", ["serial", "ray"])
def test_a_sweep_trains_every_combination_once(survey: Survey, executor: str) -> None:
    Path("s.toml").write_text(SWEEP)
    ran = survey("train", "--sweep", "s.toml", "--catalog", "c", "--executor", executor)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1] == "4 trained, 0 unchanged, 0 failed"
    assert [line.split()[:2] for line in ran.out.splitlines()[1:5]] == [
        ["0.02", "fp32"], ["0.02", "bf16-pure"], ["1", "fp32"], ["1", "bf16-pure"],
    ]  # fmt: skip
    again = survey("train", "--sweep", "s.toml", "--catalog", "c", "--executor", executor)
    assert again.out.splitlines()[-1] == "0 trained, 4 unchanged, 0 failed"
    as_json = survey(
        "train", "--sweep", "s.toml", "--catalog", "c", "--executor", executor, "--format", "json"
    )
    assert [row["init_scale"] for row in json.loads(as_json.out)] == [0.02, 0.02, 1.0, 1.0]
    assert "0 trained, 4 unchanged, 0 failed" in as_json.err
    effect = survey("query", "init_effect", "--catalog", "c", "--format", "csv").out.splitlines()
    assert len(effect) == 1 + 4
    assert len(survey("query", "training", "--catalog", "c", "--format", "csv").out.splitlines()) == 1 + 4


def test_a_sweep_merges_its_rows_if_they_are_many(survey: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.write.compact.LOOSE_FILES_DUE", 4)
    Path("s.toml").write_text(SWEEP)
    assert survey("train", "--sweep", "s.toml", "--catalog", "c", "--executor", "serial").code == 0
    for left in (5, 1):  # what was merged lives one compaction longer
        assert len(list(Path("c/training_runs").iterdir())) == left
        assert rows_of(survey, "SELECT count(*) FROM training_runs") == ["4"]
        assert survey("compact", "--catalog", "c").code == 0


def test_a_run_that_diverges_is_named_and_stops_no_other(survey: Survey) -> None:
    Path("s.toml").write_text(SWEEP.replace("[grid]", "[grid]\nlearning_rate = [1e-3, 1e30]"))
    ran = survey("train", "--sweep", "s.toml", "--catalog", "c", "--executor", "serial")
    assert ran.code == 1
    assert "learning_rate=1e+30, init_scale=0.02, precision=fp32: the loss is nan at step 2" in ran.err
    assert "4 trained, 0 unchanged, 4 failed" in ran.out


def test_a_sweep_keeps_histories_if_it_is_asked_to(survey: Survey) -> None:
    Path("s.toml").write_text("history = true\n" + SWEEP)
    refused = survey("train", "--sweep", "s.toml", "--catalog", "c", "--executor", "serial")
    assert (refused.code, "name a folder for them with -o" in refused.err) == (2, True)
    ran = survey("train", "--sweep", "s.toml", "-o", "runs", "--catalog", "c", "--executor", "serial")
    assert ran.code == 0, ran.err
    kept = [load_file(path)["deltas"].shape for path in Path("runs").iterdir()]
    assert kept == [(3, 60, 16)] * 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "s.toml: has no [grid]"),
        ("[grid]\nseed = 3", "[grid] seed: expected a list"),
        ("seed = 1\n[grid]\nseed = [3]", "seed is set both above and in [grid]"),
        ("[grid]\nsed = [3]", "s.toml: unknown: sed; a run takes"),
        ("[grid]\nprecision = ['fp8']", "s.toml: precision is 'fp8', expected one of"),
        ("setup = 'big'\n[grid]\nseed = [3]", "no set-up 'big'; there are bytes, goldilocks"),
        ("[grid", "cannot be read as TOML"),
    ],
)
def test_a_wrong_sweep_is_refused_before_it_begins(survey: Survey, text: str, says: str) -> None:
    Path("s.toml").write_text(text)
    ran = survey("train", "--sweep", "s.toml", "--catalog", "c")
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err


def test_options_beside_a_sweep_are_refused(survey: Survey) -> None:
    ran = survey("train", "--sweep", "s.toml", "--dim", "16", "--setup", "bytes")
    assert ran.code == 2
    assert "--dim, --setup: write the options of a sweep in its file" in ran.err
    ran = survey("train", "--sweep", "s.toml", "--plot", "run.svg")
    assert (ran.code, "--plot is for one run, not for a sweep" in ran.err) == (2, True)
