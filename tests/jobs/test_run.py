"""`survey run`, end to end: the same suite over both executors, through the real Hub client."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import LITTLE, Ran, little

from catalog.place import place_to_read
from catalog.read import Reader
from jobs.demo.checkpoints import write
from jobs.demo.hub import Fault, LocalHub, Status
from survey.records import ROW_GROUPS, columns_of

Survey = Callable[..., Ran]
EXECUTORS = ["serial", "ray"]
# What may differ from run to run: when, where and how long, and what the network did.
CIRCUMSTANCES = {"run_id", "measured_at", "host", "fetch_s", "measure_s", "elapsed_s", "requests", "retries", "fetched_bytes"}  # fmt: skip


@pytest.fixture
def served(hub: LocalHub, tmp_path: Path) -> LocalHub:
    """A Hub with a tied, an untied and a sharded model, and some that cannot be had."""
    for name, options in {
        "tied": {},
        "untied": {"tied": False},
        "sharded": {"tied": False, "shards": 3},
    }.items():
        write(little(name, **options), tmp_path / "served" / name)  # type: ignore[arg-type]
        hub.add_repo(f"org/{name}", tmp_path / "served" / name)
    files = {"config.json": b"{}", "model.safetensors": b"\0" * 100}
    hub.add_repo("org/broken", files)
    hub.add_repo("org/no-config", {"README.md": b"hello"})
    hub.add_repo("org/pickled", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    hub.add_repo("org/gated", files, gated="manual")
    hub.add_repo("org/disabled", files, disabled=True)
    hub.add_repo("org/private", files, private=True)
    return hub


def rows(catalog: str | Path = "c") -> list[dict[str, object]]:
    """Every stored row with every column, vectors and histograms included."""
    with Reader(place_to_read(str(catalog))) as reader:
        answer = reader.ask("SELECT * FROM measured_rows ORDER BY repo, sha, matrix")
    return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]


def attempts(catalog: str | Path = "c") -> list[tuple[object, ...]]:
    with Reader(place_to_read(str(catalog))) as reader:
        return reader.ask(
            "SELECT repo, matrix, status, reason FROM attempts ORDER BY run_id, repo, matrix"
        ).rows


@pytest.mark.parametrize("executor", EXECUTORS)
def test_one_command_measures_what_it_can_and_names_what_it_cannot(
    served: LocalHub, survey: Survey, executor: str
) -> None:
    refused = {
        "org/broken": "bad-header",
        "org/no-config": "no-config",
        "org/pickled": "no-safetensors",
        "org/gated": "gated",
        "org/disabled": "disabled",
        "org/private": "not-found",
        "org/nobody": "not-found",
        "org/tied@nowhere": "revision-not-found",
    }
    names = ["org/tied", "org/untied", "org/sharded", *refused]
    Path("models.txt").write_text("\n".join(names))
    ran = survey("run", "models.txt", "--catalog", "c", "--endpoint", served.endpoint, "--executor", executor)
    assert ran.code == 1
    assert ran.err == ""
    assert "3 measured, 0 unchanged, 8 failed" in ran.out
    for name, reason in refused.items():
        assert any(line.startswith(name) and reason in line for line in ran.out.splitlines()), name
    measured = rows()
    assert [row["repo"] for row in measured] == ["org/sharded", "org/tied", "org/untied"]
    assert {row["black_hole_count"] for row in measured} == {3}
    assert [row["tied"] for row in measured] == [False, True, False]
    assert all(row["fetched_bytes"] > row["tensor_bytes"] for row in measured)  # type: ignore[operator]
    expected = {(name.split("@")[0], "failed", reason) for name, reason in refused.items()}
    expected |= {(row["repo"], "measured", None) for row in measured}  # type: ignore[misc]
    assert {(repo, status, reason) for repo, _, status, reason in attempts()} == expected


def test_both_executors_write_the_same_bits(served: LocalHub, survey: Survey) -> None:
    for executor in EXECUTORS:
        ran = survey("run", "org/tied", "org/untied", "--catalog", executor, "--endpoint", served.endpoint,
                     "--executor", executor, "--matrix", "both")  # fmt: skip
        assert ran.code == 0
    serial, on_ray = rows("serial"), rows("ray")
    assert len(serial) == 3  # one tied row, two untied
    compared = [column.name for column in columns_of(*ROW_GROUPS) if column.name not in CIRCUMSTANCES]
    for one, other in zip(serial, on_ray, strict=True):
        for name in compared:
            assert one[name] == other[name], name


def test_the_same_command_again_does_nothing(served: LocalHub, survey: Survey) -> None:
    command = ["run", "org/tied", "org/sharded", "--catalog", "c", "--endpoint", served.endpoint]
    assert survey(*command, "--executor", "serial").code == 0
    files = {path: path.stat().st_mtime_ns for path in Path("c/rows").iterdir()}
    served.clear_log()
    again = survey(*command)  # with Ray, which is not even started
    assert again.code == 0
    assert "0 measured, 2 unchanged, 0 failed" in again.out
    assert len(served.log) == 2  # one light request each
    assert {path: path.stat().st_mtime_ns for path in Path("c/rows").iterdir()} == files


def test_a_new_commit_is_measured_and_the_old_row_stays(
    served: LocalHub, survey: Survey, tmp_path: Path
) -> None:
    command = ["run", "org/tied", "--catalog", "c", "--endpoint", served.endpoint, "--executor", "serial"]
    survey(*command)
    write(little("changed", tied=False), tmp_path / "served" / "changed")
    served.commit("org/tied", {path.name: path for path in (tmp_path / "served" / "changed").iterdir()})
    assert "1 measured, 0 unchanged" in survey(*command).out
    assert len({row["sha"] for row in rows()}) == 2


def test_resurvey_measures_again_and_replaces_the_row(served: LocalHub, survey: Survey) -> None:
    command = ["run", "org/tied", "--catalog", "c", "--endpoint", served.endpoint, "--executor", "serial"]
    survey(*command)
    (first,) = rows()
    assert "1 measured, 0 unchanged" in survey(*command, "--resurvey").out
    (second,) = rows()
    assert second["run_id"] != first["run_id"]


def test_what_failed_is_tried_again(served: LocalHub, survey: Survey) -> None:
    command = ["run", "org/tied", "--catalog", "c", "--endpoint", served.endpoint, "--executor", "serial"]
    served.faults.append(Fault(Status(403), server="cdn", times=None))
    assert survey(*command).code == 1
    served.faults.clear()
    assert survey(*command).code == 0
    assert [(status, reason) for _, _, status, reason in attempts()] == [
        ("failed", "unauthorised"),
        ("measured", None),
    ]


def test_a_folder_is_measured_like_a_repository(survey: Survey, checkpoint: Callable[..., Path]) -> None:
    folder = checkpoint("mine", tied=False, shards=2)
    ran = survey("run", folder, "--catalog", "c", "--executor", "serial", "--matrix", "both")
    assert ran.code == 0
    output, embedding = sorted(rows(), key=lambda row: str(row["matrix"]), reverse=True)
    assert (output["tensor"], embedding["tensor"]) == ("lm_head.weight", "model.embed_tokens.weight")
    assert output["repo"] == str(folder)
    assert str(output["sha"]).startswith("local-")
    assert output["fetched_bytes"] == 0
    assert "0 measured, 2 unchanged" in survey("run", folder, "--catalog", "c", "--matrix", "both").out


def test_one_sick_model_does_not_stop_the_others(served: LocalHub, survey: Survey) -> None:
    """A header that lies only about its content is found while measuring, in the middle of a run."""
    served.faults.append(Fault(Status(404), server="cdn", path_contains="untied", skip=1, times=None))
    ran = survey("run", "org/untied", "org/tied", "--catalog", "c", "--endpoint", served.endpoint, "--executor", "serial")  # fmt: skip
    assert ran.code == 1
    assert "1 measured, 0 unchanged, 1 failed" in ran.out


def test_the_summary_is_json_for_other_programs(served: LocalHub, survey: Survey) -> None:
    survey("run", "org/tied", "org/nobody", "--catalog", "c", "--endpoint", served.endpoint,
           "--executor", "serial", "--summary", "out.json")  # fmt: skip
    summary = json.loads(Path("out.json").read_text())
    assert (summary["measured"], summary["failed"], summary["unchanged"]) == (1, 1, 0)
    assert {item["repo"]: item["reason"] for item in summary["attempts"]} == {
        "org/tied": None,
        "org/nobody": "not-found",
    }


def test_a_damaged_row_is_set_aside_and_measured_anew(served: LocalHub, survey: Survey) -> None:
    command = ["run", "org/tied", "--catalog", "c", "--endpoint", served.endpoint, "--executor", "serial"]
    survey(*command)
    (row,) = Path("c/rows").iterdir()
    row.write_bytes(row.read_bytes()[:500])
    again = survey(*command)
    assert again.code == 0
    assert (
        f"{row.name}: not a whole Parquet file; set aside" in again.err.replace("\n", "")
        or "set aside" in again.err
    )
    assert "1 measured" in again.out
    assert [path.name for path in Path("c/damaged").iterdir()] == [f"rows-{row.name}"]


def test_a_pattern_of_revisions_stands_for_all_that_match(
    served: LocalHub, survey: Survey, tmp_path: Path
) -> None:
    for step in (1, 2):
        cloud = type(LITTLE)(**{name: getattr(LITTLE, name) for name in LITTLE.__slots__} | {"seed": step})
        write(little("steps", cloud=cloud), tmp_path / "served" / f"step{step}")
        files = {path.name: path for path in (tmp_path / "served" / f"step{step}").iterdir()}
        if step == 1:
            served.add_repo("org/steps", files, branch="step1")
        else:
            served.commit("org/steps", files, branch="step2")
    served.tag("org/steps", "step2-copy", served.repos["org/steps"].branches["step2"])
    ran = survey(
        "run", "org/steps@step*", "--catalog", "c", "--endpoint", served.endpoint, "--executor", "serial"
    )
    assert ran.code == 0
    assert "2 measured, 1 unchanged, 0 failed" in ran.out  # two names of one commit are one measurement
    assert survey("run", "org/steps@nothing*", "--catalog", "c", "--endpoint", served.endpoint).code == 1


def test_the_plan_reads_headers_only_and_writes_nothing(served: LocalHub, survey: Survey) -> None:
    plan = survey("plan", "org/sharded", "org/gated", "--endpoint", served.endpoint, "--explain")
    dry = survey("run", "org/sharded", "org/gated", "--endpoint", served.endpoint, "--dry-run")
    assert plan.code == dry.code == 1
    sha = served.repos["org/sharded"].branches["main"]
    for expected in (sha[:10], "lm_head.weight", "300 × 16", "BF16", "9.6 kB", "gated"):
        assert expected in plan.out
        assert expected in dry.out
    assert "a head in the files" in plan.out
    assert not Path("survey-catalog").exists()
