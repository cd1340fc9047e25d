"""What the named queries say of a catalog whose models are known."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from support.commands import Ran
from support.kinships import trained as planted_rows
from support.little_models import LITTLE, little
from support.quantisations import QUANTISATIONS, as_bf16, as_gguf

from jobs.demo.checkpoints import write
from jobs.demo.demo_hub import demo_hub
from jobs.demo.hub.local_hub import LocalHub
from queries.library import load
from survey.errors import REASONS

Survey = Callable[..., Ran]
Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's catalog, measured serially."""
    from survey.cli import main

    folder = tmp_path_factory.mktemp("demo")
    with demo_hub(folder) as (endpoint, _):
        assert main(["run", str(folder / "models.txt"), "--catalog", str(folder / "c"), "--endpoint", endpoint, "--executor", "serial"]) == 0  # fmt: skip
    return folder / "c"


@pytest.fixture
def ask(survey: Survey, demo: Path) -> Ask:
    def run(name: str, **params: str) -> list[dict[str, Any]]:
        given = [f"--param={key}={value}" for key, value in params.items()]
        ran = survey("query", name, *given, "--catalog", demo, "--format", "json")
        assert ran.code == 0, ran.err
        rows: list[dict[str, Any]] = json.loads(ran.out)
        return rows

    return run


def test_families_compares_them(ask: Ask) -> None:
    by_family = {row["family"]: row for row in ask("families")}
    assert {name: row["models"] for name, row in by_family.items()} == {
        "Qwen": 3,
        "GPT-2": 1,
        "Gemma": 1,
        "Llama": 1,
        "Mistral": 1,
    }
    assert by_family["Qwen"]["share_with_black_holes"] == 1
    assert by_family["Qwen"]["median_angle_deg"] == pytest.approx(26.6, abs=0.05)
    assert by_family["Llama"]["median_angle_deg"] is None
    assert by_family["Llama"]["median_centroid_ratio"] == pytest.approx(0.3836, abs=1e-4)
    # The two quantised twins of a model of the demo.
    assert {name: row["copies"] for name, row in by_family.items() if row["copies"]} == {"Qwen": 2}


QUANTISED: dict[str, tuple[int, str | None, str]] = {
    "org/Qwen-A": (0, None, ""),
    "x/Qwen-A-GGUF": (0, None, "Q8_0"),  # by its name
    "y/other-name-i1-GGUF": (0, "org/Qwen-A", "Q4_0"),  # by its card
    "v/again-4bit": (0, "x/Qwen-A-GGUF", "mlx-4bit-g64"),  # a quantisation of a quantisation
    "w/Qwen-B-8bit": (1, "org/Qwen-B", "Q8_0"),  # the model itself is not in the catalog
    "w/Qwen-B-MLX-4bit": (1, None, "mlx-4bit-g64"),
    "z/Qwen-C-Q4_0-GGUF": (2, None, "Q4_0"),
    "z/Qwen-C-tuned": (3, "org/Qwen-C", ""),  # a fine-tune is a model of its own
    "u/Qwen-A-GGUF:F16": (0, None, "F16"),  # not quantised, and yet made from it
    "t/Qwens-GGUF:Qwen-D-Q8_0.gguf": (4, None, "Q8_0"),  # several models of a repository
    "t/Qwens-GGUF:Qwen-D-Q4_0.gguf": (4, None, "Q4_0"),
    "t/Qwens-GGUF:Qwen-E-Q4_0.gguf": (5, None, "Q4_0"),
}


def test_families_counts_a_model_once_whatever_its_quantisations(survey: Survey, hub: LocalHub) -> None:
    files_of: dict[str, dict[str, bytes]] = {}
    bases: dict[str, dict[str, str]] = {}
    for name, (seed, base, kind) in QUANTISED.items():
        rows = planted_rows(np.random.default_rng(seed), 120, 64)
        repo, _, part = name.partition(":")
        files = as_gguf(rows, kind) if part else QUANTISATIONS[kind](rows) if kind else as_bf16(rows)
        for file, content in files.items():
            files_of.setdefault(repo, {})[part if part.endswith(".gguf") else file] = content
        bases[repo] = {"base_model": base} if base else {}
    for repo, files in files_of.items():
        hub.add_repo(repo, files, card_data=bases[repo])
    options = ["--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial"]
    assert survey("run", *QUANTISED, *options).code == 0
    ran = survey("query", "families", "--catalog", "c", "--format", "json")
    assert [(row["models"], row["copies"]) for row in json.loads(ran.out)] == [(6, 6)]
    eights = survey("query", "families", "--param=stored_as=Q8_0", "--catalog", "c", "--format", "json")
    assert [(row["models"], row["copies"]) for row in json.loads(eights.out)] == [(3, 0)]


def test_black_holes_ranks_by_dead_rows(ask: Ask) -> None:
    rows = ask("black_holes", min_dead="100", stored_as="BF16")
    assert [(row["repo"], row["black_hole_count"], row["dead_count"]) for row in rows] == [
        ("demo/Qwen3-mini-Instruct", 13, 253),
        ("demo/Qwen3-mini-Base", 62, 221),
        ("demo/Qwen2.5-mini-Instruct", 60, 220),
    ]


def test_the_twins_of_a_model_keep_its_dead_rows_and_merge_its_holes(ask: Ask) -> None:
    """Its holes differ by the last bits of some elements, which neither type keeps."""
    rows = [row for kind in ("Q8_0", "mlx-*") for row in ask("black_holes", stored_as=kind)]
    assert [(row["repo"], row["stored_as"], row["dead_count"]) for row in rows] == [
        ("demo/Qwen3-mini-Instruct-GGUF", "Q8_0", 253),
        ("demo/Qwen3-mini-Instruct-MLX-4bit", "mlx-4bit-g64", 253),
    ]
    assert 13 > rows[0]["black_hole_count"] > rows[1]["black_hole_count"] == 1
    (pair,) = ask("same_grouping", a="demo/Qwen3-mini-Instruct", b=rows[0]["repo"])
    assert (pair["dead_a"], pair["dead_b"], pair["dead_both"]) == (253, 253, 253)
    (original, *_) = ask("relatives", model=rows[1]["repo"])
    assert (original["repo"], original["relation"]) == ("demo/Qwen3-mini-Instruct", "quantised from")


@pytest.mark.parametrize(
    ("name", "stored_as", "count"),
    [
        ("angles", "Q*", 1), ("angles", "*", 6), ("off_centre", "mlx-*", 1), ("isotropy", "BF16", 5), ("biggest_black_holes", "Q8_0", 4),
        ("padding", "F32", 1), ("twins", "BF16", 0), ("families", "F16", 1), ("black_holes", "IQ*", 0),
    ],
)  # fmt: skip
def test_models_of_one_format_are_compared(ask: Ask, name: str, stored_as: str, count: int) -> None:
    assert len(ask(name, stored_as=stored_as)) == count


def test_off_centre_ranks_by_ratio(ask: Ask) -> None:
    ratios = [row["centroid_ratio"] for row in ask("off_centre")]
    assert len(ratios) == 9
    assert ratios == sorted(ratios, reverse=True)


def test_biggest_black_holes_ranks_those_of_all_models(ask: Ask) -> None:
    rows = ask("biggest_black_holes", limit="4", stored_as="BF16")
    assert [(row["repo"].split("/")[1], row["rank"], row["population"]) for row in rows] == [
        ("Qwen2.5-mini-Instruct", 1, 90), ("Qwen3-mini-Instruct", 1, 81), ("Qwen3-mini-Instruct", 2, 70), ("Qwen3-mini-Base", 1, 60),
    ]  # fmt: skip
    assert all(row["first_token"] >= 0 and row["norm"] > 0 for row in rows)


def test_exponents_sets_the_dead_against_the_live(ask: Ask) -> None:
    rows = ask("exponents", repo="demo/Qwen3-mini-Instruct")
    assert sum(row["all_count"] for row in rows) == 15194 * 256
    assert sum(row["dead_count"] for row in rows) == 253 * 256
    assert all(row["all_count"] == row["dead_count"] + row["live_count"] for row in rows)
    assert sum(row["dead_share"] for row in rows) == pytest.approx(1)
    assert sum(row["live_share"] for row in rows) == pytest.approx(1)
    assert {row["dead_share"] for row in ask("exponents", repo="demo/Llama-3-mini")} == {None}


def test_exponents_names_the_model_that_is_not_there(survey: Survey, demo: Path) -> None:
    ran = survey("query", "exponents", "--param", "repo=demo/none", "--catalog", demo)
    assert (ran.code, ran.err.startswith("survey: demo/none is not in the catalog")) == (2, True)
    ran = survey(
        "query", "exponents", "--param=repo=demo/gpt2-mini", "--param=matrix=input", "--catalog", demo
    )
    assert (ran.code, ran.err) == (2, "survey: exponents: demo/gpt2-mini is not in the catalog as input\n")


# What each query is asked of a model, and the parameter that names it.
ASKED_OF_A_MODEL = [
    ("relatives", "model", {}),
    ("trajectory", "repo", {}),
    ("unchanged_rows", "repo", {}),
    ("dead_classes", "repo", {}),
    ("in_vs_out", "repo", {}),
    ("exponents", "repo", {}),
    ("drift", "repo", {"a": "main", "b": "main"}),
    ("spectrum_drift", "repo", {}),
    ("compare", "a", {"b": "demo/gpt2-mini"}),
    ("shared_rows", "b", {"a": "demo/gpt2-mini"}),
    ("same_grouping", "a", {"b": "demo/gpt2-mini"}),
]


def test_the_table_holds_every_query_that_is_asked_of_a_model() -> None:
    of_a_model = {name for name, query in load().items() if query.parameters.keys() & {"repo", "model", "a"}}
    assert of_a_model == {name for name, _, _ in ASKED_OF_A_MODEL}


@pytest.mark.parametrize(
    ("name", "parameter", "others"), ASKED_OF_A_MODEL, ids=[name for name, _, _ in ASKED_OF_A_MODEL]
)
def test_a_model_that_the_catalog_does_not_hold_is_no_empty_answer(
    survey: Survey, demo: Path, name: str, parameter: str, others: dict[str, str]
) -> None:
    def ask(model: str) -> Ran:
        given = [f"--param={key}={value}" for key, value in {parameter: model, **others}.items()]
        return survey("query", name, *given, "--catalog", demo)

    shown = survey("show", "demo/Gemma-3-mini", "--catalog", demo)
    wrong = ask("demo/Gemma-3-mini")
    assert (wrong.code, wrong.err) == (shown.code, shown.err)
    assert "demo/Gemma-3-mini is not in the catalog; did you mean demo/Gemma-3-mini-it" in wrong.err
    assert ask("demo/gpt2-mini").code == 0


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("relatives", {"model": "demo/Llama-3-mini"}),
        ("trajectory", {"repo": "demo/Llama-3-mini"}),
        ("unchanged_rows", {"repo": "demo/Llama-3-mini", "pattern": "step*"}),
        ("dead_classes", {"repo": "demo/Llama-3-mini", "matrix": "input"}),
        ("in_vs_out", {"repo": "demo/Llama-3-mini"}),
        ("in_vs_out", {"repo": "*"}),
    ],
    ids=str,
)
def test_a_known_model_without_rows_is_an_empty_answer(
    survey: Survey, demo: Path, name: str, parameters: dict[str, str]
) -> None:
    given = [f"--param={key}={value}" for key, value in parameters.items()]
    ran = survey("query", name, *given, "--catalog", demo)
    assert (ran.code, ran.out.splitlines()[-1], ran.err) == (0, "(no rows)", "")


NAMES_NOTHING = ["org/nobody", "not a model", "./gone", "org/real@nowhere"]


@pytest.mark.parametrize("line", NAMES_NOTHING)
def test_a_line_that_was_mended_is_no_failure_any_more(survey: Survey, hub: LocalHub, line: str) -> None:
    def failing() -> list[str]:
        answer = survey("query", "failures", "--catalog", "c", "--format", "json")
        return [row["repo"] for row in json.loads(answer.out)]

    def run(name: str) -> None:
        survey("run", name, "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial")

    hub.add_repo("org/empty", {"README.md": b"nothing here"})
    hub.add_repo("org/real", {"README.md": b"nothing here"})
    Path("mine.txt").write_text(f"org/empty\n{line}\n")
    Path("yours.txt").write_text("org/empty\n")
    run("mine.txt")
    assert len(failing()) == 2
    run("yours.txt")  # another list tells nothing of this one
    run("mine.txt")
    assert len(failing()) == 2
    Path("mine.txt").write_text("org/empty\n")
    run("mine.txt")
    # What was tried and cannot be measured still is.
    assert failing() == ["org/empty"]
    assert "not-found" not in survey("status", "--catalog", "c").out
    assert "not-" not in survey("query", "coverage", "--catalog", "c").out
    past = survey("sql", "SELECT count(*) AS n FROM attempts", "--catalog", "c", "--format", "json").out
    assert json.loads(past) == [{"n": 6}]


def test_what_cannot_be_measured_stays_a_failure_without_its_line(survey: Survey, hub: LocalHub) -> None:
    hub.add_repo("org/empty", {"README.md": b"nothing here"})
    hub.add_repo("org/other", {"README.md": b"nothing here"})
    for line in ("org/empty", "org/other"):
        Path("mine.txt").write_text(line)
        survey("run", "mine.txt", "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial")
    rows = json.loads(survey("query", "failures", "--catalog", "c", "--format", "json").out)
    assert [row["repo"] for row in rows] == ["org/empty", "org/other"]


def test_cost_sets_what_was_read_against_the_repositories(ask: Ask) -> None:
    rows = ask("cost")
    assert len(rows) == 9
    for row in rows:
        assert 0 < row["share_read"] < 0.35
        assert row["share_read"] == pytest.approx(row["fetched_mb"] / row["repository_mb"], rel=0.01)
        assert row["mb_per_s"] == pytest.approx(row["fetched_mb"] / row["elapsed_s"], rel=0.01)


def test_versions_tells_which_measures_made_the_rows(ask: Ask) -> None:
    rows = ask("versions")
    assert {row["matrices"] for row in rows} == {9}
    assert {"centroid", "identical_rows"} <= {row["measure"] for row in rows}


def test_coverage_counts_what_was_surveyed_and_what_was_refused(survey: Survey) -> None:
    write(little("org/one", cloud=LITTLE), Path("one"))
    (Path("two")).mkdir()
    assert survey("run", "./one", "./two", "--catalog", "c", "--executor", "serial").code == 1
    rows = json.loads(survey("query", "coverage", "--catalog", "c", "--format", "json").out)
    assert [(row["outcome"], row["reason"], row["models"], row["share"]) for row in rows] == [
        ("surveyed", None, 1, 0.5),
        ("refused", "no-config", 1, 0.5),
    ]


def test_angles_leaves_out_models_without_dead_rows(ask: Ask) -> None:
    assert [row["repo"].split("/")[1] for row in ask("angles", stored_as="BF16")] == [
        "Gemma-3-mini-it", "Qwen3-mini-Base", "Qwen3-mini-Instruct", "Qwen2.5-mini-Instruct",
    ]  # fmt: skip


def test_compare_sets_two_models_side_by_side(ask: Ask) -> None:
    rows = {
        row["column"]: row
        for row in ask("compare", a="demo/Qwen3-mini-Base", b="demo/Qwen3-mini-Instruct@main")
    }
    assert list(rows)[:3] == ["repo", "revision", "sha"]  # in the table's own order
    assert (rows["black_hole_count"]["a"], rows["black_hole_count"]["b"]) == ("62", "13")
    assert rows["black_hole_count"]["b_minus_a"] == -49
    assert rows["family"]["b_minus_a"] is None


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
    rows = json.loads(survey("query", "failures", "--catalog", "c", "--format", "json").out)
    assert [(row["repo"], row["reason"]) for row in rows] == [(str(broken), "no-config")]


@pytest.fixture
def trained(hub: LocalHub, survey: Survey, tmp_path: Path) -> Callable[..., Ran]:
    """`org/t` with the branches step2, step10 and stage2-step3, surveyed into `c`; asks it."""
    for number, (branch, length) in enumerate({"step2": 0.3, "step10": 0.5, "stage2-step3": 0.4}.items()):
        cloud = dataclasses.replace(LITTLE, seed=number, centre_l2=length)
        write(little("t", cloud=cloud), tmp_path / branch)
        files = {path.name: path for path in (tmp_path / branch).iterdir()}
        if number == 0:
            hub.add_repo("org/t", files, branch=branch)
        else:
            hub.commit("org/t", files, branch=branch)
    ran = survey("run", "org/t@st*", "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial")
    assert ran.code == 0, ran.out

    def run(name: str, **params: str) -> Ran:
        given = [f"--param={key}={value}" for key, value in params.items()]
        return survey("query", name, *given, "--catalog", "c", "--format", "json")

    return run


def test_trajectory_follows_the_number_in_the_name(trained: Callable[..., Ran]) -> None:
    rows = json.loads(trained("trajectory", repo="org/t", pattern="st*").out)
    assert [(row["revision"], row["step"]) for row in rows] == [
        ("step2", 2),
        ("stage2-step3", 3),
        ("step10", 10),
    ]
    assert [row["centroid_l2"] for row in rows] == pytest.approx([0.3, 0.4, 0.5], abs=0.02)
    assert {(row["dead_count"], row["black_hole_count"]) for row in rows} == {(10, 3)}
    assert all(row["dead_live_angle_deg"] for row in rows)
    assert [row["revision"] for row in json.loads(trained("trajectory", repo="org/t").out)] == [
        "step2",
        "step10",
    ]


def test_drift_tells_what_moved(trained: Callable[..., Ran], survey: Survey) -> None:
    rows = {
        row["quantity"]: row for row in json.loads(trained("drift", repo="org/t", a="step2", b="step10").out)
    }
    lengths = rows["centroid_l2"]
    assert lengths["a_to_b"] == lengths["b"] - lengths["a"] == pytest.approx(0.2, abs=0.02)
    assert rows["dead_count"] == {"quantity": "dead_count", "a": 10, "b": 10, "a_to_b": 0}
    sql = "SELECT centroid FROM vectors JOIN models_history USING (repo, sha, matrix) WHERE revision = '{}'"
    a, b = (
        np.array(
            json.loads(survey("sql", sql.format(name), "--catalog", "c", "--format", "json").out)[0][
                "centroid"
            ]
        )
        for name in ("step2", "step10")
    )
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert rows["centroid_angle_deg"]["a_to_b"] == pytest.approx(np.degrees(np.arccos(cosine)), rel=1e-6)
    assert rows["centroid_distance"]["a_to_b"] == pytest.approx(np.linalg.norm(a - b), rel=1e-6)
    assert rows["rows_unchanged"]["a_to_b"] == 0


def test_drift_between_two_names_of_one_commit_is_none(trained: Callable[..., Ran]) -> None:
    rows = {
        row["quantity"]: row["a_to_b"]
        for row in json.loads(trained("drift", repo="org/t", a="step2", b="step2").out)
    }
    assert rows.pop("rows_unchanged") == 300
    assert rows.pop("vocab_rows") == 0
    assert set(rows.values()) == {0}


def test_drift_counts_no_rows_without_a_per_token_table(trained: Callable[..., Ran]) -> None:
    next(iter(Path("c/tokens").iterdir())).unlink()
    next(iter(Path("c/tokens").iterdir())).unlink()
    rows = {
        row["quantity"]: row["a_to_b"]
        for row in json.loads(trained("drift", repo="org/t", a="step2", b="step10").out)
    }
    assert rows["rows_unchanged"] is None


def test_drift_names_the_revision_that_is_not_there(trained: Callable[..., Ran]) -> None:
    ran = trained("drift", repo="org/t", a="step2", b="step99")
    assert ran.code == 2
    assert "drift: not in the catalog as output: org/t@step99" in ran.err


def test_every_refusal_is_a_row_and_failures_groups_them(
    survey: Survey, checkpoint: Callable[..., Path], hub: LocalHub
) -> None:
    good, headless = checkpoint("good"), checkpoint("headless", tied=False)
    tensors = load_file(headless / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, headless / "model.safetensors")
    hub.add_repo("org/empty", {"README.md": b"nothing here"})
    for number in (1, 2):
        hub.add_repo(f"org/unsafe-{number}", {"config.json": b"{}", "model.onnx": b"ONNX"})
    models = [good, headless, "org/empty", "org/unsafe-1", "org/unsafe-2", "org/nobody"]
    common = ("--catalog", "c", "--endpoint", hub.endpoint)
    assert survey("run", *models, *common, "--executor", "serial").code == 1
    rows = json.loads(survey("sql", "FROM attempts", "--catalog", "c", "--format", "json").out)
    assert len(rows) == len(models)
    assert {(row["repo"], row["status"], row["reason"]) for row in rows} == {
        (str(good), "measured", None),
        (str(headless), "failed", "no-head"),
        ("org/empty", "failed", "no-config"),
        ("org/unsafe-1", "failed", "no-safetensors"),
        ("org/unsafe-2", "failed", "no-safetensors"),
        ("org/nobody", "failed", "not-found"),
    }
    for row in rows:
        assert row["host"]
        assert row["elapsed_s"] > 0
        assert row["revision"] == "main"
        assert (row["sha"] is None) is (row["reason"] == "not-found")
        assert (row["message"] is None) is (row["status"] == "measured")
    assert len({row["run_id"] for row in rows}) == 1
    failures = json.loads(survey("query", "failures", "--catalog", "c", "--format", "json").out)
    assert [(row["reason"], row["of_this_reason"]) for row in failures] == [
        ("no-safetensors", 2),
        ("no-safetensors", 2),
        ("no-config", 1),
        ("no-head", 1),
        ("not-found", 1),
    ]
    status = survey("status", "--catalog", "c").out
    for reason in ("no-safetensors", "no-config", "no-head", "not-found"):
        assert any(line.startswith(reason) and REASONS[reason] in line for line in status.splitlines())


# ------------------------------------------------------------------------------------ the card


def test_a_card_draws_histograms_of_norms_and_exponents(survey: Survey, demo: Path) -> None:
    ran = survey("show", "demo/Qwen3-mini-Instruct", "--catalog", demo)
    (norms,) = [line for line in ran.out.splitlines() if line.startswith("row norms") and "median" in line]
    (dead,) = [line for line in ran.out.splitlines() if line.startswith("exponents, dead")]
    bars = norms.removeprefix("row norms").strip(" ").split("  0 …")[0]
    assert re.fullmatch(r"[▁▂▃▄▅▆▇█]\s{3,}[▁▂▃▄▅▆▇█]+", bars.strip())  # the dead apart from all others
    assert dead.rstrip().endswith("125")


def test_a_card_without_per_token_table_has_no_histogram_of_norms(survey: Survey) -> None:
    write(little("org/one", cloud=LITTLE), Path("one"))
    survey("run", "./one", "--catalog", "c", "--executor", "serial", "--no-tokens")
    ran = survey("show", "./one", "--catalog", "c")
    assert "exponents, dead" in ran.out
    assert "× median" not in ran.out
    assert survey("show", "./one", "--catalog", "c", "--plot", "c.svg").code == 0


@pytest.mark.parametrize(
    ("name", "begins"), [("c.png", b"\x89PNG"), ("c.svg", b"<svg"), ("c.html", b"<!doctype html>")]
)
def test_a_card_is_drawn_into_a_file(survey: Survey, demo: Path, name: str, begins: bytes) -> None:
    ran = survey("show", "demo/Qwen3-mini-Instruct", "--catalog", demo, "--plot", name)
    assert (ran.code, ran.out) == (0, "")
    drawn = Path(name).read_bytes()
    assert drawn.lstrip().startswith(begins)
    if name != "c.png":
        assert b"13 black holes of 253 rows" in drawn
        assert b"https://cdn" not in drawn


def test_a_card_that_cannot_be_drawn_says_so(survey: Survey, demo: Path) -> None:
    assert "ends in .png or .svg or .html" in survey("show", "x", "--plot", "c.jpg", "--catalog", demo).err
    assert "is not in the catalog" in survey("show", "x", "--plot", "c.png", "--catalog", demo).err


def test_padding_counts_the_rows_beyond_the_tokenizer(survey: Survey) -> None:
    folder = Path("one")
    write(little("org/one", cloud=LITTLE), folder)
    vocabulary = {"version": "1.0", "model": {"type": "WordLevel", "vocab": {f"t{n}": n for n in range(290)}, "unk_token": "t0"}}  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))
    assert survey("run", "./one", "--catalog", "c", "--executor", "serial").code == 0
    (padding,) = json.loads(survey("query", "padding", "--catalog", "c", "--format", "json").out)
    dead = json.loads(survey("sql", "SELECT count(*) AS n FROM tokens WHERE token_id >= 290 AND black_hole IS NOT NULL", "--catalog", "c", "--format", "json").out)  # fmt: skip
    assert (padding["vocab_rows"], padding["tokenizer_size"], padding["phantom_rows"]) == (300, 290, 10)
    assert padding["dead_phantoms"] == dead[0]["n"]
    assert padding["multiple_of"] == 4
