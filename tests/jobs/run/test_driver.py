"""`survey run`, end to end: the same suite over both executors, through the real Hub client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import Ran
from support.little_models import LITTLE, little

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import Fault, Garbage, LocalHub, Stall, Status
from jobs.demo.hub.repos import folder_files
from survey.records.catalog_rows import ROW_GROUPS
from survey.records.column_field import columns_of

Survey = Callable[..., Ran]
# Ray's nodes leave sockets unclosed in this process.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
# What may differ from run to run: when, where and how long, and what the network did.
CIRCUMSTANCES = {"run_id", "measured_at", "host", "fetch_s", "warmup_s", "measure_s", "elapsed_s", "requests", "retries", "fetched_bytes"}  # fmt: skip


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
    with Reader(open_for_reading(str(catalog))) as reader:
        answer = reader.ask("SELECT * FROM measured_rows ORDER BY repo, sha, matrix")
    return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]


def attempts(catalog: str | Path = "c") -> list[tuple[object, ...]]:
    with Reader(open_for_reading(str(catalog))) as reader:
        return reader.ask(
            "SELECT repo, matrix, status, reason FROM attempts ORDER BY run_id, repo, matrix"
        ).rows


def test_one_command_measures_what_it_can_and_names_what_it_cannot(
    served: LocalHub, survey: Survey, executor: list[str]
) -> None:
    refused = {
        "org/broken": "bad-header",
        "org/no-config": "no-config",
        "org/pickled": "bad-pickle",
        "org/gated": "gated",
        "org/disabled": "disabled",
        "org/private": "not-found",
        "org/nobody": "not-found",
        "org/tied@nowhere": "revision-not-found",
    }
    names = ["org/tied", "org/untied", "org/sharded", *refused]
    Path("models.txt").write_text("\n".join(names))
    ran = survey("run", "models.txt", "--catalog", "c", "--endpoint", served.endpoint, *executor)
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


def test_parts_of_a_repository_are_models_of_their_own(
    served: LocalHub, survey: Survey, executor: list[str], tmp_path: Path
) -> None:
    for name, options in {"a": {"tied": False}, "b": {"tied": False, "shards": 2}}.items():
        write(little(name, **options), tmp_path / "two" / name)  # type: ignore[arg-type]
    served.add_repo("org/two", folder_files(tmp_path / "two"))
    command = [
        "org/two:a",
        "org/two@main:b",
        f"{tmp_path}/two:a",
        "org/two",
        "org/two:c",
        "--endpoint",
        served.endpoint,
    ]
    ran = survey("run", *command, "--catalog", "c", *executor)
    assert "3 measured, 0 unchanged, 2 failed" in ran.out
    assert "a colon and one of a, b" in ran.out
    by_repo = {row["repo"]: row for row in rows()}
    assert set(by_repo) == {"org/two:a", "org/two:b", f"{tmp_path}/two:a"}
    assert by_repo["org/two:a"]["sha"] == by_repo["org/two:b"]["sha"]
    assert by_repo["org/two:b"]["file"] == "b/model-00001-of-00002.safetensors"
    assert by_repo["org/two:a"]["org"] == "org"
    refused = [(repo, reason) for repo, _, status, reason in attempts() if status == "failed"]
    assert refused == [("org/two", "no-safetensors"), ("org/two:c", "no-safetensors")]
    served.clear_log()
    again = survey("run", *command[:3], *command[-2:], "--catalog", "c", *executor)
    assert (again.code, "0 measured, 3 unchanged, 0 failed" in again.out) == (0, True)
    assert len(served.log) == 2  # a glance at each


def test_both_executors_write_the_same_bits(served: LocalHub, survey: Survey, ray_address: str) -> None:
    for executor, options in {"serial": [], "ray": ["--address", ray_address]}.items():
        ran = survey("run", "org/tied", "org/untied", "--catalog", executor, "--endpoint", served.endpoint,
                     "--executor", executor, *options, "--matrix", "both")  # fmt: skip
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
    assert [entry.query.get("expand") for entry in served.log] == [["sha"], ["sha"]]  # one light request each
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
    with Reader(open_for_reading("c")) as reader:
        assert reader.ask("SELECT sha FROM models").rows == [(served.repos["org/tied"].branches["main"],)]


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
    assert {kind: [item["repo"] for item in items] for kind, items in summary["changes"].items()} == {
        "new": ["org/tied"],
        "changed": [],
        "unchanged": [],
        "gone": [],
        "failing": ["org/nobody"],
    }
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
    assert again.code == 1  # rows were there that are not any more, whether or not this run measures them
    assert f"{row.name}: not a whole Parquet file; set aside in damaged/" in again.err
    assert "1 measured" in again.out
    assert survey(*command).code == 0
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
    assert "2 measured, 0 unchanged, 0 failed" in ran.out  # two names of one commit are one measurement
    again = survey(
        "run", "org/steps@step*", "--catalog", "c", "--endpoint", served.endpoint, "--executor", "serial",
        "--summary", "again.json",
    )  # fmt: skip
    assert "0 measured, 2 unchanged, 0 failed" in again.out
    assert "counted once, as their commit is named already: org/steps@step2-copy\n" in ran.out + again.out
    counts = json.loads(Path("again.json").read_text())
    assert (counts["unchanged"], counts["repeated"]) == (2, 1)
    with Reader(open_for_reading("c")) as reader:
        assert reader.ask("SELECT DISTINCT pattern FROM attempts").rows == [("step*",)]
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


def test_both_measures_the_one_that_is_there_and_names_the_other(
    survey: Survey, checkpoint: Callable[..., Path]
) -> None:
    from safetensors.torch import load_file, save_file

    folder = checkpoint("half", tied=False)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.embed_tokens.weight"]
    save_file(tensors, folder / "model.safetensors")
    ran = survey("run", folder, "--catalog", "c", "--executor", "serial", "--matrix", "both")
    assert ran.code == 1
    assert "1 measured, 0 unchanged, 1 failed" in ran.out
    assert attempts() == [
        (str(folder), "input", "failed", "no-head"),
        (str(folder), "output", "measured", None),
    ]


def test_both_reads_only_what_is_missing(survey: Survey, checkpoint: Callable[..., Path]) -> None:
    folder = checkpoint("mine", tied=False)
    survey("run", folder, "--catalog", "c", "--executor", "serial")
    ran = survey("run", folder, "--catalog", "c", "--executor", "serial", "--matrix", "both")
    assert "1 measured, 1 unchanged, 0 failed" in ran.out


@pytest.mark.parametrize("damage", ["gone", "cut short"])
def test_a_per_token_table_that_went_missing_is_made_anew(
    survey: Survey, checkpoint: Callable[..., Path], damage: str
) -> None:
    folder = checkpoint()
    command = ["run", folder, "--catalog", "c", "--executor", "serial"]
    survey(*command)
    (tokens,) = Path("c/tokens").iterdir()
    if damage == "gone":
        tokens.unlink()
    else:
        tokens.write_bytes(tokens.read_bytes()[:300])
    assert "1 measured, 0 unchanged" in survey(*command).out
    assert len(rows()) == 1
    with Reader(open_for_reading("c")) as reader:
        assert reader.ask("SELECT count(*) FROM tokens").rows == [(300,)]


def test_every_revision_of_a_commit_finds_its_row(served: LocalHub, survey: Survey) -> None:
    served.tag("org/tied", "v1.0", served.repos["org/tied"].branches["main"])
    where = ["--catalog", "c", "--endpoint", served.endpoint, "--executor", "serial"]
    survey("run", "org/tied@v1.0", *where)
    assert "0 measured, 1 unchanged" in survey("run", "org/tied", *where).out
    for name in ("org/tied@v1.0", "org/tied@main", "org/tied"):
        assert "vocab_rows" in survey("show", name, "--catalog", "c").out
        assert (
            survey("query", "compare", f"--param=a={name}", "--param=b=org/tied", "--catalog", "c").code == 0
        )


def test_a_second_revision_shares_the_failure_of_the_first(served: LocalHub, survey: Survey) -> None:
    served.tag("org/tied", "v1.0", served.repos["org/tied"].branches["main"])
    served.faults.append(Fault(Status(403), server="cdn", times=None, skip=1))
    ran = survey(
        "run",
        "org/tied",
        "org/tied@v1.0",
        "--catalog",
        "c",
        "--endpoint",
        served.endpoint,
        "--executor",
        "serial",
    )
    assert ran.code == 1
    assert "0 measured, 0 unchanged, 2 failed" in ran.out
    assert {(status, reason) for _, _, status, reason in attempts()} == {("failed", "unauthorised")}


def test_a_renamed_repository_is_followed_and_known_by_its_new_name(served: LocalHub, survey: Survey) -> None:
    """The Hub answers for the old name with a redirect that names no commit."""
    moved = Fault(
        Status(307, {"Location": f"{served.endpoint}/api/models/org/tied?blobs=true"}),
        path_contains="/api/models/org/old",
    )
    served.faults.append(moved)
    ran = survey("run", "org/old", "--catalog", "c", "--endpoint", served.endpoint, "--executor", "serial")
    assert ran.code == 0, ran.out
    assert [row["repo"] for row in rows()] == ["org/tied"]
    assert moved.hits == 1
    served.faults.append(Fault(moved.action, path_contains="/api/models/org/old"))
    again = survey("run", "org/old", "--catalog", "c", "--endpoint", served.endpoint, "--executor", "serial")
    assert "0 measured, 1 unchanged, 0 failed" in again.out
    assert {repo for repo, *_ in attempts()} == {"org/tied"}


def test_a_redirect_within_the_hub_needs_no_commit(served: LocalHub, survey: Survey) -> None:
    """As for a repository that is renamed between planning and reading."""
    sha = served.repos["org/tied"].branches["main"]
    there = f"{served.endpoint}/org/tied/resolve/{sha}/model.safetensors?moved"
    served.faults.append(Fault(Status(307, {"Location": there}), method="HEAD", path_contains="resolve"))
    assert (
        survey(
            "run", "org/tied", "--catalog", "c", "--endpoint", served.endpoint, "--executor", "serial"
        ).code
        == 0
    )


def test_text_from_outside_neither_breaks_the_run_nor_steers_the_terminal(
    served: LocalHub, survey: Survey
) -> None:
    hostile = b'{"weight_map": {"\\ud800\\u001b[31mEVIL\\u001b]0;title\\u0007": "../x"}}'
    served.add_repo("org/hostile", {"config.json": b"{}", "model.safetensors.index.json": hostile})
    ran = survey(
        "run",
        "org/hostile",
        "org/tied",
        "--catalog",
        "c",
        "--endpoint",
        served.endpoint,
        "--executor",
        "serial",
    )
    assert ran.code == 1
    assert "1 measured, 0 unchanged, 1 failed" in ran.out
    assert "\x1b" not in ran.out + ran.err
    assert ("org/hostile", "output", "failed", "index-mismatch") in attempts()


def test_a_commit_that_is_no_commit_is_refused(served: LocalHub, survey: Survey) -> None:
    body = json.dumps({"id": "org/tied", "sha": "main", "siblings": []}).encode()
    served.faults.append(Fault(Garbage(body), path_contains="/api/models/org/tied", times=None))
    ran = survey("run", "org/tied", "--catalog", "c", "--endpoint", served.endpoint, "--executor", "serial")
    assert ran.code == 1
    assert "names the commit 'main', expected 40 hex digits" in ran.out


def test_a_deadline_holds_against_silence(served: LocalHub, survey: Survey) -> None:
    served.faults.append(Fault(Stall(60), server="cdn", skip=1, times=None))
    started = time.monotonic()
    ran = survey(
        "run",
        "org/tied",
        "--catalog",
        "c",
        "--endpoint",
        served.endpoint,
        "--executor",
        "serial",
        "--timeout",
        "2",
    )
    assert time.monotonic() - started < 20
    assert ran.code == 1
    assert "timeout" in ran.out


def test_a_plan_without_memory_is_no_defect(
    checkpoint: Callable[..., Path], survey: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("survey.checkpoints.folder.FolderCheckpoint._digest", full)
    ran = survey("run", checkpoint(), "--catalog", "c", "--executor", "serial")
    assert (ran.code, "out-of-memory" in ran.out, "internal" in ran.out) == (1, True, False)
