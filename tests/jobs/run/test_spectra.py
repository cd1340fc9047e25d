"""`survey run --spectrum`: a matrix's spectrum beside its row, added to a row that lacks it, never in its way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.commands import Ran
from support.little_models import LITTLE, little

import survey as package
from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import Fault, LocalHub, Status
from survey.errors import CommitError

Survey = Callable[..., Ran]
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
ON, OFF = ("--spectrum", "on"), ("--spectrum", "off")
SERIAL = ("--executor", "serial")


@pytest.fixture
def served(hub: LocalHub, tmp_path: Path) -> LocalHub:
    """An untied model of two matrices, and another one."""
    for name, options in {"one": {"tied": False}, "two": {"cloud": replace(LITTLE, row_norm=1.3)}}.items():
        write(little(name, **options), tmp_path / "served" / name)  # type: ignore[arg-type]
        hub.add_repo(f"org/{name}", files_of(tmp_path / "served" / name))
    return hub


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def table(sql: str, catalog: str = "c") -> list[dict[str, Any]]:
    with Reader(open_for_reading(catalog)) as reader:
        answer = reader.ask(sql)
    return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]


def spectra(catalog: str = "c") -> list[dict[str, Any]]:
    return table("select * from spectra order by repo, sha, matrix", catalog)


def cdn_bytes(hub: LocalHub) -> int:
    return sum(entry.sent_bytes for entry in hub.requests("cdn"))


def test_a_run_computes_spectra_from_the_bytes_that_it_reads_anyway(
    served: LocalHub, survey: Survey, executor: list[str], tmp_path: Path
) -> None:
    run = ("run", "org/one", "org/two", "--matrix", "both", "--endpoint", served.endpoint, *executor)
    assert survey(*run, *OFF, "--catalog", "off").code == 0
    without = cdn_bytes(served)
    served.clear_log()
    ran = survey(*run, *ON, "--catalog", "c", "--summary", "s.json")
    assert (ran.code, ran.err) == (0, "")
    assert "spectra: 3 beside measured rows\n3 measured, 0 unchanged, 0 failed" in ran.out
    assert json.loads(Path("s.json").read_text())["spectra"] == 3
    assert cdn_bytes(served) == without
    assert spectra("off") == []
    measured, rows = table("select * from models order by repo, sha, matrix"), spectra()
    assert [(row["repo"], row["matrix"]) for row in rows] == [
        ("org/one", "input"), ("org/one", "output"), ("org/two", "output"),
    ]  # fmt: skip
    for row, of_model in zip(rows, measured, strict=True):
        assert (row["device"], row["directions"], row["sha"]) == ("cpu", None, of_model["sha"])
        assert row["finite_rows"] - row["live_rows"] == of_model["dead_count"]
        with package.open_matrix(tmp_path / "served" / row["repo"][4:], row["matrix"]) as matrix:
            study = package.spectrum(matrix, device="cpu").figures
        assert row["singular_values"] == pytest.approx(study.singular_values)
        assert row["live_effective_rank"] == pytest.approx(study.live_effective_rank)
    assert survey(*run, *ON, "--catalog", "c").out.endswith("0 measured, 3 unchanged, 0 failed\n")
    assert spectra() == rows


def test_a_spectrum_that_a_row_lacks_is_added_and_the_row_stays(
    served: LocalHub, survey: Survey, executor: list[str]
) -> None:
    run = ("run", "org/one", "org/two", "--endpoint", served.endpoint, "--catalog", "c", *executor)
    assert survey(*run, *OFF).code == 0
    before = table("select * from measured_rows order by repo")
    assert survey("spectrum", "org/two", "--endpoint", served.endpoint, "--catalog", "c").code == 0
    served.clear_log()
    assert "2 unchanged" in survey(*run).out  # auto: no matrix is read again
    assert cdn_bytes(served) == 0
    ran = survey(*run, *ON)
    assert (ran.code, ran.err) == (0, "")
    assert "spectra: 1 added to rows that were there\n0 measured, 2 unchanged, 0 failed" in ran.out
    assert table("select * from measured_rows order by repo") == before
    one, two = spectra()
    assert (one["repo"], one["directions"]) == ("org/one", None)
    assert len(two["directions"]) == 8  # the study's own is there, and is none that lacks
    assert not [entry for entry in served.requests("cdn") if "two" in entry.path]


def test_rows_of_the_same_bytes_share_a_spectrum(served: LocalHub, survey: Survey, tmp_path: Path) -> None:
    run = ("run", "--endpoint", served.endpoint, "--catalog", "c", *SERIAL)
    assert survey(*run, "org/one", *ON).code == 0
    files = files_of(tmp_path / "served" / "one")
    served.add_repo("org/copy", {**files, "README.md": b"a card"})
    served.add_repo("org/late", {**files, "README.md": b"another card"})
    ran = survey(*run, "org/copy", *OFF)
    assert "1 of the measured were copied" in ran.out
    assert len(spectra()) == 1
    served.clear_log()
    ran = survey(*run, "org/copy", "org/late", *ON)
    assert "spectra: 2 copied\n" in ran.out
    rows = {row.pop("repo"): row for row in spectra()}
    own = {"sha", "made_at", "elapsed_s"}
    one, *others = (rows[name] for name in ("org/one", "org/copy", "org/late"))
    for other in others:
        assert {name for name in one if one[name] != other[name]} <= own
    assert cdn_bytes(served) < len(files["model.safetensors"])  # headers alone


def test_twins_that_lack_a_spectrum_are_read_once(served: LocalHub, survey: Survey, tmp_path: Path) -> None:
    files = files_of(tmp_path / "served" / "one")
    served.add_repo("org/copy", {**files, "README.md": b"a card"})
    run = ("run", "org/one", "org/copy", "--endpoint", served.endpoint, "--catalog", "c", *SERIAL)
    assert survey(*run, *OFF).code == 0
    ran = survey(*run, *ON)
    assert "spectra: 1 added to rows that were there, 1 copied\n" in ran.out
    assert len(spectra()) == 2


def test_to_survey_anew_is_to_compute_the_spectrum_anew(
    survey: Survey, checkpoint: Callable[..., Path]
) -> None:
    run = ("run", checkpoint("mine"), "--catalog", "c", *SERIAL, *ON)
    survey(*run)
    (first,) = spectra()
    assert "spectra: 1 beside measured rows" in survey(*run, "--resurvey").out
    (second,) = spectra()
    assert second["made_at"] > first["made_at"]


def gone(*_: object, **__: object) -> None:
    raise CommitError("commit-failed", "spectra/x.parquet", "the disk is full")


def breaks(*_: object, **__: object) -> None:
    raise ZeroDivisionError("of course")


@pytest.mark.parametrize(
    ("broken", "fails", "problem"),
    [
        pytest.param("jobs.tasks.spectrum.commit_result", gone, "the disk is full", id="its commit"),
        pytest.param(
            "survey.spectra.of_pass.figures", breaks, "ZeroDivisionError: of course", id="its figures"
        ),
        pytest.param("survey.spectra.covariance.CovarianceSum.add", breaks, "of course", id="its products"),
    ],
)
def test_a_spectrum_that_fails_is_a_note_and_the_row_is_measured(
    broken: str,
    fails: Callable[..., None],
    problem: str,
    survey: Survey,
    checkpoint: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = checkpoint("mine")
    run = ("run", folder, "--catalog", "c", *SERIAL, *ON)
    with monkeypatch.context() as patched:
        patched.setattr(broken, fails)
        ran = survey(*run)
        again = survey(*run)  # the row is there, and is read for its spectrum alone
    assert (ran.code, again.code) == (0, 0)
    assert "spectra: 1 row without, as said above\n1 measured, 0 unchanged, 0 failed" in ran.out
    assert "0 measured, 1 unchanged, 0 failed" in again.out
    for noted in (ran.err, again.err):
        (line,) = noted.splitlines()
        assert line.startswith(f"survey: no spectrum: {folder}: ")
        assert problem in line
    assert (len(table("select * from models")), spectra()) == (1, [])
    assert "spectra: 1 added to rows that were there" in survey(*run).out


def test_a_matrix_that_cannot_be_read_again_keeps_its_row(served: LocalHub, survey: Survey) -> None:
    run = ("run", "org/one", "org/two", "--endpoint", served.endpoint, "--catalog", "c", *SERIAL)
    assert survey(*run, *OFF).code == 0
    served.faults.append(Fault(Status(403), server="cdn", path_contains="one", times=None))
    ran = survey(*run, *ON)
    assert (ran.code, len(ran.err.splitlines())) == (0, 1)
    assert ran.err.startswith("survey: no spectrum: org/one")
    assert [row["repo"] for row in spectra()] == ["org/two"]
    assert len(table("select * from models")) == 2


def test_the_memory_of_a_spectrum_is_planned_for_and_its_row_is_measured_without(
    survey: Survey, checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("run", checkpoint("mine"), "--catalog", "c", *SERIAL, *ON)
    monkeypatch.setattr("jobs.executors.serial.memory_bytes", lambda: 800_000_000)
    ran = survey(*run)
    assert ran.code == 0
    assert "GB of memory, this process has 0.8 GB" in ran.err
    assert "1 measured" in ran.out
    assert spectra() == []


def test_auto_computes_none_without_a_gpu_and_loads_no_torch(
    survey: Survey, checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.onepass.device.GPU_DRIVERS", ())
    ran = survey("run", checkpoint("mine"), "--catalog", "c", *SERIAL)
    assert (ran.code, ran.err, "spectra" in ran.out) == (0, "", False)
    assert spectra() == []


def test_auto_computes_all_where_there_is_a_gpu_and_small_ones_beside_it(
    survey: Survey, checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.executors.serial.has_cuda", lambda: True)
    run = ("run", checkpoint("mine"), "--catalog", "c", *SERIAL)
    assert "spectra: 1 beside measured rows" in survey(*run).out
    assert spectra()[0]["device"] == "cpu"
    monkeypatch.setattr("survey.spectra.device.SMALL_PRODUCTS", 0)
    monkeypatch.setattr("torch.zeros", gpu_is_gone)
    ran = survey(*run, "--resurvey")
    assert (ran.code, "1 measured" in ran.out) == (0, True)
    assert "No CUDA GPUs are available" in ran.err


def gpu_is_gone(*_: object, **__: object) -> None:
    raise RuntimeError("No CUDA GPUs are available")


def test_a_dry_run_says_what_would_be_read_for_spectra(
    survey: Survey, checkpoint: Callable[..., Path]
) -> None:
    run = ("run", checkpoint("mine"), "--catalog", "c", *SERIAL)
    assert survey(*run, *OFF).code == 0
    assert "spectra" not in survey(*run, "--dry-run").out
    ran = survey(*run, "--dry-run", *ON)
    assert (ran.code, "1 spectrum to add: 9.6 kB to read" in ran.out) == (0, True)
    assert spectra() == []
